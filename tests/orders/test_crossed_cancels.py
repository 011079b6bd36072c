"""An entry that is wanted no more and was filled meanwhile: the cancel comes too late, and the fill is covered soon."""

import pytest

from bot.messages import StandingOrder, TradingState
from tests.orders.world import World, agrees

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


async def test_a_filled_entry_is_cancelled_once_however_often_it_is_wanted_gone() -> None:
    world = World()
    async with world.trading() as desk:
        await world.enter()
        world.deaf = True
        world.move(49_800)
        for reason in ("first", "second", "third"):
            await world.tell(StandingOrder(state=TradingState.REDUCING, reason=reason, by="anna"))
        assert world.port.cancels == 1
        world.deaf = False
        await world.wait(6)
        assert [quantity for quantity, _ in world.stops()] == [world.net()] != [0]
        assert agrees(world, desk)


async def test_a_cancel_that_nobody_answered_is_sent_again() -> None:
    world = World()
    async with world.trading() as desk:
        await world.enter()
        world.port.deaf_to_cancels = True
        await world.tell(StandingOrder(state=TradingState.REDUCING, reason="first", by="anna"))
        world.port.deaf_to_cancels = False
        await world.tell(StandingOrder(state=TradingState.REDUCING, reason="second", by="anna"))
        assert (world.port.cancels, world.live()) == (2, [])
        assert agrees(world, desk)
