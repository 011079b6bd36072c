"""BinanceTrading, the real SDK inside, against a server that answers what the test says."""

from collections.abc import AsyncIterator, Callable
from decimal import Decimal

import anyio
import pytest
from aiohttp import web

from bot.clock import ReplayClock
from bot.config import ExchangeTable, Secrets
from bot.errors import OperatorError, OutcomeUnknown, VenueError, VenueRejected, VenueUnavailable
from bot.exchange.binance import BinanceTrading
from bot.exchange.budget import HEAD_START_MS, Kind, RequestBudget
from bot.venue import Book, OrderKind, OrderRequest, VenueStatus
from tests.exchange.scripted_venue import Handler, Venue, dawdles, drops, says, says_text, serving, tears

pytestmark = pytest.mark.anyio

NOW = 1_760_000_010_000

ORDER = {
    "clientOrderId": "tsb-1",
    "orderId": 123456789012,
    "symbol": "BTCUSDT",
    "status": "NEW",
    "side": "BUY",
    "origQty": "0.002",
    "executedQty": "0",
    "updateTime": NOW,
    "type": "LIMIT",
}
ALGO = {
    "algoId": 4000001910701524,
    "clientAlgoId": "tsb-2",
    "symbol": "BTCUSDT",
    "side": "SELL",
    "quantity": "0.002",
    "algoStatus": "NEW",
    "updateTime": NOW,
}
GOOD_ACCOUNT = {"canTrade": True, "dualSidePosition": False, "multiAssetsMargin": False}
ENTRY = OrderRequest(
    client_id="tsb-1",
    symbol="BTCUSDT",
    kind=OrderKind.LIMIT,
    buy=True,
    quantity=Decimal("0.002"),
    price=Decimal("1E+4"),
)
STOP = OrderRequest(
    client_id="tsb-2",
    symbol="BTCUSDT",
    kind=OrderKind.STOP_MARKET,
    buy=False,
    quantity=Decimal("0.002"),
    trigger_price=Decimal("9800.0"),
    reduce_only=True,
)


@pytest.fixture
async def venue() -> AsyncIterator[Venue]:
    async with serving() as venue:
        yield venue


@pytest.fixture
def budget() -> RequestBudget:
    return RequestBudget()


@pytest.fixture
async def trading(venue: Venue, budget: RequestBudget) -> AsyncIterator[BinanceTrading]:
    port = BinanceTrading(Secrets("k", "s"), venue.url, ReplayClock(NOW), ExchangeTable(timeout_ms=300), budget)
    yield port
    port.close()


def error(code: int, message: str = "m") -> dict[str, object]:
    return {"code": code, "msg": message}


UNKNOWN = "Unknown error, please check your request or try again later."
INTERNAL = "Internal error; unable to process your request. Please try again."

