"""Bounded streams between actors: each has a capacity and an overflow rule; together they know when all is quiet."""

import enum
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Hashable
from typing import Generic, TypeVar

import anyio
from anyio.lowlevel import checkpoint

from bot.errors import StreamOverflow

T = TypeVar("T")


class Overflow(enum.StrEnum):
    """What a full stream does with one message more."""

    BLOCK = "block"  # the sender waits
    REPLACE = "replace"  # the newest message of a key takes the place of the older one
    HALT = "halt"  # raises StreamOverflow: the process ends and reconciles on its next start


class Activity:
    """Counts messages that are queued or being worked on. Quiet means none."""

    def __init__(self) -> None:
        self._count = 0
        self._begun = 0  # in all
        self._quiet = anyio.Event()
        self._quiet.set()

    @property
    def quiet(self) -> bool:
        return self._count == 0

    def begin(self, count: int = 1) -> None:
        if self._count == 0:
            self._quiet = anyio.Event()
        self._count += count
        self._begun += count

    def end(self, count: int = 1) -> None:
        self._count -= count
        if self._count == 0:
            self._quiet.set()

    async def wait_quiet(self) -> None:
        """Return at a moment that is quiet, not merely after one that was."""
        await checkpoint()
        while self._count:
            await self._quiet.wait()

    async def settle(self, turns: int) -> None:
        """Return once all has been quiet for so many turns of the event loop, one after the other.

        An actor that has just ended its work may still have an alarm to move; only turns after that end give it time.
        """
        left = turns
        while left:
            undisturbed, begun = self.quiet, self._begun
            await self.wait_quiet()
            left = left - 1 if undisturbed and begun == self._begun else turns


class Stream(Generic[T]):
    """Many senders, one receiver. A message counts as work until its receiver asks for the next one."""

    def __init__(
        self,
        name: str,
        capacity: int,
        overflow: Overflow,
        activity: Activity,
        key: Callable[[T], Hashable] | None = None,
    ) -> None:
        if (overflow is Overflow.REPLACE) != (key is not None):
            raise ValueError(f"stream {name}: a key belongs to the overflow rule 'replace', and only to it")
        if capacity < 1:
            raise ValueError(f"stream {name}: a capacity below 1 can never take a message")
        self.name = name
        self.capacity = capacity
        self.overflow = overflow
        self.replaced = 0  # messages that a newer one of their key took the place of
        self._activity = activity
        self._key = key
        self._items: OrderedDict[Hashable, T] = OrderedDict()
        self._serial = 0
        self._working = 0
        self._not_empty = anyio.Event()
        self._not_full = anyio.Event()

    def __len__(self) -> int:
        return len(self._items)

    async def send(self, item: T) -> None:
        """Queue `item`; with the rule 'block' wait for room first."""
        await checkpoint()
        while self.overflow is Overflow.BLOCK and len(self._items) >= self.capacity:
            if self._not_full.is_set():  # else other senders wait on it already
                self._not_full = anyio.Event()
            await self._not_full.wait()
        self.send_nowait(item)

    def send_nowait(self, item: T) -> None:
        """Queue `item` at once; raises StreamOverflow where the stream is full and may not replace."""
        key: Hashable
        if self._key is None:
            self._serial += 1
            key = self._serial
        else:
            key = self._key(item)
        if key in self._items:
            self.replaced += 1
            self._items[key] = item
            return
        if len(self._items) >= self.capacity:
            raise StreamOverflow(f"stream {self.name} is full ({self.capacity})")
        self._items[key] = item
        self._activity.begin()
        self._not_empty.set()

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        self.done()
        await checkpoint()
        while not self._items:
            self._not_empty = anyio.Event()
            await self._not_empty.wait()
        _, item = self._items.popitem(last=False)
        self._working += 1
        self._not_full.set()
        return item

    def done(self) -> None:
        """Say that all received messages have been worked on (asking for the next one says so too)."""
        if self._working:
            self._activity.end(self._working)
            self._working = 0

    def receive_waiting(self) -> list[T]:
        """Take everything that waits now, without waiting; for receivers that work in batches."""
        items = list(self._items.values())
        self._working += len(items)
        self._items.clear()
        self._not_full.set()
        return items
