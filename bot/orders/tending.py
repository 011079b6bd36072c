"""Giving positions what they need at the venue: commit, send, cancel, commit what came of it, and say so."""

from collections.abc import Iterable, Sequence
from decimal import Decimal

import msgspec

from bot.messages import Position, PositionChanged, SignalOutcome
from bot.metrics import Metrics
from bot.orders.book import PositionBook
from bot.orders.cover import Cover
from bot.orders.gate import Gate
from bot.orders.news import News
from bot.orders.outcomes import outcome_of
from bot.orders.protection import Protection
from bot.orders.sender import Sender
from bot.orders.store import AttributedFill
from bot.venue import FundingPaid, Leg, OrderRow


class Tending:
    """Every change of a position ends here."""

    def __init__(
        self,
        book: PositionBook,
        cover: Cover,
        gate: Gate,
        protection: Protection,
        sender: Sender,
        news: News,
        metrics: Metrics,
    ) -> None:
        self._book = book
        self._cover = cover
        self._gate = gate
        self._protection = protection
        self._sender = sender
        self._news = news
        self._metrics = metrics
        self._naked_told: dict[str, Decimal] = {}  # seconds that the metric has counted already
        self._outcomes: dict[str, SignalOutcome] = {}  # the last one told of each position in the book

    async def tend(
        self,
        positions: Sequence[Position],
        new: Sequence[OrderRow] = (),
        drop: Sequence[OrderRow] = (),
        fills: Sequence[AttributedFill] = (),
        funding: Sequence[FundingPaid] = (),
    ) -> None:
        """Commit, then send: cover first, then what is new, then cancel what has no use; commit what came of it."""
        if self._gate.drops_entries:
            for position in positions:
                self._cover.withdraw(position)
        rows = await self._protection.cover(positions, new, fills, funding)
        canceled = await self._cancel(positions, drop)
        if rows or canceled:
            await self._protection.commit(positions)
        for position in positions:
            self.announce(position)

    async def _cancel(self, positions: Sequence[Position], drop: Sequence[OrderRow]) -> set[str]:
        """Each once; where an entry is gone, its stop has no use any more either."""
        canceled: set[str] = set()
        unwanted = {row.client_id: row for row in [*drop, *self._surplus(positions)]}
        while unwanted:
            for row in unwanted.values():
                await self._sender.cancel(row)
            canceled |= unwanted.keys()
            unwanted = {r.client_id: r for r in self._surplus(positions) if r.client_id not in canceled}
        return canceled

    def _surplus(self, positions: Sequence[Position]) -> list[OrderRow]:
        return [row for position in positions for row in self._cover.surplus(position)]

    def announce(self, position: Position) -> None:
        self._news.publish(PositionChanged(msgspec.structs.replace(position)))
        self._count_naked(position)
        outcome = outcome_of(position, resting=bool(self._book.legs(position.position_id, Leg.ENTRY, live=True)))
        if self._outcomes.get(position.position_id) != outcome:
            self._outcomes[position.position_id] = outcome
            self._news.publish(outcome)

    async def keep(self) -> None:
        """Commit what a comparison that was broken off has settled: what is closed by then is soon forgotten."""
        positions = list(self._book.positions.values())
        await self._protection.commit(positions)
        for position in positions:
            self.announce(position)

    def forget_closed(self) -> None:
        for position_id in self._book.forget_closed():
            self._outcomes.pop(position_id, None)
            self._naked_told.pop(position_id, None)
            self._cover.forget(position_id)

    def adopted(self, positions: Iterable[Position]) -> None:
        """What an earlier process has counted already."""
        self._naked_told |= {position.position_id: position.naked_seconds for position in positions}

    def _count_naked(self, position: Position) -> None:
        before = self._naked_told.get(position.position_id, Decimal(0))
        if position.naked_seconds > before:
            self._naked_told[position.position_id] = position.naked_seconds
            self._metrics.naked_seconds.inc(float(position.naked_seconds - before))
