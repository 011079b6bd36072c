"""What a killed process leaves on the venue is put in order by the next one."""

from decimal import Decimal

import pytest

from bot.errors import OperatorError
from bot.messages import ExitIntent, PositionStatus
from bot.orders.states import LIVE
from tests.orders.world import World

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


@pytest.mark.parametrize("while_down", [50_000, 48_900], ids=["nothing", "the leg triggers"])
async def test_a_leg_that_outlived_its_position_and_process_is_cancelled_at_the_next_start(while_down: int) -> None:
    world = World()
    async with world.trading():
        await world.enter(limit=None)
        await world.enter("sig2", limit=None)
        world.port.deaf_to_cancels = True
        await world.tell(ExitIntent("sig1", "max_hold", world.clock.now()))
        assert world.position().status is PositionStatus.CLOSED
        assert "s0" in world.live()
    world.port.deaf_to_cancels = False
    world.move(while_down, minutes=3)
    async with world.trading() as desk:
        sig1 = [row for row in world.store.orders.values() if row.position_id == "sig1"]
        assert not [row for row in sig1 if row.state in LIVE]
        held = [p for p in world.store.positions.values() if p.status is PositionStatus.OPEN]
        assert sum((p.open_quantity for p in held), Decimal(0)) == world.net() == desk.book.net("BTCUSDT")
        assert len(world.stops()) == len(held)
        assert "venue_disagrees" not in world.events()


async def test_a_venue_that_knows_none_of_the_journals_trades_is_refused() -> None:
    world = World()
    async with world.trading():
        await world.enter(limit=None)
        await world.tell(ExitIntent("sig1", "max_hold", world.clock.now()))
    async with world.trading():
        pass  # the trades are now what the journal has seen of this venue
    reset = World()
    reset.store = world.store
    with pytest.raises(BaseExceptionGroup) as refused:
        async with reset.trading():
            pass
    assert refused.group_contains(OperatorError, match="knows none of this journal's trades", depth=None)
