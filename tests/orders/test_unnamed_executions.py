"""Executions that are asked for do not say whose order they were: the venue's list has its own order ids alone."""

from collections.abc import Sequence

import msgspec
import pytest
import trio.testing

from bot.clock import SECOND_MS
from bot.messages import ExitIntent, PositionStatus
from bot.venue import Fill, OrderState
from tests.orders.world import FaultyTrading, World, agrees


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


pytestmark = pytest.mark.anyio


class UnnamedTrading(FaultyTrading):
    async def fills(self, symbol: str, from_trade_id: int) -> Sequence[Fill]:
        return [msgspec.structs.replace(fill, client_id="") for fill in await super().fills(symbol, from_trade_id)]


@pytest.mark.parametrize("price", [48_000, 52_000])
@pytest.mark.parametrize(("lost", "within_seconds"), [("all", 20), ("executions", 1)])
async def test_the_child_of_a_stop_or_target_is_booked_on_its_position(
    lost: str, within_seconds: int, price: int
) -> None:
    world = World(check_ms=10 * SECOND_MS)
    world.port = port = UnnamedTrading(world.engine, world._tell_desk)
    async with world.trading() as desk:
        await world.enter()
        world.move(49_850)
        await world.quiet()
        port.through = lambda frame: [] if lost == "all" else [told for told in frame if not isinstance(told, Fill)]
        world.move(price)
        await world.wait(within_seconds)
        assert world.position().exit_reason == ("stop_loss" if price < 49_000 else "target")
        assert agrees(world, desk)
        assert "foreign_fill" not in world.events()


async def test_a_leg_that_outlived_its_position_and_fills_while_no_process_runs_is_known_for_ours() -> None:
    world = World()
    world.port = port = UnnamedTrading(world.engine, world._tell_desk)
    port.refuse["t0"] = -1111  # no other leg is open at the venue that would lead to the position
    async with world.trading():
        await world.enter(limit=None)
        await world.enter("sig2", limit=None)
        port.deaf_to_cancels = True
        await world.tell(ExitIntent("sig1", "max_hold", world.clock.now()))
        assert world.position().status is PositionStatus.CLOSED
    port.deaf_to_cancels = False
    world.move(48_000, minutes=3)
    async with world.trading() as desk:
        assert agrees(world, desk)
        assert "foreign_fill" not in world.events()
        assert world.store.orders["tsb-sig1-s0"].state is OrderState.FILLED
