"""One order to the venue and back: what was sent, what is known of it, and what must be asked again."""

import enum
from collections.abc import Sequence
from decimal import Decimal

from bot.clock import SECOND_MS, Clock
from bot.errors import OutcomeUnknown, VenueRejected, VenueUnavailable
from bot.exchange.port import TradingPort
from bot.messages import Severity
from bot.orders.book import PositionBook
from bot.orders.news import News
from bot.orders.reconcile import Reconciler
from bot.orders.states import LIVE, OrderEvent
from bot.venue import Book, OrderReport, OrderRow, OrderState, VenueStatus

SOON_MS = (200, 500, SECOND_MS)  # between the questions for an order that the venue does not show
STUCK_MS = 4 * SECOND_MS  # a trigger that has made no order by then will make none
RECHECK_MS = 5 * SECOND_MS
DUPLICATE_CLIENT_ID = -4116
RESTING = frozenset({VenueStatus.NEW, VenueStatus.PARTIALLY_FILLED})
# keys of the recheck times, no client ids
RECONCILE, COVER, FUNDING, FILLS = "reconcile", "cover", "funding", "fills"
CHECK, WATCH, FLATTEN, DEAD_MAN = "check", "watch", "flatten", "dead_man"
KEYS = frozenset({RECONCILE, COVER, FUNDING, FILLS, CHECK, WATCH, FLATTEN, DEAD_MAN})


class Sent(enum.Enum):
    """What a send came to, beyond what the row's state says."""

    HANDLED = enum.auto()
    REFUSED = enum.auto()
    AWAY = enum.auto()  # the venue does not work for now


class Sender:
    """Calls the venue for the desk and moves the book's orders by what came back."""

    def __init__(
        self,
        port: TradingPort,
        book: PositionBook,
        reconciler: Reconciler,
        clock: Clock,
        news: News,
    ) -> None:
        self._port = port
        self._book = book
        self._reconciler = reconciler
        self._clock = clock
        self._news = news
        self._unseen: dict[str, int] = {}  # by client id: how often in a row the venue did not know an order
        self._ended: dict[str, Decimal] = {}  # by client id: what the venue executed of orders that are gone there
        self.recheck_at: dict[str, int] = {}  # by client id or key: when to ask again

    def recheck(self, key: str, after_ms: int) -> None:
        self.recheck_at[key] = self._clock.now() + after_ms

    def recheck_within(self, key: str, after_ms: int) -> None:
        """Ask again then, or earlier where that is planned already."""
        at = self._clock.now() + after_ms
        self.recheck_at[key] = min(at, self.recheck_at.get(key, at))

    def next_recheck(self) -> int | None:
        """When something has to be asked again; what triggered is, until its child order has ended."""
        live = {row.client_id: row.state for row in self._book.live_orders()}
        for client_id in [key for key in self.recheck_at if key not in live and key not in KEYS]:
            del self.recheck_at[client_id]
            self._unseen.pop(client_id, None)
            self._ended.pop(client_id, None)
        if self._book.owed_symbols():
            self.recheck_at.setdefault(FILLS, self._clock.now() + SECOND_MS)
        for client_id, state in live.items():
            if state is OrderState.TRIGGERED:
                self.recheck_at.setdefault(client_id, self._clock.now() + RECHECK_MS)
        return min(self.recheck_at.values(), default=None)

    async def send(self, row: OrderRow) -> Sent:
        now = self._clock.now
        try:
            report = await self._port.place(row.request)
        except VenueRejected as error:
            if error.code == DUPLICATE_CLIENT_ID:  # it is there: an earlier try arrived
                self._book.apply_event(row, OrderEvent.UNKNOWN, now(), str(error))
                await self.ask(row)
                return Sent.HANDLED
            self._book.apply_event(row, OrderEvent.REFUSED, now(), str(error))
            self._news.tell("order_rejected", Severity.WARNING, client_id=row.client_id, leg=row.leg, error=str(error))
            return Sent.REFUSED
        except VenueUnavailable as error:
            self._book.apply_event(row, OrderEvent.REFUSED, now(), str(error))
            self._news.tell("venue_unavailable", Severity.ERROR, client_id=row.client_id, leg=row.leg, error=str(error))
            return Sent.AWAY
        except OutcomeUnknown as error:
            self._book.apply_event(row, OrderEvent.UNKNOWN, now(), str(error))
            self._news.tell("outcome_unknown", Severity.WARNING, client_id=row.client_id, leg=row.leg, error=str(error))
            await self.ask(row)
        else:
            self._book.apply_report(report)
            if report.filled > row.filled:  # the executions themselves are told by the user stream, as a rule
                self.recheck(row.client_id, RECHECK_MS)
        return Sent.HANDLED

    async def cancel(self, row: OrderRow) -> None:
        if row.state is OrderState.TRIGGERED:
            return  # its child is executing; the closed position's reduce-only rule holds it
        if self._ended.get(row.client_id, row.filled) > row.filled:
            self.recheck_at.setdefault(row.client_id, self._clock.now() + RECHECK_MS)
            return  # it is gone; its executions are on their way, and asking again would only keep them waiting
        book = row.request.kind.book
        try:
            report = await self._port.cancel(row.request.symbol, row.client_id, book)
        except (OutcomeUnknown, VenueUnavailable, VenueRejected) as error:
            self._news.tell("cancel_unknown", Severity.WARNING, client_id=row.client_id, error=str(error))
            report = None
        if report is None:
            await self.ask(row)
        else:
            self._book.apply_report(report)
        if row.state in LIVE:  # asked again, or canceled again, before long
            self.recheck_at.setdefault(row.client_id, self._clock.now() + RECHECK_MS)

    async def ask(self, row: OrderRow) -> bool:
        """Settle an order by asking for it; True where the venue counts executions that are not booked.

        Only an answer says that an order is missing, never the want of one, and only after several: a new order may
        become visible late. Reduce-only orders are given up sooner, because a second one cannot open anything.
        """
        try:
            reports = await self._reconciler.look_up(row)
        except (VenueUnavailable, VenueRejected):
            self.recheck(row.client_id, SECOND_MS if row.request.reduce_only else RECHECK_MS)
            return False
        for report in reports:
            self._book.apply_report(report)
        if reports:
            self._unseen.pop(row.client_id, None)
            return self._judge(row, reports)
        pauses = SOON_MS if row.request.reduce_only else (*SOON_MS, RECHECK_MS)
        times = self._unseen.pop(row.client_id, 0)
        if times >= len(pauses):
            self._book.apply_event(row, OrderEvent.MISSING, self._clock.now(), "never arrived")
        elif row.state in LIVE:
            self._unseen[row.client_id] = times + 1
            self.recheck(row.client_id, pauses[times])
        return False

    def _judge(self, row: OrderRow, reports: Sequence[OrderReport]) -> bool:
        """Whether executions are missing; a trigger that made no child order is held for refused in the end."""
        if any(report.filled > row.filled for report in reports):
            self.recheck(row.client_id, RECHECK_MS)
            if all(report.status not in RESTING for report in reports):
                self._ended[row.client_id] = max(report.filled for report in reports)
            return True
        stuck = self._clock.now() - row.updated_at >= STUCK_MS
        if stuck and row.state is OrderState.TRIGGERED and not any(r.book is Book.REGULAR for r in reports):
            self._book.apply_event(row, OrderEvent.REFUSED, self._clock.now(), "no order came of the trigger")
            self._news.tell("trigger_stuck", Severity.ERROR, client_id=row.client_id)
        return False
