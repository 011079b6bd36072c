"""What the tests of faults ask of a running exchange."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from bot.clock import SECOND_MS

ORDER_PATH, ALGO_PATH = "/fapi/v1/order", "/fapi/v1/algoOrder"


async def inject(exchange: Any, kind: str, **table: Any) -> int:
    """Add a fault over the control plane; its number."""
    number: int = (await exchange.control("fault", {"kind": kind} | table))["number"]
    return number


async def strikes(exchange: Any) -> list[tuple[str, int]]:
    """Kind and number of the match of every strike in the truth log."""
    return [(row["kind"], row["nth"]) for row in await exchange.control("log") if row["what"] == "fault"]


async def entry(exchange: Any, client_id: str, **changes: str) -> tuple[int, Any]:
    """A limit order far below the market."""
    price = str((exchange.last("BTCUSDT") * 97 // 100).quantize(1)) + ".0"
    order = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.010"}
    order |= {"price": price, "newClientOrderId": client_id}
    status, answer = await exchange.signed("POST", ORDER_PATH, **(order | changes))
    return int(status), answer


async def known(exchange: Any, client_id: str) -> bool:
    """Whether the venue has the order, asked of its own books."""
    orders = exchange.simulator.world.engine.orders.values()
    return any(order.client_id == client_id for order in orders)


async def pass_seconds(exchange: Any, seconds: float) -> None:
    """Let simulated time go on, moment by moment, as a bot in lockstep would see it."""
    world = exchange.simulator.world
    until = world.now + round(seconds * SECOND_MS)
    while world.now < until:
        world.advance(world.next_moment(until))
        await world.hub.flush()


class Ear:
    """A client's socket that hears exactly what the exchange has written to it; the only one on its route."""

    def __init__(self, exchange: Any, socket: aiohttp.ClientWebSocketResponse, route: str) -> None:
        self.socket = socket
        self._server = next(each for each in exchange.simulator.hub.sockets if each.route == route)
        self._heard = 0

    async def frames(self) -> list[Any]:
        """What was written since the last call, as JSON."""
        found = []
        while self._heard < self._server.written:
            found.append(await self.socket.receive_json(timeout=5))
            self._heard += 1
        return found


@asynccontextmanager
async def user_stream(exchange: Any) -> AsyncIterator[Ear]:
    async with exchange.stream(f"/private/ws/{await exchange.listen_key()}") as socket:
        yield Ear(exchange, socket, "private")


@asynccontextmanager
async def market_stream(exchange: Any, *names: str) -> AsyncIterator[Ear]:
    async with exchange.stream("/market/stream?streams=" + "/".join(names)) as socket:
        yield Ear(exchange, socket, "market")


async def move_price(exchange: Any, share: float) -> None:
    """Let the price of BTCUSDT jump to a share of what it is."""
    price = str((exchange.last("BTCUSDT") * round(share * 1000) // 1000).quantize(1)) + ".0"
    await exchange.control("price", {"symbol": "BTCUSDT", "price": price})
