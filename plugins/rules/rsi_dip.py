"""Buys a fall: says a rise as of each bar whose RSI has crossed below a bound, and nothing else."""

import numpy as np

from bot.hookspecs import Options, hookimpl
from bot.messages import Bars, Floats
from bot.strategy import ta

OPTIONS = {"period": 14, "below": 30.0, "predicted_pct": 1.0}


@hookimpl
def predict(bars: Bars, options: Options) -> Floats:
    strength = ta.RSI(bars.close, timeperiod=options["period"])
    crossed = np.zeros(len(bars), dtype=np.bool_)
    crossed[1:] = (strength[1:] < options["below"]) & (strength[:-1] >= options["below"])
    return np.where(crossed, options["predicted_pct"] / 100, 0.0)
