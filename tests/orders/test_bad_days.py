"""What the real venue does to a desk: outages, lags, lost events, a process that dies at the wrong moment."""

from decimal import Decimal
from typing import cast

import msgspec
import pytest
import trio
import trio.testing

from bot.exchange.matching import Algo, NewOrder
from bot.messages import ExitIntent, StopMove, TradingState, TradingStateChanged
from bot.venue import Book, FundingDue, OrderState, UserStreamLost, UserStreamUp, VenueStatus
from tests.orders.world import World, agrees, same_account

D = Decimal


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


pytestmark = pytest.mark.anyio


async def opened(world: World) -> None:
    await world.enter()
    world.move(49_850)
    await world.quiet()


async def test_a_twin_whose_cancel_is_lost_is_cancelled_again_until_it_is_gone() -> None:
    world = World()
    async with world.trading():
        await opened(world)
        world.port.deaf_to_cancels = True
        world.move(51_000)
        await world.quiet()
        assert world.net() == 0
        assert world.live() == ["s0"]
        await world.wait(12)
        world.port.deaf_to_cancels = False
        await world.wait(12)
        assert world.live() == []


async def test_an_order_is_not_held_for_missing_because_the_venue_could_not_be_asked() -> None:
    world = World()
    async with world.trading() as desk:
        await opened(world)
        world.port.down = True
        world.move(51_000)
        await world.quiet()
        twin = desk.book.orders["tsb-sig1-s0"]
        assert twin.state is OrderState.WORKING
        await world.wait(120)
        world.port.down = False
        await world.wait(12)
        assert world.live() == []
        assert same_account(world, desk)


async def test_an_entry_whose_answer_is_lost_in_an_outage_is_found_when_the_venue_is_back() -> None:
    world = World()
    async with world.trading() as desk:
        world.deaf = True
        world.port.lose["e0"] = "after"
        world.port.down_after = "e0"
        await world.enter()
        await world.wait(60)
        entry = desk.book.orders["tsb-sig1-e0"]
        assert str(entry.state) == "unresolved"
        world.port.down = False
        await world.wait(6)
        assert str(entry.state) == "working"


async def test_an_order_that_worked_is_not_held_for_missing_after_one_lag() -> None:
    world = World()
    async with world.trading() as desk:
        await opened(world)
        world.port.blind_to.add("s0")
        world.port.deaf_to_cancels = True
        await world.tell(StopMove("sig1", 49_700.0, "trailing_stop", world.clock.now()))
        assert desk.book.orders["tsb-sig1-s0"].state is OrderState.WORKING
        world.port.blind_to.clear()
        world.port.deaf_to_cancels = False
        await world.wait(6)
        assert world.live() == ["s1", "t0"]


async def test_an_entry_whose_fill_was_never_told_is_found_filled_when_its_hour_is_over() -> None:
    world = World()
    async with world.trading() as desk:
        await world.enter()
        world.deaf = True
        world.move(49_850)
        world.deaf = False
        world.move(49_850, minutes=60)
        await world.quiet()
        await world.wait(6)
        assert world.stops() == [(D("0.010"), D("48902.0"))]
        assert same_account(world, desk)


async def test_a_market_entry_whose_fill_was_never_told_is_covered_within_seconds() -> None:
    world = World()
    async with world.trading() as desk:
        world.deaf = True
        await world.enter(limit=None)
        world.deaf = False
        await world.wait(6)
        assert len(world.stops()) == 1
        assert same_account(world, desk)


async def test_a_stop_that_could_not_be_sent_is_sent_when_the_venue_is_back() -> None:
    world = World()
    async with world.trading():
        await world.enter()
        world.port.orders_down = True
        world.move(49_850)
        await world.quiet()
        await world.wait(30)
        assert "position_unprotected" in world.events()
        assert world.stops() == []
        world.port.orders_down = False
        await world.wait(2)
        assert world.stops() == [(D("0.010"), D("48902.0"))]
        assert len(world.live()) == 2


async def test_an_outage_does_not_pile_up_orders() -> None:
    world = World()
    async with world.trading() as desk:
        await world.enter()
        world.port.orders_down = True
        world.move(49_850)
        await world.quiet()
        await world.wait(60)
        assert len(desk.book.orders) < 200


async def test_an_exit_that_could_not_be_sent_is_sent_when_the_venue_is_back() -> None:
    world = World()
    async with world.trading():
        await opened(world)
        world.port.down = True
        await world.tell(ExitIntent("sig1", "max_hold", world.clock.now()))
        await world.wait(30)
        world.port.down = False
        await world.wait(2)
        assert world.net() == 0
        assert world.live() == []
    assert world.position().exit_reason == "max_hold"


