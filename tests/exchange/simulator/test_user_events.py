"""The order and shape of user events, and what is not known of them: each switch, both ways."""

import re
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import pytest

from bot.clock import HOUR_MS
from bot.exchange.matching.switches import Switches
from bot.exchange.simulator.interventions import AnyIntervention
from tests.exchange.simulator.conftest import Exchange, Running

pytestmark = pytest.mark.anyio
BTC = "BTCUSDT"
OPENED = ["ORDER_TRADE_UPDATE NEW", "TRADE_LITE", "ORDER_TRADE_UPDATE FILLED", "ACCOUNT_UPDATE"]


def told(event: dict[str, Any]) -> str:
    status = event["o"]["X"] if isinstance(event.get("o"), dict) else ""
    return f"{event['e']} {status}".strip()


async def opened(exchange: Exchange, path: str, count: int) -> list[dict[str, Any]]:
    """The frames of a market order."""
    key = await exchange.listen_key()
    async with exchange.stream(path.format(key=key)) as socket:
        await exchange.market(BTC, "BUY", "0.010", newClientOrderId="e")
        return [await socket.receive_json() for _ in range(count)]


async def test_a_fill_is_told_as_trade_then_order_then_account(running: Running) -> None:
    async with running() as exchange:
        events = await opened(exchange, "/private/ws/{key}", 4)
        assert [told(event) for event in events] == OPENED
        lite, order = events[1], events[2]["o"]
        assert (lite["c"], lite["t"], lite["L"]) == (order["c"], order["t"], order["L"])
        assert (order["x"], order["er"], order["n"]) == ("TRADE", "0", str(exchange.simulator.world.engine.fees))


@pytest.mark.parametrize(
    ("switches", "wanted"),
    [
        ({"trade_lite": False}, [OPENED[0], OPENED[2], OPENED[3]]),
        ({"account_update_first": True}, [OPENED[0], OPENED[1], OPENED[3], OPENED[2]]),
    ],
)
async def test_which_events_a_fill_has_and_in_which_order(
    running: Running, switches: dict[str, Any], wanted: list[str]
) -> None:
    async with running(switches=switches) as exchange:
        events = await opened(exchange, "/private/ws/{key}", len(wanted))
        assert [told(event) for event in events] == wanted


@pytest.mark.parametrize("name", ["", "userData"])
async def test_what_the_private_envelope_calls_its_stream(running: Running, name: str) -> None:
    async with running(switches={"user_stream_name": name}) as exchange:
        frames = await opened(exchange, "/private/stream?streams={key}", 4)
        assert {frame["stream"] for frame in frames} == {name or exchange.simulator.world.keys.current}
        assert [told(frame["data"]) for frame in frames] == OPENED


@pytest.mark.parametrize("needed", [False, True])
async def test_whether_a_private_address_must_name_its_events(running: Running, needed: bool) -> None:
    async with running(switches={"private_events_needed": needed}) as exchange:
        key = await exchange.listen_key()
        async with (
            exchange.stream(f"/private/ws?listenKey={key}"),
            exchange.stream(f"/private/ws?listenKey={key}&events=ACCOUNT_UPDATE"),
        ):
            await exchange.market(BTC, "BUY", "0.010")
            frames = [socket.frames for socket in exchange.simulator.hub.sockets]
        assert frames == [0 if needed else 4, 1]


async def test_a_trigger_is_told_from_the_conditional_order_to_its_child_and_back(running: Running) -> None:
    async with running() as exchange:
        await exchange.market(BTC, "BUY", "0.010")
        trigger = (exchange.last(BTC) * Decimal("0.97")).quantize(Decimal("0.1"))
        await exchange.stop(BTC, "SELL", "0.010", trigger, clientAlgoId="s")
        key = await exchange.listen_key()
        async with exchange.stream(f"/private/ws/{key}") as socket:
            await exchange.control("price", {"symbol": BTC, "price": str(trigger - 1)})
            events = [await socket.receive_json() for _ in range(7)]
        assert [told(event) for event in events] == [
            "ALGO_UPDATE TRIGGERING",
            "ALGO_UPDATE TRIGGERED",
            "ORDER_TRADE_UPDATE NEW",
            "TRADE_LITE",
            "ORDER_TRADE_UPDATE FILLED",
            "ACCOUNT_UPDATE",
            "ALGO_UPDATE FINISHED",
        ]
        child = events[2]["o"]
        assert (child["c"], child["o"], child["ot"]) == ("s", "MARKET", "STOP_MARKET")
        assert events[1]["o"]["ai"] == events[6]["o"]["ai"] == str(child["i"])
        assert (events[6]["o"]["aq"], Decimal(events[6]["o"]["ap"])) == ("0.010", Decimal(events[4]["o"]["ap"]))


