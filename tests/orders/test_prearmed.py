"""A resting entry has its stop at the venue before it is there itself."""

from decimal import Decimal

import msgspec
import pytest
import trio.testing

from bot.clock import DAY_MS
from bot.exchange.matching import Settings, Switches
from bot.messages import ExitIntent, Side
from tests.orders.world import CALM, World, agrees, same_account

D = Decimal
STOP = (D("0.010"), D("48902.0"))


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


pytestmark = pytest.mark.anyio


async def test_the_stop_of_a_resting_entry_is_confirmed_before_the_entry_is_sent() -> None:
    world = World(arms=True)
    async with world.trading() as desk:
        await world.enter()
        assert world.port.sent == ["s0", "e0"]
        assert world.stops() == [STOP]
        world.move(49_850)
        await world.quiet()
        assert world.live() == ["s0", "t0"]
        assert world.stops() == [STOP]
        assert same_account(world, desk)
    assert world.position().naked_seconds == 0


async def test_a_fill_that_nobody_hears_of_is_covered_all_the_same() -> None:
    world = World(arms=True)
    async with world.trading():
        await world.enter()
        world.deaf = True
        world.move(49_850)
        assert world.net() == D("0.010")
        assert world.stops() == [STOP]
        world.move(48_000)
        assert world.net() == 0


async def test_a_fill_while_no_bot_runs_is_covered_all_the_same() -> None:
    world = World(arms=True)
    async with world.trading():
        await world.enter()
    world.move(49_850, minutes=1)
    assert world.stops() == [STOP]
    async with world.trading() as desk:
        assert world.live() == ["s0", "t0"]
        assert same_account(world, desk)
    assert world.position().naked_seconds == 0


@pytest.mark.parametrize("refusal", [-2022, -4118])
async def test_a_venue_that_takes_no_stop_while_flat_is_not_asked_again_and_stops_come_with_the_fill(
    refusal: int,
) -> None:
    world = World(arms=True)
    world.port.refuse["s0"] = refusal
    async with world.trading():
        await world.enter()
        assert world.live() == ["e0"]
        del world.port.refuse["s0"]
        world.move(49_850)
        await world.quiet()
        assert world.stops() == [STOP]
        assert world.live() == ["s1", "t0"]
        await world.enter("sig2", "49000.0")
        assert world.port.sent[-1] == "e0"
        assert world.events().count("stops_come_with_the_fill") == 1
    async with world.trading():
        await world.enter("sig3", "48900.0")
        assert world.live() == ["e0", "e0", "s1", "t0"]
    world.clock.advance(world.clock.now() + DAY_MS)
    async with world.trading():
        await world.enter("sig4", "48800.0")
        assert "s0" in world.live()


async def test_the_engines_own_refusal_while_flat_leads_to_the_same() -> None:
    world = World(
        arms=True, settings=Settings(partial_fill_probability=0.0, switches=Switches(reduce_only_algo_while_flat=False))
    )
    async with world.trading():
        await world.enter()
        world.move(49_850)
        await world.quiet()
        assert world.stops() == [STOP]


@pytest.mark.parametrize("refusal", [-2021, -4045, -1111])
async def test_an_entry_whose_stop_is_refused_for_any_other_reason_is_not_sent(refusal: int) -> None:
    world = World(arms=True)
    world.port.refuse["s0"] = refusal
    async with world.trading():
        await world.enter()
        assert world.live() == []
        assert "e0" not in world.port.sent
    assert world.position().exit_reason == "rejected"
    assert world.outcome().fill_status == "rejected"


async def test_a_stop_whose_answer_is_lost_is_looked_for_before_the_entry_leaves() -> None:
    world = World(arms=True)
    world.port.lose["s0"] = "after"
    async with world.trading():
        await world.enter()
        assert world.live() == ["e0", "s0"]
        assert world.port.sent == ["s0", "e0"]


async def test_an_entry_whose_stop_did_not_arrive_is_not_sent() -> None:
    world = World(arms=True)
    world.port.lose["s0"] = "before"
    async with world.trading():
        await world.enter()
        assert world.port.sent == ["s0"]
        await world.wait(5)
        assert world.live() == []
    assert world.outcome().fill_status == "rejected"


async def test_an_entry_whose_stop_nobody_can_see_is_not_sent() -> None:
    world = World(arms=True)
    world.port.lose |= {f"s{n}": "after" for n in range(9)}
    world.port.blind_to |= {f"s{n}" for n in range(9)}
    async with world.trading():
        await world.enter()
        assert "e0" not in world.port.sent
        world.port.blind_to.clear()
        await world.wait(20)
        assert world.position().exit_reason == "rejected"


async def test_while_the_venue_is_away_neither_stop_nor_entry_is_left_behind() -> None:
    world = World(arms=True)
    async with world.trading():
        world.port.orders_down = True
        await world.enter()
        world.port.orders_down = False
        await world.wait(10)
        assert world.live() == []
        assert world.position().exit_reason == "rejected"


async def test_the_stop_of_an_entry_that_expires_is_cancelled_with_it() -> None:
    world = World(arms=True)
    async with world.trading():
        await world.enter()
        world.move(50_100, minutes=60)
        await world.quiet()
        assert world.live() == []
    assert world.position().exit_reason == "not_filled"