# (the answer, what it means for an opening order, what it means for a read)
MEANINGS: dict[str, tuple[Handler, type[VenueError], type[VenueError]]] = {
    "400 with a code": (says(error(-2019), 400), VenueRejected, VenueRejected),
    "401 with a code": (says(error(-2015), 401), VenueRejected, VenueRejected),
    "403 of a firewall": (says_text("<html>WAF</html>", 403), VenueRejected, VenueRejected),
    "404 without a body": (says_text("", 404), VenueRejected, VenueRejected),
    "400 -1000": (says(error(-1000), 400), OutcomeUnknown, VenueUnavailable),
    "400 -1006": (says(error(-1006), 400), OutcomeUnknown, VenueUnavailable),
    "400 -1007": (says(error(-1007), 400), OutcomeUnknown, VenueUnavailable),
    "400 -1001": (says(error(-1001), 400), OutcomeUnknown, VenueUnavailable),
    "408 -1007": (says(error(-1007), 408), OutcomeUnknown, VenueUnavailable),
    "409": (says(error(-1), 409), OutcomeUnknown, VenueUnavailable),
    "429": (says(error(-1003), 429), VenueUnavailable, VenueUnavailable),
    "418": (says(error(-1003), 418), VenueUnavailable, VenueUnavailable),
    "400 -1015": (says(error(-1015), 400), VenueUnavailable, VenueUnavailable),
    "500": (says_text("oops", 500), OutcomeUnknown, VenueUnavailable),
    "502 of a gateway": (says_text("<html>Bad Gateway</html>", 502), OutcomeUnknown, VenueUnavailable),
    "503 unknown": (says({"msg": UNKNOWN}, 503), OutcomeUnknown, VenueUnavailable),
    "503 unknown with a code": (says(error(-1000, UNKNOWN), 503), OutcomeUnknown, VenueUnavailable),
    "503 of a service that is off": (says_text("Service Unavailable.", 503), VenueUnavailable, VenueUnavailable),
    "503 -1001": (says(error(-1001, INTERNAL), 503), VenueUnavailable, VenueUnavailable),
    "503 -1008": (says(error(-1008), 503), VenueUnavailable, VenueUnavailable),
    "400 that is a list": (says([1, 2], 400), VenueRejected, VenueRejected),
    "400 that calls html json": (says_text("<html>", 400, "application/json"), VenueRejected, VenueRejected),
    "200 of html": (says_text("<html>", 200), OutcomeUnknown, VenueUnavailable),
    "200 of half a json": (says_text('{"clientOrderId":', 200, "application/json"), OutcomeUnknown, VenueUnavailable),
    "200 without the amount": (
        says({k: v for k, v in ORDER.items() if k != "executedQty"}),
        OutcomeUnknown,
        VenueUnavailable,
    ),
    "200 with an unknown status": (says(ORDER | {"status": "ODD"}), OutcomeUnknown, VenueUnavailable),
    "200 with a quantity that is none": (says(ORDER | {"origQty": "NaN"}), OutcomeUnknown, VenueUnavailable),
    "a dropped connection": (drops, OutcomeUnknown, VenueUnavailable),
    "a torn body": (tears, OutcomeUnknown, VenueUnavailable),
    "no answer in time": (dawdles, OutcomeUnknown, VenueUnavailable),
}


@pytest.mark.parametrize("case", MEANINGS)
async def test_every_bad_answer_to_an_order_has_its_one_meaning(
    case: str, venue: Venue, trading: BinanceTrading
) -> None:
    handler, meaning, _ = MEANINGS[case]
    venue.will("POST", "/fapi/v1/order", handler)
    with pytest.raises(meaning) as caught:
        await trading.place(ENTRY)
    assert len(venue.asked) == 1
    assert venue.asked[0].query["signature"] not in f"{caught.value} {caught.value.__cause__}"


@pytest.mark.parametrize("case", MEANINGS)
async def test_every_bad_answer_to_a_question_has_its_one_meaning(
    case: str, venue: Venue, trading: BinanceTrading
) -> None:
    handler, _, meaning = MEANINGS[case]
    venue.will("GET", "/fapi/v1/order", handler)
    with pytest.raises(meaning):
        await trading.find("BTCUSDT", "tsb-1", Book.REGULAR)
    assert len(venue.asked) == 1


async def test_an_order_goes_out_signed_in_plain_decimals_and_domain_time(
    venue: Venue, trading: BinanceTrading
) -> None:
    venue.will("POST", "/fapi/v1/order", says(ORDER))
    report = await trading.place(ENTRY)
    query = venue.asked[0].query
    assert query["price"] == "10000"
    assert query["quantity"] == "0.002"
    assert query["timeInForce"] == "GTC"
    assert query["timestamp"] == str(NOW)
    assert query["recvWindow"] == "5000"
    assert len(query["signature"]) == 64
    assert venue.asked[0].headers["X-MBX-APIKEY"] == "k"
    assert (report.venue_id, report.status, report.book) == (123456789012, VenueStatus.NEW, Book.REGULAR)


async def test_a_stop_goes_to_the_algo_book(venue: Venue, trading: BinanceTrading) -> None:
    venue.will("POST", "/fapi/v1/algoOrder", says(ALGO))
    report = await trading.place(STOP)
    query = venue.asked[0].query
    assert query["algoType"] == "CONDITIONAL"
    assert query["clientAlgoId"] == "tsb-2"
    assert query["triggerPrice"] == "9800.0"
    assert query["reduceOnly"] == "true"
    assert (report.book, report.quantity, report.filled) == (Book.ALGO, Decimal("0.002"), Decimal(0))


