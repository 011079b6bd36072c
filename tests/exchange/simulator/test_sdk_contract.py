"""The official SDK trades against the simulator over real sockets, call by call. Warnings are errors here: where an
answer does not fit the SDK's strict models, the SDK warns."""

from contextlib import closing
from decimal import Decimal
from typing import Any

import anyio
import pytest
from binance_common.errors import BadRequestError, NotFoundError, TooManyRequestsError, UnauthorizedError

from bot.clock import HOUR_MS, MINUTE_MS, ReplayClock
from bot.config import ExchangeTable, Secrets
from bot.exchange.binance import BinanceTrading
from bot.exchange.budget import RequestBudget
from tests.exchange.simulator.sdk import Sdk, client

pytestmark = pytest.mark.anyio
ENTRY = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "type": "LIMIT",
    "time_in_force": "GTC",
    "quantity": "0.010",
    "new_client_order_id": "tsb-1-e0",
}
STOP = {
    "algo_type": "CONDITIONAL",
    "symbol": "BTCUSDT",
    "side": "SELL",
    "type": "STOP_MARKET",
    "quantity": "0.010",
    "reduce_only": "true",
    "client_algo_id": "tsb-1-s0",
}


def last(exchange: Any, symbol: str = "BTCUSDT") -> Decimal:
    price: Decimal = exchange.simulator.world.quotes[symbol].last
    return price


def on_grid(price: Decimal) -> str:
    return str(price.quantize(Decimal("0.1")))


async def test_the_exchange_tells_its_symbols_and_their_rules(trading: Any) -> None:
    async with trading() as (sdk, _):
        info = await sdk("exchange_information")
        bitcoin = info["symbols"][0]
        filters = {row["filterType"]: row for row in bitcoin["filters"]}
        assert [row["symbol"] for row in info["symbols"]] == ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
        assert (bitcoin["status"], Decimal(filters["PRICE_FILTER"]["tickSize"])) == ("TRADING", Decimal("0.1"))
        assert (await sdk("check_server_time"))["serverTime"] == info["serverTime"]


async def test_the_last_row_of_the_bars_is_the_one_that_is_still_open(trading: Any) -> None:
    async with trading() as (sdk, exchange):
        world = exchange.simulator.world
        world.advance(world.now + 2 * HOUR_MS + 10 * MINUTE_MS)
        rows = await sdk("kline_candlestick_data", symbol="BTCUSDT", interval="1h", limit=5)
        assert [len(row) for row in rows] == [12] * 5
        assert [row[0] for row in rows] == [world.now - 10 * MINUTE_MS - back * HOUR_MS for back in (4, 3, 2, 1, 0)]
        assert rows[-1][6] > world.now
        assert Decimal(rows[-1][4]) == last(exchange)


async def test_a_limit_order_is_placed_asked_for_and_cancelled(trading: Any) -> None:
    async with trading() as (sdk, exchange):
        placed = await sdk("new_order", **ENTRY, price=on_grid(last(exchange) * Decimal("0.98")))
        assert (placed["status"], placed["clientOrderId"], placed["executedQty"]) == ("NEW", "tsb-1-e0", "0")
        assert placed["orderId"] > 2**32
        assert "avgPrice" not in placed
        found = await sdk("query_order", symbol="BTCUSDT", orig_client_order_id="tsb-1-e0")
        assert (found["orderId"], found["avgPrice"]) == (placed["orderId"], "0")
        assert [row["orderId"] for row in await sdk("current_all_open_orders")] == [placed["orderId"]]
        assert (await sdk("query_current_open_order", symbol="BTCUSDT", order_id=placed["orderId"]))["status"] == "NEW"
        cancelled = await sdk("cancel_order", symbol="BTCUSDT", orig_client_order_id="tsb-1-e0")
        assert cancelled["status"] == "CANCELED"
        assert await sdk("current_all_open_orders", symbol="BTCUSDT") == []
        assert [row["status"] for row in await sdk("all_orders", symbol="BTCUSDT")] == ["CANCELED"]


