"""The auditor: follows refused signals to what would have been their end, and holds each day's log against itself.

It reads the journal and the venue's bars, and writes outcomes and events; nobody waits for it.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol

import anyio
import anyio.to_thread
import msgspec
from anyio.abc import TaskStatus
from anyio.lowlevel import checkpoint

from bot.clock import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Alarm, Clock, Turn
from bot.errors import VenueError
from bot.messages import Bars, BotEvent, Position, Severity, Signal, SignalOutcome
from bot.strategy.audit import Expectations, Expected, Finding, Returns, findings, ordered
from bot.strategy.counterfactual import Pursuit, pursue, pursuit_of
from bot.strategy.drift import Drift, drift, drifted
from bot.strategy.exit_review import Missed, missed_exit, review
from bot.strategy.follow import Costs
from bot.strategy.tally import Tally
from bot.streams import Stream

ROUND_MS = 6 * HOUR_MS  # between two rounds over the refused signals
OFFSET_MS = 5 * MINUTE_MS + 30 * SECOND_MS  # after the hour: no cycle and no played price falls on it
SETTLED_MS = HOUR_MS  # after its last moment a signal's last bar, be it of an hour, has closed
FOLLOWED_MS = 14 * DAY_MS  # older signals that nobody could follow are let go
LATE_RETURN_MS = 2 * HOUR_MS  # a return may be known so long after its horizon
FINDING, DONE, NO_PATH = "audit_finding", "audit_done", "paths_not_fetched"


class RoundDue(msgspec.Struct, frozen=True):
    """Refused signals may have come to their end; past midnight the day before is audited."""


class MarketEnded(msgspec.Struct, frozen=True):
    """A replay is over: audit what is left, then set `done`."""

    done: anyio.Event


AuditMessage = RoundDue | MarketEnded
AuditNews = SignalOutcome | BotEvent
DayCheck = Callable[[int, int], Awaitable[BotEvent]]  # since, until: what is to be told of that time
Fetch = Callable[[str, int, int], Awaitable[Bars]]


class AuditStore(Protocol):
    """The journal as the audit reads it; times are from the first on, before the second."""

    def signals(self, since: int, until: int) -> AsyncIterator[list[Signal]]: ...

    def to_follow(self, since: int, until: int) -> AsyncIterator[list[Signal]]: ...

    async def returns(self, since: int, until: int) -> Sequence[Returns]: ...

    async def held_positions(self, since: int, until: int) -> Sequence[Position]: ...

    async def fired(self, since: int, until: int) -> Mapping[tuple[str, str], int]: ...

    async def expectations(self) -> Expectations | None: ...

    async def expect(self, expectations: Expectations) -> None: ...


class Paths(Protocol):
    """Recorded bars. Each raises VenueError."""

    async def hours(self, symbol: str, start: int, end: int) -> Bars:
        """Hourly bars with start <= open_time < end."""
        ...

    async def finest(self, symbol: str, start: int, end: int) -> Bars:
        """The finest bars there are, from the one that holds `start` on."""
        ...


class Auditor:
    """`publish` never blocks. What it writes follows from the journal and the bars alone, so that equal replays leave
    equal rows."""

    def __init__(
        self,
        expectations: Expectations,
        days: int,
        costs: Costs,
        inbox: Stream[AuditMessage],
        clock: Clock,
        store: AuditStore,
        paths: Paths,
        publish: Callable[[AuditNews], None],
        parity: DayCheck | None = None,
    ) -> None:
        self._expectations = expectations
        self._days = days
        self._costs = costs
        self._inbox = inbox
        self._clock = clock
        self._store = store
        self._paths = paths
        self._publish = publish
        self._parity = parity
        self._alarm = Alarm(clock, Turn.AUDIT)
        self._thread = anyio.CapacityLimiter(1)
        self._tallies: dict[tuple[int, int], Tally] = {}  # by the time they count

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        left = await self._store.expectations()
        if left is not None:
            self._expectations = msgspec.structs.replace(self._expectations, audited_until=left.audit_from)
        await self._store.expect(self._expectations)
        async with anyio.create_task_group() as group:
            group.start_soon(self._alarm.run, self._ring)
            self._alarm.set(self._next_round())
            task_status.started()
            async for message in self._inbox:
                await self._handle(message)
                self._alarm.set(self._next_round())

    async def _ring(self) -> None:
        self._inbox.send_nowait(RoundDue())

    def _next_round(self) -> int:
        now = self._clock.now() - OFFSET_MS
        return (now // ROUND_MS + 1) * ROUND_MS + OFFSET_MS

    async def _handle(self, message: AuditMessage) -> None:
        now = self._clock.now()
        await self._follow_refused(now)
        match message:
            case RoundDue():
                midnight = now - now % DAY_MS
                if self._audited_until(midnight) < midnight:
                    await self._audit(max(midnight - DAY_MS, self._audited_until(midnight)), midnight)
            case MarketEnded(done):
                begin = self._audited_until(now)
                if begin < now:
                    await self._audit(begin, now)
                done.set()

    def _audited_until(self, until: int) -> int:
        """Where the next audit, up to `until`, begins: at the last one's end, or the days that are looked at ago."""
        return max(self._expectations.audit_from, until - self._days * DAY_MS)

    # -- refused signals

    async def _follow_refused(self, now: int) -> None:
        by_symbol: defaultdict[str, list[Pursuit]] = defaultdict(list)
        async for page in self._store.to_follow(now - FOLLOWED_MS, now):
            for pursuit in map(pursuit_of, page):
                if pursuit is not None and pursuit.due_at + SETTLED_MS <= now:
                    by_symbol[pursuit.signal.symbol].append(pursuit)
        for symbol, pursuits in by_symbol.items():
            start = min(pursuit.trial.from_at for pursuit in pursuits)
            path = await self._bars(self._paths.finest, symbol, start, now)
            if path is None:
                continue
            followed = [pursue(pursuit, path, self._costs) for pursuit in pursuits]
            for outcome in followed:
                if outcome is not None:
                    self._publish(outcome)
            await checkpoint()

    # -- the day

    async def _audit(self, since: int, until: int) -> None:
        expected = Expected(
            symbols=self._expectations.symbols, since=since, until=until, up_since=self._expectations.up_since
        )
        window = until - self._days * DAY_MS
        tally = await self._tally(window, since, until)
        known_by = until - self._expectations.horizon_ms - LATE_RETURN_MS
        returns = await self._store.returns(since - DAY_MS, known_by)
        exits = review(await self._missed(since, until), await self._store.fired(window, until))
        differing = drifted(await self._drifted(tally.newest.values()))
        found = ordered([*findings(tally, expected, returns), *exits, *differing])
        for finding in found:
            self._publish(event_of(finding, self._clock.now()))
        self._publish(_done(found, since, until, self._clock.now()))
        if self._parity is not None:
            self._publish(await self._parity(since, until))
        self._expectations = msgspec.structs.replace(self._expectations, audited_until=until)
        await self._store.expect(self._expectations)

    async def _tally(self, window: int, since: int, until: int) -> Tally:
        """Of all rows from `window` on; those before `since` are counted once in a process."""
        self._tallies = {span: tally for span, tally in self._tallies.items() if span[0] >= window}
        begin = min((span[0] for span in self._tallies), default=since)
        if not self._tallies and window < since:
            self._tallies[window, begin] = await self._count(window, begin)
        self._tallies[since, until] = await self._count(since, until)
        return Tally.merged(self._tallies.values())

    async def _count(self, since: int, until: int) -> Tally:
        tally = Tally()
        async for page in self._store.signals(since, until):
            await anyio.to_thread.run_sync(tally.update, page, limiter=self._thread)
        return tally

    async def _missed(self, since: int, until: int) -> list[Missed]:
        by_symbol: defaultdict[str, list[Position]] = defaultdict(list)
        for position in await self._store.held_positions(since, until):
            by_symbol[position.symbol].append(position)
        missed: list[Missed] = []
        for symbol, positions in by_symbol.items():
            start = min(one.opened_at or one.created_at for one in positions)
            path = await self._bars(self._paths.finest, symbol, start, until)
            if path is not None:
                missed += [found for one in positions if (found := missed_exit(one, path, until)) is not None]
        return missed

    async def _drifted(self, newest: Iterable[Signal]) -> list[Drift]:
        """The newest row of each variant and symbol, held against the venue's hourly bars."""
        by_symbol: defaultdict[str, list[Signal]] = defaultdict(list)
        for signal in newest:
            if signal.bar_close_at is not None:
                by_symbol[signal.symbol].append(signal)
        found: list[Drift] = []
        context = self._expectations.context
        for symbol, signals in by_symbol.items():
            closes = [signal.bar_close_at for signal in signals if signal.bar_close_at is not None]
            bars = await self._bars(self._paths.hours, symbol, min(closes) - context * HOUR_MS, max(closes))
            if bars is not None:
                found += [one for signal in signals if (one := drift(signal, bars, context)) is not None]
        return found

    async def _bars(self, fetch: Fetch, symbol: str, start: int, end: int) -> Bars | None:
        try:
            return await fetch(symbol, start, end)
        except VenueError as error:
            detail = {"symbol": symbol, "reason": str(error)}
            self._publish(BotEvent(at=self._clock.now(), name=NO_PATH, severity=Severity.WARNING, detail=detail))
            return None


def event_of(finding: Finding, at: int) -> BotEvent:
    detail = {"rule": finding.rule, "subject": finding.subject, "words": finding.words, **finding.detail}
    return BotEvent(at=at, name=FINDING, severity=finding.severity, detail=detail)


def _done(found: Sequence[Finding], since: int, until: int, at: int) -> BotEvent:
    counts = {str(severity): sum(one.severity is severity for one in found) for severity in Severity}
    return BotEvent(at=at, name=DONE, detail={"since_at": since, "until_at": until, **counts})