async def test_an_amendment_is_told_with_the_clients_own_number(running: Running) -> None:
    async with running() as exchange:
        price = str((exchange.last(BTC) * Decimal("0.97")).quantize(Decimal("0.1")))
        order = {"symbol": BTC, "side": "BUY", "quantity": "0.010", "price": price}
        await exchange.signed("POST", "/fapi/v1/order", type="LIMIT", timeInForce="GTC", newClientOrderId="m", **order)
        key = await exchange.listen_key()
        async with exchange.stream(f"/private/ws/{key}") as socket:
            order["quantity"] = "0.020"
            await exchange.signed("PUT", "/fapi/v1/order", origClientOrderId="m", modifyId="9", **order)
            event = await socket.receive_json()
        assert (event["o"]["x"], event["o"]["X"], event["o"]["q"], event["o"]["M"]) == (
            "AMENDMENT",
            "NEW",
            "0.020",
            "9",
        )


async def test_a_margin_call_comes_before_the_liquidation(running: Running) -> None:
    async with running(wallet=Decimal(100)) as exchange:
        await exchange.market(BTC, "BUY", "0.015")
        key, engine = await exchange.listen_key(), exchange.simulator.world.engine
        brink = engine.liquidation_price(BTC)
        async with exchange.stream(f"/private/ws/{key}") as socket:
            mark = str((brink + 1).quantize(Decimal("0.1")))
            await exchange.control("intervene", {"kind": "mark", "symbol": BTC, "price": mark})
            call = await socket.receive_json()
        assert (call["e"], call["p"][0]["s"], call["p"][0]["mt"]) == ("MARGIN_CALL", BTC, "CROSSED")
        assert Decimal(call["p"][0]["mm"]) == engine.maintenance_margin(BTC)
        assert engine.position(BTC).quantity == Decimal("0.015")


@pytest.mark.parametrize("enveloped", [False, True])
async def test_open_conditional_orders_come_as_a_list_or_in_an_envelope(running: Running, enveloped: bool) -> None:
    async with running(switches={"open_algos_enveloped": enveloped}) as exchange:
        await exchange.stop(BTC, "SELL", "0.010", exchange.last(BTC) * Decimal("0.97"), clientAlgoId="s")
        _, answer = await exchange.signed("GET", "/fapi/v1/openAlgoOrders")
        rows = answer["orders"] if enveloped else answer
        assert [row["clientAlgoId"] for row in rows] == ["s"]


@pytest.mark.parametrize("touched", [False, True])
async def test_whether_a_countdown_ends_conditional_orders(running: Running, touched: bool) -> None:
    async with running(switches={"countdown_cancels_algos": touched}) as exchange:
        await exchange.stop(BTC, "SELL", "0.010", exchange.last(BTC) * Decimal("0.5"))
        await exchange.signed("POST", "/fapi/v1/countdownCancelAll", symbol=BTC, countdownTime="60000")
        world = exchange.simulator.world
        world.advance(world.now + HOUR_MS)
        assert len(world.engine.open_algos()) == (0 if touched else 1)


@pytest.mark.parametrize("shown", [False, True])
async def test_whether_an_answer_has_the_average_price(running: Running, shown: bool) -> None:
    async with running(switches={"acks_with_average": shown}) as exchange:
        answer = await exchange.market(BTC, "BUY", "0.010", newOrderRespType="RESULT")
        assert ("avgPrice" in answer, "cumQuote" in answer) == (shown, shown)


async def test_the_truth_log_is_the_same_for_the_same_seed_and_calls(running: Running) -> None:
    logs = []
    for _ in range(2):
        async with running(seed=5) as exchange:
            world = exchange.simulator.world
            await exchange.market(BTC, "BUY", "0.010", newClientOrderId="e")
            await exchange.stop(BTC, "SELL", "0.010", exchange.last(BTC) * Decimal("0.995"), clientAlgoId="s")
            await exchange.control("intervene", {"kind": "adl", "symbol": BTC, "quantity": "0.004"})
            world.advance(world.now + 6 * HOUR_MS)
            await exchange.control("intervene", {"kind": "settle", "symbol": BTC})
            logs.append(await exchange.control("log"))
    assert logs[0] == logs[1]
    assert [entry["n"] for entry in logs[0]] == list(range(len(logs[0])))
    assert {entry["what"] for entry in logs[0]} >= {"order", "fill", "algo", "intervention"}


def test_every_switch_and_every_intervention_is_documented() -> None:
    text = (Path(__file__).resolve().parents[3] / "docs" / "simulator.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| `(\w+)`", text, re.MULTILINE))
    assert set(Switches.__struct_fields__) - rows == set()
    assert {each.__struct_config__.tag for each in get_args(AnyIntervention)} - rows == set()