async def test_a_market_order_opens_a_position_and_its_trade_and_costs_are_told(trading: Any) -> None:
    async with trading() as (sdk, exchange):
        price = last(exchange)
        answer = await sdk(
            "new_order", symbol="BTCUSDT", side="SELL", type="MARKET", quantity="0.010", new_order_resp_type="RESULT"
        )
        assert (answer["status"], answer["executedQty"]) == ("FILLED", "0.010")
        (position,) = await sdk("position_information_v3")
        assert (position["symbol"], position["positionAmt"]) == ("BTCUSDT", "-0.010")
        assert Decimal(position["entryPrice"]) == price
        (trade,) = await sdk("account_trade_list", symbol="BTCUSDT")
        assert (trade["orderId"], trade["side"], trade["maker"]) == (answer["orderId"], "SELL", False)
        fee = Decimal(trade["commission"])
        assert fee == price * Decimal("0.010") * Decimal("0.0005")
        (income,) = await sdk("get_income_history", income_type="COMMISSION")
        assert (Decimal(income["income"]), income["tradeId"]) == (-fee, str(trade["id"]))
        account = await sdk("account_information_v3")
        assert Decimal(account["totalWalletBalance"]) == 10_000 - fee
        assert [row["positionAmt"] for row in account["positions"]] == ["-0.010"]
        for version in ("v2", "v3"):
            (balance,) = await sdk(f"futures_account_balance_{version}")
            assert Decimal(balance["balance"]) == 10_000 - fee
        assert await sdk("account_trade_list", symbol="BTCUSDT", from_id=trade["id"] + 1) == []


async def test_an_acknowledgement_does_not_tell_what_was_executed(trading: Any) -> None:
    async with trading() as (sdk, _):
        answer = await sdk("new_order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.010")
        assert (answer["status"], answer["executedQty"]) == ("NEW", "0")
        assert (await sdk("query_order", symbol="BTCUSDT", order_id=answer["orderId"]))["status"] == "FILLED"


async def test_a_stop_is_placed_asked_for_and_cancelled_in_the_algo_book(trading: Any) -> None:
    async with trading() as (sdk, exchange):
        trigger = on_grid(last(exchange) * Decimal("0.97"))
        placed = await sdk("new_algo_order", **STOP, trigger_price=trigger)
        assert (placed["algoStatus"], placed["orderType"], placed["triggerPrice"]) == ("NEW", "STOP_MARKET", trigger)
        found = await sdk("query_algo_order", client_algo_id="tsb-1-s0")
        assert (found["algoId"], found["actualOrderId"]) == (placed["algoId"], "")
        assert await sdk("current_all_open_orders") == []
        (row,) = await sdk("current_all_algo_open_orders")
        assert (row["clientAlgoId"], row["reduceOnly"]) == ("tsb-1-s0", True)
        cancelled = await sdk("cancel_algo_order", client_algo_id="tsb-1-s0")
        assert (cancelled["code"], cancelled["algoId"]) == ("200", placed["algoId"])
        assert [row["algoStatus"] for row in await sdk("query_all_algo_orders", symbol="BTCUSDT")] == ["CANCELED"]


async def test_a_triggered_stop_closes_the_position_through_a_child_with_its_client_id(trading: Any) -> None:
    async with trading() as (sdk, exchange):
        await sdk("new_order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.010")
        trigger = on_grid(last(exchange) * Decimal("0.97"))
        await sdk("new_algo_order", **STOP, trigger_price=trigger)
        await exchange.control("price", {"symbol": "BTCUSDT", "price": on_grid(Decimal(trigger) - 1)})
        stop = await sdk("query_algo_order", client_algo_id="tsb-1-s0")
        child = await sdk("query_order", symbol="BTCUSDT", orig_client_order_id="tsb-1-s0")
        assert (stop["algoStatus"], stop["actualOrderId"]) == ("FINISHED", str(child["orderId"]))
        assert (child["status"], child["type"], child["reduceOnly"]) == ("FILLED", "MARKET", True)
        assert await sdk("position_information_v3") == []


async def test_everything_of_a_symbol_is_cancelled_book_by_book(trading: Any) -> None:
    async with trading() as (sdk, exchange):
        low = on_grid(last(exchange) * Decimal("0.97"))
        await sdk("new_order", **ENTRY, price=low)
        await sdk("new_algo_order", **STOP, trigger_price=low)
        assert (await sdk("cancel_all_open_orders", symbol="BTCUSDT"))["code"] == 200
        assert len(await sdk("current_all_algo_open_orders", symbol="BTCUSDT")) == 1
        assert (await sdk("cancel_all_algo_open_orders", symbol="BTCUSDT"))["code"] == 200
        assert await sdk("current_all_algo_open_orders", symbol="BTCUSDT") == []


async def test_a_countdown_that_is_not_renewed_cancels_the_orders(trading: Any) -> None:
    async with trading() as (sdk, exchange):
        world = exchange.simulator.world
        await sdk("new_order", **ENTRY, price=on_grid(last(exchange) * Decimal("0.90")))
        await sdk("auto_cancel_all_open_orders", symbol="BTCUSDT", countdown_time=60_000)
        world.advance(world.now + 59_000)
        assert len(await sdk("current_all_open_orders", symbol="BTCUSDT")) == 1
        world.advance(world.now + 1_000)
        assert await sdk("current_all_open_orders", symbol="BTCUSDT") == []


