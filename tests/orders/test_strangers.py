"""Closings that are none of ours: the venue's own, and a person's hand on the account."""

from decimal import Decimal

import pytest
import trio
import trio.testing

from bot.exchange.matching import NewOrder
from bot.messages import PERSON, BotEvent, PositionStatus, Severity, Side, StandingReleased
from bot.orders.reconcile import CHECKS
from bot.orders.strangers import forced
from bot.venue import UserStreamUp
from tests.orders.world import World, agrees, same_account

D = Decimal
ANNA = f"{PERSON}anna"


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


pytestmark = pytest.mark.anyio


async def two_open(world: World, side: Side = Side.LONG) -> None:
    await world.enter("sig1", None, side)
    await world.enter("sig2", None, side)


def by_hand(world: World, side: str, quantity: str, client_id: str = "web_1", told: bool = True) -> None:
    order = NewOrder(symbol="BTCUSDT", side=side, type="MARKET", quantity=D(quantity), client_id=client_id)
    world.engine.place(order)
    if told:
        world.port.flush()
    else:
        world.engine.take_events()


def rests(world: World, client_id: str = "web_1", price: str = "49000") -> None:
    order = NewOrder(
        symbol="BTCUSDT", side="BUY", type="LIMIT", quantity=D("0.5"), price=D(price), time_in_force="GTC",
        client_id=client_id,
    )  # fmt: skip
    world.engine.place(order)
    world.port.flush()


def told(world: World, name: str) -> list[dict[str, object]]:
    return [n.detail for n in world.news if isinstance(n, BotEvent) and n.name == name]


def graves(world: World) -> list[str]:
    return [n.name for n in world.news if isinstance(n, BotEvent) and n.severity is Severity.ERROR]


@pytest.mark.parametrize(
    ("client_id", "reason"),
    [
        ("autoclose-1616061", "liquidated"),
        ("adl_autoclose", "adl"),
        ("settlement_autoclose-77", "settled"),
        ("delivery_autoclose-77", "settled"),
        ("tsb-sig1-s0", ""),
        ("web_autoclose-", ""),
    ],
)
def test_the_venues_own_orders_are_known_by_their_client_ids(client_id: str, reason: str) -> None:
    assert forced(client_id) == reason


async def test_a_liquidation_closes_our_positions_drops_their_legs_and_waits_for_a_person() -> None:
    world = World()
    async with world.trading() as desk:
        await two_open(world)
        by_hand(world, "SELL", "0.020", "autoclose-1616061")
        await world.quiet()
        await world.wait(3)
        assert agrees(world, desk)
        assert world.live() == []
        assert [world.position(p).exit_reason for p in ("sig1", "sig2")] == ["liquidated", "liquidated"]
        assert "liquidated" in graves(world)
        await world.enter("sig3", None)
        assert world.outcome("sig3").exit_reason == "liquidated"
        await world.tell(StandingReleased(reason="liquidated", by=ANNA))
        await world.enter("sig4", None)
        assert world.net() == D("0.010")


async def test_a_real_liquidation_of_the_engine_is_booked_to_the_last_digit() -> None:
    world = World()
    async with world.trading() as desk:
        await two_open(world)
        world.engine.transfer(D("-9970"))
        world.gap(46_000)
        await world.quiet()
        await world.wait(5)
        assert world.net() == desk.book.net("BTCUSDT") == 0
        assert world.live() == []
        assert "venue_disagrees" not in world.events()


async def test_auto_deleveraging_takes_from_the_oldest_and_trading_goes_on() -> None:
    world = World()
    async with world.trading() as desk:
        await two_open(world, Side.SHORT)
        by_hand(world, "BUY", "0.013", "adl_autoclose")
        await world.quiet()
        await world.wait(3)
        assert agrees(world, desk)
        assert (world.position("sig1").status, world.position("sig1").exit_reason) == (PositionStatus.CLOSED, "adl")
        assert world.position("sig2").open_quantity == D("0.007")
        assert [quantity for quantity, _ in world.stops()] == [D("0.007")]
        await world.enter("sig3", None, Side.SHORT)
        assert world.net() == D("-0.017")


