"""A day is lived through: processes come and go over one venue and one database, and are held to the invariants."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import msgspec
from anyio.abc import TaskGroup

from bot.clock import HOUR_MS, MINUTE_MS, SECOND_MS
from bot.config import GUARDS_OFF, GuardsTable
from bot.exchange.faults import Fault
from bot.strategy.cycle import next_cycle
from tests.simulation import scheduler
from tests.simulation.database import Tables
from tests.simulation.day import START, Day, Outage
from tests.simulation.exchange import Exchange
from tests.simulation.invariants import (
    CHANGE_MS,
    SETTLED_MS,
    START_MS,
    Broken,
    CallWatch,
    CoverWatch,
    counts,
    next_change,
    settled,
    standing,
)
from tests.simulation.life import Crash, Life
from tests.simulation.process import Process, make_variants
from tests.simulation.trace import Trace

BUSY_MS = 10 * MINUTE_MS  # that messages may wait for, with nothing wrong
CALM_MS = 15 * SECOND_MS  # after the venue's last change everything of it is known
EVENING_SECONDS = 300
RESTARTS_MS = 4 * MINUTE_MS  # that the two starts in the evening take
RESTART_SECONDS = 5
MOST_STARTS = 40
MOST_BROKEN = 5


class Lived(msgspec.Struct, kw_only=True):
    """What came of a day."""

    seed: int
    broken: list[Broken] = []
    fired: Counter[str] = msgspec.field(default_factory=Counter)
    deaths: int = 0
    starts: int = 0
    signals: int = 0
    entries: int = 0
    fills: int = 0
    calls: int = 0
    naked_ms: int = 0
    longest_ms: int = 0
    digest: int = 0
    cpu_seconds: float = 0.0
    events: Counter[str] = msgspec.field(default_factory=Counter)


class World:
    def __init__(self, day: Day, trace: Trace, folder: Path) -> None:
        self.day, self.trace, self.folder = day, trace, folder
        self.clock = scheduler.VirtualClock(START)
        self.exchange = Exchange(
            day.symbols, day.seed, self.clock, trace, day.faults,
            start=START, profile=day.profile, settings=day.settings, still=day.still,
        )  # fmt: skip
        self.tables = Tables()
        self.calls = CallWatch(self.exchange, self.tables, self.fail)
        self.cover = CoverWatch(self.exchange, day.orders, self.fail)
        self.lived = Lived(seed=day.seed)
        self.process: Process | None = None
        self._settled_ms = SETTLED_MS + day.orders.check_seconds * SECOND_MS
        self.disturbed_until = START + self._settled_ms
        self.over = anyio.Event()
        self._variants = make_variants(day.variants)
        self._crashes = iter(day.crashes)
        self._quiet_at = self._changed_at = START
        self._dusk = self._evening = False  # there are no more faults; all was settled then
        self._settled_state = (0, 0)
        self.exchange.on_change = self._look
        self.exchange.before_step = self._check
        self.exchange.on_fault = self._on_fault

    def fail(self, rule: str, words: str) -> None:
        broken = Broken(self.clock.now(), rule, words)
        self.trace.note(broken.at, "BROKEN", broken)
        self.lived.broken.append(broken)
        if len(self.lived.broken) >= MOST_BROKEN:
            self.over.set()

    async def live(self) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self.exchange.happen)
            group.start_soon(self.exchange.go_late)
            for outage in self.day.outages:
                group.start_soon(self._lose_database, outage)
            async with anyio.create_task_group() as life:
                life.start_soon(self._keep_alive, group, life)
                life.start_soon(self._end_early, life)
                await self.exchange.run(START + round(self.day.hours * HOUR_MS))
                await self._evening_comes(group)
                life.cancel_scope.cancel()
            group.cancel_scope.cancel()
        self._sum_up()

    async def _end_early(self, life: TaskGroup) -> None:
        await self.over.wait()
        life.cancel_scope.cancel()

    async def _lose_database(self, outage: Outage) -> None:
        await anyio.sleep(outage.at_seconds)
        if self._dusk:  # the day was shorter
            return
        self.trace.note(self.clock.now(), "FAULT", f"the database is away for {outage.seconds:.0f} s")
        self.lived.fired["database away"] += 1
        self.tables.away = True
        self._disturb(self.clock.now() + round(outage.seconds * SECOND_MS) + self._settled_ms)
        await anyio.sleep(outage.seconds)
        self.tables.away = False

    # -- processes

    async def _keep_alive(self, network: TaskGroup, life: TaskGroup) -> None:
        """The supervisor outside: whoever dies is started again."""
        while not self._evening:
            crash = next(self._crashes, None)
            process = self.start(network, crash)
            await process.run()
            if self._evening:
                return
            self._note_end(process)
            if process.failure is not None or self.lived.starts > MOST_STARTS:
                life.cancel_scope.cancel()
                return
            died = process.ended == "died" and crash is not None
            await anyio.sleep(crash.outage_seconds if died and crash is not None else RESTART_SECONDS)

    def start(self, network: TaskGroup, crash: Crash | None = None) -> Process:
        self.lived.starts += 1
        now = self.clock.now()
        self.trace.note(now, "process", f"{self.lived.starts} starts")
        life = Life(self.lived.starts, crash, lambda text: self.trace.note(self.clock.now(), "CRASH", text))
        self.process = Process(
            self.exchange, self.tables, life, self.calls, network,
            variants=self._variants, guards=GuardsTable() if self.day.guarded else GUARDS_OFF,
            orders=self.day.orders, seed=self.day.seed, folder=self.folder,
        )  # fmt: skip
        self.cover.nobody_there = False
        self.cover.excuse(now + START_MS)
        self._disturb(now + self._settled_ms)
        return self.process

    def _note_end(self, process: Process) -> None:
        now = self.clock.now()
        self.trace.note(now, "process", f"{process.life.number} {process.ended}")
        self.lived.deaths += process.ended == "died"
        self.lived.fired[f"process {process.ended}"] += 1
        if process.ended == "stopped":
            self.cover.must_be_whole()
        self.cover.nobody_there = True
        if process.failure is not None:
            self.fail("process_goes_on", _cause(process.failure))

    # -- watching

    def _on_fault(self, fault: Fault) -> None:
        now = self.clock.now()
        self.lived.fired[str(fault.kind)] += 1
        self.cover.on_fault(fault, now)
        self._disturb(now + fault.milliseconds() + self._settled_ms)

    def _disturb(self, until: int) -> None:
        self.disturbed_until = max(self.disturbed_until, until)

    def _look(self) -> None:
        self._changed_at = self.clock.now()
        self.cover.look()
        for rule, words in counts(self.exchange):
            self.fail(rule, words)

    def _check(self) -> None:
        """Before each price, when all that the one before it brought has been dealt with."""
        self.cover.look()
        self._check_settled()

    def _check_settled(self) -> None:
        process, now = self.process, self.clock.now()
        if self.calls.closed_until > now:
            self.cover.excuse(self.calls.closed_until + 5 * SECOND_MS)
            self._disturb(self.calls.closed_until + self._settled_ms)
        if process is None or process.session is None or not process.started.is_set() or process.life.dead:
            self._quiet_at = now
            return
        if process.session.activity.quiet:
            self._quiet_at = now
            if now >= self.disturbed_until and now - self._changed_at >= CALM_MS:
                self._must_be_settled("")
        elif now - self._quiet_at > BUSY_MS and now >= self.disturbed_until:
            self.fail("quiet_in_the_end", f"messages have waited for {(now - self._quiet_at) // 1_000} s")
            self._quiet_at = now

    def _must_be_settled(self, when: str) -> None:
        state = (self.exchange.changes, self.tables.version)
        if state == self._settled_state and not when:
            return
        self._settled_state = state
        for rule, words in settled(self.exchange, self.tables):
            self.fail(rule, when + words)

    # -- the evening

    async def _evening_comes(self, network: TaskGroup) -> None:
        """Faults and prices stop; after a while all is settled, and starting again changes nothing, twice."""
        self._dusk = True
        self.exchange.plan.clear()
        self._crashes = iter(())
        if self.process is not None:
            self.process.life.spare()
        self.trace.note(self.clock.now(), "world", "the evening: no more faults, no more prices")
        deadline = max(self.disturbed_until, self.calls.closed_until + self._settled_ms)
        await self.clock.sleep_until(max(deadline, self.clock.now() + EVENING_SECONDS * SECOND_MS))
        await self._up()
        if self.process is None or self.process.life.dead:
            self.fail("process_goes_on", "no process is up in the evening")
            return
        while (change := self._next_change()) is not None:
            await self.clock.sleep_until(change + CHANGE_MS)
        self._must_be_settled("in the evening: ")
        self._evening = True
        before = standing(self.exchange, self.tables)
        await self._stop()
        for again in ("once", "twice"):
            process = self.start(network)
            network.start_soon(process.run)
            await anyio.sleep(60)
            if process.failure is not None or not process.started.is_set():
                self.fail("process_goes_on", f"started {again}: {process.failure and _cause(process.failure)}")
                return
            await self._stop()
            self._must_be_settled(f"started {again}: ")
            for name, was in before.items():
                if (found := standing(self.exchange, self.tables)[name]) != was:
                    self.fail("a_restart_changes_nothing", f"started {again}: {name} {_difference(was, found)}")

    def _next_change(self) -> int | None:
        """When time alone changes something soon, or just did: it ends an entry or a position, or a cycle opens one."""
        now = self.clock.now()
        change = next_change(self.tables, now, 2 * EVENING_SECONDS * SECOND_MS)
        cycle = min(next_cycle(variant.minutes, now - CHANGE_MS) for variant in self._variants)
        return change if change is not None or cycle >= now + RESTARTS_MS else cycle

    async def _up(self) -> None:
        """Wait for a process that has started; whoever dies of an earlier call is back within seconds."""
        with anyio.move_on_after(3_600):
            while not self._is_up():  # noqa: ASYNC110  # processes come and go, and the time is virtual
                await anyio.sleep(1)
            await anyio.sleep(self._settled_ms / 1_000)

    def _is_up(self) -> bool:
        return self.process is not None and self.process.started.is_set() and not self.process.over.is_set()

    async def _stop(self) -> None:
        assert self.process is not None
        self.process.stop.set()
        with anyio.move_on_after(60):
            await self.process.over.wait()
        if self.process.ended != "stopped":
            failure = self.process.failure
            self.fail("process_goes_on", f"asked to stop: {failure and _cause(failure) or self.process.ended}")

    def _sum_up(self) -> None:
        lived, engine = self.lived, self.exchange.engine
        lived.signals = len(self.tables.signals)
        lived.entries = sum(1 for p in self.tables.positions.values() if p.filled > 0)
        lived.fills, lived.calls = len(engine.fills), self.calls.calls
        lived.naked_ms, lived.longest_ms = self.cover.naked_ms, self.cover.longest_ms
        lived.digest = self.trace.digest
        lived.events = self.tables.events


def live(day: Day, *, trace: bool = False, keep: int = 0) -> World:
    """One day, from its first start to its last stop, and what is left of it."""
    with _folder() as folder:
        worlds: list[World] = []

        async def run() -> None:
            worlds.append(World(day, Trace(live=trace, keep=keep), folder))
            await worlds[0].live()

        scheduler.run(day.seed, run)
    return worlds[0]


@contextmanager
def _folder() -> Iterator[Path]:
    memory = Path("/dev/shm")
    folder = tempfile.mkdtemp(prefix="simulation-", dir=memory if memory.is_dir() else None)
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _cause(failure: BaseException) -> str:
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    trace, place = failure.__traceback__, ""
    while trace is not None:
        code = trace.tb_frame.f_code
        if "/bot/" in code.co_filename:
            place = f"{code.co_filename.split('/bot/')[1]}:{trace.tb_lineno} {code.co_name}"
        trace = trace.tb_next
    return f"{type(failure).__name__}: {failure} (in {place})"


def _difference(was: object, found: object) -> str:
    if isinstance(was, dict) and isinstance(found, dict):
        keys = [key for key in {**was, **found} if was.get(key) != found.get(key)]
        return ", ".join(f"{key}: {was.get(key)} -> {found.get(key)}" for key in keys[:3])
    return f"{was} -> {found}"