async def test_throttling_is_no_clear_word_on_orders_that_are_exempt_from_it(
    venue: Venue, trading: BinanceTrading
) -> None:
    venue.will("POST", "/fapi/v1/algoOrder", says(error(-1008), 503))
    with pytest.raises(OutcomeUnknown):
        await trading.place(STOP)
    venue.will("DELETE", "/fapi/v1/order", says(error(-1008), 503))
    with pytest.raises(OutcomeUnknown):
        await trading.cancel("BTCUSDT", "tsb-1", Book.REGULAR)


async def test_a_port_that_nobody_listens_on_is_unavailable_and_not_unknown(budget: RequestBudget) -> None:
    port = BinanceTrading(
        Secrets("k", "s"), "http://127.0.0.1:9", ReplayClock(NOW), ExchangeTable(timeout_ms=300), budget
    )
    with pytest.raises(VenueUnavailable):
        await port.place(ENTRY)
    port.close()


async def test_a_duplicate_client_id_is_the_order_that_came_first(venue: Venue, trading: BinanceTrading) -> None:
    venue.will("POST", "/fapi/v1/order", says(error(-4116), 400))
    venue.will("GET", "/fapi/v1/order", says(ORDER | {"status": "FILLED", "executedQty": "0.002"}))
    report = await trading.place(ENTRY)
    assert (report.status, report.filled) == (VenueStatus.FILLED, Decimal("0.002"))
    venue.will("GET", "/fapi/v1/order", says(error(-2013), 400))
    with pytest.raises(OutcomeUnknown):
        await trading.place(ENTRY)


async def test_cancel_and_find_say_none_where_the_venue_knows_no_such_order(
    venue: Venue, trading: BinanceTrading
) -> None:
    venue.will("DELETE", "/fapi/v1/order", says(error(-2011), 400))
    venue.will("DELETE", "/fapi/v1/algoOrder", says(error(-2011), 400))
    venue.will("GET", "/fapi/v1/order", says(error(-2013), 400))
    venue.will("GET", "/fapi/v1/algoOrder", says(error(-2013), 400))
    for book in Book:
        assert await trading.cancel("BTCUSDT", "tsb-1", book) is None
        assert await trading.find("BTCUSDT", "tsb-1", book) is None


async def test_an_order_is_found_by_the_venues_own_id_whoever_placed_it(venue: Venue, trading: BinanceTrading) -> None:
    venue.will("GET", "/fapi/v1/order", says(ORDER | {"clientOrderId": "autoclose-161"}))
    report = await trading.find_by_id("BTCUSDT", 123456789012)
    assert report is not None
    assert (report.client_id, report.venue_id) == ("autoclose-161", 123456789012)
    assert venue.asked[0].query["orderId"] == "123456789012"
    assert "origClientOrderId" not in venue.asked[0].query
    venue.will("GET", "/fapi/v1/order", says(error(-2013), 400))
    assert await trading.find_by_id("BTCUSDT", 1) is None


async def test_a_cancelled_stop_is_reported_as_cancelled_even_where_the_query_lags(
    venue: Venue, trading: BinanceTrading
) -> None:
    done = {"algoId": ALGO["algoId"], "clientAlgoId": "tsb-2", "code": "200", "msg": "success"}
    venue.will("DELETE", "/fapi/v1/algoOrder", says(done))
    venue.will("GET", "/fapi/v1/algoOrder", says(ALGO))
    report = await trading.cancel("BTCUSDT", "tsb-2", Book.ALGO)
    assert report is not None
    assert report.status is VenueStatus.CANCELED
    venue.will("GET", "/fapi/v1/algoOrder", says_text("", 502))
    with pytest.raises(OutcomeUnknown):
        await trading.cancel("BTCUSDT", "tsb-2", Book.ALGO)


