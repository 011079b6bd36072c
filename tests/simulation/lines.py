"""A stream connection in virtual time: frames arrive when they are due, until it is cut."""

import heapq
import itertools
from typing import Generic, TypeVar

import anyio

from bot.errors import VenueUnavailable
from tests.simulation.scheduler import VirtualClock

T = TypeVar("T")


class Line(Generic[T]):
    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._frames: list[tuple[int, int, T | str]] = []
        self._order = itertools.count()
        self._changed = anyio.Event()
        self._deaf_until = 0
        self.last_at = 0  # frames of one connection keep their order
        self.held: T | None = None  # comes after the next one

    def push(self, at: int, frame: T) -> None:
        if self._clock.now() < self._deaf_until:
            return
        heapq.heappush(self._frames, (at, next(self._order), frame))
        self._changed.set()

    def cut(self, at: int, reason: str) -> None:
        heapq.heappush(self._frames, (at, next(self._order), reason))
        self._changed.set()

    def fall_silent(self, until: int) -> None:
        """Frames until then never come."""
        self._deaf_until = max(self._deaf_until, until)
        self._frames = [entry for entry in self._frames if isinstance(entry[2], str)]
        heapq.heapify(self._frames)

    async def receive(self) -> T:
        """The next frame; VenueUnavailable once the connection is cut."""
        while True:
            left = self._frames[0][0] - self._clock.now() if self._frames else None
            if left is not None and left <= 0:
                frame = heapq.heappop(self._frames)[2]
                if isinstance(frame, str):
                    raise VenueUnavailable(frame)
                return frame
            self._changed = anyio.Event()
            if left is None:
                await self._changed.wait()
            else:
                with anyio.move_on_after(left / 1_000):
                    await self._changed.wait()
