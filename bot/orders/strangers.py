"""Orders and executions that are none of ours: the venue's own closings, and a person's hand on the account."""

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from bot.clock import SECOND_MS
from bot.messages import Position, Severity, StandingOrder, TradingState
from bot.orders.book import PositionBook
from bot.orders.gate import DESK, Gate
from bot.orders.news import News
from bot.orders.sender import RECONCILE, Sender
from bot.orders.store import OrderStore
from bot.venue import Book, Fill, OrderReport, VenueStatus

FOREIGN = "foreign_closes"  # fact: executions that may have closed what is ours, until positions were compared
LISTED_MS = 10 * SECOND_MS  # by then an open order stands among the open orders
ENDED = frozenset(
    {VenueStatus.FILLED, VenueStatus.CANCELED, VenueStatus.EXPIRED, VenueStatus.REJECTED, VenueStatus.FINISHED}
)
LIQUIDATED, ADL, SETTLED, ELSEWHERE = "liquidated", "adl", "settled", "closed_elsewhere"  # exit reasons
_FORCED = (
    ("autoclose-", LIQUIDATED),
    ("adl_autoclose", ADL),
    ("settlement_autoclose-", SETTLED),
    ("delivery_autoclose-", SETTLED),
)


def forced(client_id: str) -> str:
    """The exit reason of an order that the venue itself placed; empty for any other."""
    return next((reason for prefix, reason in _FORCED if client_id.startswith(prefix)), "")


class Strangers:
    """The venue's closings are booked at once; a person's when the venue's position says that it was ours."""

    def __init__(self, book: PositionBook, sender: Sender, gate: Gate, store: OrderStore, news: News) -> None:
        self._book = book
        self._sender = sender
        self._gate = gate
        self._store = store
        self._news = news
        self._forced: dict[int, str] = {}  # by regular order id: executions that are asked for carry no client id
        self._foreign: list[Fill] = []  # oldest first
        self._told: dict[tuple[Book, int], OrderReport] = {}  # others' open orders as they were told of

    async def load(self) -> None:
        self._foreign = msgspec.convert(await self._store.get_fact(FOREIGN) or [], list[Fill])

    def on_report(self, report: OrderReport) -> None:
        """Somebody else's order was told of."""
        reason = forced(report.client_id)
        if reason:
            self._forced[report.venue_id] = reason
        else:
            self._tell_order(report)

    def on_open_orders(self, reports: Sequence[OrderReport], now: int) -> None:
        """What of others' is open now: new and changed ones are told, and those that are gone."""
        for report in reports:
            self.on_report(report)
        listed = {(report.book, report.venue_id) for report in reports}
        for key, told in list(self._told.items()):
            if key not in listed and now - told.at >= LISTED_MS:
                del self._told[key]
                self._news.tell("foreign_order_gone", symbol=told.symbol, client_id=told.client_id)

    def _tell_order(self, report: OrderReport) -> None:
        key = (report.book, report.venue_id)
        told = self._told.get(key)
        if told is not None and (told.status, told.filled) == (report.status, report.filled):
            return
        if report.status in ENDED:
            self._told.pop(key, None)
        else:
            self._told[key] = report
        self._news.tell(
            "foreign_order",
            Severity.WARNING,
            symbol=report.symbol,
            client_id=report.client_id,
            status=report.status,
            filled=str(report.filled),
        )

    async def on_fill(self, fill: Fill) -> list[Position]:
        """Our positions that the execution closed, as far as that is known yet."""
        reason = forced(fill.client_id) or self._forced.get(fill.venue_id, "")
        if not reason:
            await self._remember_foreign(fill)
            return []
        touched = self._book.close_by_other(fill, fill.quantity, reason)
        self._sender.recheck_within(RECONCILE, SECOND_MS)
        self._news.tell(reason, Severity.ERROR, **_words(fill, touched))
        if reason == LIQUIDATED:
            await self._gate.order(
                StandingOrder(
                    state=TradingState.REDUCING,
                    reason=LIQUIDATED,
                    by=DESK,
                    detail=f"{fill.symbol} {fill.quantity} at {fill.price}",
                )
            )
        return touched

    async def close_elsewhere(self, symbol: str, shortfall: Decimal) -> list[Position]:
        """Book on our positions what the venue has less than we; nothing where no execution explains it."""
        if shortfall <= 0:
            return []
        net = self._book.net(symbol)
        closing = [fill for fill in self._foreign if fill.symbol == symbol and fill.buy is (net < 0)]
        if sum((fill.quantity for fill in closing), Decimal(0)) < shortfall:
            return []
        touched: dict[str, Position] = {}
        for fill in reversed(closing):  # the newest explain it best
            part = min(shortfall, fill.quantity)
            closed = self._book.close_by_other(fill, part, ELSEWHERE) if part > 0 else []
            touched |= {position.position_id: position for position in closed}
            shortfall -= part
            if closed:
                self._news.tell(ELSEWHERE, Severity.ERROR, **_words(fill, closed))
        return list(touched.values())

    async def forget_all(self) -> None:
        """Our positions are those of the venue: whatever was executed is accounted for."""
        self._forced.clear()
        if self._foreign:
            self._foreign.clear()
            await self._keep()

    async def _remember_foreign(self, fill: Fill) -> None:
        self._news.tell("foreign_fill", Severity.WARNING, **_words(fill, []))
        self._sender.recheck_within(RECONCILE, SECOND_MS)
        net = self._book.net(fill.symbol)
        known = any((f.symbol, f.trade_id) == (fill.symbol, fill.trade_id) for f in self._foreign)
        if net != 0 and fill.buy is (net < 0) and not known:
            self._foreign.append(fill)
            await self._keep()

    async def _keep(self) -> None:
        await self._store.set_fact(FOREIGN, msgspec.to_builtins(self._foreign))


def _words(fill: Fill, touched: Sequence[Position]) -> dict[str, object]:
    return {
        "symbol": fill.symbol,
        "trade_id": fill.trade_id,
        "quantity": str(fill.quantity),
        "price": str(fill.price),
        "positions": [position.position_id for position in touched],
    }
