"""The real desk against the matching engine in one process, on trio's virtual time."""

from decimal import Decimal

import pytest
import trio.testing

from bot.clock import HOUR_MS
from bot.exchange.matching import Engine, NewOrder, Settings
from bot.messages import EntryIntent, ExitIntent, ExitPlan, PositionChanged, Side, SignalOutcome, StopMove
from bot.venue import UserStreamLost, UserStreamUp
from tests.orders.world import BTC, FaultyTrading, World, same_account

D = Decimal


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


pytestmark = pytest.mark.anyio


async def test_an_entry_fills_is_covered_and_ends_at_its_target_with_its_twin_cancelled() -> None:
    world = World()
    async with world.trading() as desk:
        await world.enter()
        assert world.live() == ["e0"]
        world.move(49_850)
        await world.quiet()
        assert world.live() == ["s0", "t0"]
        assert world.stops() == [(D("0.010"), D("48902.0"))]
        world.move(51_000)
        await world.quiet()
        assert world.live() == []
        assert world.net() == 0
        assert same_account(world, desk)
    assert world.position().exit_reason == "target"
    assert world.outcome().net_pnl == world.position().net_pnl == world.engine.wallet - 10_000


async def test_an_entry_that_does_not_fill_is_cancelled_when_its_hour_is_over() -> None:
    world = World()
    async with world.trading():
        await world.enter()
        world.move(50_100, minutes=60)
        await world.quiet()
        assert world.live() == []
    assert world.outcome().fill_status == "expired"
    assert world.position().exit_reason == "not_filled"


async def test_a_cancel_that_gets_lost_is_tried_again_after_a_pause_and_not_in_a_storm() -> None:
    world = World()
    async with world.trading():
        await world.enter()
        world.port.deaf_to_cancels = True
        world.move(50_100, minutes=60)
        await world.quiet()
        assert (world.port.cancels, world.live()) == (1, ["e0"])
        world.move(50_100, minutes=1)
        await world.quiet()
        assert (world.port.cancels, world.live()) == (2, ["e0"])
        world.port.deaf_to_cancels = False
        world.move(50_100, minutes=1)
        await world.quiet()
        assert world.live() == []


async def test_a_partial_fill_is_covered_at_once_and_the_rest_as_it_comes() -> None:
    world = World()
    world.engine = Engine({"BTCUSDT": BTC}, D(10_000), Settings(partial_fill_probability=1.0))
    world.port = FaultyTrading(world.engine, world._tell_desk)
    world.move(50_000)
    async with world.trading() as desk:
        await world.enter()
        world.move(49_890)
        await world.quiet()
        assert 0 < world.net() < D("0.010")
        assert [quantity for quantity, _ in world.stops()] == [world.net()]
        world.move(49_880)
        await world.quiet()
        assert [quantity for quantity, _ in world.stops()] == [world.net()]
        assert same_account(world, desk)


@pytest.mark.parametrize("lost", ["before", "after"])
async def test_an_entry_whose_answer_is_lost_is_never_executed_twice(lost: str) -> None:
    world = World()
    async with world.trading() as desk:
        world.port.lose["e0"] = lost
        await world.enter()
        world.clock.advance(world.clock.now() + 6_000)
        await world.quiet()
        assert world.port.sent.count("e0") == 1
        assert world.live() == (["e0"] if lost == "after" else [])
        world.move(49_850)
        await world.quiet()
        assert world.net() == (D("0.010") if lost == "after" else 0)
        assert same_account(world, desk)


@pytest.mark.parametrize("lost", ["before", "after"])
async def test_a_stop_whose_answer_is_lost_stands_on_the_venue_all_the_same(lost: str) -> None:
    world = World()
    async with world.trading():
        world.port.lose["s0"] = lost
        await world.enter()
        world.move(49_850)
        await world.quiet()
        await world.wait(0 if lost == "after" else 4)  # never sent again before the venue has said that it is missing
        assert world.stops() == [(D("0.010"), D("48902.0"))]


async def test_a_position_whose_stop_the_venue_refuses_is_closed_at_market() -> None:
    world = World()
    async with world.trading():
        world.port.refuse["s0"] = -1111
        await world.enter()
        world.move(49_850)
        await world.quiet()
        assert world.net() == 0
        assert world.live() == []
    assert world.position().exit_reason == "unprotected"


