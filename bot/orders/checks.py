"""Holding book, ledger and venue against each other: at start, after each gap, and while there is something to lose."""

from bot.clock import MINUTE_MS, SECOND_MS, Clock
from bot.errors import DatabaseAway, OperatorError, OutcomeUnknown, VenueRejected, VenueUnavailable
from bot.messages import Severity, StandingOrder, TradingState
from bot.orders.book import PositionBook
from bot.orders.cover import Cover
from bot.orders.gate import DESK, Gate
from bot.orders.intake import Intake
from bot.orders.news import News
from bot.orders.reconcile import Findings, Reconciler
from bot.orders.sender import RECONCILE, WATCH, Sender
from bot.orders.strangers import Strangers
from bot.orders.tending import Tending
from bot.venue import Book, Leg, OrderRow, OrderState

BLIND_MS = 15 * SECOND_MS  # between two looks at the account while the user stream is down
STAYS_MS = 10 * MINUTE_MS  # a disagreement that lasts this long waits for a person
SELDOM_MS = 5 * MINUTE_MS  # between two looks at a disagreement that stays
FAILING_MS = MINUTE_MS  # between two looks at an account that cannot be read for long
HELD_MS = 5 * SECOND_MS  # the same while something is held, or nobody tells what happens
SEEN_BY_NOW_MS = 5 * SECOND_MS  # a stop that the venue has confirmed this long ago is visible
MANY_MS = 15 * SECOND_MS  # between two looks at all open orders, which weigh 80
FEW = 4  # stops that are asked for one by one, which weighs less than all open orders


