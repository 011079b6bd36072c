"""A simulator on loopback inside the test's own event loop, and what clients of it need."""

import hashlib
import hmac
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import aiohttp
import anyio
import msgspec
import pytest
import yarl

from bot.clock import DAY_MS
from bot.exchange.matching.records import Settings
from bot.exchange.matching.switches import Switches
from bot.exchange.simulator.market import Market
from bot.exchange.simulator.server import Addresses, Simulator, SimulatorOptions, market_of
from tests.exchange.simulator.sdk import Sdk, client

START = 1_735_689_600_000  # 2025-01-01
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
TENTH = Decimal("0.1")
EXACT = Settings(partial_fill_probability=0.0, market_slippage_bps=Decimal(0))


class Exchange(msgspec.Struct):
    """A running simulator and an HTTP session to it."""

    simulator: Simulator
    addresses: Addresses
    http: aiohttp.ClientSession

    async def control(self, path: str, body: dict[str, Any] | None = None) -> Any:
        url = f"{self.addresses.rest_url}/_sim/{path}"
        request = self.http.get(url) if body is None else self.http.post(url, json=body)
        async with request as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def get(self, path: str, **params: str) -> tuple[int, Any, dict[str, str]]:
        async with self.http.get(self.addresses.rest_url + path, params=params) as response:
            return response.status, await response.json(), dict(response.headers)

    async def signed(self, method: str, path: str, **params: str) -> tuple[int, Any]:
        """A signed request at the exchange's own time."""
        query = urlencode(params | {"timestamp": str(self.simulator.world.now)})
        signature = hmac.new(b"sim-secret", query.encode(), hashlib.sha256).hexdigest()
        url = yarl.URL(f"{self.addresses.rest_url}{path}?{query}&signature={signature}", encoded=True)
        async with self.http.request(method, url, headers={"X-MBX-APIKEY": "sim-key"}) as response:
            return response.status, await response.json()

    async def market(self, symbol: str, side: str, quantity: str, **params: str) -> Any:
        """A market order."""
        order = {"symbol": symbol, "side": side, "type": "MARKET", "quantity": quantity}
        status, answer = await self.signed("POST", "/fapi/v1/order", **(order | params))
        assert status == 200, answer
        return answer

    async def stop(self, symbol: str, side: str, quantity: str, trigger: Decimal, **params: str) -> Any:
        """A reduce-only stop."""
        order = {"symbol": symbol, "side": side, "quantity": quantity, "triggerPrice": str(trigger.quantize(TENTH))}
        order |= {"algoType": "CONDITIONAL", "type": "STOP_MARKET", "reduceOnly": "true"}
        status, answer = await self.signed("POST", "/fapi/v1/algoOrder", **(order | params))
        assert status == 200, answer
        return answer

    async def listen_key(self) -> str:
        headers = {"X-MBX-APIKEY": "sim-key"}
        async with self.http.post(f"{self.addresses.rest_url}/fapi/v1/listenKey", headers=headers) as response:
            key: str = (await response.json())["listenKey"]
            return key

    def last(self, symbol: str) -> Decimal:
        return self.simulator.world.quotes[symbol].last

    def stream(self, path: str) -> AbstractAsyncContextManager[aiohttp.ClientWebSocketResponse]:
        return self.http.ws_connect(self.addresses.stream_url + path)


Running = Callable[..., AbstractAsyncContextManager[Exchange]]


@pytest.fixture
def running() -> Running:
    @asynccontextmanager
    async def run(
        market: Market | None = None, switches: dict[str, Any] | None = None, **changes: Any
    ) -> AsyncIterator[Exchange]:
        options = SimulatorOptions(
            **({"symbols": SYMBOLS, "start": START, "end": START + DAY_MS, "settings": EXACT} | changes)
        )
        if switches:
            settings = msgspec.structs.replace(options.settings, switches=Switches(**switches))
            options = msgspec.structs.replace(options, settings=settings)
        simulator = Simulator(market if market is not None else market_of(options), options)
        with anyio.fail_after(60):
            async with simulator.serving() as addresses, aiohttp.ClientSession() as http:
                yield Exchange(simulator, addresses, http)

    return run


Trading = Callable[..., AbstractAsyncContextManager[tuple[Sdk, Exchange]]]


@pytest.fixture
def trading(running: Running) -> Trading:
    """The official SDK and the simulator that it trades on."""

    @asynccontextmanager
    async def open_account(**changes: Any) -> AsyncIterator[tuple[Sdk, Exchange]]:
        async with running(**({"clock_window": "off"} | changes)) as exchange:
            sdk = Sdk(client(exchange.addresses))
            try:
                yield sdk, exchange
            finally:
                sdk.client.rest_api._session.close()

    return open_account