async def test_a_better_stop_that_the_venue_refuses_leaves_the_one_that_stands() -> None:
    world = World()
    async with world.trading():
        world.port.refuse["s1"] = -4045  # too many conditional orders
        await world.enter()
        world.move(49_850)
        await world.quiet()
        await world.tell(StopMove("sig1", 49_700.0, "trailing_stop", world.clock.now()))
        assert world.stops() == [(D("0.010"), D("48902.0"))]
        assert world.net() == D("0.010")
        assert "cover_refused" in world.events()


async def test_a_target_that_the_venue_refuses_does_not_cost_the_position() -> None:
    world = World()
    async with world.trading():
        world.port.refuse["t0"] = -4045
        await world.enter()
        world.move(49_850)
        await world.quiet()
        assert world.live() == ["s0"]
        world.move(48_000)
        await world.quiet()
    assert world.position().exit_reason == "stop_loss"


async def test_a_stop_that_the_price_has_passed_already_means_leaving_now() -> None:
    world = World()
    async with world.trading():
        world.port.refuse["s0"] = -2021
        await world.enter()
        world.move(49_850)
        await world.quiet()
    assert world.position().exit_reason == "stop_loss"
    assert world.net() == 0


async def test_a_stop_is_moved_by_placing_the_new_one_first() -> None:
    world = World()
    async with world.trading():
        await world.enter()
        world.move(49_850)
        await world.quiet()
        await world.tell(StopMove("sig1", 49_700.0, "trailing_stop", world.clock.now()))
        assert world.stops() == [(D("0.010"), D("49700.0"))]
        assert world.port.sent[-1] == "s1"
        await world.tell(StopMove("sig1", 49_600.0, "trailing_stop", world.clock.now()))
        assert world.stops() == [(D("0.010"), D("49700.0"))]
        world.move(49_650)
        await world.quiet()
    assert world.position().exit_reason == "trailing_stop"
    assert world.net() == 0


async def test_an_exit_intent_closes_at_market_and_cancels_both_legs() -> None:
    world = World()
    async with world.trading():
        await world.enter()
        world.move(49_850)
        await world.quiet()
        await world.tell(ExitIntent("sig1", "max_hold", world.clock.now()))
        assert world.net() == 0
        assert world.live() == []
    assert world.position().exit_reason == "max_hold"


async def test_an_exit_that_comes_after_the_stop_was_faster_is_sent_once_and_harms_nothing() -> None:
    world = World()
    async with world.trading() as desk:
        await world.enter()
        world.move(49_850)
        await world.quiet()
        assert world.inbox is not None
        world.inbox.send_nowait(ExitIntent("sig1", "max_hold", world.clock.now()))
        world.move(48_000)  # the stop fills before the desk has read the intent
        await world.quiet()
        assert world.port.sent.count("x0") == 1
        assert "x1" not in world.port.sent
        assert world.net() == 0
        assert world.live() == []
        assert same_account(world, desk)
    assert world.position().exit_reason == "stop_loss"


async def test_several_positions_of_one_symbol_live_and_die_on_their_own() -> None:
    world = World()
    async with world.trading() as desk:
        await world.enter("sig1", None)
        world.move(50_400)
        await world.quiet()
        await world.enter("sig2", None)
        assert len(world.stops()) == 2
        await world.tell(ExitIntent("sig1", "max_hold", world.clock.now()))
        assert [quantity for quantity, _ in world.stops()] == [D("0.010")]
        assert world.net() == D("0.010")
        assert same_account(world, desk)


async def test_an_opposite_entry_is_denied_while_the_symbol_is_held() -> None:
    world = World()
    async with world.trading():
        await world.enter("sig1", None)
        await world.enter("sig2", None, Side.SHORT)
        assert world.net() == D("0.010")
    denied = world.outcome("sig2")
    assert (denied.fill_status, denied.exit_reason) == ("denied", "opposite_position")


async def test_the_same_intent_told_twice_is_executed_once() -> None:
    world = World()
    async with world.trading():
        await world.enter("sig1", None)
        await world.tell(ExitIntent("sig1", "max_hold", world.clock.now()))
        await world.enter("sig1", None)
        assert world.net() == 0


async def test_nothing_opens_before_the_user_stream_is_up() -> None:
    world = World()
    async with world.trading():
        await world.tell(UserStreamLost(world.clock.now(), "test"))
        await world.enter("sig1", None)
        assert world.net() == 0
        await world.tell(UserStreamUp(world.clock.now()))
        await world.enter("sig2", None)
        assert world.net() == D("0.010")


