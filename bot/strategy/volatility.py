"""Realised volatility of closed bars."""

import math

import numpy as np

from bot.clock import DAY_MS
from bot.messages import Floats

YEAR_MS = 365 * DAY_MS  # the market never closes


def realised_volatility(closes: Floats, returns: int, interval_ms: int) -> float:
    """The annualised standard deviation of the newest `returns` log returns, as a fraction; NaN with fewer closes.

    sqrt(sum (r - mean r)^2 / (n - 1)) x sqrt(bars in a year).
    """
    if len(closes) <= returns:
        return math.nan
    logs = np.log(closes[-returns - 1 :])
    changes = logs[1:] - logs[:-1]
    apart = changes - changes.sum() / returns
    return math.sqrt(float(apart @ apart) / (returns - 1) * YEAR_MS / interval_ms)