async def test_leverage_and_account_settings_are_told_and_changed(trading: Any) -> None:
    async with trading() as (sdk, _):
        changed = await sdk("change_initial_leverage", symbol="BTCUSDT", leverage=7)
        assert (changed["leverage"], changed["symbol"]) == (7, "BTCUSDT")
        (config,) = await sdk("symbol_configuration", symbol="BTCUSDT")
        assert (config["leverage"], config["marginType"]) == (7, "CROSSED")
        account = await sdk("futures_account_configuration")
        assert (account["canTrade"], account["dualSidePosition"], account["multiAssetsMargin"]) == (True, False, False)
        assert (await sdk("get_current_position_mode"))["dualSidePosition"] is False
        assert (await sdk("get_current_multi_assets_mode"))["multiAssetsMargin"] is False
        assert (await sdk("user_commission_rate", symbol="BTCUSDT"))["takerCommissionRate"] == "0.0005"
        assert (await sdk("notional_and_leverage_brackets", symbol="BTCUSDT"))[0]["brackets"][0]["bracket"] == 1
        assert [row["limit"] for row in await sdk("query_user_rate_limit")] == [1200, 300]


async def test_the_port_reads_what_the_account_is_worth_and_what_was_moved(running: Any) -> None:
    async with running() as exchange:
        world = exchange.simulator.world
        clock, budget = ReplayClock(world.now), RequestBudget()
        secrets, table = Secrets("sim-key", "sim-secret"), ExchangeTable()
        with closing(BinanceTrading(secrets, exchange.addresses.rest_url, clock, table, budget)) as port:
            await exchange.market("BTCUSDT", "BUY", "0.010")
            world.set_price("BTCUSDT", world.quotes["BTCUSDT"].last + 100)
            world.transfer(Decimal(-200))
            told = await port.worth()
            assert told.wallet == world.engine.wallet
            assert told.equity == world.engine.wallet + world.engine.unrealized_pnl() != told.wallet
            assert [(moved.amount, moved.at) for moved in await port.transfers(world.now)] == [(-200, world.now)]


async def test_prices_and_funding_are_told(trading: Any) -> None:
    async with trading() as (sdk, exchange):
        world = exchange.simulator.world
        world.advance(world.now + 9 * HOUR_MS)
        index = await sdk("mark_price", symbol="BTCUSDT")
        assert (Decimal(index["markPrice"]), index["nextFundingTime"]) == (last(exchange), world.now + 7 * HOUR_MS)
        assert len(await sdk("mark_price")) == 3
        assert Decimal((await sdk("symbol_price_ticker", symbol="BTCUSDT"))["price"]) == last(exchange)
        book = await sdk("symbol_order_book_ticker", symbol="BTCUSDT")
        assert Decimal(book["bidPrice"]) < Decimal(book["askPrice"])
        rates = await sdk("get_funding_rate_history", symbol="BTCUSDT")
        assert [row["fundingTime"] for row in rates] == [world.now - HOUR_MS]
        assert await sdk("get_funding_rate_info") == []


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("new_order", ENTRY | {"price": "30000.123"}, -1111),
        ("new_order", ENTRY | {"price": "1000.0"}, -4164),
        ("new_order", ENTRY | {"price": "90000.0", "quantity": "5"}, -2019),
        ("new_order", ENTRY | {"price": "90000.0", "symbol": "NOSUCHUSDT"}, -1121),
        ("new_order", ENTRY | {"type": "STOP_MARKET"}, -4120),
        ("new_order", ENTRY | {"price": "90000.0", "position_side": "LONG"}, -4061),
        ("new_order", ENTRY | {"price": "90000.0", "new_client_order_id": "x" * 37}, -4015),
        ("new_order", ENTRY | {"side": "SELL", "price": "120000.0", "reduce_only": "true"}, -2022),
        ("query_order", {"symbol": "BTCUSDT", "orig_client_order_id": "never-sent"}, -2013),
        ("cancel_order", {"symbol": "BTCUSDT", "orig_client_order_id": "never-sent"}, -2011),
        ("cancel_algo_order", {"client_algo_id": "never-sent"}, -2011),
        ("new_algo_order", STOP | {"trigger_price": "900000.0"}, -2021),
        ("kline_candlestick_data", {"symbol": "BTCUSDT", "interval": "1s"}, -1120),
        ("kline_candlestick_data", {"symbol": "BTCUSDT", "interval": "1h", "limit": 1501}, -1130),
        ("change_initial_leverage", {"symbol": "BTCUSDT", "leverage": 126}, -4028),
        ("change_margin_type", {"symbol": "BTCUSDT", "margin_type": "CROSSED"}, -4046),
        ("keepalive_user_data_stream", {}, -1125),
    ],
)
async def test_a_refusal_has_the_exchanges_code(trading: Any, method: str, params: dict[str, Any], code: int) -> None:
    async with trading() as (sdk, _):
        with pytest.raises(BadRequestError) as caught:
            await sdk(method, **params)
        assert caught.value.status_code == code


