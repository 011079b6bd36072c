"""A simulator that serves on loopback from a thread of its own, so that plain functions can ask it."""

import contextlib
import hashlib
import hmac
import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import anyio.from_thread
import msgspec

from bot.clock import DAY_MS
from bot.exchange.simulator.server import Simulator, SimulatorOptions, market_of

START = 1_735_689_600_000
SYMBOLS = ("BTCUSDT", "ETHUSDT")
UNLIMITED = 1_000_000_000
KEY, SECRET = "sim-key", b"sim-secret"


class Answer(msgspec.Struct, frozen=True):
    status: int
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Asked(msgspec.Struct, frozen=True):
    """A simulator and where it listens. The market stands still unless `advance` is called."""

    simulator: Simulator
    portal: Any
    place: str

    def request(self, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
        connection = http.client.HTTPConnection(self.place, timeout=20)
        try:
            connection.request(method, target, body or None, headers or {})
            response = connection.getresponse()
            return Answer(response.status, response.read())
        finally:
            connection.close()

    def signed(self, method: str, path: str, params: list[tuple[str, str]], *, in_body: bool = False) -> Answer:
        """Signed as a client would that knows the secret, whatever the parameters say."""
        if not any(name == "timestamp" for name, _ in params):
            params = [*params, ("timestamp", str(self.simulator.world.now))]
        text = "&".join(f"{encoded(name)}={encoded(value)}" for name, value in params)
        text += f"&signature={hmac.new(SECRET, text.encode(), hashlib.sha256).hexdigest()}"
        headers = {"X-MBX-APIKEY": KEY}
        if in_body:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            return self.request(method, path, text.encode(), headers)
        return self.request(method, f"{path}?{text}", headers=headers)

    def advance(self, milliseconds: int) -> None:
        world = self.simulator.world
        self.portal.call(world.advance, world.now + milliseconds)


def encoded(text: str) -> str:
    return quote(text, safe="", errors="surrogatepass")


@contextlib.contextmanager
def asked() -> Iterator[Asked]:
    options = SimulatorOptions(
        symbols=SYMBOLS, start=START, end=START + DAY_MS, profile="stress", weight_per_minute=UNLIMITED,
        orders_per_minute=UNLIMITED, orders_per_ten_seconds=UNLIMITED,
    )  # fmt: skip
    with anyio.from_thread.start_blocking_portal() as portal:
        simulator = portal.call(_make, options)
        with portal.wrap_async_context_manager(simulator.serving()) as addresses:
            yield Asked(simulator, portal, urlsplit(addresses.rest_url).netloc)


async def _make(options: SimulatorOptions) -> Simulator:
    return Simulator(market_of(options), options)
