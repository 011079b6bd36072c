"""Days of honest rows: a variant that decides on a walk of hourly bars, twice an hour, as the runner lets it."""

from collections.abc import Callable, Iterator

import msgspec
import numpy as np

from bot.messages import Bars, Signal
from bot.strategy.cycle import decide
from bot.strategy.risk import Exposure
from bot.strategy.variant import Variant
from bot.strategy.window import tail, upto
from tests.strategy.scenes import CONTEXT, HOUR, MONDAY, make_forecast, make_seen, make_variant

DAY = 24 * HOUR
MINUTES = (3, 33)


def walk(days: int, seed: int = 1, swing: float = 0.004) -> Bars:
    """Hourly bars of `days` days from MONDAY on, and a window before them."""
    count = days * 24 + CONTEXT
    chance = np.random.default_rng(seed)
    close = 50_000.0 * np.exp(np.cumsum(chance.normal(0, swing, count)))
    opened = np.concatenate(([50_000.0], close[:-1]))
    high, low = np.maximum(opened, close) * 1.001, np.minimum(opened, close) * 0.999
    times = MONDAY + HOUR * np.arange(-CONTEXT, days * 24)
    return Bars("BTCUSDT", HOUR, times, opened, high, low, close, chance.uniform(500, 1_500, count))


def rows(
    days: int,
    variant: Variant | None = None,
    predict: Callable[[np.random.Generator], float] = lambda chance: float(chance.normal(0, 0.003)),
    bars: Bars | None = None,
) -> Iterator[Signal]:
    """The rows that `variant` leaves; each hour's forecast is said twice, as a model that sees the same bars does."""
    variant = variant or make_variant(variant={"filters": ["rsi"]})
    recorded = walk(days) if bars is None else bars
    chance = np.random.default_rng(7)
    for hour in range(days * 24):
        begin = MONDAY + hour * HOUR
        window = tail(upto(recorded, begin), CONTEXT)
        forecast = make_forecast(window, predict(chance))
        for minute in MINUTES:
            at = begin + minute * 60_000
            seen = make_seen(window, forecast=forecast, cycle_at=at, now=at, next_funding_at=begin + 8 * HOUR)
            seen = msgspec.structs.replace(seen, mark_price=seen.mark_price + hour % 7)  # type: ignore[operator]
            signal, _ = decide(variant, seen, Exposure())
            yield signal
