"""Leaving everything at once, because a person or the end of the process asks for it."""

from decimal import Decimal

import anyio
import msgspec
import pytest
import trio.testing

from bot.messages import PERSON, Flatten, PositionStatus, StandingOrder, TradingState
from tests.orders.world import CALM, World, agrees

D = Decimal
ANNA = f"{PERSON}anna"


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


pytestmark = pytest.mark.anyio


async def test_entries_are_cancelled_and_positions_closed_with_their_legs() -> None:
    world = World(arms=True)
    flatten = Flatten(by=ANNA)
    async with world.trading() as desk:
        await world.enter("sig1", None)
        await world.enter("sig2")
        await world.tell(flatten)
        assert flatten.done.is_set()
        assert world.net() == 0
        assert world.live() == []
        assert agrees(world, desk)
        await world.enter("sig3", None)
        assert world.net() == D("0.010")  # what was asked for is done, and trading goes on
    assert world.position("sig1").exit_reason == "flatten"
    assert world.position("sig2").exit_reason == "not_filled"
    assert "flat" in world.events()


async def test_an_account_that_is_flat_is_done_at_once() -> None:
    world = World()
    flatten = Flatten(by=ANNA)
    async with world.trading():
        await world.tell(flatten)
        assert flatten.done.is_set()


async def test_an_entry_that_fills_while_it_is_cancelled_is_closed_too() -> None:
    world = World(arms=True, settings=msgspec.structs.replace(CALM, partial_fill_probability=1.0))
    flatten = Flatten(by=ANNA)
    async with world.trading() as desk:
        await world.enter()
        world.port.deaf_to_cancels = True
        await world.tell(flatten)
        assert not flatten.done.is_set()
        world.move(49_890)
        await world.quiet()
        world.port.deaf_to_cancels = False
        await world.wait(8)
        assert flatten.done.is_set()
        assert world.net() == 0
        assert world.live() == []
        assert agrees(world, desk)


async def test_no_entry_is_taken_while_positions_are_still_leaving() -> None:
    world = World()
    flatten = Flatten(by=ANNA)
    async with world.trading():
        await world.enter("sig1", None)
        world.port.orders_down = True
        await world.tell(flatten)
        await world.enter("sig2", None)
        assert world.outcome("sig2").exit_reason == "flattening"
        world.port.orders_down = False
        await world.wait(3)
        assert flatten.done.is_set()
        assert world.net() == 0


async def test_what_cannot_be_closed_in_time_is_said_once_keeps_its_stop_and_is_closed_as_soon_as_it_can_be() -> None:
    world = World()
    flatten = Flatten(by=ANNA, within_ms=10_000)
    async with world.trading():
        await world.enter("sig1", None)
        world.port.orders_down = True
        await world.tell(flatten)
        await world.wait(60)
        assert not flatten.done.is_set()
        assert world.events().count("not_flat") == 1
        assert len(world.stops()) == 1
        world.port.orders_down = False
        await world.wait(10)
        assert flatten.done.is_set()
        assert world.net() == 0


async def test_a_halt_stands_above_it() -> None:
    world = World()
    flatten = Flatten(by=ANNA)
    async with world.trading():
        await world.enter("sig1", None)
        await world.tell(StandingOrder(state=TradingState.HALTED, reason="person", by=ANNA))
        await world.tell(flatten)
        assert flatten.done.is_set()
        assert "flatten_refused" in world.events()
        assert world.net() == D("0.010")
    assert world.position().status is PositionStatus.OPEN


async def test_who_asks_may_wait_for_it() -> None:
    world = World()
    flatten = Flatten(by=ANNA)
    async with world.trading(), anyio.create_task_group() as group:
        await world.enter("sig1", None)

        async def ask() -> None:
            await flatten.done.wait()

        group.start_soon(ask)
        await world.tell(flatten)
    assert world.net() == 0
