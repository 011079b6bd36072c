"""At the moment in which an order reaches the venue its row is in the database, just as it is sent."""

from typing import Any

import pytest
import trio.testing

from bot.messages import ExitIntent, StopMove
from bot.venue import OrderReport, OrderRequest, OrderState
from tests.orders.memory_store import MemoryStore
from tests.orders.world import FaultyTrading, World


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


pytestmark = pytest.mark.anyio


class Witness(FaultyTrading):
    """Looks into the database at each send."""

    store: MemoryStore

    async def place(self, request: OrderRequest) -> OrderReport:
        row = self.store.orders.get(request.client_id)
        assert row is not None, f"{request.client_id} is sent without a row"
        assert (row.request, row.state) == (request, OrderState.INTENDED)
        assert row.position_id in self.store.positions
        return await super().place(request)


@pytest.mark.parametrize("arms", [False, True])
async def test_every_leg_is_committed_before_it_is_sent(arms: bool) -> None:
    world = World(arms=arms)
    world.port = port = Witness(world.engine, world._tell_desk)
    port.store = world.store
    async with world.trading():
        await world.enter()
        world.move(49_850)
        await world.quiet()
        await world.tell(StopMove("sig1", 49_700.0, "trailing_stop", world.clock.now()))
        await world.tell(ExitIntent("sig1", "red_after", world.clock.now()))
    assert port.sent == (["s0", "e0", "t0", "s1", "x0"] if arms else ["e0", "s0", "t0", "s1", "x0"])
    assert world.net() == 0


class Spooling(MemoryStore):
    """Answers questions, and what is saved goes to the disk alone: the database went away in between."""

    async def save(self, *args: Any, **kwargs: Any) -> None:
        await super().save(*args, **kwargs)
        self.at_hand = False


async def test_an_entry_whose_row_is_in_the_spool_alone_is_not_sent_and_its_stop_goes() -> None:
    world = World(arms=True)
    world.store = Spooling()
    async with world.trading():
        await world.enter()
        assert world.port.sent == ["s0"]
        assert world.live() == []
        assert world.outcome().fill_status == "rejected"
