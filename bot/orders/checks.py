"""Holding book, ledger and venue against each other: at start, after each gap, and while there is something to lose."""

from collections.abc import Callable

from bot.clock import MINUTE_MS, SECOND_MS
from bot.errors import OutcomeUnknown, VenueRejected, VenueUnavailable
from bot.messages import Severity
from bot.orders.book import PositionBook
from bot.orders.gate import Gate
from bot.orders.intake import Intake
from bot.orders.news import News
from bot.orders.reconcile import Reconciler
from bot.orders.sender import RECHECK_MS, RECONCILE, Sender
from bot.orders.tending import Tending

BLIND_MS = 15 * SECOND_MS  # between two looks at the account while the user stream is down


class Checks:
    """Nothing opens until what the venue says and what we hold agree."""

    def __init__(
        self,
        book: PositionBook,
        reconciler: Reconciler,
        sender: Sender,
        tending: Tending,
        intake: Intake,
        gate: Gate,
        news: News,
        inbox_waits: Callable[[], bool],
    ) -> None:
        self._book = book
        self._reconciler = reconciler
        self._sender = sender
        self._tending = tending
        self._intake = intake
        self._gate = gate
        self._news = news
        self._inbox_waits = inbox_waits
        self._stream_up = False

    async def on_stream_up(self) -> None:
        self._stream_up = True
        await self.reconcile()

    def on_stream_lost(self, reason: str) -> None:
        self._stream_up = False
        self._gate.hold("user_stream_lost", reason)
        self._sender.recheck(RECONCILE, BLIND_MS)

    async def reconcile(self) -> None:
        self._gate.hold("reconciling")
        self._sender.recheck_at.pop(RECONCILE, None)
        try:
            findings = await self._reconciler.run(self._intake.on_fills, self._intake.on_funding)
        except (VenueUnavailable, OutcomeUnknown, VenueRejected) as error:
            self._gate.hold("not_reconciled", str(error))
            self._gate.lift("reconciling")
            self._sender.recheck(RECONCILE, RECHECK_MS)
            return
        for event in findings.events:
            self._news.publish(event)
        await self._tending.tend(list(self._book.positions.values()))  # closed ones too: a leg of theirs may still live
        if findings.disagreement:
            self._gate.hold("venue_disagrees", findings.disagreement)
            self._sender.recheck(RECONCILE, MINUTE_MS)
        else:
            self._gate.lift("venue_disagrees")
        if self._stream_up:
            self._gate.lift("user_stream_lost")
        else:
            self._gate.hold("user_stream_lost")
            self._sender.recheck(RECONCILE, BLIND_MS)
        self._gate.lift("starting", "not_reconciled", "reconciling")
        if not findings.disagreement and self._stream_up:
            positions, orders = len(list(self._book.open_positions())), len(self._book.live_orders())
            self._news.tell("reconciled", positions=positions, orders=orders)

    async def look(self) -> None:
        """Hold the venue's positions against the book's."""
        try:
            differences = await self._reconciler.differences()
        except (VenueUnavailable, VenueRejected):
            return  # looked at again
        if differences and not self._inbox_waits():  # else what explains them may be waiting
            self._news.tell("unheard_executions", Severity.WARNING, detail="; ".join(differences))
            self._sender.recheck(RECONCILE, 0)
