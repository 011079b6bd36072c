"""Windows of closes to forecast: of the project's generated market, or of recordings."""

from pathlib import Path

import numpy as np

from bot.clock import DAY_MS, HOUR_MS
from bot.exchange.simulator.generator import GeneratedMarket
from bot.exchange.simulator.instruments import known_instruments
from bot.messages import Floats
from bot.training.dataset import read_series

COINS = 41
START_MS = 1_735_689_600_000  # 2025-01-01


def symbols() -> tuple[str, ...]:
    """The simulator's known symbols first, then made-up ones: any name has a market there."""
    known = [symbol for symbol in known_instruments() if symbol.endswith("USDT")]
    return tuple((known + [f"COIN{number}USDT" for number in range(COINS)])[:COINS])


def generated(context: int, moments: int) -> list[Floats]:
    """`moments` batches a day apart, each with the newest `context` hourly closes of 41 coins."""
    market = GeneratedMarket(7, symbols(), START_MS, moments, warmup_hours=context)
    closes = np.stack([market.bars[symbol, HOUR_MS].close for symbol in symbols()])
    return [_window(closes, context, day * DAY_MS // HOUR_MS) for day in range(moments)]


def recorded(directory: Path, context: int, moments: int) -> list[Floats]:
    """The same of recordings, the moments spread over each symbol's bars; symbols with too few bars are left out."""
    batches: list[list[Floats]] = [[] for _ in range(moments)]
    for series in read_series([directory])[:COINS]:
        starts = series.starts(0, int(series.open_time[-1]) + 1, context)
        if len(starts) < moments:
            continue
        for batch, place in zip(batches, np.linspace(0, len(starts) - 1, moments), strict=True):
            first = int(starts[int(place)])
            batch.append(series.close[first : first + context])
    return [np.stack(batch) for batch in batches]


def _window(closes: Floats, context: int, first: int) -> Floats:
    return np.ascontiguousarray(closes[:, first : first + context])
