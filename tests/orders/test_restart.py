"""What a killed process leaves on the venue is put in order by the next one."""

from decimal import Decimal

import pytest
import trio
import trio.testing

from bot.clock import MINUTE_MS
from bot.errors import OperatorError, VenueUnavailable
from bot.exchange.insistence import PATIENCE_SECONDS
from bot.messages import ExitIntent, PositionStatus
from bot.orders.states import LIVE
from tests.orders.world import World, agrees

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


@pytest.mark.parametrize("while_down", [50_000, 48_900], ids=["nothing", "the leg triggers"])
async def test_a_leg_that_outlived_its_position_and_process_is_cancelled_at_the_next_start(while_down: int) -> None:
    world = World()
    async with world.trading():
        await world.enter(limit=None)
        await world.enter("sig2", limit=None)
        world.port.deaf_to_cancels = True
        await world.tell(ExitIntent("sig1", "max_hold", world.clock.now()))
        assert world.position().status is PositionStatus.CLOSED
        assert "s0" in world.live()
    world.port.deaf_to_cancels = False
    world.move(while_down, minutes=3)
    async with world.trading() as desk:
        sig1 = [row for row in world.store.orders.values() if row.position_id == "sig1"]
        assert not [row for row in sig1 if row.state in LIVE]
        held = [p for p in world.store.positions.values() if p.status is PositionStatus.OPEN]
        assert sum((p.open_quantity for p in held), Decimal(0)) == world.net() == desk.book.net("BTCUSDT")
        assert len(world.stops()) == len(held)
        assert "venue_disagrees" not in world.events()


async def test_a_leg_of_a_closed_position_that_ended_with_nobody_there_has_ended_by_the_journal_too() -> None:
    world = World()
    async with world.trading():
        await world.enter(limit=None)
        world.port.deaf_to_cancels = True
        await world.tell(ExitIntent("sig1", "max_hold", world.clock.now()))
        assert world.position().status is PositionStatus.CLOSED
    world.port.deaf_to_cancels = False
    for algo in [algo for algo in world.engine.algos.values() if algo.is_open]:
        world.engine.cancel_algo(client_id=algo.client_id)
    world.engine.take_events()
    async with world.trading():
        await world.wait(2)
        assert not [row for row in world.store.orders.values() if row.state in LIVE]


async def test_a_venue_that_knows_none_of_the_journals_trades_is_refused() -> None:
    world = World()
    async with world.trading():
        await world.enter(limit=None)
        await world.tell(ExitIntent("sig1", "max_hold", world.clock.now()))
    async with world.trading():
        pass  # the trades are now what the journal has seen of this venue
    reset = World()
    reset.store = world.store
    with pytest.raises(BaseExceptionGroup) as refused:
        async with reset.trading():
            pass
    assert refused.group_contains(OperatorError, match="knows none of this journal's trades", depth=None)


@pytest.mark.parametrize("call", ["fills", "wallet"])
async def test_a_read_that_fails_at_the_very_first_start_is_asked_for_again(call: str) -> None:
    world = World()
    world.port.failing[call] = 3
    async with world.trading():
        assert world.events()[:2] == ["start_waits", "start_goes_on"]
        assert "reconciled" in world.events()
        await world.enter(limit=None)
        assert world.net() == Decimal("0.010")


async def test_reads_that_fail_at_a_restart_delay_it_by_seconds_and_what_was_filled_meanwhile_is_covered() -> None:
    world = World()
    async with world.trading():
        await world.enter(limit="49900.0")
        await world.enter("sig2", limit=None)
    async with world.trading():
        pass  # the trade is now what the journal has seen of this venue
    world.move(49_850, minutes=3)
    world.port.failing |= {"fills": 3, "open_orders": 2}
    began = trio.current_time()
    async with world.trading() as desk:
        assert trio.current_time() - began < 5
        await world.wait(4)
        assert desk.book.net("BTCUSDT") == world.net() == Decimal("0.020")
        assert sum(quantity for quantity, _ in world.stops()) == Decimal("0.020")


async def test_a_venue_that_stays_away_ends_the_start_in_time_so_that_it_is_begun_anew() -> None:
    world = World()
    world.port.down = True
    began = trio.current_time()
    with pytest.raises(BaseExceptionGroup) as ended:
        async with world.trading():
            pass
    assert ended.group_contains(VenueUnavailable, depth=None)
    assert PATIENCE_SECONDS <= trio.current_time() - began < PATIENCE_SECONDS + 10
    assert world.events() == ["start_waits"]


async def test_a_venue_that_wants_silence_beyond_all_patience_is_not_asked_again() -> None:
    world = World()
    world.port.closed_until = world.clock.now() + 10 * MINUTE_MS
    with pytest.raises(BaseExceptionGroup) as ended:
        async with world.trading():
            pass
    assert ended.group_contains(VenueUnavailable, depth=None)
    assert len(world.port.asked) == 1


async def test_a_trade_that_an_old_answer_does_not_have_yet_makes_no_stranger() -> None:
    world = World()
    async with world.trading():
        await world.enter(limit=None)
    async with world.trading():
        pass  # the trade is now what the journal has seen of this venue
    world.port.old_answers = 2
    async with world.trading() as desk:
        assert desk.book.net("BTCUSDT") == world.net() == Decimal("0.010")


async def test_an_order_that_cannot_be_asked_for_keeps_no_position_from_its_stop() -> None:
    world = World()
    async with world.trading():
        await world.enter(limit=None)
        await world.quiet()
        assert world.live() == ["s0", "t0"]
    for end in ("s0", "t0"):
        world.engine.cancel_algo(client_id=f"tsb-sig1-{end}")
    world.port.unaskable = {"t0"}
    async with world.trading() as desk:
        assert [quantity for quantity, _ in world.stops()] == [world.net()] != [0]
        assert "not_reconciled" in world.events()
        world.port.unaskable.clear()
        await world.wait(8)
        assert agrees(world, desk)