async def test_an_order_is_checked_without_being_placed(trading: Any) -> None:
    async with trading() as (sdk, exchange):
        price = on_grid(last(exchange))
        tested = ENTRY | {"price": price}
        assert (await sdk("test_order", **tested))["origQty"] == "0.010"
        assert await sdk("current_all_open_orders") == []
        with pytest.raises(BadRequestError):
            await sdk("test_order", **(tested | {"quantity": "0.0101"}))


async def test_a_wrong_key_a_wrong_secret_and_a_wrong_path_are_refused(trading: Any) -> None:
    async with trading() as (sdk, exchange):
        for key, secret, error, code in (
            ("", "sim-secret", UnauthorizedError, -2014),
            ("other-key", "sim-secret", UnauthorizedError, -2015),
            ("sim-key", "other-secret", BadRequestError, -1022),
        ):
            stranger = Sdk(client(exchange.addresses, key=key, secret=secret))
            with pytest.raises(error) as caught:
                await stranger("futures_account_balance_v3")
            assert caught.value.status_code == code
            stranger.client.rest_api._session.close()
        with pytest.raises(NotFoundError):
            await sdk("open_interest", symbol="BTCUSDT")


async def test_a_signature_made_by_another_clock_is_refused(trading: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with trading(clock_window="virtual") as (sdk, exchange):
        now = exchange.simulator.world.now
        for offset, accepted in ((0, True), (-5_001, False), (1_000, False), (999, True), (-5_000, True)):
            monkeypatch.setattr("binance_common.utils.get_timestamp", lambda at=now + offset: at)
            if accepted:
                assert len(await sdk("futures_account_balance_v3")) == 1
                continue
            with pytest.raises(BadRequestError) as caught:
                await sdk("futures_account_balance_v3")
            assert caught.value.status_code == -1021


async def test_used_weight_and_order_counts_are_in_the_headers_and_too_much_is_429(trading: Any) -> None:
    async with trading(weight_per_minute=30, orders_per_ten_seconds=1) as (sdk, exchange):
        answer = await sdk.response("futures_account_balance_v3")
        assert answer.rate_limits[0].count == 5
        order = ENTRY | {"price": on_grid(last(exchange))}
        assert (await sdk.response("new_order", **order)).headers["X-MBX-ORDER-COUNT-10S"] == "1"
        with pytest.raises(TooManyRequestsError) as caught:
            await sdk("new_order", **(order | {"new_client_order_id": "tsb-2"}))
        assert caught.value.status_code == -1015
        with pytest.raises(TooManyRequestsError) as caught:
            await sdk("get_income_history")
        assert caught.value.status_code == -1003


async def test_the_sdk_hears_fills_and_bars_on_its_streams(trading: Any) -> None:
    async with trading() as (sdk, exchange):
        key = (await sdk("start_user_data_stream"))["listenKey"]
        assert len(key) == 64
        assert (await sdk("keepalive_user_data_stream"))["listenKey"] == key
        streams = sdk.client.websocket_streams
        await streams.create_connection()
        heard: list[Any] = []
        complete = anyio.Event()

        def hear(event: Any) -> None:
            heard.append(event)
            if len(heard) == 13:
                complete.set()

        (await streams.user_data(key)).on("message", hear)
        (await streams.kline_candlestick_streams("btcusdt", "1h")).on("message", hear)
        await sdk("new_order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.010")
        trigger = on_grid(last(exchange) * Decimal("0.97"))
        await sdk("new_algo_order", **STOP, trigger_price=trigger)
        await exchange.control("price", {"symbol": "BTCUSDT", "price": on_grid(Decimal(trigger) - 1)})
        await complete.wait()
        await streams.close_connection()
        events = [getattr(each, "actual_instance", each) for each in heard]
        names = [type(event).__name__ for event in events]
        opened = ["OrderTradeUpdate", "TradeLite", "OrderTradeUpdate", "AccountUpdate", "AlgoUpdate"]
        stopped = ["AlgoUpdate", "AlgoUpdate", "OrderTradeUpdate", "TradeLite", "OrderTradeUpdate", "AccountUpdate"]
        user = [name for name in names if name != "KlineCandlestickStreamsResponse"]
        assert user == [*opened, *stopped, "AlgoUpdate"]
        assert [event.o.X for event in events if type(event).__name__ == "AlgoUpdate"] == [
            "NEW",
            "TRIGGERING",
            "TRIGGERED",
            "FINISHED",
        ]
        (kline,) = [event for event in events if type(event).__name__ == "KlineCandlestickStreamsResponse"]
        assert (kline.k.i, kline.k.x, Decimal(kline.k.c)) == ("1h", False, Decimal(trigger) - 1)