@pytest.mark.parametrize("code", [-2022, -4118])
async def test_a_stop_that_the_venue_refuses_because_it_does_not_see_the_position_yet_is_sent_again(code: int) -> None:
    world = World()
    async with world.trading():
        world.port.refuse |= {"s0": code, "t0": code}
        await opened(world)
        assert world.live() == ["s1", "t1"]


async def test_a_stop_that_stays_refused_for_want_of_a_position_means_leaving() -> None:
    world = World()
    async with world.trading():
        world.port.refuse |= {f"s{n}": -2022 for n in range(10)}
        await opened(world)
        await world.wait(10)
        assert world.net() == 0
        assert world.live() == []
    assert world.position().exit_reason == "unprotected"


async def test_nothing_opens_while_the_user_stream_is_down_however_often_the_desk_reconciles() -> None:
    world = World()
    async with world.trading():
        world.port.down = True
        await world.tell(UserStreamUp(world.clock.now()))
        await world.tell(UserStreamLost(world.clock.now(), "cut"))
        world.port.down = False
        await world.wait(10)
        await world.enter("sig1", None)
        assert world.net() == 0
        assert world.outcome().exit_reason == "user_stream_lost"
        states = [n.state for n in world.news if isinstance(n, TradingStateChanged)]
        assert states[-1] is TradingState.REDUCING
        await world.tell(UserStreamUp(world.clock.now()))
        await world.enter("sig2", None)
        assert world.net() == D("0.010")


async def test_an_entry_that_fills_while_the_user_stream_is_down_is_covered_all_the_same() -> None:
    world = World()
    async with world.trading():
        await world.enter()
        await world.tell(UserStreamLost(world.clock.now(), "cut"))
        world.deaf = True
        world.move(49_850)
        await world.wait(16)
        assert len(world.stops()) == 1


async def test_a_venue_that_is_away_when_the_desk_asks_for_fills_or_funding_does_not_end_the_process() -> None:
    world = World()
    async with world.trading() as desk:
        await world.enter()
        told: list[object] = []
        tell, world.port._publish = world.port._publish, told.append
        world.move(49_850)
        world.port._publish = tell
        world.port.down = True
        await world.tell(told[-1])  # type: ignore[arg-type]  # the report of a fill that was never told
        await world.tell(FundingDue(world.clock.now()))
        world.port.down = False
        await world.wait(6)
        assert len(world.stops()) == 1
        assert same_account(world, desk)


async def test_funding_of_many_symbols_is_asked_for_once_and_once_again_when_all_is_told() -> None:
    world = World()
    async with world.trading():
        await opened(world)
        world.port.asked.clear()
        for _ in range(40):
            world._tell_desk(FundingDue(world.clock.now()))
        await world.quiet()
        await world.wait(60)
        assert world.port.asked.count("funding") <= 3


async def test_funding_that_is_booked_late_is_found_later() -> None:
    world = World()
    async with world.trading() as desk:
        await opened(world)
        world.move(49_850, minutes=1)
        await world.tell(FundingDue(world.clock.now()))
        world.deaf = True
        world.engine.pay_funding("BTCUSDT", D("0.0001"))
        world.port.flush()
        world.deaf = False
        await world.wait(31)
        assert same_account(world, desk)


async def test_a_twin_that_outlived_its_position_and_the_process_is_cancelled_after_the_restart() -> None:
    world = World()
    async with world.trading():
        await opened(world)
        world.port.deaf_to_cancels = True
        world.move(51_000)
        await world.quiet()
    assert world.live() == ["s0"]
    world.port.deaf_to_cancels = False
    async with world.trading():
        assert world.live() == []
        assert "venue_disagrees" not in world.events()
        await world.enter("sig2", None)
        assert world.net() == D("0.010")


async def test_a_twin_that_took_from_a_sibling_while_nobody_looked_is_booked_after_the_restart() -> None:
    world = World()
    async with world.trading():
        await world.enter("sig1")
        await world.enter("sig2", "49890.0")
        world.move(49_850)
        await world.quiet()
        world.port.deaf_to_cancels = True
        await world.tell(ExitIntent("sig1", "max_hold", world.clock.now()))
        assert world.net() == D("0.010")
    world.port.deaf_to_cancels = False
    world.move(48_000, minutes=1)
    async with world.trading() as desk:
        assert "venue_disagrees" not in world.events()
        assert same_account(world, desk)
        assert not list(desk.book.open_positions())


