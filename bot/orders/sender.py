"""One order to the venue and back: what was sent, what is known of it, and what must be asked again."""

from collections.abc import Callable

import anyio

from bot.clock import SECOND_MS, Clock
from bot.errors import OutcomeUnknown, VenueRejected, VenueUnavailable
from bot.exchange.port import TradingPort
from bot.messages import BotEvent, Severity
from bot.orders.book import PositionBook
from bot.orders.reconcile import Reconciler
from bot.orders.states import OrderEvent
from bot.venue import Book, OrderRow, OrderState

RESOLVE_DELAYS_S = (0.0, 0.2, 0.5, 1.0)  # real time: how long a lost answer may take to become visible
RECHECK_MS = 5 * SECOND_MS


class Sender:
    """Calls the venue for the desk and moves the book's orders by what came back."""

    def __init__(
        self,
        port: TradingPort,
        book: PositionBook,
        reconciler: Reconciler,
        clock: Clock,
        publish: Callable[[BotEvent], None],
    ) -> None:
        self._port = port
        self._book = book
        self._reconciler = reconciler
        self._clock = clock
        self._publish = publish
        self.recheck_at: dict[str, int] = {}  # by client id: when to ask again

    def recheck(self, key: str, after_ms: int) -> None:
        self.recheck_at[key] = self._clock.now() + after_ms

    async def send(self, row: OrderRow) -> bool:
        """True where the venue refused; everything else is in the row's state."""
        now = self._clock.now
        try:
            report = await self._port.place(row.request)
        except VenueRejected as error:
            self._book.apply_event(row, OrderEvent.REFUSED, now(), str(error))
            self._tell("order_rejected", Severity.WARNING, client_id=row.client_id, leg=row.leg, error=str(error))
            return True
        except VenueUnavailable as error:
            self._book.apply_event(row, OrderEvent.REFUSED, now(), str(error))
            self._tell("venue_unavailable", Severity.ERROR, client_id=row.client_id, leg=row.leg, error=str(error))
        except OutcomeUnknown as error:
            self._book.apply_event(row, OrderEvent.UNKNOWN, now(), str(error))
            self._tell("outcome_unknown", Severity.WARNING, client_id=row.client_id, leg=row.leg, error=str(error))
            await self.ask(row)
        else:
            self._book.apply_report(report)
        return False

    async def cancel(self, row: OrderRow) -> None:
        if row.state is OrderState.TRIGGERED:
            return  # its child is executing; the closed position's reduce-only rule holds it
        book = row.request.kind.book
        try:
            report = await self._port.cancel(row.request.symbol, row.client_id, book)
        except (OutcomeUnknown, VenueUnavailable, VenueRejected) as error:
            self._tell("cancel_unknown", Severity.WARNING, client_id=row.client_id, error=str(error))
            report = None
        if report is None:
            await self.ask(row)
        else:
            self._book.apply_report(report)

    async def ask(self, row: OrderRow, last_time: bool = False) -> None:
        """Settle an order by asking for it; what stays unknown is asked for again later, then held for missing."""
        for delay in RESOLVE_DELAYS_S:
            await anyio.sleep(delay)
            try:
                reports = await self._reconciler.look_up(row)
            except (VenueUnavailable, VenueRejected):
                continue
            for report in reports:
                self._book.apply_report(report)
            if reports and row.state is not OrderState.UNRESOLVED:
                if any(r.book is Book.REGULAR and r.filled > row.filled for r in reports):
                    self.recheck(row.client_id, RECHECK_MS)
                return
        if last_time or row.request.reduce_only:  # a second reduce-only order cannot open anything
            self._book.apply_event(row, OrderEvent.MISSING, self._clock.now(), "never arrived")
        else:
            self.recheck(row.client_id, RECHECK_MS)

    def _tell(self, name: str, severity: Severity, **detail: object) -> None:
        self._publish(BotEvent(at=self._clock.now(), name=name, severity=severity, detail=detail))