class Checks:
    """Nothing opens until what the venue says and what we hold agree."""

    def __init__(
        self,
        book: PositionBook,
        reconciler: Reconciler,
        sender: Sender,
        tending: Tending,
        intake: Intake,
        strangers: Strangers,
        gate: Gate,
        cover: Cover,
        news: News,
        clock: Clock,
    ) -> None:
        self._book = book
        self._reconciler = reconciler
        self._sender = sender
        self._tending = tending
        self._intake = intake
        self._strangers = strangers
        self._gate = gate
        self._cover = cover
        self._news = news
        self._clock = clock
        self._stream_up = False
        self._all_looked_at = 0
        self._disagrees_since: int | None = None
        self._failures = 0  # comparisons in a row that were broken off
        self._changed_account = ""  # what was told of its settings

    async def on_stream_up(self) -> None:
        self._stream_up = True
        self._failures = 0
        await self.reconcile()

    def on_stream_lost(self, reason: str) -> None:
        self._stream_up = False
        self._gate.hold("user_stream_lost", reason)
        self._sender.recheck(RECONCILE, BLIND_MS)

    async def reconcile(self) -> None:
        """After a gap, or when something was found: everything is asked for, and nothing opens meanwhile."""
        self._gate.hold("reconciling")
        self._sender.recheck_at.pop(RECONCILE, None)
        try:
            findings = await self._reconciler.run(self._intake.on_fills, self._intake.on_funding)
        except (VenueUnavailable, OutcomeUnknown, VenueRejected, DatabaseAway) as error:
            await self._broken_off(error)
            return
        except OperatorError as error:
            if self._gate.holds("starting"):
                raise
            await self._on_changed_account(str(error))
            return
        self._changed_account = ""
        await self._take_up(findings)
        if self._stream_up:
            self._gate.lift("user_stream_lost")
        else:
            self._gate.hold("user_stream_lost")
            self._sender.recheck(RECONCILE, BLIND_MS)
        self._gate.lift("starting", "not_reconciled", "reconciling")
        if not findings.disagreement and self._stream_up:
            positions, orders = len(list(self._book.open_positions())), len(self._book.live_orders())
            self._news.tell("reconciled", positions=positions, orders=orders)

    async def check(self) -> None:
        """The periodic comparison of orders, positions and trades: a healthy stream may lose single frames."""
        booked = self._intake.booked
        try:
            findings = await self._reconciler.check(self._intake.on_fills, self._intake.on_funding)
        except (VenueUnavailable, OutcomeUnknown, VenueRejected, DatabaseAway) as error:
            await self._broken_off(error)
            return
        if self._intake.booked > booked:
            self._news.tell("unheard_executions", Severity.WARNING, executions=self._intake.booked - booked)
        await self._take_up(findings)

    async def watch(self) -> None:
        """Look for the stops of what is open: one that is gone, refused or stuck is told by nobody else."""
        stops = [row for row in self._book.live_orders() if self._is_watched(row)]
        few, now = len(stops) <= FEW, self._clock.now()
        if not few and now - self._all_looked_at < MANY_MS:
            return
        self._all_looked_at = now
        try:
            missing = await self._reconciler.not_standing(stops, one_by_one=few)
        except (VenueUnavailable, VenueRejected):  # want of an answer says nothing
            self._sender.recheck_within(WATCH, HELD_MS if few else MANY_MS)
            return
        for row in missing:
            self._news.tell("stop_not_standing", Severity.WARNING, client_id=row.client_id)
            if await self._sender.ask(row):
                await self._intake.pull(row.request.symbol)
            await self._tending.tend([self._book.positions[row.position_id]])

    def _is_watched(self, row: OrderRow) -> bool:
        settled = self._clock.now() - row.updated_at >= SEEN_BY_NOW_MS
        return row.leg is Leg.STOP and row.state is OrderState.WORKING and settled

    async def _on_changed_account(self, words: str) -> None:
        """Somebody changed the account's settings under a running bot: what is open keeps its stops."""
        if words != self._changed_account:
            self._changed_account = words
            self._news.tell("contract_surprise", Severity.ERROR, detail=words)
        await self._gate.order(
            StandingOrder(state=TradingState.REDUCING, reason="contract_surprise", by=DESK, detail=words)
        )
        self._not_reconciled(words)
        self._sender.recheck(RECONCILE, MINUTE_MS)

    async def _broken_off(self, error: Exception) -> None:
        """What was settled before the error is kept and, where the database can say so first, acted on."""
        self._not_reconciled(str(error))
        if isinstance(error, DatabaseAway):
            await self._tending.keep()
        else:
            await self._tending.tend(list(self._book.positions.values()))

    def _not_reconciled(self, error: str) -> None:
        if not self._gate.holds("not_reconciled"):  # what breaks off the next try is no news
            self._gate.hold("not_reconciled", error)
        self._gate.lift("reconciling")
        held = any(self._book.open_positions())
        longest = FAILING_MS if self._stream_up and not held else HELD_MS
        self._sender.recheck_within(RECONCILE, min(SECOND_MS << self._failures, longest))
        self._failures = min(self._failures + 1, 6)

    async def _take_up(self, findings: Findings) -> None:
        """Act on a comparison: what a person closed is closed, the rest of a difference keeps entries out."""
        self._failures = 0
        self._cover.foreign_conditional = sum(report.book is Book.ALGO for report in findings.foreign)
        self._strangers.on_open_orders(findings.foreign, self._clock.now())
        for symbol, difference in list(findings.differences.items()):
            closed = await self._strangers.close_elsewhere(symbol, difference.shortfall)
            if closed:
                del findings.differences[symbol]
                await self._tending.tend(closed)
        await self._tending.tend(list(self._book.positions.values()))  # closed ones too: a leg of theirs may still live
        for row in findings.orphans:
            self._news.tell("orphan_order", Severity.WARNING, client_id=row.client_id, state=row.state)
            await self._sender.cancel(row)
        if not findings.differences:
            await self._strangers.forget_all()
        if findings.disagreement:
            await self._on_disagreement(findings.disagreement)
        else:
            self._disagrees_since = None
            self._gate.lift("venue_disagrees")

    async def _on_disagreement(self, words: str) -> None:
        now = self._clock.now()
        since = self._disagrees_since = self._disagrees_since or now
        self._gate.hold("venue_disagrees", words)
        lasts = now - since
        pause = max(MINUTE_MS, min(lasts, SELDOM_MS))  # doubling; an execution is looked into at once
        self._sender.recheck_within(RECONCILE, pause if lasts >= STAYS_MS else min(pause, STAYS_MS - lasts))
        if lasts >= STAYS_MS:
            await self._gate.order(
                StandingOrder(state=TradingState.REDUCING, reason="disagreement_stayed", by=DESK, detail=words)
            )
