"""The WebSocket routes in every form of URL, and the life of a listen key."""

from typing import Any

import aiohttp
import anyio
import pytest

from bot.clock import DAY_MS, HOUR_MS, MINUTE_MS
from bot.exchange.simulator.sockets import ListenKeys, route_of
from tests.exchange.simulator.conftest import START

pytestmark = pytest.mark.anyio
KLINE = "btcusdt@kline_1h"
STEP_MS = 75_000


async def move(exchange: Any) -> None:
    """Play to the next price."""
    world = exchange.simulator.world
    world.advance(world.next_moment())
    await world.hub.flush()


async def silent(socket: Any) -> bool:
    with anyio.move_on_after(0.05):
        await socket.receive()
        return False
    return True


@pytest.mark.parametrize(
    ("name", "route"),
    [
        (KLINE, "market"),
        ("btcusdt@markPrice@1s", "market"),
        ("!markPrice@arr@1s", "market"),
        ("btcusdt@aggTrade", "market"),
        ("btcusdt@bookTicker", "public"),
        ("!bookTicker", "public"),
        ("btcusdt@depth5@100ms", "public"),
        ("pqia91ma19a5s61cv6a81va65sdf19v8a65a1a5s61cv6a81va65sdf19v8a65a1", "private"),
    ],
)
async def test_every_stream_has_one_route(name: str, route: str) -> None:
    assert route_of(name) == route


@pytest.mark.parametrize(
    ("path", "enveloped"),
    [
        (f"/market/stream?streams={KLINE}/ethusdt@kline_1h", True),
        (f"/market/ws/{KLINE}/ethusdt@kline_1h", False),
        (f"/market/ws?streams={KLINE}", False),
    ],
)
async def test_streams_are_named_in_the_url(running: Any, path: str, enveloped: bool) -> None:
    async with running() as exchange, exchange.stream(path) as socket:
        await move(exchange)
        event = await socket.receive_json(timeout=5)
        if enveloped:
            assert event.keys() == {"stream", "data"}
            assert event["stream"] == KLINE
            event = event["data"]
        assert (event["e"], event["s"], event["k"]["x"]) == ("kline", "BTCUSDT", False)


async def test_streams_are_subscribed_listed_and_left(running: Any) -> None:
    async with running() as exchange, exchange.stream("/market/stream") as socket:

        async def ask(method: str, request_id: int | str, *params: str) -> Any:
            await socket.send_json({"method": method, "params": list(params), "id": request_id})
            return await socket.receive_json(timeout=5)

        assert await ask("SUBSCRIBE", "a-1", KLINE, "ethusdt@kline_1h") == {"result": None, "id": "a-1"}
        assert await ask("LIST_SUBSCRIPTIONS", 2) == {"result": [KLINE, "ethusdt@kline_1h"], "id": 2}
        assert await ask("UNSUBSCRIBE", 3, "ethusdt@kline_1h") == {"result": None, "id": 3}
        assert (await ask("DANCE", 4))["error"]["code"] == 2
        await socket.send_str("{")
        assert (await socket.receive_json(timeout=5))["error"]["code"] == 3
        await move(exchange)
        assert (await socket.receive_json(timeout=5))["stream"] == KLINE
        assert await silent(socket)


@pytest.mark.parametrize("path", ["/public/stream", "/private/stream", "/stream"])
async def test_a_stream_on_a_wrong_route_is_accepted_and_stays_silent(running: Any, path: str) -> None:
    async with running() as exchange, exchange.stream(path) as socket:
        await socket.send_json({"method": "SUBSCRIBE", "params": [KLINE], "id": 1})
        assert await socket.receive_json(timeout=5) == {"result": None, "id": 1}
        await move(exchange)
        assert await silent(socket)


async def test_prices_and_trades_are_told_to_who_listens(running: Any) -> None:
    async with running() as exchange:
        for path, kind in (
            ("/market/ws/btcusdt@markPrice@1s", "markPriceUpdate"),
            ("/market/ws/btcusdt@aggTrade", "aggTrade"),
            ("/public/ws/btcusdt@bookTicker", "bookTicker"),
        ):
            async with exchange.stream(path) as socket:
                await move(exchange)
                assert (await socket.receive_json(timeout=5))["e"] == kind
        async with exchange.stream("/market/ws/!markPrice@arr@1s") as socket:
            await move(exchange)
            rows = [(row["s"], row["st"]) for row in await socket.receive_json(timeout=5)]
            assert rows == [("BTCUSDT", 1), ("ETHUSDT", 1), ("SOLUSDT", 1), ("BTCUSD_PERP", 2)]


