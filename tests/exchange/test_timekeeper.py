"""Our clock held to a venue's that is ahead, jumps, or does not answer."""

import time

import anyio
import pytest
import trio.testing

from bot.clock import SystemClock
from bot.errors import VenueUnavailable
from bot.exchange.port import MarketPort
from bot.exchange.timekeeper import KEEP_TIME_SECONDS, Timekeeper
from bot.messages import BotEvent

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize(
        "anyio_backend", [("trio", {"clock": trio.testing.MockClock(autojump_threshold=0)})], ids=["trio"]
    ),
]


class ServerClock(MarketPort):
    """Ahead of this machine by `ahead_ms`; None: nobody answers."""

    def __init__(self) -> None:
        self.ahead_ms: int | None = 90_000
        self.asked = 0

    async def server_time(self) -> int:
        self.asked += 1
        if self.ahead_ms is None:
            raise VenueUnavailable("away")
        return time.time_ns() // 1_000_000 + self.ahead_ms


class Kept:
    def __init__(self) -> None:
        self.venue = ServerClock()
        self.clock = SystemClock()
        self.events: list[BotEvent] = []
        self.measured: list[int] = []
        self.keeper = Timekeeper(self.venue, self.clock, self.events.append, self._hear)

    def _hear(self, offset_ms: int, at: int) -> None:
        assert abs(at - self.clock.now()) < 1_000
        self.measured.append(offset_ms)

    def names(self) -> list[str]:
        return [event.name for event in self.events]


def near(one: int, other: int) -> bool:
    return abs(one - other) < 500


async def test_the_clock_follows_the_venues_when_this_machines_is_set() -> None:
    kept = Kept()
    await kept.keeper.begin()
    assert near(kept.clock.offset_ms, 90_000)
    async with anyio.create_task_group() as group:
        group.start_soon(kept.keeper.run)
        await anyio.sleep(KEEP_TIME_SECONDS + 10)
        assert near(kept.clock.offset_ms, 90_000), "an offset that is right is measured as such again"
        assert kept.names() == []
        kept.venue.ahead_ms = 20_000
        await anyio.sleep(KEEP_TIME_SECONDS + 10)
        assert near(kept.clock.offset_ms, 20_000)
        assert kept.names() == ["clock_jumped"]
        group.cancel_scope.cancel()
    assert len(kept.measured) == 3


async def test_a_venue_that_does_not_tell_its_time_leaves_the_clock_as_it_was() -> None:
    kept = Kept()
    await kept.keeper.begin()
    kept.venue.ahead_ms = None
    assert not await kept.keeper.resync()
    assert near(kept.clock.offset_ms, 90_000)
    assert kept.names() == ["clock_unmeasured"]
    with pytest.raises(VenueUnavailable):
        await kept.keeper.begin()


async def test_a_resync_asks_once_and_sets_the_clock_at_once() -> None:
    kept = Kept()
    asked = kept.venue.asked
    assert await kept.keeper.resync()
    assert kept.venue.asked == asked + 1
    assert near(kept.clock.offset_ms, 90_000)
