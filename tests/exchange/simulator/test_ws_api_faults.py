"""Faults of the WebSocket API: no reply, a late one, a lost connection, a reply that names nobody."""

from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from tests.exchange.simulator.struck import inject, known, strikes
from tests.exchange.simulator.test_ws_api import signed

pytestmark = pytest.mark.anyio


def placing(exchange: Any, number: int) -> dict[str, Any]:
    """A request that places a limit order far below the market."""
    price = str((exchange.last("BTCUSDT") * Decimal("0.97")).quantize(Decimal("0.1")))
    order = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.010"}
    params = signed(**order, price=price, newClientOrderId=f"w-{number}")
    return {"id": number, "method": "order.place", "params": params}


@pytest.mark.parametrize(("form", "executed"), [("after", True), ("before", False)])
async def test_a_request_gets_no_reply_and_the_next_one_does(running: Any, form: str, executed: bool) -> None:
    async with running(clock_window="off") as exchange:
        await inject(exchange, "ws_no_reply", on="order.place", nth=1, form=form)
        async with exchange.http.ws_connect(exchange.addresses.ws_api_url) as socket:
            for number in (1, 2):
                await socket.send_json(placing(exchange, number))
            answer = await socket.receive_json(timeout=5)
        assert (answer["id"], answer["status"]) == (2, 200)
        assert await known(exchange, "w-1") == executed
        assert await strikes(exchange) == [("ws_no_reply", 1)]


@pytest.mark.parametrize(("form", "executed"), [("after", True), ("before", False)])
async def test_the_connection_drops_while_a_request_is_under_way(running: Any, form: str, executed: bool) -> None:
    async with running(clock_window="off") as exchange:
        await inject(exchange, "ws_dropped", on="order.*", form=form)
        async with exchange.http.ws_connect(exchange.addresses.ws_api_url) as socket:
            await socket.send_json(placing(exchange, 1))
            message = await socket.receive(timeout=5)
        assert message.type in (aiohttp.WSMsgType.ERROR, aiohttp.WSMsgType.CLOSED)
        assert await known(exchange, "w-1") == executed


async def test_a_reply_comes_late_and_is_the_right_one(running: Any) -> None:
    async with running(clock_window="off") as exchange:
        await inject(exchange, "ws_late_reply", on="order.place", seconds=0.3)
        async with exchange.http.ws_connect(exchange.addresses.ws_api_url) as socket:
            await socket.send_json(placing(exchange, 1))
            with pytest.raises(TimeoutError):
                await socket.receive(timeout=0.05)
            answer = await socket.receive_json(timeout=5)
        assert (answer["id"], answer["result"]["clientOrderId"]) == (1, "w-1")


async def test_a_reply_names_no_request_and_nothing_was_done(running: Any) -> None:
    async with running(clock_window="off") as exchange:
        await inject(exchange, "ws_id_null", on="order.place")
        async with exchange.http.ws_connect(exchange.addresses.ws_api_url) as socket:
            await socket.send_json(placing(exchange, 1))
            answer = await socket.receive_json(timeout=5)
        assert (answer["id"], answer["status"]) == (None, 401)
        assert not await known(exchange, "w-1")
