"""The common rule in vectorbt, 500 configurations in one process: `python vectorbt_rule.py FOLDER`.

vectorbt has no longest hold. As in a plain use of its callbacks, the distance of the stop or the target becomes 0 once
the hold is over, whichever the open has passed, so that the position ends at that open.
"""

import itertools
import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import talib
import vectorbt
from numba import njit
from vectorbt.portfolio.enums import StopEntryPrice, StopExitPrice

HOLD = 48
BOUNDS = tuple(range(21, 41, 2))
STOPS = tuple(round(0.010 + 0.002 * step, 3) for step in range(10))
TARGETS = (0.01, 0.02, 0.03, 0.04, 0.05)


@njit
def stop_after_hold(context, hold, opened):
    if context.i - context.init_i > hold:
        return (0.0 if opened[context.i, context.col] <= context.init_price else np.nan), False
    return context.curr_stop, context.curr_trail


@njit
def target_after_hold(context, hold, opened):
    if context.i - context.init_i > hold:
        return np.nan if opened[context.i, context.col] <= context.init_price else 0.0
    return context.curr_stop


def main(folder: Path) -> None:
    opened, high, low, close = read(folder)
    strength = np.column_stack([talib.RSI(column, 14) for column in close.T])
    index = pd.date_range("2025-01-01", periods=len(close), freq="5min")
    frame = pd.DataFrame(close, index=index)
    next_open = np.vstack([opened[1:], close[-1:]])  # the stops live from the bar of the entry on

    def run(bound, stop, target):
        entries = np.zeros(close.shape, bool)
        entries[1:] = (strength[1:] < bound) & (strength[:-1] >= bound)
        entries[-1] = False
        folio = vectorbt.Portfolio.from_signals(
            frame, entries, False, price=next_open, open=opened, high=high, low=low, sl_stop=stop, tp_stop=target,
            size=100.0, size_type="value", fees=0.0005, init_cash=1e6, freq="5min",
            stop_entry_price=StopEntryPrice.FillPrice, stop_exit_price=StopExitPrice.StopLimit,
            adjust_sl_func_nb=stop_after_hold, adjust_sl_args=(HOLD, opened),
            adjust_tp_func_nb=target_after_hold, adjust_tp_args=(HOLD, opened),
        )  # fmt: skip
        return folio.total_profit(), len(folio.order_records) // 2

    _, trades = run(29, 0.02, 0.03)  # compiled before what is timed
    began = time.perf_counter()
    for configuration in itertools.product(BOUNDS, STOPS, TARGETS):
        run(*configuration)
    seconds = time.perf_counter() - began
    json.dump({"version": vectorbt.__version__, "seconds": seconds, "trades": trades}, sys.stdout)


def read(folder: Path):
    """Open, high, low and close, (bars, symbols) each."""
    files = [np.load(path) for path in sorted(folder.glob("*.npy"))]
    return [np.ascontiguousarray(np.column_stack([bars[:, column] for bars in files])) for column in range(1, 5)]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
