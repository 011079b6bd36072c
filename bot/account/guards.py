"""The account guards' actor: equity and closed trades in, the guards' state out. The rules are `strategy.guards`."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Protocol

import anyio
import msgspec
from anyio.abc import TaskStatus

from bot.clock import MINUTE_MS, SECOND_MS, Alarm, Clock, Turn
from bot.errors import OutcomeUnknown, VenueRejected, VenueUnavailable
from bot.exchange.port import TradingPort
from bot.messages import BotEvent, GuardsChanged, GuardTrip, PositionChanged, PositionStatus, Severity
from bot.metrics import Metrics
from bot.strategy import guards
from bot.strategy.guards import Glance, GuardRules, Reading, Track
from bot.streams import Stream
from bot.venue import Worth

PAIR_MS = 2 * SECOND_MS  # between the two readings that must agree
RETRY_MS = 10 * SECOND_MS  # after readings that disagree, or an answer that did not come
OVERLAP_MS = 10 * MINUTE_MS  # a transfer may be told so much later than it was made


class TimeCame(msgspec.Struct, frozen=True):
    """A reading is due, a guard's time is over, or a person may have released one."""


GuardsMessage = PositionChanged | TimeCame
GuardsNews = GuardsChanged | BotEvent


class GuardStore(Protocol):
    """Where the guards' memory is kept, and where a person's releases are found."""

    async def load(self) -> Track | None: ...

    async def save(self, track: Track, taken: Sequence[int] = ()) -> None:
        """Keep the track and mark the releases `taken` (ids) as done, in one transaction."""
        ...

    async def releases(self) -> Sequence[tuple[int, str]]:
        """(id, guard) of the releases that are not taken, oldest first."""
        ...

    async def results(self, since: int, limit: int) -> Sequence[Decimal]:
        """Net results of the trades that closed after `since`, newest first."""
        ...


