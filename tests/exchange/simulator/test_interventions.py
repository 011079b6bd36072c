"""What the exchange or a person does by control plane, as the client, the streams and the truth log see it."""

from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from tests.exchange.simulator.conftest import Exchange, Running

pytestmark = pytest.mark.anyio
BTC = "BTCUSDT"


async def done(exchange: Exchange, kind: str, **fields: Any) -> None:
    await exchange.control("intervene", {"kind": kind, **fields})


async def logged(exchange: Exchange, what: str) -> list[dict[str, Any]]:
    return [row for row in await exchange.control("log") if row["what"] == what]


async def heard(socket: aiohttp.ClientWebSocketResponse, count: int) -> list[dict[str, Any]]:
    return [await socket.receive_json() for _ in range(count)]


async def test_a_mark_price_of_its_own_triggers_what_watches_it_and_keeps_its_distance(running: Running) -> None:
    async with running() as exchange:
        await exchange.market(BTC, "BUY", "0.010")
        last = exchange.last(BTC)
        await exchange.stop(BTC, "SELL", "0.010", last * Decimal("0.97"), workingType="MARK_PRICE", clientAlgoId="s")
        await done(exchange, "mark", symbol=BTC, price=str(last - 100))
        _, index, _ = await exchange.get("/fapi/v1/premiumIndex", symbol=BTC)
        assert (Decimal(index["markPrice"]), Decimal(index["indexPrice"])) == (last - 100, last)
        await exchange.control("price", {"symbol": BTC, "price": str(last + 50)})
        assert exchange.simulator.world.engine.mark_price(BTC) == last - 50
        _, (row,) = await exchange.signed("GET", "/fapi/v3/positionRisk")
        assert Decimal(row["markPrice"]) == last - 50
        await done(exchange, "mark", symbol=BTC, price=str((last * Decimal("0.97")).quantize(Decimal("0.1")) - 1))
        _, stop = await exchange.signed("GET", "/fapi/v1/algoOrder", clientAlgoId="s")
        assert stop["algoStatus"] == "FINISHED"
        await done(exchange, "mark", symbol=BTC)
        assert exchange.simulator.world.engine.mark_price(BTC) == last + 50


async def test_an_order_by_hand_reaches_the_user_stream_under_its_own_id(running: Running) -> None:
    async with running() as exchange:
        key = await exchange.listen_key()
        async with exchange.stream(f"/private/ws/{key}") as socket:
            await done(exchange, "order", symbol=BTC, side="BUY", quantity="0.010", client_id="web_1")
            events = await heard(socket, 4)
        assert [event["e"] for event in events] == [
            "ORDER_TRADE_UPDATE",
            "TRADE_LITE",
            "ORDER_TRADE_UPDATE",
            "ACCOUNT_UPDATE",
        ]
        assert events[2]["o"]["c"] == "web_1"
        assert exchange.simulator.world.accepted == 0  # not the client's
        trigger = str((exchange.last(BTC) * Decimal("0.9")).quantize(Decimal("0.1")))
        await done(
            exchange, "order", symbol=BTC, side="SELL", type="STOP_MARKET", quantity="0.010", trigger_price=trigger
        )
        _, (algo,) = await exchange.signed("GET", "/fapi/v1/openAlgoOrders")
        assert algo["clientAlgoId"] == "web_by-hand"
        await done(exchange, "cancel", symbol=BTC, client_id="web_by-hand")
        assert (await exchange.signed("GET", "/fapi/v1/openAlgoOrders"))[1] == []
        assert [row["kind"] for row in await logged(exchange, "intervention")] == ["order", "order", "cancel"]


async def test_a_position_is_deleveraged_and_listed_among_the_forced_orders(running: Running) -> None:
    async with running() as exchange:
        await exchange.market(BTC, "BUY", "0.010")
        await done(exchange, "adl", symbol=BTC, quantity="0.004")
        assert exchange.simulator.world.engine.position(BTC).quantity == Decimal("0.006")
        _, (row,) = await exchange.signed("GET", "/fapi/v1/forceOrders", autoCloseType="ADL")
        assert (row["clientOrderId"], row["executedQty"], row["status"]) == ("adl_autoclose", "0.004", "FILLED")
        assert (await exchange.signed("GET", "/fapi/v1/forceOrders", autoCloseType="LIQUIDATION"))[1] == []


@pytest.mark.parametrize(("stays_new", "status"), [(False, "FILLED"), (True, "NEW")])
async def test_a_liquidation_is_told_as_the_exchange_tells_it(running: Running, stays_new: bool, status: str) -> None:
    async with running(switches={"liquidation_fill_stays_new": stays_new}) as exchange:
        await exchange.market(BTC, "BUY", "0.010")
        await exchange.stop(BTC, "SELL", "0.010", exchange.last(BTC) * Decimal("0.97"))
        key = await exchange.listen_key()
        async with exchange.stream(f"/private/ws/{key}") as socket:
            await done(exchange, "liquidate")
            algo, _, _, fill, account = await heard(socket, 5)
        assert (algo["e"], algo["o"]["X"]) == ("ALGO_UPDATE", "EXPIRED")
        assert fill["o"]["c"].startswith("autoclose-")
        assert (fill["o"]["x"], fill["o"]["X"], fill["o"]["o"]) == ("CALCULATED", status, "LIQUIDATION")
        assert (account["e"], account["a"]["P"][0]["pa"]) == ("ACCOUNT_UPDATE", "0.000")