@pytest.mark.parametrize("envelope", [list, lambda rows: {"orders": rows}])
async def test_open_orders_are_those_of_both_books(
    envelope: Callable[[list[object]], object], venue: Venue, trading: BinanceTrading
) -> None:
    venue.will("GET", "/fapi/v1/openOrders", says([ORDER]))
    venue.will("GET", "/fapi/v1/openAlgoOrders", says(envelope([ALGO])))
    reports = await trading.open_orders()
    assert [(report.client_id, report.book) for report in reports] == [("tsb-1", Book.REGULAR), ("tsb-2", Book.ALGO)]


def trade(trade_id: int) -> dict[str, object]:
    return {
        "symbol": "BTCUSDT",
        "id": trade_id,
        "orderId": 7,
        "side": "SELL",
        "price": "10000.1",
        "qty": "0.001",
        "commission": "0.005",
        "commissionAsset": "USDT",
        "realizedPnl": "0",
        "maker": False,
        "time": NOW,
    }


async def test_fills_are_paged_by_trade_id(venue: Venue, trading: BinanceTrading) -> None:
    async def trades(request: web.Request) -> web.StreamResponse:
        start = int(request.query["fromId"])
        return web.json_response([trade(number) for number in range(start, min(start + 1000, 2_501))])

    venue.will("GET", "/fapi/v1/userTrades", trades)
    fills = await trading.fills("BTCUSDT", 1)
    assert [fill.trade_id for fill in fills] == list(range(1, 2_501))
    assert [request.query["fromId"] for request in venue.asked] == ["1", "1001", "2001"]
    assert not fills[0].buy


async def test_funding_is_paged_by_time_without_losing_rows_of_one_moment(
    venue: Venue, trading: BinanceTrading
) -> None:
    rows = [
        {
            "symbol": f"S{number}USDT",
            "incomeType": "FUNDING_FEE",
            "income": "-0.01",
            "asset": "USDT",
            "time": NOW + number // 300 * 1_000,
            "tranId": number,
        }
        for number in range(1_500)
    ]

    async def income(request: web.Request) -> web.StreamResponse:
        start = int(request.query["startTime"])
        return web.json_response([row for row in rows if row["time"] >= start][:1000])  # type: ignore[operator]

    venue.will("GET", "/fapi/v1/income", income)
    assert [paid.income_id for paid in await trading.funding(NOW)] == list(range(1_500))


async def test_funding_that_a_foreign_position_paid_in_another_asset_does_not_hide_ours(
    venue: Venue, trading: BinanceTrading
) -> None:
    ours = {
        "symbol": "BTCUSDT",
        "incomeType": "FUNDING_FEE",
        "income": "-0.01",
        "asset": "USDT",
        "time": NOW,
        "tranId": 1,
    }
    foreign = ours | {"symbol": "BTCUSDC", "asset": "USDC", "tranId": 2}
    venue.will("GET", "/fapi/v1/income", says([ours, foreign]))
    assert [paid.income_id for paid in await trading.funding(NOW)] == [1]


@pytest.mark.parametrize("code", [-1021, -5028])
async def test_a_clock_that_is_off_is_no_refusal_of_the_order(venue: Venue, trading: BinanceTrading, code: int) -> None:
    venue.will("POST", "/fapi/v1/order", says({"code": code, "msg": "Timestamp ..."}, status=400))
    with pytest.raises(VenueUnavailable):
        await trading.place(ENTRY)


async def test_positions_are_those_with_a_quantity_and_hedge_mode_is_refused(
    venue: Venue, trading: BinanceTrading
) -> None:
    row = {"symbol": "BTCUSDT", "positionSide": "BOTH", "positionAmt": "-0.5", "entryPrice": "100.5"}
    venue.will("GET", "/fapi/v3/positionRisk", says([row, row | {"symbol": "ETHUSDT", "positionAmt": "0.0"}]))
    assert [(held.symbol, held.quantity) for held in await trading.positions()] == [("BTCUSDT", Decimal("-0.5"))]
    venue.will("GET", "/fapi/v3/positionRisk", says([row | {"positionSide": "LONG"}]))
    with pytest.raises(VenueUnavailable, match="hedge"):
        await trading.positions()


async def test_the_wallet_is_the_usdt_row(venue: Venue, trading: BinanceTrading) -> None:
    venue.will("GET", "/fapi/v3/balance", says([{"asset": "BNB", "balance": "1"}, {"asset": "USDT", "balance": "9.5"}]))
    assert await trading.wallet() == Decimal("9.5")
    venue.will("GET", "/fapi/v3/balance", says([]))
    with pytest.raises(VenueUnavailable):
        await trading.wallet()


