"""The canary against a venue of which parts have stopped working."""

from collections import Counter
from decimal import Decimal

import anyio
import pytest

from bot.clock import DAY_MS, MINUTE_MS, ReplayClock
from bot.errors import VenueUnavailable
from bot.exchange.matching import Engine
from bot.exchange.paper import PaperTrading
from bot.exchange.port import MarketPort
from bot.market.canary import Canary
from bot.messages import Bar, BotEvent
from bot.venue import Instrument, Worth
from tests.strategy.scenes import BTC

pytestmark = pytest.mark.anyio

NOW = 1_740_787_200_000


class Market(MarketPort):
    async def server_time(self) -> int:
        return NOW

    async def instruments(self) -> dict[str, Instrument]:
        return {"BTCUSDT": BTC}

    async def bars(self, symbol: str, interval_ms: int, start: int, end: int) -> list[Bar]:
        return []


class Trading(PaperTrading):
    deaf = False

    async def worth(self) -> Worth:
        if self.deaf:
            raise VenueUnavailable("503")
        return await super().worth()


class Ears:
    def __init__(self) -> None:
        self.clock = ReplayClock(NOW)
        self.events: list[BotEvent] = []
        self.heard = Counter({"kline": 0, "markPrice": 0})
        self.trading = Trading(Engine({"BTCUSDT": BTC}, Decimal(1_000)), lambda _: None)
        self.canary = Canary(Market(), self.trading, self.heard, "BTCUSDT", self.clock, self.events.append)

    async def a_minute(self, *streams: str) -> None:
        await anyio.wait_all_tasks_blocked()
        self.heard.update(streams)
        self.clock.advance(self.clock.now() + MINUTE_MS)
        await anyio.wait_all_tasks_blocked()


async def test_a_canary_that_is_well_sings_at_the_start_and_daily() -> None:
    ears = Ears()
    async with anyio.create_task_group() as group:
        group.start_soon(ears.canary.run)
        await ears.a_minute("kline", "markPrice")
        assert [event.name for event in ears.events] == ["canary_ok"]
        assert {"time", "open_orders", "income", "kline"} <= set(ears.events[0].detail["tried"])
        ears.clock.advance(ears.clock.now() + DAY_MS)
        await ears.a_minute("kline", "markPrice")
        assert [event.name for event in ears.events] == ["canary_ok"] * 2
        group.cancel_scope.cancel()


async def test_a_call_that_fails_and_a_stream_that_is_silent_are_named() -> None:
    ears = Ears()
    ears.trading.deaf = True
    async with anyio.create_task_group() as group:
        group.start_soon(ears.canary.run)
        await ears.a_minute("kline")
        group.cancel_scope.cancel()
    (event,) = ears.events
    assert event.name == "canary_failed"
    assert event.detail["failed"] == {
        "account": "VenueUnavailable: 503",
        "stream markPrice": "no data within 60 seconds",
    }
