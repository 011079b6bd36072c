"""The venue's countdown for resting entries: armed while one rests, renewed while we live, cleared after."""

import pytest

from bot.messages import ExitIntent
from tests.orders.world import World

pytestmark = pytest.mark.anyio

TWO_MINUTES = 120_000


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


async def test_an_entry_that_rests_is_cancelled_by_the_venue_once_nobody_renews() -> None:
    world = World(countdown_ms=TWO_MINUTES)
    async with world.trading():
        await world.enter()
        assert world.port.countdowns == {"BTCUSDT": world.clock.now() + TWO_MINUTES}
    world.move(50_000, minutes=1)
    assert world.live() == ["e0"]
    world.move(50_000, minutes=1)
    assert world.live() == []
    async with world.trading():
        assert world.position().status == "closed"
        assert world.net() == 0


async def test_while_we_live_the_countdown_is_renewed_at_a_third_of_its_time_and_no_more_often() -> None:
    world = World(countdown_ms=TWO_MINUTES)
    async with world.trading():
        await world.enter()
        ends = set()
        for _ in range(300):
            await world.wait(1)
            world.port.flush()
            ends.add(world.port.countdowns["BTCUSDT"])
        assert "e0" in world.live()
        assert len(ends) == 8  # at 0, 40, ... 280 seconds


async def test_where_nothing_rests_any_more_the_countdown_is_taken_back() -> None:
    world = World(countdown_ms=TWO_MINUTES)
    async with world.trading():
        await world.enter()
        world.move(49_800)
        await world.quiet()
        assert world.net() != 0
        assert world.port.countdowns == {}
        world.move(49_800, minutes=5)
        await world.quiet()
        assert world.live() == ["s0", "t0"]
        await world.tell(ExitIntent("sig1", "test", world.clock.now()))


async def test_a_venue_that_takes_no_countdown_is_told_of_once_and_asked_again() -> None:
    world = World(countdown_ms=TWO_MINUTES)
    async with world.trading():
        world.port.refuse_countdown = True
        await world.enter()
        await world.wait(100)
        assert world.events().count("countdown_not_set") == 1
        assert world.port.countdowns == {}
        world.port.refuse_countdown = False
        await world.wait(41)
        assert list(world.port.countdowns) == ["BTCUSDT"]


async def test_a_countdown_that_takes_the_stops_too_leaves_no_position_bare() -> None:
    world = World(countdown_ms=TWO_MINUTES, check_ms=5_000)
    world.port.countdown_takes_stops = True
    async with world.trading():
        await world.enter()
        world.move(49_800)
        await world.quiet()
        await world.enter("sig2", "49000.0")
        world.port.refuse_countdown = True  # the way to the venue is broken for this call alone
        for _ in range(150):
            await world.wait(1)
            world.port.flush()
        await world.quiet()
        assert sum(quantity for quantity, _ in world.stops()) >= world.net() > 0
        assert "e0" not in world.live()


async def test_no_countdown_is_asked_for_where_it_is_off() -> None:
    world = World()
    async with world.trading():
        await world.enter()
        assert world.port.countdowns == {}