@pytest.mark.parametrize(
    ("oddity", "word"), [("dualSidePosition", "hedge"), ("multiAssetsMargin", "multi-assets"), ("canTrade", "trade")]
)
async def test_an_account_in_the_wrong_mode_is_the_operators_to_change(
    oddity: str, word: str, venue: Venue, trading: BinanceTrading
) -> None:
    venue.will("GET", "/fapi/v1/accountConfig", says(GOOD_ACCOUNT | {oddity: not GOOD_ACCOUNT[oddity]}))
    with pytest.raises(OperatorError, match=word):
        await trading.check_account()
    venue.will("GET", "/fapi/v1/accountConfig", says(GOOD_ACCOUNT))
    await trading.check_account()


async def test_weights_are_read_from_the_headers_of_good_and_bad_answers(
    venue: Venue, trading: BinanceTrading, budget: RequestBudget
) -> None:
    venue.will("POST", "/fapi/v1/leverage", says({"symbol": "BTCUSDT", "leverage": 5}, **{"X-MBX-USED-WEIGHT-1M": "7"}))
    await trading.set_leverage("BTCUSDT", 5)
    assert budget.windows[Kind.WEIGHT_1M].spent(NOW) == 7
    venue.will("POST", "/fapi/v1/leverage", says(error(-4028), 400, **{"X-MBX-USED-WEIGHT-1M": "8"}))
    with pytest.raises(VenueRejected):
        await trading.set_leverage("BTCUSDT", 500)
    assert budget.windows[Kind.WEIGHT_1M].spent(NOW) == 8


@pytest.mark.parametrize(
    ("answer", "until"),
    [
        (says(error(-1003), 429, **{"Retry-After": "7"}), NOW + 7_000),
        (says(error(-1003, f"Way too many requests; IP banned until {NOW + 90_000}."), 418), NOW + 90_000),
        (says(error(-1003), 429), NOW - NOW % 60_000 + 60_000),
    ],
)
async def test_nothing_is_sent_while_the_venue_wants_silence(
    answer: Handler, until: int, venue: Venue, trading: BinanceTrading
) -> None:
    venue.will("GET", "/fapi/v3/balance", answer)
    with pytest.raises(VenueUnavailable) as caught:
        await trading.wallet()
    assert caught.value.retry_at == until
    for call in (lambda: trading.place(STOP), lambda: trading.cancel("BTCUSDT", "tsb-2", Book.ALGO)):
        with pytest.raises(VenueUnavailable) as caught:
            await call()
        assert caught.value.retry_at == until
    with pytest.raises(VenueUnavailable) as caught:
        await trading.wallet()
    assert caught.value.retry_at == until + HEAD_START_MS, "what protects goes first"
    assert len(venue.asked) == 1


async def test_an_order_that_was_sent_is_awaited_even_when_its_caller_is_cancelled(
    venue: Venue, trading: BinanceTrading
) -> None:
    async def slow(_: web.Request) -> web.StreamResponse:
        await anyio.sleep(0.1)
        return web.json_response(ORDER)

    venue.will("POST", "/fapi/v1/order", slow)
    reports = []
    with anyio.move_on_after(0.02):
        reports.append(await trading.place(ENTRY))
    assert [report.client_id for report in reports] == ["tsb-1"]


async def test_two_ports_in_one_process_each_sign_with_their_own_clock(
    venue: Venue, trading: BinanceTrading, budget: RequestBudget
) -> None:
    venue.will("GET", "/fapi/v3/balance", says([{"asset": "USDT", "balance": "1"}]))
    other = BinanceTrading(Secrets("k", "s"), venue.url, ReplayClock(NOW + 5), ExchangeTable(), budget)
    async with anyio.create_task_group() as group:
        group.start_soon(other.wallet)
        group.start_soon(trading.wallet)
    other.close()
    assert sorted(request.query["timestamp"] for request in venue.asked) == [str(NOW), str(NOW + 5)]
