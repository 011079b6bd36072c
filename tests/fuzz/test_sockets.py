"""Whatever a client says on a socket, it is answered or the socket is closed; the simulator stays."""

import json
from collections.abc import Iterator
from typing import Any

import aiohttp
import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.effort import tried
from tests.fuzz.exchanges import Asked, asked
from tests.fuzz.mutations import spoiled

COMMANDS = [
    {"method": "SUBSCRIBE", "params": ["btcusdt@kline_1h", "btcusdt@markPrice@1s"], "id": 1},
    {"method": "UNSUBSCRIBE", "params": ["btcusdt@kline_1h"], "id": "b"},
    {"method": "LIST_SUBSCRIPTIONS", "id": 3},
]
CALLS = [
    {"id": "a", "method": "order.place", "params": {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET",
     "quantity": "0.01", "apiKey": "sim-key", "timestamp": 1735689600000, "signature": "0"}},
    {"id": 2, "method": "session.status", "params": {}},
    {"id": 3, "method": "ticker.price", "params": {"symbol": "BTCUSDT"}},
    {"id": None, "method": "session.logon", "params": {"apiKey": "sim-key", "timestamp": 1, "signature": "0"}},
]  # fmt: skip
STEPS = [{"type": "hello", "digest": False}, {"type": "digested", "now": 1735689600000, "frames": 0, "wake_at": None}]


@pytest.fixture(scope="module")
def exchange() -> Iterator[Asked]:
    with asked() as exchange:
        yield exchange


async def say(place: str, path: str, text: str) -> Any:
    """The answer to `text`; None where the socket was closed instead."""
    with anyio.fail_after(20):
        async with aiohttp.ClientSession() as session, session.ws_connect(f"ws://{place}{path}") as socket:
            await socket.send_str(text)
            message = await socket.receive()
            return json.loads(message.data) if message.type is aiohttp.WSMsgType.TEXT else None


def said(raw: bytes) -> str:
    return raw.decode("utf-8", errors="replace")


@tried(60)
@given(text=spoiled(COMMANDS).map(said))
def test_a_command_on_a_stream_socket_is_answered(exchange: Asked, text: str) -> None:
    answer = exchange.portal.call(say, exchange.place, "/market/stream", text)
    assert "id" in answer


@tried(60)
@given(text=spoiled(CALLS).map(said))
def test_a_call_of_the_websocket_api_is_answered_with_a_status(exchange: Asked, text: str) -> None:
    answer = exchange.portal.call(say, exchange.place, "/ws-fapi/v1", text)
    assert answer["status"] in (200, 400, 401, 403)
    assert (answer["status"] == 200) == ("result" in answer)
    assert answer["status"] == 200 or answer["error"]["code"] < 0


@tried(40)
@given(text=st.one_of(spoiled(STEPS).map(said), st.text(max_size=40)))
def test_a_bot_that_stammers_loses_its_lockstep_and_may_come_again(exchange: Asked, text: str) -> None:
    exchange.portal.call(say, exchange.place, "/_sim/lockstep", text)
    tick = exchange.portal.call(say, exchange.place, "/_sim/lockstep", json.dumps(STEPS[0]))
    assert tick["type"] == "tick"


def test_the_simulator_is_still_there(exchange: Asked) -> None:
    assert exchange.request("GET", "/fapi/v1/ping").status == 200
