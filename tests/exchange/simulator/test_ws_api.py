"""The official SDK's WebSocket API client trades against the simulator, and the shapes that it does not look at."""

import hashlib
import hmac
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import pytest
from binance_common.configuration import ConfigurationWebSocketAPI
from binance_sdk_derivatives_trading_usds_futures.derivatives_trading_usds_futures import DerivativesTradingUsdsFutures

# the SDK's client itself calls aiohttp in a way that is deprecated
pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore:parameter 'timeout' of type:DeprecationWarning")]
LIMIT = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "time_in_force": "GTC", "quantity": "0.010"}
Trading = Callable[..., Any]


@pytest.fixture
def trading(running: Callable[..., Any]) -> Trading:
    @asynccontextmanager
    async def open_socket(**changes: Any) -> AsyncIterator[tuple[Any, Any]]:
        async with running(**({"clock_window": "off"} | changes)) as exchange:
            client = DerivativesTradingUsdsFutures(
                config_ws_api=ConfigurationWebSocketAPI(
                    api_key="sim-key", api_secret="sim-secret", stream_url=exchange.addresses.ws_api_url
                )
            )
            api = client.websocket_api
            await api.create_connection()
            try:
                yield api, exchange
            finally:
                await api.close_connection(close_session=True)

    return open_socket


def signed(**params: Any) -> dict[str, Any]:
    params |= {"apiKey": "sim-key", "timestamp": 1}
    query = urlencode(sorted(params.items()))
    return params | {"signature": hmac.new(b"sim-secret", query.encode(), hashlib.sha256).hexdigest()}


def low(exchange: Any) -> str:
    return str((exchange.last("BTCUSDT") * Decimal("0.97")).quantize(Decimal("0.1")))


async def result(answer: Any) -> dict[str, Any]:
    shape: dict[str, Any] = (await answer).data().to_dict()
    assert shape["status"] == 200, shape
    found: dict[str, Any] = shape["result"]
    return found


async def test_a_limit_order_is_placed_asked_for_modified_and_cancelled(trading: Trading) -> None:
    async with trading() as (api, exchange):
        price = low(exchange)
        placed = await result(api.new_order(**LIMIT, price=price, new_client_order_id="w-1"))
        assert (placed["status"], placed["clientOrderId"]) == ("NEW", "w-1")
        found = await result(api.query_order(symbol="BTCUSDT", orig_client_order_id="w-1"))
        assert (found["orderId"], found["avgPrice"]) == (placed["orderId"], "0")
        amended = await result(
            api.modify_order(
                symbol="BTCUSDT", side="BUY", quantity="0.020", price=price, orig_client_order_id="w-1", modify_id=7
            )
        )
        assert (amended["origQty"], amended["modifyId"]) == ("0.020", 7)
        cancelled = await result(api.cancel_order(symbol="BTCUSDT", order_id=placed["orderId"]))
        assert cancelled["status"] == "CANCELED"
        assert exchange.simulator.world.accepted == 1


async def test_a_stop_is_placed_and_cancelled(trading: Trading) -> None:
    async with trading() as (api, exchange):
        placed = await result(
            api.new_algo_order(
                algo_type="CONDITIONAL",
                symbol="BTCUSDT",
                side="SELL",
                type="STOP_MARKET",
                quantity="0.010",
                trigger_price=low(exchange),
                reduce_only="true",
                client_algo_id="w-s",
            )
        )
        assert (placed["algoStatus"], placed["clientAlgoId"]) == ("NEW", "w-s")
        assert (await result(api.cancel_algo_order(client_algo_id="w-s")))["code"] == "200"