async def test_a_trigger_that_no_order_comes_of_does_not_pass_for_cover() -> None:
    world = World()
    async with world.trading() as desk:
        await opened(world)
        stop = next(algo for algo in world.engine.algos.values() if algo.type == "STOP_MARKET")
        algos = cast(dict[int, Algo], world.engine.algos)
        algos[stop.algo_id] = msgspec.structs.replace(stop, status=VenueStatus.TRIGGERING)
        stuck = await world.port.find("BTCUSDT", "tsb-sig1-s0", Book.ALGO)
        assert stuck is not None
        await world.tell(stuck)
        assert desk.book.orders["tsb-sig1-s0"].state is OrderState.TRIGGERED
        await world.wait(6)
        assert world.live() == ["s1", "t0"]
        assert "trigger_stuck" in world.events()


async def test_market_entries_do_not_pile_up_in_the_book() -> None:
    world = World()
    async with world.trading() as desk:
        for number in range(5):
            await world.enter(f"sig{number}", None)
            await world.tell(ExitIntent(f"sig{number}", "max_hold", world.clock.now()))
        assert len(desk.book.positions) <= 2
        assert len(desk._tending._outcomes) <= 2


async def test_an_entry_that_turns_up_after_it_was_given_up_does_not_keep_the_alarm_ringing() -> None:
    world = World()
    async with world.trading():
        world.deaf = True
        world.port.lose["e0"] = "after"
        world.port.blind_to.add("e0")
        await world.enter()
        await world.wait(8)
        assert world.position().exit_reason == "rejected"
        world.deaf = False
        world.port.blind_to.clear()
        world.port.deaf_to_cancels = True
        found = await world.port.find("BTCUSDT", "tsb-sig1-e0", Book.REGULAR)
        assert found is not None
        await world.tell(found)
        world.port.cancels = 0
        world.move(50_100, minutes=61)
        await world.quiet()
        assert world.port.cancels < 5
        world.port.deaf_to_cancels = False
        await world.wait(12)
        assert world.live() == []


async def test_a_symbol_that_is_added_later_starts_from_its_present_and_not_from_its_history() -> None:
    world = World()
    world.store.facts |= {"starting_wallet": "10000", "synced_trade_ids": {}, "started_at": world.clock.now()}
    for side in ("BUY", "SELL"):
        world.engine.place(NewOrder(symbol="BTCUSDT", side=side, type="MARKET", quantity=D("0.5"), client_id="web_1"))
    world.engine.take_events()
    async with world.trading() as desk:
        assert desk.ledger.fills == 0


async def test_a_user_stream_that_goes_deaf_without_a_word_is_found_out_by_the_positions() -> None:
    world = World(check_ms=60_000)
    async with world.trading() as desk:
        await world.enter()
        world.deaf = True
        world.move(49_850)
        await world.wait(61)
        assert world.stops() == [(D("0.010"), D("48902.0"))]
        assert "unheard_executions" in world.events()
        assert same_account(world, desk)


async def test_what_the_venue_refuses_on_one_position_does_not_hold_up_the_cover_of_another() -> None:
    world = World()
    async with world.trading() as desk:
        await opened(world)
        await world.enter("sig2", "49840.0")
        world.port.refuse |= {f"s{n}": -2022 for n in range(1, 9)}
        began = trio.current_time()
        await world.tell(StopMove("sig1", 49_700.0, "trailing_stop", world.clock.now()))
        world.port.refuse.clear()
        world.move(49_830)
        await world.quiet()
        assert trio.current_time() - began < 0.1
        assert len(world.stops()) == 2
        assert world.position().stop_price == D("48902.0")
        assert same_account(world, desk)


async def test_an_exit_of_which_nobody_knows_whether_it_arrived_is_not_joined_by_a_second_one() -> None:
    world = World()
    async with world.trading() as desk:
        await opened(world)
        world.port.lose["x0"] = "after"
        world.port.blind_to.add("x0")
        world.deaf = True
        await world.tell(ExitIntent("sig1", "red_after", world.clock.now()))
        assert [end for end in world.port.sent if end.startswith("x")] == ["x0"]
        world.deaf = False
        world.port.blind_to.clear()
        await world.wait(8)
        assert [end for end in world.port.sent if end.startswith("x")] == ["x0"]
        assert agrees(world, desk)
