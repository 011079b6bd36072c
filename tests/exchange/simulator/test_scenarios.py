"""The scenario files that ship: each is played for a day to a client that trades, and everything in it strikes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bot.clock import HOUR_MS
from bot.exchange.faults import Scenario, read_scenario
from tests.exchange.simulator.struck import ALGO_PATH, ORDER_PATH

pytestmark = pytest.mark.anyio
CHECKOUT = Path(__file__).resolve().parents[3]
FILES = sorted((CHECKOUT / "deploy" / "scenarios").glob("*.toml"))
HARDEST = {
    "ambiguous-submit",
    "naked-position",
    "unlinked-child",
    "restart",
    "user-stream-loss",
    "silent-market",
    "partial-fills",
    "trailing-replace",
    "rate-limits",
    "outside-intervention",
}
STREAMS = "btcusdt@kline_1h/ethusdt@kline_1h/solusdt@kline_1h/btcusdt@markPrice@1s"


class Trader:
    """A client that trades for hours, whatever it is answered."""

    def __init__(self, exchange: Any) -> None:
        self._exchange = exchange
        self._sockets: dict[str, aiohttp.ClientWebSocketResponse] = {}
        self._key = ""

    async def ask(self, method: str, path: str, **params: str) -> Any:
        try:
            return (await self._exchange.signed(method, path, **params))[1]
        except aiohttp.ClientError:
            return None

    async def hour(self, number: int) -> None:
        """Buy, protect, ask, move the price through the stop, place and cancel, sell."""
        await self._connect()
        order = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.010"}
        await self.ask("POST", ORDER_PATH, **order, newClientOrderId=f"e{number}")
        for name, share in (("s", 99), ("t", 98)):
            stop = {"symbol": "BTCUSDT", "side": "SELL", "type": "STOP_MARKET", "quantity": "0.005"}
            stop |= {"algoType": "CONDITIONAL", "reduceOnly": "true", "clientAlgoId": f"{name}{number}"}
            await self.ask("POST", ALGO_PATH, **stop, triggerPrice=self._price(share))
            await self.ask("GET", ALGO_PATH, clientAlgoId=f"{name}{number}")
        for path in ("v3/positionRisk", "v1/openOrders", "v1/openAlgoOrders", "v1/exchangeInfo"):
            await self.ask("GET", f"/fapi/{path}")
        await self.ask("GET", "/fapi/v1/userTrades", symbol="BTCUSDT")
        if number % 2:
            await self._jump(985)
        await self.ask("DELETE", ALGO_PATH, clientAlgoId=f"t{number}")
        limit = order | {"type": "LIMIT", "timeInForce": "GTC", "price": self._price(97)}
        await self.ask("POST", ORDER_PATH, **limit, newClientOrderId=f"l{number}")
        await self.ask("GET", ORDER_PATH, symbol="BTCUSDT", origClientOrderId=f"l{number}")
        await self.ask("DELETE", ORDER_PATH, symbol="BTCUSDT", origClientOrderId=f"l{number}")
        if number % 4 == 3:
            away = {"side": "SELL", "quantity": "0.005", "reduceOnly": "true"}
            await self.ask("POST", ORDER_PATH, **(order | away), newClientOrderId=f"x{number}")

    async def _connect(self) -> None:
        shape = await self._listen_key()
        if "listenKey" in shape:
            if shape["listenKey"] != self._key:
                self._sockets.pop("private", None)
            self._key = shape["listenKey"]
        for route, path in (("private", f"/private/ws/{self._key}"), ("market", f"/market/stream?streams={STREAMS}")):
            if route not in self._sockets or self._sockets[route].closed:
                self._sockets[route] = await self._exchange.stream(path)

    async def _listen_key(self) -> Any:
        url = f"{self._exchange.addresses.rest_url}/fapi/v1/listenKey"
        async with self._exchange.http.post(url, headers={"X-MBX-APIKEY": "sim-key"}) as response:
            return await response.json()

    async def drain(self) -> None:
        """Take in what has arrived, so that nobody thinks that we are slow."""
        for socket in self._sockets.values():
            while not socket.closed:
                try:
                    await socket.receive(timeout=0.001)
                except TimeoutError:
                    break

    def _price(self, percent: int) -> str:
        return str((self._exchange.last("BTCUSDT") * percent // 100).quantize(1)) + ".0"

    async def _jump(self, thousandths: int) -> None:
        price = str((self._exchange.last("BTCUSDT") * thousandths // 1000).quantize(1))
        await self._exchange.control("price", {"symbol": "BTCUSDT", "price": price})


async def play(exchange: Any, hours: int = 24) -> None:
    world, trader = exchange.simulator.world, Trader(exchange)
    for number in range(hours):
        await trader.hour(number)
        until = min(world.now + HOUR_MS, world.market.end)
        while world.now < until:
            world.advance(world.next_moment(until))
            await world.hub.flush()
        await trader.drain()


@asynccontextmanager
async def played(running: Any, scenario: Scenario, hours: int = 24) -> AsyncIterator[Any]:
    async with running(scenario=scenario, clock_window="off", wallet=100_000) as exchange:
        await play(exchange, hours)
        yield exchange


def test_each_of_the_ten_hardest_failures_has_a_scenario_of_its_name() -> None:
    assert {path.stem for path in FILES} >= HARDEST
    for path in FILES:
        scenario = read_scenario(path)
        assert scenario.name == path.stem
        assert scenario.description.endswith(".")
        assert scenario.fault


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
async def test_everything_in_a_scenario_strikes_within_a_day(running: Any, path: Path) -> None:
    async with played(running, read_scenario(path)) as exchange:
        missed = [row["fault"] for row in await exchange.control("faults") if not row["struck"]]
        assert missed == []
        told = [row for row in await exchange.control("log") if row["what"] == "fault"]
        assert len(told) == sum(row["struck"] for row in await exchange.control("faults"))


async def test_a_scenario_is_played_the_same_way_twice(running: Any) -> None:
    scenario = read_scenario(CHECKOUT / "deploy" / "scenarios" / "user-stream-loss.toml")
    logs = []
    for _ in range(2):
        async with played(running, scenario, hours=6) as exchange:
            logs.append(await exchange.control("log"))
    assert logs[0] == logs[1]
    assert any(row["what"] == "fault" for row in logs[0])