@pytest.mark.parametrize("while_down", [49_850, 48_000, 52_000])
async def test_after_a_restart_the_book_is_what_it_would_have_been(while_down: int) -> None:
    world = World()
    async with world.trading():
        await world.enter()
        if while_down != 49_850:
            world.move(49_850)
            await world.quiet()
    world.move(while_down, minutes=1)
    async with world.trading() as desk:
        held = D("0.010") if while_down == 49_850 else D(0)
        assert world.net() == held
        assert [quantity for quantity, _ in world.stops()] == ([held] if held else [])
        assert world.live() == (["s0", "t0"] if held else [])
        assert same_account(world, desk)
        assert len(world.store.fills) == len(world.engine.fills)
    assert world.position().exit_reason == {49_850: None, 48_000: "stop_loss", 52_000: "target"}[while_down]


async def test_an_order_that_was_committed_and_never_sent_is_not_sent_after_a_restart() -> None:
    world = World()
    async with world.trading() as desk:
        position, row = desk.book.enter(_intent(world))
        await world.store.save(orders=[row], positions=[position])
    async with world.trading():
        assert world.live() == []
    assert world.position("late").exit_reason == "rejected"


async def test_foreign_orders_and_positions_are_reported_and_never_touched() -> None:
    world = World()
    world.engine.place(
        NewOrder(
            symbol="BTCUSDT",
            side="BUY",
            type="LIMIT",
            quantity=D("0.5"),
            price=D("49000"),
            time_in_force="GTC",
            client_id="web_1",
        )
    )
    async with world.trading():
        assert "foreign_order" in world.events()
        assert [o.client_id for o in world.engine.orders.values() if o.is_open] == ["web_1"]


async def test_a_position_that_is_not_ours_keeps_the_desk_from_opening() -> None:
    world = World()
    world.engine.place(NewOrder(symbol="BTCUSDT", side="BUY", type="MARKET", quantity=D("0.5"), client_id="web_1"))
    async with world.trading():
        assert "venue_disagrees" in world.events()
        await world.enter("sig1", None)
        assert world.outcome().exit_reason == "venue_disagrees"
        assert world.net() == D("0.5")


async def test_funding_is_booked_once_and_shared_by_the_open_positions() -> None:
    world = World()
    async with world.trading() as desk:
        await world.enter("sig1", None)
        await world.enter("sig2", None)
        world.move(50_000, minutes=10)
        world.engine.pay_funding("BTCUSDT", D("0.0001"))
        world.port.flush()
        await world.quiet()
        await world.tell(UserStreamUp(world.clock.now()))
        assert same_account(world, desk)
        assert world.position("sig1").funding == world.position("sig2").funding == D("-0.05")
    async with world.trading() as desk:
        assert same_account(world, desk)


async def test_others_get_copies_of_positions_not_the_desks_own() -> None:
    world = World()
    async with world.trading() as desk:
        await world.enter("sig1", None)
        told = [n.position for n in world.news if isinstance(n, PositionChanged)]
        assert all(p is not desk.book.positions["sig1"] for p in told)


def _intent(world: World) -> EntryIntent:
    now = world.clock.now()
    return EntryIntent(
        signal_id="late",
        variant="BTC",
        tier="t1",
        symbol="BTCUSDT",
        side=Side.LONG,
        quantity=D("0.010"),
        limit_price=None,
        post_only=False,
        created_at=now,
        expires_at=now + HOUR_MS,
        leverage=10,
        exits=ExitPlan(stop_pct=2.0),
    )


async def test_what_an_earlier_process_did_not_live_to_tell_is_told_at_the_start() -> None:
    world = World()
    async with world.trading():
        await world.enter(limit=None)
        world.move(51_100)
        await world.quiet()
    position = world.position()
    assert position.exit_reason == "target"
    world.store.untold, world.store.lost_intents = [position], ["sig2"]
    world.news.clear()
    async with world.trading():
        told = {news.signal_id: news for news in world.news if isinstance(news, SignalOutcome)}
    assert (told["sig1"].fill_status, told["sig1"].exit_reason) == ("filled", "target")
    assert told["sig1"].net_pnl == position.net_pnl
    assert (told["sig2"].fill_status, told["sig2"].exit_reason) == ("denied", "process_ended")
