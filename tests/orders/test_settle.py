"""Before the process is stopped the desk finishes what it has begun."""

import pytest
import trio.testing

from bot.messages import PERSON, ExitIntent, PositionStatus, Settle, StandingOrder, StandingReleased, TradingState
from bot.orders.gate import STANDING
from bot.venue import UserEvent
from tests.orders.world import World, agrees


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


async def test_resting_entries_stay_and_nothing_of_the_stop_outlives_it() -> None:
    world = World(arms=True)
    async with world.trading() as desk:
        await world.enter("sig1")
        await world.enter("sig2")
        await world.tell(Settle())
        await world.tell(StandingReleased(reason="database_away", by="database"))  # every position is looked after
        assert len(world.live()) == 4
        surprised = StandingOrder(state=TradingState.REDUCING, reason="contract_surprise", by="desk")
        await world.tell(surprised)
        assert agrees(world, desk)
    kept = await world.store.get_fact(STANDING)
    assert [hold["reason"] for hold in kept] == ["contract_surprise"]


async def test_a_person_who_activates_trading_opens_nothing_in_a_process_that_stops() -> None:
    world = World()
    async with world.trading():
        await world.tell(Settle())
        await world.tell(StandingReleased(reason=None, by=f"{PERSON}anna"))
        await world.enter("sig1", None)
        assert world.net() == 0


async def test_a_position_whose_exit_was_refused_is_not_settled() -> None:
    world, settle = World(), Settle()
    async with world.trading() as desk:
        world.port.refuse |= {"s0": -2021, "x0": -4131}
        await world.enter("sig1", None)
        assert world.stops() == []
        await world.tell(settle)
        assert not settle.done.is_set()
        assert desk.unfinished() == ["sig1 is being closed and has no exit"]
        await world.wait(70)
        assert settle.done.is_set()
        assert world.net() == 0


async def test_while_trading_is_halted_nobody_waits_for_what_will_not_be_sent() -> None:
    world, settle = World(), Settle()
    async with world.trading() as desk:
        await world.enter("sig1", None)
        await world.tell(StandingOrder(state=TradingState.HALTED, reason="person", by=f"{PERSON}anna"))
        await world.tell(ExitIntent("sig1", "max_hold", world.clock.now()))
        assert world.position("sig1").status is PositionStatus.CLOSING
        await world.tell(settle)
        assert settle.done.is_set()
        assert desk.unfinished() == ["sig1 is being closed and has no exit"]


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
