"""An auditor in virtual time over rows in memory and recorded bars."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

import anyio
import msgspec

from bot.audit.auditor import AuditMessage, AuditNews, Auditor, DayCheck, MarketEnded
from bot.audit.paths import VenuePaths
from bot.clock import HOUR_MS, ReplayClock
from bot.config import CostsTable
from bot.errors import VenueRejected, VenueUnavailable
from bot.messages import Bar, Bars, BotEvent, Position, Signal, SignalOutcome
from bot.strategy.audit import Expectations, Returns
from bot.strategy.counterfactual import costs_of
from bot.streams import Activity, Overflow, Stream
from tests.strategy.days import walk
from tests.strategy.scenes import CONTEXT, MONDAY


class Memory:
    """The journal's tables as lists."""

    def __init__(self, signals: Iterable[Signal] = (), positions: Iterable[Position] = ()) -> None:
        self.rows = list(signals)
        self.positions = list(positions)
        self.left: Expectations | None = None
        self.counted: list[tuple[int, int]] = []

    async def signals(self, since: int, until: int) -> AsyncIterator[list[Signal]]:
        self.counted.append((since, until))
        yield [row for row in self.rows if since <= row.cycle_at < until]

    async def to_follow(self, since: int, until: int) -> AsyncIterator[list[Signal]]:
        yield [
            row
            for row in self.rows
            if since <= row.cycle_at < until
            and (row.decision, row.fill_status) == ("refuse", None)
            and row.quantity is not None
        ]

    async def returns(self, since: int, until: int) -> Sequence[Returns]:
        return [Returns("BTC", 1, 2)] if until > since else []

    async def held_positions(self, since: int, until: int) -> Sequence[Position]:
        return [one for one in self.positions if one.closed_at is None or since <= one.closed_at < until]

    async def fired(self, since: int, until: int) -> Mapping[tuple[str, str], int]:
        return {}

    async def expectations(self) -> Expectations | None:
        return self.left

    async def expect(self, expectations: Expectations) -> None:
        self.left = expectations

    def take(self, outcome: SignalOutcome) -> None:
        for index, row in enumerate(self.rows):
            if row.signal_id == outcome.signal_id:
                self.rows[index] = msgspec.structs.replace(row, **msgspec.structs.asdict(outcome))


class Recorded:
    """A venue that has hourly bars, and finer ones only where `finest` says so."""

    def __init__(self, hours: Bars, finest: Bars | None = None) -> None:
        self.by_interval = {one.interval_ms: one for one in (hours, finest) if one is not None}
        self.asked: list[int] = []
        self.down = False

    async def bars(self, symbol: str, interval_ms: int, start: int, end: int) -> Sequence[Bar]:
        if self.down:
            raise VenueUnavailable("no answer")
        self.asked.append(interval_ms)
        if interval_ms not in self.by_interval:
            raise VenueRejected(-1120, "Invalid interval.")
        found = self.by_interval[interval_ms]
        columns = (found.open_time, found.open, found.high, found.low, found.close, found.volume)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return [Bar(symbol, interval_ms, *row) for row in rows if start <= row[0] < end]


class World:
    def __init__(self, memory: Memory, source: Recorded | None = None, began: int = MONDAY, days: int = 7) -> None:
        self.clock = ReplayClock(began)
        self.activity = Activity()
        self.inbox: Stream[AuditMessage] = Stream("audit", 16, Overflow.HALT, self.activity)
        self.memory = memory
        self.source = source or Recorded(walk(5))
        self.news: list[AuditNews] = []
        self.began, self.days = began, days

    @asynccontextmanager
    async def auditing(
        self, symbols: Mapping[str, int] | None = None, parity: DayCheck | None = None
    ) -> AsyncIterator[None]:
        expectations = Expectations(
            symbols=symbols or {"BTC": 1}, context=CONTEXT, horizon_ms=4 * HOUR_MS, up_since=self.began
        )
        auditor = Auditor(
            expectations, self.days, costs_of(CostsTable()), self.inbox, self.clock, self.memory,
            VenuePaths(self.source), self._publish, parity,
        )  # fmt: skip
        async with anyio.create_task_group() as group:
            await group.start(auditor.run)
            yield
            group.cancel_scope.cancel()

    def _publish(self, news: AuditNews) -> None:
        self.news.append(news)
        if isinstance(news, SignalOutcome):
            self.memory.take(news)

    async def go_to(self, at: int) -> None:
        """Let time pass, stopping wherever somebody wakes."""
        await anyio.wait_all_tasks_blocked()
        while (wake := self.clock.next_wake()) is not None and wake <= at:
            self.clock.advance(wake)
            await anyio.wait_all_tasks_blocked()
            await self.activity.wait_quiet()
            await anyio.wait_all_tasks_blocked()
        self.clock.advance(at)

    async def end(self) -> None:
        ended = MarketEnded(anyio.Event())
        await self.inbox.send(ended)
        await ended.done.wait()

    def outcomes(self) -> list[SignalOutcome]:
        return [one for one in self.news if isinstance(one, SignalOutcome)]

    def events(self, name: str = "audit_finding") -> list[BotEvent]:
        return [one for one in self.news if isinstance(one, BotEvent) and one.name == name]

    def rules(self) -> set[str]:
        return {event.detail["rule"] for event in self.events()}