@pytest.mark.parametrize("told", [True, False], ids=["told", "unheard"])
async def test_what_a_person_closes_is_closed_and_the_bot_goes_on(told: bool) -> None:
    world = World(check_ms=10_000)
    async with world.trading() as desk:
        await two_open(world)
        by_hand(world, "SELL", "0.015", told=told)
        await world.quiet()
        await world.wait(15)
        assert agrees(world, desk)
        assert world.position("sig1").exit_reason == "closed_elsewhere"
        assert world.position("sig2").open_quantity == D("0.005")
        assert "closed_elsewhere" in graves(world)
        await world.enter("sig3", None)
        assert world.net() == D("0.015")


async def test_what_a_person_closed_while_the_bot_was_down_is_closed_at_the_start() -> None:
    world = World()
    async with world.trading():
        await two_open(world)
    by_hand(world, "SELL", "0.020", told=False)
    async with world.trading() as desk:
        await world.wait(5)
        assert agrees(world, desk)
        assert world.live() == []
        await world.enter("sig3", None)
        assert world.net() == D("0.010")


@pytest.mark.parametrize(
    ("client_id", "reason"), [("autoclose-161", "liquidated"), ("adl_autoclose", "adl"), ("web_1", "closed_elsewhere")]
)
async def test_who_closed_it_while_the_bot_was_down_is_known_at_the_start(client_id: str, reason: str) -> None:
    world = World()
    world.port.unnamed = True
    async with world.trading():
        await two_open(world)
    by_hand(world, "SELL", "0.020", client_id, told=False)
    async with world.trading() as desk:
        await world.wait(5)
        assert agrees(world, desk)
        assert world.live() == []
        assert [world.position(name).exit_reason for name in ("sig1", "sig2")] == [reason, reason]
        assert len(told(world, reason)) == 1
        assert desk._gate.holds("liquidated") is (reason == "liquidated")
        assert world.port.asked.count("find_by_id") == 1


async def test_an_order_of_others_that_cannot_be_read_does_not_keep_its_execution_from_being_booked() -> None:
    world = World()
    world.port.unnamed = True
    async with world.trading():
        await two_open(world)
    by_hand(world, "SELL", "0.020", "autoclose-161", told=False)
    world.port.failing["find_by_id"] = 1_000
    async with world.trading() as desk:
        await world.wait(10)
        assert agrees(world, desk)
        assert world.position("sig1").exit_reason == "closed_elsewhere"
    world = World()
    world.port.unnamed = True
    async with world.trading():
        await two_open(world)
    by_hand(world, "SELL", "0.020", "autoclose-161", told=False)
    world.port.failing["find_by_id"] = 1
    async with world.trading():
        await world.wait(10)
        assert world.position("sig1").exit_reason == "liquidated"


async def test_a_process_that_dies_between_a_persons_close_and_its_booking_books_it_at_the_next_start() -> None:
    world = World()
    async with world.trading():
        await two_open(world)
        assert world.inbox is not None
        world.port.down = True  # so that the comparison cannot confirm it
        by_hand(world, "SELL", "0.020")
        await world.quiet()
    world.port.down = False
    async with world.trading() as desk:
        await world.wait(5)
        assert agrees(world, desk)
        assert world.position("sig1").exit_reason == "closed_elsewhere"


async def test_a_persons_own_position_beside_ours_is_reported_and_never_touched() -> None:
    world = World()
    async with world.trading() as desk:
        await two_open(world)
        by_hand(world, "BUY", "0.500")
        await world.quiet()
        await world.wait(65)
        assert world.net() == D("0.520")
        assert desk.book.net("BTCUSDT") == D("0.020")
        await world.enter("sig3", None)
        assert world.outcome("sig3").exit_reason == "venue_disagrees"
        by_hand(world, "SELL", "0.500")
        await world.quiet()
        await world.wait(5)
        assert agrees(world, desk)
        assert [p.open_quantity for p in desk.book.open_positions()] == [D("0.010"), D("0.010")]
        await world.enter("sig4", None)
        assert world.net() == D("0.030")


async def test_a_position_that_a_person_turned_over_stays_a_disagreement_and_in_time_a_persons_matter() -> None:
    world = World()
    async with world.trading() as desk:
        await world.enter("sig1", None)
        by_hand(world, "SELL", "0.030")
        await world.quiet()
        await world.wait(660)
        assert desk._gate.holds("venue_disagrees")
        assert desk._gate.holds("disagreement_stayed")
        assert same_account(world, desk)


