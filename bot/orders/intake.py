"""The account's events on their way into book and ledger: order reports, executions, funding."""

from collections.abc import Sequence
from decimal import Decimal

from bot.clock import SECOND_MS, Clock
from bot.errors import DatabaseAway, VenueRejected, VenueUnavailable
from bot.messages import BalanceChanged, Position, Severity
from bot.orders.book import PositionBook
from bot.orders.ledger import Ledger
from bot.orders.news import News
from bot.orders.reconcile import Reconciler
from bot.orders.sender import FUNDING, RECHECK_MS, RECONCILE, Sender
from bot.orders.store import AttributedFill
from bot.orders.strangers import Strangers, forced
from bot.orders.tending import Tending
from bot.venue import Book, Fill, FundingPaid, Leg, OrderReport

LATE_FUNDING_MS = 30 * SECOND_MS  # for payments that were announced and are not on record yet


class Intake:
    """Books what happened, once, and has the positions that it touched tended."""

    def __init__(
        self,
        book: PositionBook,
        reconciler: Reconciler,
        sender: Sender,
        tending: Tending,
        strangers: Strangers,
        news: News,
        clock: Clock,
    ) -> None:
        self._book = book
        self._reconciler = reconciler
        self._sender = sender
        self._tending = tending
        self._strangers = strangers
        self._news = news
        self._clock = clock
        self._funding_asked_at = 0
        self.booked = 0  # executions since the start
        self.ledger = Ledger(starting_wallet=Decimal(0))

    async def on_report(self, report: OrderReport) -> None:
        if not self._book.ours(report.client_id):
            self._strangers.on_report(report)
            return
        await self._reconciler.recall(report.client_id)
        row = self._book.apply_report(report)
        if row is None:
            self._news.tell("order_without_row", Severity.ERROR, client_id=report.client_id, symbol=report.symbol)
            return
        position = self._book.positions[row.position_id]
        if report.book is Book.REGULAR and report.filled > row.filled:
            self._sender.recheck(row.client_id, RECHECK_MS)
            await self.pull(report.symbol)
        await self._tending.tend([position])

    async def on_fill(self, fill: Fill) -> None:
        """One execution that the user stream told of. The stream may owe an older one: where more was closed than is
        known to be open, what was executed before is asked for first, or it would be taken from a sibling."""
        await self._reconciler.recall(fill.client_id)
        if self._closes_too_much(fill) and not self._reconciler.knows(fill):
            await self.pull(fill.symbol)
        await self.on_fills([fill])

    def _closes_too_much(self, fill: Fill) -> bool:
        row = self._book.orders.get(fill.client_id)
        if row is None:
            return bool(forced(fill.client_id)) and fill.quantity > abs(self._book.net(fill.symbol))
        return row.leg is not Leg.ENTRY and fill.quantity > self._book.positions[row.position_id].open_quantity

    async def on_fills(self, fills: Sequence[Fill]) -> None:
        touched: dict[str, Position] = {}
        booked: list[AttributedFill] = []
        for fill in fills:  # first of all, because the database may not answer
            await self._reconciler.recall(fill.client_id)
        for fill in fills:
            if not self._reconciler.is_new(fill):
                continue
            self.ledger.book_fill(fill)
            if fill.client_id not in self._book.orders:
                closed = await self._strangers.on_fill(fill)
                booked.append((fill, closed[0].position_id if closed else None, None))
                touched |= {position.position_id: position for position in closed}
                continue
            if doubt := self._book.doubt(fill):
                self._book.surprises.append(doubt)
                booked.append((fill, None, None))
                continue
            applied = self._book.apply_fill(fill, fill.client_id)
            if sum(part.quantity for part in applied) < fill.quantity:
                self._news.tell("closed_what_is_not_ours", Severity.ERROR, symbol=fill.symbol, trade_id=fill.trade_id)
            row = self._book.orders[fill.client_id]
            booked.append((fill, row.position_id, row.leg))
            touched |= {part.position_id: self._book.positions[part.position_id] for part in applied}
        self.booked += len(booked)
        if booked:
            self._news.publish(BalanceChanged(at=self._clock.now(), wallet=self.ledger.wallet))
            await self._tending.tend(list(touched.values()), fills=booked)

    async def pull(self, symbol: str) -> None:
        """Fetch and book the symbol's executions that nobody told of."""
        try:
            await self.on_fills(await self._reconciler.missing_fills(symbol))
        except (VenueUnavailable, VenueRejected, DatabaseAway) as error:
            self._news.tell("fills_unknown", Severity.WARNING, symbol=symbol, error=str(error))
            self._sender.recheck(RECONCILE, RECHECK_MS)

    async def on_funding_due(self, at: int) -> None:
        """Each symbol has an event of its own: the first is acted on, those of its moment are once all are told."""
        if at <= self._funding_asked_at:
            self._sender.recheck(FUNDING, RECHECK_MS)
        elif not await self.on_funding():
            self._sender.recheck(FUNDING, LATE_FUNDING_MS)

    async def on_funding(self) -> bool:
        """Book what was paid; False where there was nothing, or nobody to ask."""
        self._funding_asked_at = self._clock.now()
        try:
            payments = await self._reconciler.missing_funding()
        except (VenueUnavailable, VenueRejected) as error:
            self._news.tell("funding_unknown", Severity.WARNING, error=str(error))
            self._sender.recheck(FUNDING, LATE_FUNDING_MS)
            return False
        touched: dict[str, Position] = {}
        for payment in payments:
            self.ledger.book_funding(payment)
            touched |= {p.position_id: p for p in self._share_funding(payment)}
        if payments:
            self._news.publish(BalanceChanged(at=self._clock.now(), wallet=self.ledger.wallet))
            await self._tending.tend(list(touched.values()), funding=payments)
        return bool(payments)

    def _share_funding(self, payment: FundingPaid) -> list[Position]:
        """Each open position bears its part by quantity; the venue pays on the net, which is their sum."""
        holders = [p for p in self._book.open_positions(payment.symbol) if p.open_quantity > 0]
        total = sum((p.open_quantity for p in holders), Decimal(0))
        for position in holders:
            position.funding += payment.amount * position.open_quantity / total
        return holders
