"""The official SDK on what lies beyond single plain orders: amendments, batches, other conditionals, old answers."""

from decimal import Decimal
from typing import Any

import pytest
from binance_common.errors import BadRequestError, TooManyRequestsError
from binance_sdk_derivatives_trading_usds_futures.rest_api.models import (
    ModifyMultipleOrdersBatchOrdersParameterInner,
    PlaceMultipleOrdersBatchOrdersParameterInner,
)

from bot.clock import HOUR_MS
from tests.exchange.simulator.conftest import Exchange, Trading

pytestmark = pytest.mark.anyio
BTC = "BTCUSDT"
ENTRY = {"symbol": BTC, "side": "BUY", "type": "LIMIT", "time_in_force": "GTC", "quantity": "0.010"}
STOP = {"algo_type": "CONDITIONAL", "symbol": BTC, "side": "SELL", "quantity": "0.010", "reduce_only": "true"}


def at(exchange: Exchange, share: str) -> str:
    """A share of the last price, on the grid."""
    return str((exchange.last(BTC) * Decimal(share)).quantize(Decimal("0.1")))


def row(number: int, price: str, quantity: float = 0.01) -> Any:
    return PlaceMultipleOrdersBatchOrdersParameterInner(
        symbol=BTC,
        side="BUY",
        type="LIMIT",
        timeInForce="GTC",
        quantity=quantity,
        price=float(price),
        newClientOrderId=f"b-{number}",
    )


async def test_an_order_is_modified(trading: Trading) -> None:
    async with trading() as (sdk, exchange):
        await sdk("new_order", **ENTRY, price=at(exchange, "0.98"), new_client_order_id="m-1")
        amended = await sdk(
            "modify_order",
            symbol=BTC,
            side="BUY",
            quantity="0.020",
            price=at(exchange, "0.97"),
            orig_client_order_id="m-1",
            modify_id=11,
        )
        assert (amended["origQty"], amended["price"], amended["modifyId"]) == ("0.020", at(exchange, "0.97"), 11)
        assert (await sdk("query_order", symbol=BTC, orig_client_order_id="m-1"))["origQty"] == "0.020"
        (told,) = [entry for entry in await exchange.control("log") if entry["what"] == "amendment"]
        assert (told["client_id"], told["quantity"]) == ("m-1", "0.02")


async def test_a_batch_is_accepted_in_part(trading: Trading) -> None:
    async with trading() as (sdk, exchange):
        low = at(exchange, "0.98")
        answers = await sdk("place_multiple_orders", batch_orders=[row(1, low), row(2, "30000.123"), row(3, low)])
        assert [answer.get("code") for answer in answers] == [None, -1111, None]
        world = exchange.simulator.world
        assert (world.accepted, world.rejected) == (2, 1)
        changes = [
            ModifyMultipleOrdersBatchOrdersParameterInner(
                symbol=BTC, side="BUY", quantity=0.03, price=float(low), origClientOrderId=name
            )
            for name in ("b-1", "b-2")
        ]
        amended = await sdk("modify_multiple_orders", batch_orders=changes)
        assert [(answer.get("code"), answer.get("origQty")) for answer in amended] == [(None, "0.03"), (-2013, None)]
        ended = await sdk("cancel_multiple_orders", symbol=BTC, orig_client_order_id_list=["b-1", "b-2", "b-3"])
        assert [answer.get("code") or answer["status"] for answer in ended] == ["CANCELED", -2011, "CANCELED"]
        assert world.engine.open_orders() == []
        assert world.accepted == 2


async def test_a_batch_costs_five_orders_of_ten_seconds_and_one_of_the_minute(trading: Trading) -> None:
    async with trading(orders_per_ten_seconds=9) as (sdk, exchange):
        low = at(exchange, "0.98")
        answer = await sdk.response("place_multiple_orders", batch_orders=[row(1, low)])
        assert (answer.headers["X-MBX-ORDER-COUNT-10S"], answer.headers["X-MBX-ORDER-COUNT-1M"]) == ("5", "1")
        with pytest.raises(TooManyRequestsError) as caught:
            await sdk("place_multiple_orders", batch_orders=[row(2, low)])
        assert caught.value.status_code == -1015


async def test_a_batch_has_five_orders_at_most(trading: Trading) -> None:
    async with trading() as (sdk, exchange):
        rows = [row(number, at(exchange, "0.98")) for number in range(6)]
        with pytest.raises(BadRequestError) as caught:
            await sdk("place_multiple_orders", batch_orders=rows)
        assert caught.value.status_code == -4082
        assert exchange.simulator.world.engine.open_orders() == []


async def test_a_stop_with_a_limit_and_a_trailing_stop_are_placed(trading: Trading) -> None:
    async with trading() as (sdk, exchange):
        stop = await sdk(
            "new_algo_order",
            **STOP,
            type="STOP",
            trigger_price=at(exchange, "0.97"),
            price=at(exchange, "0.96"),
            price_protect="TRUE",
            working_type="MARK_PRICE",
        )
        assert (stop["orderType"], stop["price"], stop["priceProtect"]) == ("STOP", at(exchange, "0.96"), True)
        trailing = await sdk(
            "new_algo_order",
            **STOP,
            type="TRAILING_STOP_MARKET",
            callback_rate="1.5",
            activate_price=at(exchange, "1.01"),
        )
        assert (trailing["callbackRate"], trailing["activatePrice"]) == ("1.5", at(exchange, "1.01"))
        await sdk("new_order", symbol=BTC, side="BUY", type="MARKET", quantity="0.010")
        for share in ("1.02", "1.00"):
            await exchange.control("price", {"symbol": BTC, "price": at(exchange, share)})
        found = await sdk("query_algo_order", algo_id=trailing["algoId"])
        assert (found["algoStatus"], found["actualQty"]) == ("NEW", "0")
        await exchange.control("price", {"symbol": BTC, "price": at(exchange, "0.98")})
        found = await sdk("query_algo_order", algo_id=trailing["algoId"])
        assert (found["algoStatus"], found["actualType"], found["actualQty"]) == ("FINISHED", "MARKET", "0.010")


