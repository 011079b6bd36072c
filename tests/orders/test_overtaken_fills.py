"""An execution that is told before an older one: nobody else's position is taken for what it closed."""

from decimal import Decimal

import pytest
import trio.testing

from bot.messages import PositionStatus
from tests.orders.world import World, same_account

pytestmark = pytest.mark.anyio
D = Decimal


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


async def test_a_stop_that_is_heard_of_before_its_own_entry_takes_nothing_from_a_sibling() -> None:
    world = World(arms=True)
    async with world.trading() as desk:
        world.move(49_500)
        await world.enter("sig1", limit=None)
        world.move(50_000)
        await world.enter("sig2", limit="49900.0")
        world.deaf = True
        world.move(48_800)  # through the entry and through its stop; the first one's stop is further away
        world.deaf = False
        (stop,) = [fill for fill in world.engine.fills if fill.client_id == "tsb-sig2-s0"]
        await world.tell(stop)
        assert world.position("sig1").status is PositionStatus.OPEN
        assert world.position("sig2").status is PositionStatus.CLOSED
        assert world.position("sig2").exit_reason == "stop_loss"
        assert [quantity for quantity, _ in world.stops()] == [D("0.010")]
        assert "closed_what_is_not_ours" not in world.events()
        assert same_account(world, desk)


async def test_a_liquidation_that_is_heard_of_before_an_older_entry_closes_both() -> None:
    world = World()
    async with world.trading() as desk:
        await world.enter("sig1", limit=None)
        world.deaf = True
        await world.enter("sig2", limit=None)
        world.engine.liquidate()
        world.port.flush()
        world.deaf = False
        await world.tell(world.engine.fills[-1])
        assert {world.position(name).status for name in ("sig1", "sig2")} == {PositionStatus.CLOSED}
        assert same_account(world, desk)
