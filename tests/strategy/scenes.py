"""Bars, forecasts and variants that the tests of decisions are made of."""

from collections.abc import Sequence
from decimal import Decimal
from functools import cache
from typing import Any

import msgspec
import numpy as np

from bot.config import VariantFile, decode
from bot.messages import Bars, FilterVerdict, Forecast, Signal, TradingState
from bot.plugin_host import PluginHost
from bot.strategy.cycle import Seen
from bot.strategy.variant import Variant, resolve
from bot.strategy.verdicts import CHECKS
from bot.venue import Instrument, MarginBracket

HOUR = 3_600_000
MONDAY = 1_741_564_800_000  # 2025-03-10 00:00 UTC
CONTEXT = 64
BTC = Instrument(
    symbol="BTCUSDT",
    tick_size=Decimal("0.10"),
    step_size=Decimal("0.001"),
    min_quantity=Decimal("0.001"),
    max_quantity=Decimal(1000),
    max_market_quantity=Decimal(120),
    min_notional=Decimal(50),
    brackets=(
        MarginBracket(
            notional_cap=Decimal(50_000), maintenance_rate=Decimal("0.004"), amount=Decimal(0), max_leverage=125
        ),
        MarginBracket(
            notional_cap=Decimal(600_000), maintenance_rate=Decimal("0.005"), amount=Decimal(50), max_leverage=100
        ),
    ),
)


@cache
def shipped() -> PluginHost:
    return PluginHost.load(installed=False)


def make_bars(closes: Sequence[float], spread: float = 10.0, end: int = MONDAY + 12 * HOUR) -> Bars:
    """Bars whose true range is 2 x `spread` where the closes stand still; the last one closes at `end`."""
    close = np.array(closes, dtype=float)
    open_time = end - HOUR * np.arange(len(close), 0, -1)
    return Bars("BTCUSDT", HOUR, open_time, close, close + spread, close - spread, close, np.ones(len(close)))


def zigzag(last: float = 50_000.0, count: int = CONTEXT) -> Bars:
    """Closes that go up and down by 5 in turn, so that RSI(14) is about 50, and end at `last`."""
    return make_bars([last - 5.0 * ((count - 1 - index) % 2) for index in range(count)])


def make_variant(plugins: PluginHost | None = None, **tables: dict[str, Any]) -> Variant:
    """A variant of the shipped plugins; `tables` are the TOML tables that differ."""
    variant = {"name": "BTC", "tier": "t1", "symbols": ["BTCUSDT"]} | tables.pop("variant", {})
    file = decode({"variant": variant, **tables}, VariantFile, "btc.toml")
    return resolve("btc.toml", file, (plugins or shipped()).plugins, 44)


def words(signal: Signal, *, checks: bool = False) -> list[FilterVerdict]:
    """The verdicts of a row's filters, or those of the bot's own checks."""
    return [verdict for verdict in signal.filter_verdicts if (verdict.filter in CHECKS) is checks]


def make_forecast(bars: Bars, predicted_return: float) -> Forecast:
    spread = 0.01
    return Forecast(
        bars.symbol, "nano", bars.close_at, 4, predicted_return, predicted_return - spread, predicted_return + spread
    )


def make_seen(bars: Bars, predicted_return: float = 0.004, **changes: Any) -> Seen:
    at = bars.close_at + 3 * 60_000
    seen = Seen(
        symbol=bars.symbol,
        cycle_at=at,
        now=at + 500,
        bars=bars,
        forecast=make_forecast(bars, predicted_return),
        mark_price=Decimal("50001.0"),
        instrument=BTC,
        state=TradingState.ACTIVE,
        funding_rate=Decimal("0.0001"),
        next_funding_at=bars.close_at + 4 * HOUR,
    )
    return msgspec.structs.replace(seen, **changes)
