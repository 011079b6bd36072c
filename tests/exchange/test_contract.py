"""What the venue says that its documents do not have: never a crash, never a guess, always told."""

from collections.abc import AsyncIterator
from contextlib import closing

import pytest

from bot.clock import HOUR_MS, ReplayClock
from bot.config import ExchangeTable, Secrets
from bot.errors import OutcomeUnknown, VenueError, VenueRejected, VenueUnavailable
from bot.exchange.binance import BinanceTrading
from bot.exchange.budget import RequestBudget
from bot.exchange.contract import ContractWatch
from bot.messages import BotEvent, StandingOrder, TradingState
from tests.exchange.scripted_venue import Handler, Venue, says, says_text, serving
from tests.exchange.test_binance import ENTRY, NOW, ORDER, error

pytestmark = pytest.mark.anyio


class Ears:
    """Whoever hears of surprises, and two ports that are watched."""

    def __init__(self) -> None:
        self.clock = ReplayClock(NOW)
        self.events: list[BotEvent] = []
        self.orders: list[StandingOrder] = []
        self.watch = ContractWatch(self.clock, self.events.append, self.orders.append)
        self.resyncs = 0
        self.can_resync = True

    async def resync(self) -> bool:
        self.resyncs += 1
        self.clock.advance(NOW + 70)
        return self.can_resync


@pytest.fixture
async def venue() -> AsyncIterator[Venue]:
    async with serving() as venue:
        yield venue


@pytest.fixture
def ears() -> Ears:
    return Ears()


@pytest.fixture
async def trading(venue: Venue, ears: Ears) -> AsyncIterator[BinanceTrading]:
    table, budget = ExchangeTable(timeout_ms=300), RequestBudget()
    port = BinanceTrading(Secrets("k", "s"), venue.url, ears.clock, table, budget, ears.watch.surprised, ears.resync)
    with closing(port):
        yield port


SURPRISES: dict[str, tuple[Handler, type[VenueError], str]] = {
    "an unknown status": (says(ORDER | {"status": "PAUSED"}), OutcomeUnknown, "PAUSED"),
    "a missing field": (says({k: v for k, v in ORDER.items() if k != "executedQty"}), OutcomeUnknown, "executedQty"),
    "a number for a text": (says(ORDER | {"clientOrderId": 5}), OutcomeUnknown, "clientOrderId"),
    "a text for a number": (says(ORDER | {"orderId": "x"}), OutcomeUnknown, "orderId"),
    "a list for an order": (says([ORDER]), OutcomeUnknown, "array"),
    "another endpoint for this type": (says(error(-4120, "use the Algo API"), 400), VenueRejected, "-4120"),
    "another price grid": (says(error(-4014), 400), VenueRejected, "-4014"),
    "another position mode": (says(error(-4061), 400), VenueRejected, "-4061"),
}


@pytest.mark.parametrize("case", SURPRISES)
async def test_a_surprise_is_told_with_its_endpoint_and_what_came_and_stops_entries(
    case: str, venue: Venue, trading: BinanceTrading, ears: Ears
) -> None:
    answer, wanted, found = SURPRISES[case]
    venue.will("POST", "/fapi/v1/order", answer)
    with pytest.raises(wanted):
        await trading.place(ENTRY)
    (event,) = ears.events
    assert (event.name, event.detail["endpoint"]) == ("contract_surprise", "new_order")
    assert found in event.detail["found"]
    (order,) = ears.orders
    assert (order.state, order.reason) == (TradingState.REDUCING, "contract_surprise")


NO_SURPRISES = {
    "one key more": says(ORDER | {"newKey": {"a": 1}}),
    "too little margin": says(error(-2019), 400),
    "a page of a proxy": says_text("<html>", 200),
    "half an answer": says_text('{"clientOrderId":', 200, "application/json"),
    "an overloaded venue": says(error(-1008), 503),
}


@pytest.mark.parametrize("case", NO_SURPRISES)
async def test_what_is_documented_or_was_garbled_on_the_way_is_no_surprise(
    case: str, venue: Venue, trading: BinanceTrading, ears: Ears
) -> None:
    venue.will("POST", "/fapi/v1/order", NO_SURPRISES[case])
    try:
        await trading.place(ENTRY)
    except VenueError:
        assert case != "one key more"
    assert (ears.events, ears.orders) == ([], [])


async def test_a_surprise_that_repeats_is_told_once_an_hour(ears: Ears) -> None:
    for _ in range(3):
        ears.watch.surprised("here", "this")
    ears.watch.surprised("here", "that")
    assert len(ears.events) == 2
    ears.clock.advance(NOW + HOUR_MS)
    ears.watch.surprised("here", "this")
    assert len(ears.events) == len(ears.orders) == 3


@pytest.mark.parametrize("code", [-1021, -5028])
async def test_a_clock_that_is_off_is_set_at_once_and_the_same_order_is_signed_again(
    code: int, venue: Venue, trading: BinanceTrading, ears: Ears
) -> None:
    venue.will("POST", "/fapi/v1/order", says(error(code), 400), says(ORDER))
    assert (await trading.place(ENTRY)).client_id == "tsb-1"
    asked = [dict(request.query) for request in venue.asked]
    assert [query.pop("timestamp") for query in asked] == [str(NOW), str(NOW + 70)]
    assert asked[0].pop("signature") != asked[1].pop("signature")
    assert asked[0] == asked[1]
    assert ears.resyncs == 1


@pytest.mark.parametrize("can_resync", [True, False])
async def test_a_clock_that_stays_off_is_set_once_and_then_the_venue_is_unavailable(
    can_resync: bool, venue: Venue, trading: BinanceTrading, ears: Ears
) -> None:
    ears.can_resync = can_resync
    venue.will("POST", "/fapi/v1/order", says(error(-1021), 400))
    with pytest.raises(VenueUnavailable):
        await trading.place(ENTRY)
    assert len(venue.asked) == (2 if can_resync else 1)


async def test_too_many_orders_hold_up_orders_and_nothing_else(
    venue: Venue, trading: BinanceTrading, ears: Ears
) -> None:
    venue.will("POST", "/fapi/v1/order", says(error(-1015), 400))
    venue.will("GET", "/fapi/v1/order", says(ORDER))
    for _ in range(2):
        with pytest.raises(VenueUnavailable):
            await trading.place(ENTRY)
    assert await trading.find("BTCUSDT", "tsb-1", ENTRY.kind.book) is not None
    assert [request.method for request in venue.asked] == ["POST", "GET"]


async def test_a_countdown_is_asked_for_and_taken_back(venue: Venue, trading: BinanceTrading) -> None:
    venue.will("POST", "/fapi/v1/countdownCancelAll", says({"symbol": "BTCUSDT", "countdownTime": "120000"}))
    await trading.set_countdown("BTCUSDT", 120_000)
    await trading.set_countdown("BTCUSDT", 0)
    assert [request.query["countdownTime"] for request in venue.asked] == ["120000", "0"]
