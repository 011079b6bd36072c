"""Floor traders' pivot points of the last whole UTC day."""

import msgspec
import numpy as np

from bot.clock import DAY_MS
from bot.messages import Bars


class Pivots(msgspec.Struct, frozen=True):
    """The pivot with its first support and resistance (Person, A Complete Guide to Technical Trading Tactics, 2004)."""

    pivot: float
    support: float
    resistance: float


def floor_pivots(high: float, low: float, close: float) -> Pivots:
    """P = (H + L + C) / 3, S1 = 2P - H, R1 = 2P - L."""
    pivot = (high + low + close) / 3
    return Pivots(pivot, 2 * pivot - high, 2 * pivot - low)


def last_day(bars: Bars) -> Pivots | None:
    """The pivots of the UTC day before the one in which `bars` end; None where not all of its bars are there."""
    end = bars.close_at - bars.close_at % DAY_MS
    day = np.flatnonzero((bars.open_time >= end - DAY_MS) & (bars.open_time < end))
    if len(day) * bars.interval_ms != DAY_MS:
        return None
    return floor_pivots(float(bars.high[day].max()), float(bars.low[day].min()), float(bars.close[day[-1]]))
