"""What the sweep's compiled code works on: columns of prices, signals, entries and ways out."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bot.messages import Floats
from bot.strategy.walk import Ticks, Times

Bytes = npt.NDArray[np.int8]
Flags = npt.NDArray[np.bool_]

CLOSED, NO_FILL, NO_ENTRY, UNTOLD = range(4)  # what became of a signal; UNTOLD: the bars end or break first
LAST_TIME = np.iinfo(np.int64).max


class Prices(NamedTuple):
    """Every symbol's `PricePath` one after the other."""

    at: Times
    span: Times
    ticks: Ticks  # (bars, 4)
    funding: Floats  # sum of rate x price in ticks of the payments due by the bar's opening


class Signals(NamedTuple):
    """By symbol, then by time."""

    first_bar: Times  # that holds `arrives_at`
    last_bar: Times  # one past the last bar before a gap
    gap_at: Times  # when that gap begins; LAST_TIME: it is the end of the bars
    sign: Times
    market: Floats  # ticks, the price that stands at `arrives_at`
    arrives_at: Times


class Entries(NamedTuple):
    """What one entry makes of each signal."""

    limit: Floats  # ticks; NaN: at market
    post_only: Flags
    wanted: Flags  # False: there is no entry
    expires_at: Times
    session_end_at: Floats  # OFF: none


class Plans(NamedTuple):
    """Ways out. Each row of `codes` (plans, 4) names a stop, a target, a trigger and a time by their places."""

    rules: Floats  # (plans, 8): stop_pct, target_pct, then `exits.Rules` without the end of the session
    codes: Times
    stops: Floats  # pct
    targets: Floats  # pct
    arms: Floats  # pct, the nearer of the trailing stop's and the floor's
    times: Floats  # (times, 2): max_hold_ms, red_after_ms


class Scratch(NamedTuple):
    """What one thread keeps of the signal at hand: by stop, target, trigger and time."""

    best_run: Floats
    worst_run: Floats
    stop_level: Floats  # ticks
    target_level: Floats
    bars: Times  # (4, places): the first bar, counted from the entry's, at which each can say anything
    known: Bytes  # (4, places): whether `net` and `end_at` are: 0 not yet, 1 yes, 2 it must be walked
    net: Floats  # (4, places)
    end_at: Times


class Dealing(NamedTuple):
    """What orders cost, and whether a limit's stop is at the venue before it."""

    maker: float  # fractions of the notional
    taker: float
    slippage_bps: float
    arms: bool


def coded(rules: Floats) -> Plans:
    """Plans from their rows of rules."""
    stops, stop = np.unique(rules[:, 0], return_inverse=True)
    targets, target = np.unique(rules[:, 1], return_inverse=True)
    arms, arm = np.unique(np.minimum(rules[:, 2], rules[:, 4]), return_inverse=True)
    times, time = np.unique(rules[:, 6:8], axis=0, return_inverse=True)
    codes = np.column_stack([stop, target, arm, time.ravel()]).astype(np.int64)
    return Plans(np.ascontiguousarray(rules), codes, stops, targets, arms, times)
