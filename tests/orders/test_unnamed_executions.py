"""Executions that are asked for do not say whose order they were: the venue's list has its own order ids alone."""

from collections.abc import Sequence

import msgspec
import pytest
import trio.testing

from bot.clock import SECOND_MS
from bot.venue import Fill
from tests.orders.world import FaultyTrading, World, agrees


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


pytestmark = pytest.mark.anyio


class UnnamedTrading(FaultyTrading):
    async def fills(self, symbol: str, from_trade_id: int) -> Sequence[Fill]:
        return [msgspec.structs.replace(fill, client_id="") for fill in await super().fills(symbol, from_trade_id)]


@pytest.mark.parametrize("price", [48_000, 52_000])
@pytest.mark.parametrize("lost", ["all", "executions"])
async def test_the_child_of_a_stop_or_target_is_booked_on_its_position(lost: str, price: int) -> None:
    world = World(check_ms=10 * SECOND_MS)
    world.port = port = UnnamedTrading(world.engine, world._tell_desk)
    async with world.trading() as desk:
        await world.enter()
        world.move(49_850)
        await world.quiet()
        port.through = lambda frame: [] if lost == "all" else [told for told in frame if not isinstance(told, Fill)]
        world.move(price)
        await world.wait(20)
        assert world.position().exit_reason == ("stop_loss" if price < 49_000 else "target")
        assert agrees(world, desk)
        assert "foreign_fill" not in world.events()