async def test_a_contract_that_ends_is_settled_and_announced(running: Running) -> None:
    async with running() as exchange:
        await exchange.market(BTC, "BUY", "0.010")
        await exchange.stop(BTC, "SELL", "0.010", exchange.last(BTC) * Decimal("0.97"))
        async with exchange.stream("/market/ws/!contractInfo") as socket:
            await done(exchange, "settle", symbol=BTC)
            (news,) = await heard(socket, 1)
        assert (news["e"], news["s"], news["cs"]) == ("contractInfo", BTC, "SETTLING")
        assert (news["bks"][0]["bnf"], news["bks"][0]["ma"], news["bks"][-1]["mi"]) == (0, 125, 1)
        _, info, _ = await exchange.get("/fapi/v1/exchangeInfo")
        assert [row["status"] for row in info["symbols"]] == ["SETTLING", "TRADING", "TRADING"]
        _, orders = await exchange.signed("GET", "/fapi/v1/allOrders", symbol=BTC)
        assert orders[-1]["clientOrderId"].startswith("settlement_autoclose-")
        assert exchange.simulator.world.engine.positions() == []
        status, refusal = await exchange.signed(
            "POST", "/fapi/v1/order", symbol=BTC, side="BUY", type="MARKET", quantity="0.010"
        )
        assert (status, refusal["code"]) == (400, -4140)


async def test_filters_change_in_the_middle_of_a_day_and_prices_follow_them(running: Running) -> None:
    async with running() as exchange:
        await done(exchange, "filters", symbol=BTC, tick_size="1", step_size="0.01", min_notional="2000")
        _, info, _ = await exchange.get("/fapi/v1/exchangeInfo")
        filters = {row["filterType"]: row for row in info["symbols"][0]["filters"]}
        assert (filters["PRICE_FILTER"]["tickSize"], filters["LOT_SIZE"]["stepSize"]) == ("1", "0.01")
        assert filters["MIN_NOTIONAL"]["notional"] == "2000"
        world = exchange.simulator.world
        world.advance(world.now + 3_600_000)
        assert exchange.last(BTC) % 1 == 0
        for quantity, code in (("0.015", -1111), ("0.01", -4164)):
            order = {"symbol": BTC, "side": "BUY", "type": "MARKET", "quantity": quantity}
            assert (await exchange.signed("POST", "/fapi/v1/order", **order))[1]["code"] == code


async def test_settings_that_the_exchange_changes_by_itself_are_told(running: Running) -> None:
    async with running() as exchange:
        key = await exchange.listen_key()
        async with exchange.stream(f"/private/ws/{key}") as socket:
            await done(exchange, "leverage", symbol=BTC, leverage=3)
            await done(exchange, "multi_assets", on=True)
            first, second = await heard(socket, 2)
        assert first["ac"] == {"s": BTC, "l": 3}
        assert second["ai"] == {"j": True}
        await done(exchange, "margin_type", symbol=BTC, margin_type="ISOLATED")
        _, (config,) = await exchange.signed("GET", "/fapi/v1/symbolConfig", symbol=BTC)
        assert (config["leverage"], config["marginType"]) == (3, "ISOLATED")
        await done(exchange, "position_mode", dual_side=True)
        _, mode = await exchange.signed("GET", "/fapi/v1/positionSide/dual")
        assert mode["dualSidePosition"] is True
        order = {"symbol": BTC, "side": "BUY", "type": "MARKET", "quantity": "0.010"}
        assert (await exchange.signed("POST", "/fapi/v1/order", **order))[1]["code"] == -4061
        await done(exchange, "funding_interval", symbol=BTC, hours=4)
        _, info, _ = await exchange.get("/fapi/v1/fundingInfo")
        assert [(row["symbol"], row["fundingIntervalHours"]) for row in info] == [(BTC, 4)]


async def test_a_conditional_order_vanishes(running: Running) -> None:
    async with running() as exchange:
        await exchange.market(BTC, "BUY", "0.010")
        await exchange.stop(BTC, "SELL", "0.010", exchange.last(BTC) * Decimal("0.97"), clientAlgoId="s")
        await done(exchange, "drop_algo", client_id="s")
        _, algo = await exchange.signed("GET", "/fapi/v1/algoOrder", clientAlgoId="s")
        assert algo["algoStatus"] == "EXPIRED"


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "dance"},
        {"kind": "adl", "symbol": BTC},
        {"kind": "adl", "symbol": "NOSUCHUSDT"},
        {"kind": "status", "symbol": BTC, "status": "ASLEEP"},
        {"kind": "filters", "symbol": BTC, "tick_size": "0"},
        {"kind": "leverage", "symbol": BTC, "leverage": 0},
        {"kind": "margin_type", "symbol": BTC, "margin_type": "BOTH"},
        {"kind": "funding_interval", "symbol": BTC, "hours": 7},
        {"kind": "drop_algo", "client_id": "nobody"},
        {"kind": "liquidate", "symbol": BTC},
    ],
)
async def test_what_cannot_be_done_is_refused_and_not_logged(running: Running, body: dict[str, Any]) -> None:
    async with running() as exchange:
        url = f"{exchange.addresses.rest_url}/_sim/intervene"
        async with exchange.http.post(url, json=body) as response:
            assert response.status == 400
        assert await logged(exchange, "intervention") == []
