"""An answer that holds nothing is not the answer that there is nothing."""

from collections.abc import Sequence

import pytest
import trio.testing

from bot.clock import SECOND_MS
from bot.messages import PositionStatus
from bot.venue import OrderReport, VenuePosition
from tests.orders.world import FaultyTrading, World, agrees


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


pytestmark = pytest.mark.anyio


class BlankTrading(FaultyTrading):
    """A venue whose lists are empty while `blank`, as a lagging replica's are."""

    blank = False

    async def positions(self) -> Sequence[VenuePosition]:
        return [] if self.blank else await super().positions()

    async def open_orders(self) -> Sequence[OrderReport]:
        return [] if self.blank else await super().open_orders()


async def test_an_empty_list_of_positions_and_orders_closes_nothing_and_keeps_every_leg() -> None:
    world = World(check_ms=10 * SECOND_MS)
    world.port = port = BlankTrading(world.engine, world._tell_desk)
    async with world.trading() as desk:
        await world.enter(limit=None)
        held, legs = world.net(), world.live()
        assert held > 0
        port.blank = True
        await world.wait(25)
        assert "venue_disagrees" in world.events()
        assert (world.net(), world.live()) == (held, legs)
        assert world.position().status is PositionStatus.OPEN
        await world.enter("sig2")
        assert world.outcome("sig2").fill_status == "denied"
        port.blank = False
        await world.wait(70)
        assert agrees(world, desk)
        await world.enter("sig3")
        assert world.outcome("sig3").fill_status == "pending"
