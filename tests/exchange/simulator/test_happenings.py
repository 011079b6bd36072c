"""What the venue, or a person, does by itself: what the account's stream tells of it, and what REST says afterwards."""

import json
from decimal import Decimal
from typing import Any

import pytest

from tests.exchange.simulator.struck import ORDER_PATH, entry, inject, pass_seconds, strikes, user_stream

pytestmark = pytest.mark.anyio


async def positions(exchange: Any) -> dict[str, Decimal]:
    ledger = await exchange.control("ledger")
    return {symbol: Decimal(quantity) for symbol, quantity in ledger["positions"].items()}


async def idle(exchange: Any) -> list[str]:
    """Why faults had nothing to strike."""
    return [row["why"] for row in await exchange.control("log") if row["what"] == "fault_idle"]


@pytest.mark.parametrize("side", ["BUY", "SELL"])
async def test_a_liquidation_closes_the_position_at_a_mark_that_comes_back(running: Any, side: str) -> None:
    async with running() as exchange, user_stream(exchange) as ear:
        await exchange.market("BTCUSDT", side, "0.500")
        await entry(exchange, "resting")
        await ear.frames()
        await inject(exchange, "liquidation")
        orders = [frame["o"] for frame in await ear.frames() if frame["e"] == "ORDER_TRADE_UPDATE"]
        assert (orders[0]["c"], orders[0]["X"], orders[0]["er"]) == ("resting", "EXPIRED", "5")
        assert orders[-1]["c"].startswith("autoclose-")
        assert (orders[-1]["x"], orders[-1]["l"]) == ("CALCULATED", "0.500")
        assert await positions(exchange) == {}
        world = exchange.simulator.world
        assert world.engine.mark_price("BTCUSDT") == world.engine.last_price("BTCUSDT")


async def test_where_nothing_is_held_there_is_nothing_to_liquidate_or_to_deleverage(running: Any) -> None:
    async with running() as exchange:
        await inject(exchange, "liquidation")
        await inject(exchange, "adl", symbol="ETHUSDT")
        assert await idle(exchange) == ["no position", "no position"]


async def test_a_share_of_the_largest_position_is_deleveraged(running: Any) -> None:
    async with running() as exchange, user_stream(exchange) as ear:
        await exchange.market("ETHUSDT", "BUY", "0.100")
        await exchange.market("BTCUSDT", "BUY", "0.100")
        await ear.frames()
        await inject(exchange, "adl", value=0.25)
        orders = [frame["o"] for frame in await ear.frames() if frame["e"] == "ORDER_TRADE_UPDATE"]
        assert {order["c"] for order in orders} == {"adl_autoclose"}
        assert await positions(exchange) == {"BTCUSDT": Decimal("0.075"), "ETHUSDT": Decimal("0.1")}


async def test_a_symbol_settles_for_a_while_and_is_traded_again(running: Any) -> None:
    async def status(exchange: Any) -> str:
        _, info, _ = await exchange.get("/fapi/v1/exchangeInfo")
        return {row["symbol"]: row["status"] for row in info["symbols"]}["BTCUSDT"]

    async with running() as exchange:
        await exchange.market("BTCUSDT", "BUY", "0.010")
        await inject(exchange, "settling", seconds=60)
        assert await status(exchange) == "SETTLING"
        assert (await entry(exchange, "one"))[1]["code"] == -4140
        await exchange.market("BTCUSDT", "SELL", "0.010", reduceOnly="true")
        await pass_seconds(exchange, 61)
        assert await status(exchange) == "TRADING"
        assert (await entry(exchange, "two"))[0] == 200


@pytest.mark.parametrize(
    ("key", "value", "code"), [("tick_size", 7.0, -4014), ("step_size", 0.003, -4023), ("min_notional", 5_000, -4164)]
)
async def test_an_order_filter_changes_while_the_market_runs(running: Any, key: str, value: float, code: int) -> None:
    async with running() as exchange:
        assert (await entry(exchange, "before"))[0] == 200
        await inject(exchange, "filter_change", symbol="BTCUSDT", key=key, value=value)
        status, answer = await entry(exchange, "after")
        assert (status, answer["code"]) == (400, code)
        assert (await strikes(exchange)) == [("filter_change", 1)]


async def test_the_venue_lowers_the_leverage_and_says_so(running: Any) -> None:
    async with running() as exchange, user_stream(exchange) as ear:
        await inject(exchange, "leverage_lowered", symbol="ETHUSDT", value=3)
        (told,) = await ear.frames()
        assert (told["e"], told["ac"]) == ("ACCOUNT_CONFIG_UPDATE", {"s": "ETHUSDT", "l": 3})
        _, rows = await exchange.signed("GET", "/fapi/v1/symbolConfig", symbol="ETHUSDT")
        assert rows[0]["leverage"] == 3


