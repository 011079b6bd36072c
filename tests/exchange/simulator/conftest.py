"""A simulator on loopback inside the test's own event loop, and what clients of it need."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from decimal import Decimal
from typing import Any

import aiohttp
import anyio
import msgspec
import pytest

from bot.clock import DAY_MS
from bot.exchange.matching.records import Settings
from bot.exchange.simulator.market import Market
from bot.exchange.simulator.server import Addresses, Simulator, SimulatorOptions, market_of

START = 1_735_689_600_000  # 2025-01-01
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
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

    def stream(self, path: str) -> AbstractAsyncContextManager[aiohttp.ClientWebSocketResponse]:
        return self.http.ws_connect(self.addresses.stream_url + path)


Running = Callable[..., AbstractAsyncContextManager[Exchange]]


@pytest.fixture
def running() -> Running:
    @asynccontextmanager
    async def run(market: Market | None = None, **changes: Any) -> AsyncIterator[Exchange]:
        options = SimulatorOptions(
            **({"symbols": SYMBOLS, "start": START, "end": START + DAY_MS, "settings": EXACT} | changes)
        )
        simulator = Simulator(market if market is not None else market_of(options), options)
        with anyio.fail_after(60):
            async with simulator.serving() as addresses, aiohttp.ClientSession() as http:
                yield Exchange(simulator, addresses, http)

    return run
