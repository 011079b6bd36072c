"""Closings that are none of ours: the venue's own, and a person's hand on the account."""

from decimal import Decimal

import pytest
import trio.testing

from bot.exchange.matching import NewOrder
from bot.messages import PERSON, BotEvent, PositionStatus, Severity, Side, StandingReleased
from bot.orders.strangers import forced
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
