"""The simulator's payloads have the keys and types of recorded ones, which stay outside of the checkout."""

import json
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.anyio
LATER = {"S"}  # ACCOUNT_UPDATE names its symbol since 2026-08-07, after these recordings
EARLIER = {"er"}  # ORDER_TRADE_UPDATE has its expiry reason since 2025-10-23
NOTES = {"_note"}  # of who recorded


@pytest.fixture(scope="module")
def rest(shared_data: Path) -> dict[str, Any]:
    recorded: dict[str, Any] = json.loads((shared_data / "payloads" / "rest_recorded_2026-09-15.json").read_text())
    return recorded


@pytest.fixture(scope="module")
def user_events(shared_data: Path) -> list[dict[str, Any]]:
    lines = (shared_data / "payloads" / "user_stream_recorded.jsonl").read_text().splitlines()
    return [entry["event"] for entry in map(json.loads, lines) if entry["env"] in ("live", "testnet")]


@pytest.fixture(scope="module")
def market_events(shared_data: Path) -> dict[str, dict[str, Any]]:
    lines = (shared_data / "payloads" / "market_stream_recorded.jsonl").read_text().splitlines()
    return {event["data"]["e"]: event for event in (json.loads(line)["event"] for line in lines)}


def shape(value: Any) -> Any:
    """Keys and types; of a list the shape of its first entry."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items() if key not in NOTES}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


async def test_rest_answers_have_the_recorded_shape(running: Any, rest: dict[str, Any]) -> None:
    async with running() as exchange:
        exchange.simulator.world.advance(exchange.addresses.start + 9 * 3_600_000)
        for path, recorded in (
            ("/fapi/v1/time", "/fapi/v1/time"),
            ("/fapi/v1/premiumIndex", "/fapi/v1/premiumIndex?symbol=BTCUSDT"),
            ("/fapi/v2/ticker/price", "/fapi/v2/ticker/price?symbol=BTCUSDT"),
            ("/fapi/v1/ticker/bookTicker", "/fapi/v1/ticker/bookTicker?symbol=BTCUSDT"),
            ("/fapi/v1/fundingRate", "/fapi/v1/fundingRate?symbol=BTCUSDT&limit=2"),
        ):
            _, answer, _ = await exchange.get(path, symbol="BTCUSDT")
            assert shape(answer) == shape(rest[recorded]), path
        _, rows, _ = await exchange.get("/fapi/v1/klines", symbol="BTCUSDT", interval="1h", limit="3")
        recorded_rows = rest["/fapi/v1/klines?symbol=BTCUSDT&interval=1m&limit=3"]
        assert [[type(cell) for cell in row] for row in rows] == [[type(cell) for cell in row] for row in recorded_rows]


async def test_the_exchanges_description_of_a_symbol_has_the_recorded_shape(running: Any, rest: dict[str, Any]) -> None:
    async with running() as exchange:
        _, info, _ = await exchange.get("/fapi/v1/exchangeInfo")
        recorded = rest["/fapi/v1/exchangeInfo symbols[] BTCUSDT"]
        symbol = info["symbols"][0]
        assert shape(symbol).keys() == shape(recorded).keys()
        assert sorted(symbol["orderTypes"]) == sorted(recorded["orderTypes"])
        filters = {row["filterType"]: shape(row) for row in symbol["filters"]}
        assert filters == {row["filterType"]: shape(row) for row in recorded["filters"]}
        head = shape(rest["/fapi/v1/exchangeInfo (head)"])
        assert {key: value for key, value in shape(info).items() if key in head} == head


async def test_recorded_errors_are_answered_alike(running: Any, rest: dict[str, Any]) -> None:
    async with running() as exchange:
        answers = {entry["request"]: (entry["http"], entry["body"]) for entry in rest["errors"]}
        for request, params in (
            ("/fapi/v1/klines?interval=1s", {"symbol": "BTCUSDT", "interval": "1s"}),
            ("/fapi/v1/klines?limit=2000", {"symbol": "BTCUSDT", "interval": "1h", "limit": "2000"}),
            ("/fapi/v1/ticker/24hr?symbol=NOTAREALSYM", {"symbol": "NOTAREALSYM"}),
        ):
            path = request.partition("?")[0].replace("24hr", "price")
            status, body, _ = await exchange.get(path, **params)
            assert (status, body) == answers[request]
        status, body, _ = await exchange.get("/fapi/v3/account")
        assert (status, body) == answers["/fapi/v1/historicalTrades (no key)"]


async def heard_user_events(exchange: Any) -> list[dict[str, Any]]:
    """Every kind of event of one account: placed, cancelled, filled, triggered, rejected, funded."""
    world, last = exchange.simulator.world, exchange.last("BTCUSDT")
    key = await exchange.listen_key()
    async with exchange.stream(f"/private/ws/{key}") as socket:
        limit = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.010"}
        await exchange.signed("POST", "/fapi/v1/order", **limit, price=str((last * 9 / 10).quantize(last)))
        await exchange.signed("DELETE", "/fapi/v1/allOpenOrders", symbol="BTCUSDT")
        await exchange.stop("BTCUSDT", "SELL", "0.010", last * 7 / 10, clientAlgoId="cancelled")
        await exchange.signed("DELETE", "/fapi/v1/algoOrder", clientAlgoId="cancelled")
        await exchange.market("BTCUSDT", "BUY", "0.010")
        await exchange.stop("BTCUSDT", "SELL", "0.010", last * 8 / 10)
        await exchange.stop("BTCUSDT", "SELL", "0.010", last * 79 / 100)
        await exchange.control("price", {"symbol": "BTCUSDT", "price": str((last * 7 / 10).quantize(last))})
        assert world.engine.positions() == []
        frames = world.hub.frames
        return [await socket.receive_json(timeout=5) for _ in range(frames)]


async def test_user_events_have_the_recorded_shape(running: Any, user_events: list[dict[str, Any]]) -> None:
    async with running() as exchange:
        heard = await heard_user_events(exchange)
    for recorded in user_events:
        alike = [event for event in heard if same_kind(event, recorded)]
        assert alike, recorded["e"]
        body, wanted = shape(alike[0]), shape(recorded)
        for part in ("o", "a"):
            if part in body:
                ours, theirs = body[part], wanted[part]
                assert ours.keys() - theirs.keys() <= LATER | EARLIER
                assert {key: ours.get(key) for key in theirs} == theirs
        assert body.keys() == wanted.keys()


def same_kind(event: dict[str, Any], recorded: dict[str, Any]) -> bool:
    if event["e"] != recorded["e"]:
        return False
    if event["e"] == "ALGO_UPDATE":
        return bool(event["o"]["X"] == recorded["o"]["X"])
    return True


async def test_a_triggered_algo_order_is_told_in_the_recorded_words(running: Any, shared_data: Path) -> None:
    fixtures = shared_data / "payloads" / "nautilus_fixtures"
    async with running() as exchange:
        heard = await heard_user_events(exchange)
    algos = {event["o"]["X"]: event["o"] for event in heard if event["e"] == "ALGO_UPDATE"}
    assert algos.keys() == {"NEW", "CANCELED", "TRIGGERING", "TRIGGERED", "FINISHED", "REJECTED"}
    for status in ("triggering", "triggered", "finished"):
        recorded = json.loads((fixtures / f"ws_messages__ws_futures_algo_update_{status}.json").read_text())
        ours = shape(algos[status.upper()])
        assert ours == shape(recorded["data"]["o"]) | {"ia": "bool"}  # since 2026-08
    assert algos["REJECTED"]["rm"] == "Reduce Only reject"


async def test_market_events_have_the_recorded_shape(running: Any, market_events: dict[str, dict[str, Any]]) -> None:
    later = {"ap": "str", "st": "int"}  # of the mark price since 2026-03 and 2026-06
    async with running() as exchange:
        streams = {
            "markPriceUpdate": "/market/stream?streams=btcusdt@markPrice@1s",
            "aggTrade": "/market/stream?streams=btcusdt@aggTrade",
            "bookTicker": "/public/stream?streams=btcusdt@bookTicker",
        }
        world = exchange.simulator.world
        for kind, path in streams.items():
            async with exchange.stream(path) as socket:
                world.advance(world.next_moment())
                await world.hub.flush()
                event = await socket.receive_json(timeout=5)
            recorded = shape(market_events[kind])
            if kind == "markPriceUpdate":
                recorded["data"] |= later
            assert shape(event) == recorded


async def test_a_bar_on_the_stream_has_the_recorded_shape(running: Any, shared_data: Path) -> None:
    path = shared_data / "payloads" / "nautilus_fixtures" / "market_data_json__kline_stream_open.json"
    async with running() as exchange, exchange.stream("/market/ws/btcusdt@kline_1h") as socket:
        world = exchange.simulator.world
        world.advance(world.next_moment())
        await world.hub.flush()
        assert shape(await socket.receive_json(timeout=5)) == shape(json.loads(path.read_text()))