async def test_a_persons_order_is_told_once_and_again_when_it_changes_or_is_gone() -> None:
    world = World(check_ms=10_000)
    async with world.trading():
        await world.enter("sig1", None)
        rests(world)
        await world.quiet()
        await world.wait(120)
        assert [order["status"] for order in told(world, "foreign_order")] == ["NEW"]
        world.engine.cancel("BTCUSDT", client_id="web_1")
        world.engine.take_events()  # unheard
        await world.wait(30)
        assert told(world, "foreign_order_gone") == [{"symbol": "BTCUSDT", "client_id": "web_1"}]
        rests(world, "web_2", "50100")
        await world.quiet()
        await world.wait(30)
        assert [order["status"] for order in told(world, "foreign_order")] == ["NEW", "NEW", "FILLED"]
        assert len(told(world, "foreign_order_gone")) == 1


async def test_an_order_that_stands_beside_a_disagreement_is_not_told_at_every_look() -> None:
    world = World()
    rests(world)
    by_hand(world, "BUY", "0.5", "web_9", told=False)
    async with world.trading():
        await world.wait(600)
        assert world.port.asked.count("check_account") > 4
        assert len(told(world, "foreign_order")) == 1


async def test_a_disagreement_that_stays_is_looked_at_less_often_and_holds_up_nobody() -> None:
    world = World()
    by_hand(world, "BUY", "0.5")
    async with world.trading() as desk:
        began = trio.current_time()
        await world.wait(1_800)
        assert 5 <= world.port.asked.count("check_account") <= 11
        assert trio.current_time() - began < 5  # the waits for executions on their way are for news alone
        assert len(told(world, "venue_disagrees")) == 1
        assert desk._gate.why_no_entry
        by_hand(world, "SELL", "0.5")
        await world.quiet()
        await world.wait(2)
        assert not desk._gate.holds("venue_disagrees")


async def test_a_difference_that_changes_is_confirmed_anew_before_it_is_acted_on() -> None:
    world = World()
    by_hand(world, "SELL", "0.5")
    async with world.trading() as desk:
        await world.wait(120)
        before = world.port.asked.count("positions")
        by_hand(world, "SELL", "0.1")
        await world.quiet()
        await world.wait(2)
        assert world.port.asked.count("positions") - before == CHECKS
        assert desk._gate.holds("venue_disagrees")


async def test_an_account_that_cannot_be_read_is_asked_less_and_less_and_entries_wait() -> None:
    world = World()
    async with world.trading() as desk:
        world.port.fills_down = True
        by_hand(world, "BUY", "0.5")
        await world.quiet()
        before = world.port.asked.count("check_account")
        await world.wait(600)
        assert 10 <= world.port.asked.count("check_account") - before <= 16
        assert len(told(world, "not_reconciled")) == 1
        assert desk._gate.why_no_entry
        world.port.fills_down = False
        by_hand(world, "SELL", "0.5")
        await world.quiet()
        await world.wait(65)
        assert not desk._gate.holds("not_reconciled")
        assert agrees(world, desk)


async def test_what_a_person_trades_and_pays_in_silence_is_known_within_a_check_while_nothing_of_ours_is_open() -> None:
    world = World(check_ms=60_000)
    async with world.trading() as desk:
        await world.wait(300)
        world.deaf = True
        by_hand(world, "BUY", "0.5")
        world.engine.pay_funding("BTCUSDT", D("0.0001"))
        world.port.flush()
        world.deaf = False
        await world.wait(61)
        assert desk._gate.holds("venue_disagrees")
        assert desk.ledger.funding == sum(payment.amount for payment in await world.port.funding(0)) < 0


async def test_settings_that_stay_changed_are_told_once() -> None:
    world = World()
    async with world.trading():
        world.port.hedge_mode = True
        await world.tell(UserStreamUp(world.clock.now()))
        await world.wait(300)
        assert len(told(world, "contract_surprise")) == 1


@pytest.mark.parametrize("call", ["check_account", "open_orders", "fills", "funding", "positions"])
async def test_one_failed_read_breaks_off_no_comparison_and_two_do(call: str) -> None:
    world = World()
    async with world.trading() as desk:
        await world.enter("sig1", None)
        world.port.failing[call] = 1
        await world.tell(UserStreamUp(world.clock.now()))
        assert "not_reconciled" not in world.events()
        assert desk._gate.why_no_entry == ""
        world.port.failing[call] = 2
        await world.tell(UserStreamUp(world.clock.now()))
        assert call == "funding" or desk._gate.holds("not_reconciled")
        await world.wait(2)
        assert desk._gate.why_no_entry == ""
