"""Bars made up for the tests of this room."""

import numpy as np

from bot.clock import HOUR_MS
from bot.messages import Bars

START = 1_740_787_200_000  # 2025-03-01


def bars(count: int, interval_ms: int = HOUR_MS, symbol: str = "BTCUSDT", seed: int = 1) -> Bars:
    """A sound walk from START on."""
    steps = np.random.default_rng(seed).normal(0, 0.002, count)
    close = 100 * np.exp(np.cumsum(steps))
    opened = np.concatenate([[100.0], close[:-1]])
    times = START + np.arange(count, dtype=np.int64) * interval_ms
    high, low = np.maximum(opened, close) * 1.001, np.minimum(opened, close) * 0.999
    return Bars(symbol, interval_ms, times, opened, high, low, close, np.full(count, 5.0))