async def test_a_margin_type_is_not_what_it_was(running: Any) -> None:
    async with running() as exchange:
        await inject(exchange, "margin_type", symbol="BTCUSDT")
        _, rows = await exchange.signed("GET", "/fapi/v1/symbolConfig")
        assert {row["symbol"]: row["marginType"] for row in rows} == {
            "BTCUSDT": "ISOLATED",
            "ETHUSDT": "CROSSED",
            "SOLUSDT": "CROSSED",
        }


async def test_the_funding_interval_of_a_symbol_changes(running: Any) -> None:
    async with running() as exchange:
        await inject(exchange, "funding_interval", symbol="BTCUSDT", value=4)
        _, rows, _ = await exchange.get("/fapi/v1/fundingInfo")
        assert [(row["symbol"], row["fundingIntervalHours"]) for row in rows] == [("BTCUSDT", 4)]
        await inject(exchange, "funding_interval", symbol="BTCUSDT", value=3)
        assert await idle(exchange) == ["hours: one of 1, 2, 4, 8"]


async def test_a_person_trades_on_the_same_account(running: Any) -> None:
    async with running() as exchange, user_stream(exchange) as ear:
        await inject(exchange, "foreign_position", value=-1_000, after_seconds=60)
        await inject(exchange, "foreign_order", value=1_000, symbol="ETHUSDT", after_seconds=90)
        assert await positions(exchange) == {}
        await pass_seconds(exchange, 61)
        held = (await positions(exchange))["BTCUSDT"]
        assert held == -(Decimal(1_000) / exchange.last("BTCUSDT")).quantize(Decimal("0.001"), "ROUND_DOWN")
        await pass_seconds(exchange, 30)
        _, waiting = await exchange.signed("GET", "/fapi/v1/openOrders")
        assert [(row["symbol"], row["side"], row["clientOrderId"]) for row in waiting] == [("ETHUSDT", "BUY", "web_2")]
        orders = [frame["o"]["c"] for frame in await ear.frames() if frame["e"] == "ORDER_TRADE_UPDATE"]
        assert orders == ["web_1", "web_1", "web_2"]


async def test_the_account_is_switched_to_hedge_mode(running: Any) -> None:
    async with running() as exchange:
        await inject(exchange, "hedge_mode", after_seconds=30)
        assert (await entry(exchange, "one"))[0] == 200
        await pass_seconds(exchange, 31)
        assert (await entry(exchange, "two"))[1]["code"] == -4061


async def test_what_a_happening_causes_is_no_cause_of_another(running: Any) -> None:
    async with running() as exchange, user_stream(exchange):
        await inject(exchange, "foreign_position", value=500, upon="ORDER_TRADE_UPDATE", every=2)
        await exchange.market("ETHUSDT", "BUY", "0.100", newClientOrderId="own")
        log = await exchange.control("log")
        assert [row["client_id"] for row in log if row["what"] == "fill"] == ["own", "web_1"]
        assert await strikes(exchange) == [("foreign_position", 2)]


async def test_what_happens_every_so_often_ends_where_it_was_told_to(running: Any) -> None:
    async with running() as exchange:
        await inject(exchange, "foreign_order", value=300, every_seconds=60, until_seconds=200, after_seconds=60)
        await pass_seconds(exchange, 600)
        rows = [row for row in await exchange.control("log") if row["what"] == "fault"]
        start = exchange.simulator.world.market.start
        assert [row["at"] - start for row in rows] == [60_000, 120_000, 180_000]


async def test_one_order_of_a_batch_is_refused_and_the_others_are_executed(running: Any) -> None:
    async with running() as exchange:
        await inject(exchange, "batch_partial", value=2)
        price = str((exchange.last("BTCUSDT") * 97 // 100).quantize(1)) + ".0"
        order = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.010"}
        batch = [order | {"price": price, "newClientOrderId": f"b-{number}"} for number in range(3)]
        status, rows = await exchange.signed("POST", "/fapi/v1/batchOrders", batchOrders=json.dumps(batch))
        assert status == 200
        assert [row.get("clientOrderId", row.get("code")) for row in rows] == ["b-0", -2019, "b-2"]
        _, waiting = await exchange.signed("GET", "/fapi/v1/openOrders")
        assert [row["clientOrderId"] for row in waiting] == ["b-0", "b-2"]
        missing = {"symbol": "BTCUSDT", "origClientOrderId": "b-1"}
        assert (await exchange.signed("GET", ORDER_PATH, **missing))[1]["code"] == -2013
