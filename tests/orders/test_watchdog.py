"""A stop that is gone, refused or stuck at the venue is seen within seconds, and an answer is never assumed."""

from decimal import Decimal
from typing import cast

import msgspec
import pytest
import trio.testing

from bot.exchange.matching import Algo
from bot.messages import ExitIntent, StopMove
from bot.venue import OrderState, VenueStatus
from tests.orders.world import World, agrees, same_account

D = Decimal
STOP = (D("0.010"), D("48902.0"))


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


pytestmark = pytest.mark.anyio


async def watched(world: World) -> None:
    await world.enter()
    world.move(49_850)
    await world.quiet()
    await world.wait(6)


def becomes(world: World, client_id: str, status: VenueStatus) -> None:
    """The venue changes a conditional order without a word on the stream."""
    algos = cast(dict[int, Algo], world.engine.algos)
    algo = next(a for a in algos.values() if a.client_id == client_id)
    algos[algo.algo_id] = msgspec.structs.replace(algo, status=status)


def forgets(world: World, client_id: str) -> None:
    algos = cast(dict[int, Algo], world.engine.algos)
    algo_id = next(a.algo_id for a in algos.values() if a.client_id == client_id)
    del algos[algo_id]


@pytest.mark.parametrize(
    "status", [VenueStatus.CANCELED, VenueStatus.EXPIRED, VenueStatus.REJECTED, VenueStatus.TRIGGERING]
)
async def test_a_stop_that_ended_or_got_stuck_in_silence_is_replaced_within_seconds(status: VenueStatus) -> None:
    world = World(check_ms=3_600_000)
    async with world.trading() as desk:
        await watched(world)
        becomes(world, "tsb-sig1-s0", status)
        await world.wait(12)
        assert world.stops() == [STOP]
        assert world.live() == ["s1", "t0"]
        assert desk.book.orders["tsb-sig1-s0"].state is not OrderState.WORKING


async def test_a_stop_that_the_venue_forgot_is_replaced_within_seconds() -> None:
    world = World(check_ms=3_600_000)
    async with world.trading():
        await watched(world)
        forgets(world, "tsb-sig1-s0")
        await world.wait(12)
        assert world.live() == ["s1", "t0"]


async def test_many_stops_are_looked_for_in_one_call() -> None:
    world = World(check_ms=3_600_000)
    async with world.trading():
        for number in range(6):
            await world.enter(f"sig{number}", None)
        await world.wait(6)
        world.port.asked.clear()
        forgets(world, "tsb-sig3-s0")
        await world.wait(25)
        assert len(world.stops()) == 6
        assert "open_orders" in world.port.asked
        assert world.port.asked.count("find") < 12


async def test_a_look_that_gets_no_answer_says_nothing() -> None:
    world = World(check_ms=3_600_000)
    async with world.trading() as desk:
        await watched(world)
        sent = list(world.port.sent)
        world.port.down = True
        await world.wait(30)
        assert world.port.sent == sent
        assert desk.book.orders["tsb-sig1-s0"].state is OrderState.WORKING
        assert desk.book.net("BTCUSDT") == D("0.010")
        world.port.down = False
        await world.wait(6)
        assert agrees(world, desk)


async def test_a_look_that_gets_no_answer_is_repeated_within_seconds_however_seldom_one_looks() -> None:
    world = World(check_ms=3_600_000, watch_ms=60_000)
    async with world.trading():
        await world.enter()
        world.move(49_850)
        await world.wait(50)
        forgets(world, "tsb-sig1-s0")
        world.port.down = True
        await world.wait(30)  # a look falls into it
        world.port.down = False
        await world.wait(8)
        assert world.stops() == [STOP]


async def test_a_stop_that_a_query_does_not_show_yet_is_not_placed_twice() -> None:
    world = World(check_ms=5_000)
    async with world.trading():
        world.port.blind_to |= {"s0", "t0"}
        await world.enter()
        world.move(49_850)
        await world.quiet()
        await world.wait(4)
        world.port.blind_to.clear()
        await world.wait(20)
        assert world.live() == ["s0", "t0"]


async def test_a_failed_check_keeps_entries_out_until_one_succeeds() -> None:
    world = World(check_ms=5_000)
    async with world.trading():
        await world.enter(limit=None)
        world.port.down = True
        await world.wait(6)
        world.port.down = False
        await world.enter("sig2", None)
        assert world.outcome("sig2").exit_reason == "not_reconciled"
        await world.wait(6)
        await world.enter("sig3", None)
        assert world.net() == D("0.020")


async def test_a_cancel_that_finds_nothing_open_is_asked_about_before_it_is_believed() -> None:
    world = World(check_ms=3_600_000)
    async with world.trading() as desk:
        await watched(world)
        world.deaf = True
        world.move(48_000)  # the stop fills, and nobody tells
        world.deaf = False
        await world.tell(StopMove("sig1", 49_000.0, "trailing_stop", world.clock.now()))
        await world.wait(8)
        assert agrees(world, desk)
        assert world.store.orders["tsb-sig1-s0"].state is OrderState.FILLED
        assert world.position().open_quantity == 0


async def test_an_id_that_the_venue_has_already_is_adopted() -> None:
    world = World(check_ms=3_600_000)
    async with world.trading() as desk:
        world.port.lose["e0"] = "after"
        world.port.blind_to.add("e0")
        world.deaf = True
        await world.enter()
        row = desk.book.orders["tsb-sig1-e0"]
        assert row.state is OrderState.UNRESOLVED
        world.port.blind_to.clear()
        world.port.lose.clear()
        await desk._sender.send(row)  # as a retry inside a client library would
        assert row.state is OrderState.WORKING
        assert world.live() == ["e0"]


async def test_an_order_of_a_closed_position_that_lives_on_is_swept() -> None:
    world = World(check_ms=10_000)
    async with world.trading() as desk:
        await world.enter(limit=None)
        await world.tell(ExitIntent("sig1", "max_hold", world.clock.now()))
        await world.enter("sig2", None)
        becomes(world, "tsb-sig1-s0", VenueStatus.NEW)  # its cancel was confirmed, and it is there again
        await world.wait(25)
        assert agrees(world, desk)
        assert world.live() == ["s0", "t0"]


async def test_time_without_cover_is_counted_to_the_millisecond() -> None:
    world = World(check_ms=3_600_000)
    async with world.trading() as desk:
        await world.enter()
        world.port.orders_down = True
        world.move(49_850)
        await world.quiet()
        await world.wait(4)
        world.port.orders_down = False
        await world.wait(3)
        assert len(world.stops()) == 1
        naked = world.position().naked_seconds
        assert D(4) <= naked <= D(6)
        await world.wait(5)
        await world.tell(ExitIntent("sig1", "max_hold", world.clock.now()))
        assert world.position().naked_seconds == naked
        counted = desk._tending._metrics.registry.get_sample_value("naked_seconds_total")
        assert counted == float(naked)
        assert same_account(world, desk)
