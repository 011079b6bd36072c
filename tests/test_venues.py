"""How a venue is opened and held."""

import time

import anyio
import pytest
import trio.testing

from bot.clock import SystemClock
from bot.errors import VenueUnavailable
from bot.exchange.sockets import BinanceMarket
from bot.venues import KEEP_TIME_SECONDS, keep_time


class ServerClock(BinanceMarket):
    """Ahead of this machine by `ahead_ms`; None: nobody answers."""

    def __init__(self) -> None:
        self.ahead_ms: int | None = None

    async def server_time(self) -> int:
        if self.ahead_ms is None:
            raise VenueUnavailable("away")
        return time.time_ns() // 1_000_000 + self.ahead_ms


@pytest.mark.anyio
@pytest.mark.parametrize(
    "anyio_backend", [("trio", {"clock": trio.testing.MockClock(autojump_threshold=0)})], ids=["trio"]
)
async def test_the_clock_follows_the_venues_when_this_machines_is_set() -> None:
    venue, clock = ServerClock(), SystemClock(offset_ms=7)
    async with anyio.create_task_group() as group:
        group.start_soon(keep_time, venue, clock)
        await anyio.sleep(KEEP_TIME_SECONDS + 10)
        assert clock.offset_ms == 7
        venue.ahead_ms = 90_000
        await anyio.sleep(KEEP_TIME_SECONDS + 10)
        assert abs(clock.offset_ms - 90_000) < 1_000
        group.cancel_scope.cancel()
