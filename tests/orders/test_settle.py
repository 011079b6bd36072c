"""Before the process is stopped the desk finishes what it has begun."""

import pytest
import trio.testing

from bot.messages import Settle
from bot.venue import UserEvent
from tests.orders.world import World


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("arms", [True, False])
async def test_what_rests_until_its_price_comes_is_settled(arms: bool) -> None:
    world, settle = World(arms=arms), Settle()
    async with world.trading() as desk:
        await world.enter("sig1", None)
        await world.enter("sig2")
        await world.tell(settle)
        assert settle.done.is_set()
        assert desk.unfinished() == []
        assert len(world.live()) == (4 if arms else 3)  # nothing was withdrawn


async def test_a_market_entry_is_settled_once_its_fill_has_its_stop() -> None:
    world, settle = World(), Settle()
    held: list[UserEvent] = []

    def later(frame: list[UserEvent]) -> list[UserEvent]:
        held.extend(frame)
        return []

    async with world.trading() as desk:
        world.port.through = later
        await world.enter("sig1", None)
        await world.tell(settle)
        assert not settle.done.is_set()
        assert desk.unfinished()[0] == "tsb-sig1-e0 is being executed"
        assert world.stops() == []
        world.port.through = list
        for event in held:
            await world.tell(event)
        assert settle.done.is_set()
        assert [quantity for quantity, _ in world.stops()] == [world.net()]


async def test_no_entry_is_begun_meanwhile() -> None:
    world = World()
    async with world.trading():
        await world.tell(Settle())
        await world.enter("sig1", None)
        assert world.outcome("sig1").exit_reason == "stopping"
        assert world.net() == 0


async def test_an_order_without_an_answer_and_one_too_many_are_waited_for() -> None:
    world, settle = World(), Settle()
    async with world.trading() as desk:
        await world.enter("sig1", None)
        world.port.deaf_to_cancels = True
        world.move(51_200)  # the target closes it, and its stop is to go
        await world.quiet()
        await world.tell(settle)
        assert not settle.done.is_set()
        assert desk.unfinished() == ["tsb-sig1-s0 is to be cancelled"]
        world.port.deaf_to_cancels = False
        await world.wait(8)
        assert settle.done.is_set()
        assert world.live() == []
    world.port.lose["e0"] = "before"
    async with world.trading() as desk:
        settle = Settle()
        await world.enter("sig2")
        await world.tell(settle)
        assert not settle.done.is_set()
        assert desk.unfinished() == ["tsb-sig2-e0 has no answer"]
        await world.wait(8)
        assert settle.done.is_set()