class AccountGuards:
    """Owns the guards' memory. What changes is committed before it is told; `publish` never blocks.

    `ledger` is the wallet by the bot's own books, of which a transfer is told apart from a profit.
    """

    def __init__(
        self,
        rules: GuardRules,
        every_ms: int,
        inbox: Stream[GuardsMessage],
        port: TradingPort,
        store: GuardStore,
        ledger: Callable[[], Decimal],
        clock: Clock,
        publish: Callable[[GuardsNews], None],
        metrics: Metrics,
    ) -> None:
        self._rules = rules
        self._every_ms = every_ms
        self._inbox = inbox
        self._port = port
        self._store = store
        self._ledger = ledger
        self._clock = clock
        self._publish = publish
        self._metrics = metrics
        self._alarm = Alarm(clock, Turn.ACCOUNT)
        self._track = Track()
        self._first: Glance | None = None  # of a pair
        self._began_at = clock.now()
        self._read_at = self._began_at
        self._unreadable_told = False
        self._unknown_told = False

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        now = self._clock.now()
        known = await self._store.load()
        self._track = guards.begin(now) if known is None else known
        await self._become(await self._counted(guards.pass_time(guards.adopt(self._track, self._rules), now), now))
        self._tell_state()
        async with anyio.create_task_group() as group:
            group.start_soon(self._alarm.run, self._ring)
            self._alarm.set(self._next_due())
            task_status.started()
            async for message in self._inbox:
                await self._handle(message)
                self._alarm.set(self._next_due())

    async def _ring(self) -> None:
        self._inbox.send_nowait(TimeCame())

    async def _handle(self, message: GuardsMessage) -> None:
        now = self._clock.now()
        match message:
            case PositionChanged(position):
                if position.status is PositionStatus.CLOSED and position.filled > 0:
                    await self._become(await self._counted(guards.pass_time(self._track, now), now))
            case TimeCame():
                await self._become(guards.pass_time(self._track, now))
                await self._take_releases(now)
                if self._rules.need_equity and now >= self._read_at:
                    await self._read(now)
                self._tell_whether_known(now)

    def _next_due(self) -> int | None:
        times = [trip.until for trip in self._track.tripped if trip.until is not None]
        if self._track.tripped:  # a person may release one
            times.append((self._clock.now() // MINUTE_MS + 1) * MINUTE_MS)
        if self._rules.need_equity:
            times.append(self._read_at)
        return min(times, default=None)

    async def _counted(self, track: Track, now: int) -> Track:
        if not self._rules.streak:
            return track
        results = await self._store.results(track.losses_since, self._rules.streak)
        return guards.count_losses(track, results, self._rules, now)

    async def _take_releases(self, now: int) -> None:
        if not self._track.tripped:
            return
        asked = await self._store.releases()
        track = self._track
        for _, name in asked:
            track = guards.release(track, name, now)
        if asked:
            await self._become(track, [release_id for release_id, _ in asked])

    # -- equity

    async def _read(self, now: int) -> None:
        """The first reading of a pair, or the second; only two that agree are taken."""
        first, self._first = self._first, None
        try:
            worth = await self._port.worth()
            if first is None:
                self._first, self._read_at = Glance(now, worth.equity), now + PAIR_MS
                return
            await self._take(first, await self._reading(now, worth))
        except (VenueUnavailable, VenueRejected, OutcomeUnknown) as error:
            if not self._unreadable_told:
                self._tell("equity_unreadable", Severity.WARNING, error=str(error))
            self._read_at, self._unreadable_told = now + RETRY_MS, True

    async def _reading(self, now: int, worth: Worth) -> Reading:
        since = now if self._track.reading is None else self._track.reading.at
        transfers = await self._port.transfers(since - OVERLAP_MS)
        ledger = self._ledger()
        return Reading(at=now, equity=worth.equity, wallet=worth.wallet, ledger=ledger, transfers=tuple(transfers))

    async def _take(self, first: Glance, reading: Reading) -> None:
        track = self._track
        if guards.agree(first, reading, self._rules):
            track = guards.take(track, reading, self._rules)
        if track.doubt_since is not None and self._track.doubt_since is None:
            self._tell("equity_unexplained", Severity.WARNING, wallet=reading.wallet, ledger=reading.ledger)
        taken = track.reading is reading
        self._read_at = (reading.at // self._every_ms + 1) * self._every_ms if taken else reading.at + RETRY_MS
        self._unreadable_told = False
        await self._become(track)

    def _tell_whether_known(self, now: int) -> None:
        state = guards.state_of(self._track, self._rules)
        since = self._began_at if state.equity_at is None else state.equity_at
        unknown = state.unknown_after_ms is not None and now - since > state.unknown_after_ms
        if unknown and not self._unknown_told:
            self._tell("equity_unknown", Severity.ERROR, last_known_at=state.equity_at)
        elif self._unknown_told and not unknown:
            self._tell("equity_known")
        self._unknown_told = unknown

    # -- telling

    async def _become(self, track: Track, taken: Sequence[int] = ()) -> None:
        """Commit what changed, then say it."""
        before, self._track = self._track, track
        if track == before and not taken:
            return
        await self._store.save(track, taken)
        was, is_now = {trip.guard for trip in before.tripped}, {trip.guard for trip in track.tripped}
        for trip in track.tripped:
            if trip.guard not in was:
                self._tell("guard_tripped", Severity.ERROR, **_facts(trip))
        for trip in before.tripped:
            if trip.guard not in is_now:
                self._tell("guard_released", Severity.WARNING, guard=trip.guard, by="a person" if taken else "time")
        self._tell_state()

    def _tell_state(self) -> None:
        tripped = {trip.guard for trip in self._track.tripped}
        for guard in self._rules.guards:
            self._metrics.guard_tripped.labels(guard.name).set(guard.name in tripped)
        if self._track.reading is not None:
            self._metrics.equity.set(float(self._track.reading.equity))
            self._metrics.equity_read_at.set(self._track.reading.at / SECOND_MS)
        self._publish(GuardsChanged(guards.state_of(self._track, self._rules)))

    def _tell(self, name: str, severity: Severity = Severity.INFO, **detail: object) -> None:
        self._publish(BotEvent(at=self._clock.now(), name=name, severity=severity, detail=detail))


def _facts(trip: GuardTrip) -> dict[str, object]:
    return {"guard": trip.guard, "value": round(trip.value, 3), "limit": trip.limit, "until_at": trip.until}