async def test_an_order_ends_at_its_date(trading: Trading) -> None:
    async with trading() as (sdk, exchange):
        world = exchange.simulator.world
        until = world.now + HOUR_MS
        order = ENTRY | {"time_in_force": "GTD", "price": at(exchange, "0.90"), "new_client_order_id": "g-1"}
        placed = await sdk("new_order", **order, good_till_date=until + 250)
        assert placed["goodTillDate"] == until
        world.advance(until)
        assert (await sdk("query_order", symbol=BTC, orig_client_order_id="g-1"))["status"] == "EXPIRED"


async def test_the_old_answers_of_the_account_are_still_there(trading: Trading) -> None:
    async with trading() as (sdk, _):
        await sdk("new_order", symbol=BTC, side="BUY", type="MARKET", quantity="0.010")
        account = await sdk("account_information_v2")
        held = {each["symbol"]: (each["positionAmt"], each["leverage"]) for each in account["positions"]}
        assert held == {BTC: ("0.010", "20"), "ETHUSDT": ("0", "20"), "SOLUSDT": ("0", "20")}
        assert (account["canTrade"], account["assets"][0]["marginAvailable"]) == (True, True)
        (position,) = await sdk("position_information_v2", symbol=BTC)
        assert (position["marginType"], position["leverage"], position["isAutoAddMargin"]) == ("cross", "20", "false")
        assert Decimal(position["maxNotionalValue"]) == 100_000_000  # what 20 allows on bitcoin


async def test_brackets_and_their_bounds_are_told(trading: Trading) -> None:
    async with trading() as (sdk, exchange):
        (told,) = await sdk("notional_and_leverage_brackets", symbol="SOLUSDT")
        first, second, *_ = told["brackets"]
        assert (first["notionalFloor"], first["notionalCap"], second["notionalFloor"]) == (0, 10_000, 10_000)
        assert (first["initialLeverage"], second["cum"]) == (100, 15.0)  # 10000 x (0.0065 - 0.005)
        with pytest.raises(BadRequestError) as caught:
            await sdk("change_initial_leverage", symbol="SOLUSDT", leverage=101)
        assert caught.value.status_code == -4028
        answer = await sdk("change_initial_leverage", symbol="SOLUSDT", leverage=75)
        assert answer["maxNotionalValue"] == "20000"
        quantity = str(int(20_100 / exchange.last("SOLUSDT")) + 1)
        with pytest.raises(BadRequestError) as caught:
            await sdk("new_order", symbol="SOLUSDT", side="BUY", type="MARKET", quantity=quantity)
        assert caught.value.status_code == -2027


async def test_the_margin_type_is_changed_while_nothing_is_open(trading: Trading) -> None:
    async with trading() as (sdk, exchange):
        await sdk("change_margin_type", symbol=BTC, margin_type="ISOLATED")
        assert (await sdk("symbol_configuration", symbol=BTC))[0]["marginType"] == "ISOLATED"
        await sdk("new_order", **ENTRY, price=at(exchange, "0.98"))
        for prepare, code in (("new_order", -4047), ("cancel_all_open_orders", -4048)):
            if prepare == "cancel_all_open_orders":
                await sdk(prepare, symbol=BTC)
                await sdk("new_order", symbol=BTC, side="BUY", type="MARKET", quantity="0.010")
            with pytest.raises(BadRequestError) as caught:
                await sdk("change_margin_type", symbol=BTC, margin_type="CROSSED")
            assert caught.value.status_code == code


@pytest.mark.parametrize(("amount", "code"), [("-1", -4055), ("5", -4054)])
async def test_margin_is_not_added_to_what_is_not_there(trading: Trading, amount: str, code: int) -> None:
    async with trading() as (sdk, _):
        with pytest.raises(BadRequestError) as caught:
            await sdk("modify_isolated_position_margin", symbol=BTC, amount=amount, type="1")
        assert caught.value.status_code == code


async def test_a_book_and_bars_of_other_kinds_are_served(trading: Trading) -> None:
    async with trading() as (sdk, exchange):
        book = await sdk("order_book", symbol=BTC, limit=5)
        assert [len(book[side]) for side in ("bids", "asks")] == [5, 5]
        assert Decimal(book["bids"][0][0]) == exchange.last(BTC) < Decimal(book["asks"][0][0])
        with pytest.raises(BadRequestError) as caught:
            await sdk("order_book", symbol=BTC, limit=7)
        assert caught.value.status_code == -4021
        world = exchange.simulator.world
        world.advance(world.now + 2 * HOUR_MS)
        plain = await sdk("kline_candlestick_data", symbol=BTC, interval="1h", limit=3)
        pair = {"pair": BTC, "contract_type": "PERPETUAL", "interval": "1h", "limit": 3}
        assert await sdk("continuous_contract_kline_candlestick_data", **pair) == plain
        marks = await sdk("mark_price_kline_candlestick_data", symbol=BTC, interval="1h", limit=3)
        assert [bar[:5] for bar in marks] == [bar[:5] for bar in plain]
        assert {bar[5] for bar in marks} == {"0"}