async def test_account_and_market_are_read(trading: Trading) -> None:
    async with trading() as (api, exchange):
        await exchange.market("BTCUSDT", "BUY", "0.010")
        held = {"BTCUSDT": "0.010"}
        first, second = await result(api.account_information()), await result(api.account_information_v2())
        assert first["canTrade"] is True
        assert first["totalWalletBalance"] == second["totalWalletBalance"]
        assert {row["symbol"]: row["positionAmt"] for row in second["positions"]} == held
        assert [row["leverage"] for row in first["positions"]] == ["20", "20", "20"]
        for ask in (api.futures_account_balance, api.futures_account_balance_v2):
            (balance,) = await result(ask())
            assert Decimal(balance["balance"]) == exchange.simulator.world.engine.wallet
        old = await result(api.position_information(symbol="BTCUSDT"))
        new = await result(api.position_information_v2(symbol="BTCUSDT"))
        assert [(row["positionAmt"], row["liquidationPrice"]) for row in old + new] == [("0.010", "0")] * 2
        book = await result(api.order_book(symbol="BTCUSDT", limit=5))
        assert Decimal(book["bids"][0][0]) < Decimal(book["asks"][0][0])
        price = await api.symbol_price_ticker(symbol="BTCUSDT")
        assert Decimal(price.data().to_dict()["result"]["price"]) == exchange.last("BTCUSDT")
        ticker = await api.symbol_order_book_ticker(symbol="BTCUSDT")
        assert Decimal(ticker.data().to_dict()["result"]["bidPrice"]) == exchange.last("BTCUSDT")


async def test_the_listen_key_is_the_one_of_rest(trading: Trading) -> None:
    async with trading() as (api, exchange):
        key = (await result(api.start_user_data_stream()))["listenKey"]
        assert key == await exchange.listen_key()
        assert (await result(api.keepalive_user_data_stream()))["listenKey"] == key
        assert await result(api.close_user_data_stream()) == {}
        assert (await api.keepalive_user_data_stream()).data()["error"]["code"] == -1125


async def test_a_refusal_is_an_error_in_the_answer_and_in_the_truth_log(trading: Trading) -> None:
    async with trading() as (api, exchange):
        answer = (await api.new_order(**LIMIT, price="30000.123")).data()
        assert answer["error"]["code"] == -1111
        (refused,) = [row for row in await exchange.control("log") if row["what"] == "refused"]
        assert (refused["request"], refused["code"]) == ("POST /fapi/v1/order", -1111)
        assert exchange.simulator.world.rejected == 1


async def test_weights_and_order_counts_are_shared_with_rest_and_told(trading: Trading) -> None:
    async with trading(orders_per_ten_seconds=1) as (api, exchange):
        answer = await api.new_order(**LIMIT, price=low(exchange))
        assert [(row.rateLimitType, row.count) for row in answer.rate_limits] == [
            ("REQUEST_WEIGHT", 5),
            ("ORDERS", 1),
            ("ORDERS", 1),
        ]
        again = (await api.new_order(**LIMIT, price=low(exchange))).data()
        assert again["error"]["code"] == -1015


async def test_a_session_that_is_logged_on_need_not_sign(running: Callable[..., Any]) -> None:
    async with running(clock_window="off") as exchange, exchange.http.ws_connect(exchange.addresses.ws_api_url) as ws:

        async def ask(method: str, **params: Any) -> Any:
            await ws.send_json({"id": method, "method": method, "params": params})
            answer = await ws.receive_json()
            assert answer["id"] == method
            return answer

        assert (await ask("session.status"))["result"]["apiKey"] is None
        assert (await ask("v2/account.balance", timestamp=1))["error"]["code"] == -2014
        assert (await ask("session.logon", **signed()))["result"]["apiKey"] == "sim-key"
        assert (await ask("v2/account.balance", timestamp=1))["status"] == 200
        assert (await ask("session.logout"))["result"]["authorizedSince"] is None
        assert (await ask("v2/account.balance", timestamp=1))["status"] == 401


async def test_what_is_not_understood_is_answered(running: Callable[..., Any]) -> None:
    async with running(clock_window="off") as exchange, exchange.http.ws_connect(exchange.addresses.ws_api_url) as ws:
        await ws.send_str("no JSON")
        assert await ws.receive_json() == {
            "id": None,
            "status": 400,
            "error": {"code": -1135, "msg": "Invalid JSON Request"},
        }
        await ws.send_json({"id": 3, "method": "order.dance", "params": {"returnRateLimits": False}})
        answer = await ws.receive_json()
        assert (answer["id"], answer["error"]["code"], "rateLimits" in answer) == (3, -5000, False)
        wrong = signed(symbol="BTCUSDT") | {"symbol": "ETHUSDT"}
        await ws.send_json({"id": "4", "method": "order.status", "params": wrong})
        assert (await ws.receive_json())["error"]["code"] == -1022