async def test_the_stop_of_an_entry_that_the_venue_refuses_is_cancelled() -> None:
    world = World(arms=True)
    world.port.refuse["e0"] = -2019
    async with world.trading():
        await world.enter()
        assert world.live() == []
    assert world.outcome().fill_status == "rejected"


async def test_a_partly_filled_entry_keeps_the_large_stop_until_it_ends_and_then_gets_one_of_its_quantity() -> None:
    world = World(arms=True, settings=msgspec.structs.replace(CALM, partial_fill_probability=1.0))
    async with world.trading() as desk:
        await world.enter()
        world.move(49_890)
        await world.quiet()
        assert 0 < world.net() < D("0.010")
        assert world.stops() == [STOP]
        world.move(50_500, minutes=60)
        await world.quiet()
        assert world.stops() == [(world.net(), D("48902.0"))]
        assert world.port.sent[-1] == "s1"
        assert same_account(world, desk)
        assert desk.book.orders["tsb-sig1-s0"].state == "canceled"
    assert world.position().naked_seconds == 0


async def test_a_jump_over_limit_and_stop_leaves_nothing_open() -> None:
    world = World(arms=True)
    async with world.trading() as desk:
        await world.enter()
        world.gap(48_000)
        await world.quiet()
        await world.wait(5)
        assert world.net() == 0
        assert world.live() == []
        assert same_account(world, desk)
    assert world.position().exit_reason == "stop_loss"


async def test_a_jump_over_a_held_and_a_resting_sibling_leaves_nothing_open() -> None:
    world = World(arms=True)
    async with world.trading() as desk:
        await world.enter("sig1", None)
        await world.enter("sig2", "49900.0")
        world.gap(48_000)
        await world.quiet()
        await world.wait(5)
        assert world.net() == 0
        assert world.live() == []
        assert same_account(world, desk)


async def test_what_the_stop_of_a_resting_entry_takes_from_a_sibling_in_a_jump_is_booked_so() -> None:
    world = World(arms=True)
    world.move(49_000)
    async with world.trading() as desk:
        await world.enter("sig1", None)  # its stop lies below the other one's
        world.move(49_900)
        await world.quiet()
        await world.enter("sig2", "49800.0")
        world.gap(48_500)
        await world.quiet()
        await world.wait(5)
        taken = world.store.fills["BTCUSDT", 2]
        assert (taken.client_id, world.position("sig1").exit_price) == ("tsb-sig2-s0", taken.price)
        assert world.position("sig2").exit_reason == "stop_loss"
        assert world.net() == 0
        assert world.live() == []
        assert same_account(world, desk)


async def test_a_stop_that_dies_while_the_entry_rests_is_placed_again() -> None:
    world = World(arms=True)
    async with world.trading():
        await world.enter()
        world.engine.cancel_algo(client_id="tsb-sig1-s0")
        world.port.flush()
        await world.quiet()
        assert world.live() == ["e0", "s1"]


async def test_a_resting_entry_whose_stop_cannot_be_placed_again_is_withdrawn() -> None:
    world = World(arms=True)
    async with world.trading():
        await world.enter()
        world.port.refuse["s1"] = -2021
        world.engine.cancel_algo(client_id="tsb-sig1-s0")
        world.port.flush()
        await world.quiet()
        assert world.live() == []
    assert world.position().exit_reason == "not_filled"


async def test_an_exit_before_the_entry_has_filled_whole_drops_the_rest() -> None:
    world = World(arms=True, settings=msgspec.structs.replace(CALM, partial_fill_probability=1.0))
    async with world.trading() as desk:
        await world.enter()
        world.move(49_890)
        await world.quiet()
        await world.tell(ExitIntent("sig1", "max_hold", world.clock.now()))
        await world.wait(3)
        assert world.net() == 0
        assert world.live() == []
        assert same_account(world, desk)


async def test_a_short_entry_is_armed_above_its_limit() -> None:
    world = World(arms=True)
    async with world.trading():
        await world.enter("sig1", "50100.0", Side.SHORT)
        assert world.stops() == [(D("0.010"), D("51102.0"))]


async def test_entries_are_denied_before_the_venue_has_no_room_for_stops() -> None:
    world = World(arms=True)
    async with world.trading() as desk:
        desk._cover.foreign_conditional = 179
        await world.enter()
        assert world.outcome().exit_reason == "conditional_orders_full"
        desk._cover.foreign_conditional = 178
        await world.enter("sig2")
        assert world.live() == ["e0", "s0"]


@pytest.mark.parametrize("reads", ["up", "down"])
async def test_a_stop_stays_while_the_venue_counts_a_fill_of_a_cancelled_entry_that_nobody_told(reads: str) -> None:
    world = World(arms=True, settings=msgspec.structs.replace(CALM, partial_fill_probability=1.0))
    async with world.trading() as desk:
        await world.enter()
        world.deaf = True
        world.move(49_890)
        held = world.net()
        assert 0 < held < D("0.010")
        world.port.fills_down = reads == "down"
        world.move(50_100, minutes=60)  # the entry's time is over: the cancel's answer counts the fill
        await world.quiet()
        assert world.stops() == [STOP]
        await world.wait(3)
        world.port.fills_down = False
        await world.wait(8)
        assert world.stops() == [(held, STOP[1])]
        assert agrees(world, desk)
    assert world.position().naked_seconds == 0