async def test_a_connection_is_closed_at_the_age_that_the_exchange_allows(running: Any) -> None:
    async with running(connection_hours=24.0, end=START + 3 * DAY_MS) as exchange:
        world = exchange.simulator.world
        world.advance(world.now + HOUR_MS)
        async with exchange.stream("/market/ws/btcusdt@aggTrade") as socket:
            heard = 0
            for at in (START + 25 * HOUR_MS - 1, START + 25 * HOUR_MS):
                world.advance(at)
                await exchange.simulator.hub.flush()
                while heard < exchange.simulator.hub.written:
                    assert (await socket.receive(timeout=5)).type is aiohttp.WSMsgType.TEXT
                    heard += 1
            assert (await socket.receive(timeout=5)).type is aiohttp.WSMsgType.CLOSE
            assert socket.close_code == 1001


@pytest.mark.parametrize(
    ("path", "enveloped", "heard"),
    [
        ("/private/ws/{key}", False, 4),
        ("/private/ws?listenKey={key}", False, 4),
        ("/private/ws?listenKey={key}&events=ORDER_TRADE_UPDATE/ACCOUNT_UPDATE", False, 3),
        ("/private/stream?listenKey={key}&events=ACCOUNT_UPDATE", True, 1),
        ("/private/stream?streams={key}", True, 4),
    ],
)
async def test_the_user_stream_has_several_addresses(running: Any, path: str, enveloped: bool, heard: int) -> None:
    async with running() as exchange:
        key = await exchange.listen_key()
        async with exchange.stream(path.format(key=key)) as socket:
            await exchange.market("BTCUSDT", "BUY", "0.010")
            frames = [await socket.receive_json(timeout=5) for _ in range(heard)]
            assert await silent(socket)
        if enveloped:
            assert {frame["stream"] for frame in frames} == {key}
            frames = [frame["data"] for frame in frames]
        assert frames[-1]["e"] == "ACCOUNT_UPDATE"


async def test_an_unknown_listen_key_connects_and_hears_nothing(running: Any) -> None:
    async with running() as exchange:
        await exchange.listen_key()
        async with exchange.stream("/private/ws/no-such-key") as socket:
            await exchange.market("BTCUSDT", "BUY", "0.010")
            assert await silent(socket)


async def test_a_listen_key_that_is_not_extended_expires_and_falls_silent(running: Any) -> None:
    async with running() as exchange:
        world = exchange.simulator.world
        key = await exchange.listen_key()
        assert await exchange.listen_key() == key
        async with exchange.stream(f"/private/ws/{key}") as socket:
            world.advance(world.now + HOUR_MS)
            await world.hub.flush()
            event = await socket.receive_json(timeout=5)
            assert event == {"e": "listenKeyExpired", "E": world.now, "listenKey": key}
            await exchange.market("BTCUSDT", "BUY", "0.010")
            assert await silent(socket)
        assert await exchange.listen_key() != key


def test_a_listen_key_lives_for_an_hour_after_it_was_extended() -> None:
    keys = ListenKeys(seed=1)
    key = keys.open(0)
    assert len(key) == 64
    assert keys.extend(30 * MINUTE_MS) == key
    assert keys.lapsed(89 * MINUTE_MS) is None
    assert keys.lapsed(90 * MINUTE_MS) == key
    assert keys.extend(91 * MINUTE_MS) is None


async def test_eleven_messages_in_a_second_end_the_connection(running: Any) -> None:
    async with running() as exchange, exchange.stream("/market/stream") as socket:
        for number in range(11):
            await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": number})
        answers = [await socket.receive() for _ in range(11)]
        assert [answer.data for answer in answers].count(1008) == 1
        assert socket.closed


async def test_streams_can_be_muted_and_connections_dropped(running: Any) -> None:
    async with running() as exchange, exchange.stream(f"/market/ws/{KLINE}") as socket:
        assert await exchange.control("mute", {"stream": KLINE}) == {"muted": [KLINE]}
        await move(exchange)
        assert await silent(socket)
        await exchange.control("mute", {"stream": KLINE, "muted": False})
        await exchange.control("price", {"symbol": "BTCUSDT", "price": "90000.0"})
        assert (await socket.receive_json(timeout=5))["k"]["c"] == "90000.0"
        assert await exchange.control("disconnect", {"route": "market"}) == {"dropped": 1}
        assert (await socket.receive()).type.name in ("CLOSED", "CLOSE", "ERROR")
