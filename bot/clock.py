"""Domain time as an injected value: what the schedules, times to live and holds are measured in (ms UTC)."""

import enum
import heapq
import itertools
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

import anyio
from anyio.lowlevel import checkpoint

SECOND_MS = 1_000
MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000


class Turn(enum.IntEnum):
    """Who comes first in a replay among those that wait for the same moment."""

    ORDERS = enum.auto()
    EXITS = enum.auto()
    ACCOUNT = enum.auto()
    MARKET = enum.auto()
    VARIANTS = enum.auto()  # decide on what all others know by then
    AUDIT = enum.auto()


class Clock(Protocol):
    def now(self) -> int:
        """Milliseconds since the epoch, UTC."""
        ...

    async def sleep_until(self, at: int, turn: Turn = Turn.MARKET) -> None:
        """Return once `now() >= at`."""
        ...


class Stopwatch:
    """Real time since it was made, for figures about the machine; nothing is decided by it."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began


class SystemClock:
    """The machine's clock, moved by the measured offset to the venue's."""

    def __init__(self, offset_ms: int = 0) -> None:
        self.offset_ms = offset_ms

    def now(self) -> int:
        return time.time_ns() // 1_000_000 + self.offset_ms

    async def sleep_until(self, at: int, turn: Turn = Turn.MARKET) -> None:
        await checkpoint()
        while True:
            left = at - self.now()
            if left <= 0:
                return
            # The wall clock may be set while we sleep on the monotonic one, so look again within a minute.
            await anyio.sleep(min(left, MINUTE_MS) / SECOND_MS)


class ReplayClock:
    """A clock that stands still until the replay moves it.

    Sleepers are woken by `advance`, or, once `take_turns` was called, one by one by `wake_next`: the earliest time
    first, of one time by their turn, of one turn in the order in which they lay down.
    """

    def __init__(self, now: int = 0) -> None:
        self._now = now
        self._in_turns = False
        self._waiters: list[tuple[int, Turn, int, anyio.Event]] = []
        self._order = itertools.count()

    def now(self) -> int:
        return self._now

    async def sleep_until(self, at: int, turn: Turn = Turn.MARKET) -> None:
        if at <= self._now:
            await checkpoint()
            return
        woken = anyio.Event()
        waiter = (at, turn, next(self._order), woken)
        heapq.heappush(self._waiters, waiter)
        try:
            await woken.wait()
        finally:
            if not woken.is_set():
                self._waiters.remove(waiter)
                heapq.heapify(self._waiters)

    def advance(self, now: int) -> None:
        """Move to `now`, never back."""
        self._now = max(self._now, now)
        while not self._in_turns and self.wake_next():
            pass

    def take_turns(self) -> None:
        """From now on only `wake_next` wakes, so that who comes first at one moment does not depend on real time."""
        self._in_turns = True

    def wake_next(self) -> bool:
        """Wake the sleeper whose time has come and whose turn it is; False where there is none."""
        if not self._waiters or self._waiters[0][0] > self._now:
            return False
        heapq.heappop(self._waiters)[-1].set()
        return True

    def next_wake(self) -> int | None:
        """The earliest time somebody sleeps until; None when nobody sleeps."""
        return self._waiters[0][0] if self._waiters else None


class Alarm:
    """One deadline that may move: `run` calls `ring` each time the set time has come."""

    def __init__(self, clock: Clock, turn: Turn) -> None:
        self._clock = clock
        self._turn = turn
        self._at: int | None = None
        self._moved = anyio.Event()
        self._sleep = anyio.CancelScope()

    def set(self, at: int | None) -> None:
        """Move the deadline; None clears it."""
        if at != self._at:
            self._at = at
            self._moved.set()
            self._sleep.cancel()

    async def run(self, ring: Callable[[], Awaitable[None]]) -> None:
        while True:
            self._moved = anyio.Event()
            if self._at is None:
                await self._moved.wait()
            elif await self._reached(self._at):
                self._at = None
                await ring()

    async def _reached(self, at: int) -> bool:
        """True when the clock came to `at`, False when the deadline was moved, be it at that very moment."""
        moved = self._moved
        with anyio.CancelScope() as self._sleep:
            await self._clock.sleep_until(at, self._turn)
        return not moved.is_set()
