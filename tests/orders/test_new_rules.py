"""What the venue may ask of orders changes while positions are open."""

from decimal import Decimal

import msgspec
import pytest

from bot.messages import StopMove
from bot.venue import InstrumentsChanged
from tests.orders.world import BTC, World

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


async def test_a_stop_that_is_moved_lies_on_the_grid_that_the_venue_has_now() -> None:
    world = World()
    async with world.trading():
        await world.enter(limit=None)
        coarse = msgspec.structs.replace(BTC, tick_size=Decimal(50))
        await world.tell(InstrumentsChanged({"BTCUSDT": coarse}))
        await world.tell(StopMove("sig1", 49_520.3, "trail", world.clock.now()))
        ((_, trigger),) = world.stops()
        assert trigger == 49_500, "rounded away from the market, and on the new grid"
