"""HALTED: cancels only. What stands at the venue stays, and nothing new is sent."""

from decimal import Decimal

import pytest
import trio.testing

from bot.messages import PERSON, ExitIntent, StandingOrder, StandingReleased, StopMove, TradingState
from tests.orders.world import World, same_account

D = Decimal
ANNA = f"{PERSON}anna"
HALT = StandingOrder(state=TradingState.HALTED, reason="person", by=ANNA)
LIFT = StandingReleased(reason=None, by=ANNA)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


pytestmark = pytest.mark.anyio


async def test_a_halt_cancels_resting_entries_and_leaves_stops_and_targets_where_they_are() -> None:
    world = World(arms=True)
    async with world.trading():
        await world.enter("sig1", None)
        await world.enter("sig2")
        world.port.sent.clear()
        await world.tell(HALT)
        assert world.live() == ["s0", "t0"]
        await world.tell(ExitIntent("sig1", "max_hold", world.clock.now()))
        await world.tell(StopMove("sig1", 49_700.0, "trailing_stop", world.clock.now()))
        await world.wait(10)
        assert world.port.sent == []
        assert world.net() == D("0.010")
        assert len(world.stops()) == 1


async def test_an_exit_that_was_asked_for_during_a_halt_is_sent_when_it_is_over() -> None:
    world = World()
    async with world.trading() as desk:
        await world.enter("sig1", None)
        await world.tell(HALT)
        await world.tell(ExitIntent("sig1", "max_hold", world.clock.now()))
        await world.tell(LIFT)
        assert world.net() == 0
        assert world.live() == []
        assert same_account(world, desk)
    assert world.position().exit_reason == "max_hold"


async def test_a_position_without_a_stop_during_a_halt_is_told_and_covered_when_it_is_over() -> None:
    world = World()
    async with world.trading():
        await world.enter()
        world.port.deaf_to_cancels = True
        await world.tell(HALT)
        world.move(49_850)
        await world.quiet()
        assert world.net() == D("0.010")
        assert world.stops() == []
        assert "position_unprotected" in world.events()
        world.port.deaf_to_cancels = False
        await world.wait(3)
        await world.tell(LIFT)
        assert world.stops() == [(D("0.010"), D("48902.0"))]
    assert world.position().naked_seconds >= 3


async def test_a_halt_outlives_the_process() -> None:
    world = World()
    async with world.trading():
        await world.enter()
        await world.tell(HALT)
    async with world.trading():
        await world.enter("sig2")
        assert world.outcome("sig2").exit_reason == "person"
        assert world.live() == []
