"""What is wrong with recorded bars: told by rule, time and number, never mended. Pure.

An error makes a replay or research refuse the bars, or go wrong on them; a warning is what a person should look at.
"""

from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from bot.clock import HOUR_MS
from bot.history.bars import PRICES
from bot.history.layout import INTERVAL_NAME, Kind, series_name, stamp
from bot.messages import Bars

Level = Literal["error", "warning"]
Mask = npt.NDArray[np.bool_]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """From where on a sound bar is worth a look."""

    jump_pct: float = 25.0  # of a close against the close before it
    quiet_bars: int = 3  # in a row without volume, and an hour of them at least
    agree_pct: float = 0.01  # by which an hour may differ from its detail bars


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One rule that a series breaks."""

    symbol: str
    series: str  # 1h, mark-1h
    rule: str
    level: Level
    first_at: int  # ms UTC: open time of the first bar concerned
    count: int  # bars concerned; of a gap, the bars that are missing
    words: str


def absurd(bars: Bars) -> dict[str, Mask]:
    """By what is wrong, which bars cannot have happened or stand where they cannot."""
    at = bars.open_time
    prices = np.column_stack([getattr(bars, name) for name in PRICES])
    step = np.diff(at, prepend=at[:1] - bars.interval_ms)
    return {
        "open_time is off the interval's grid": at % bars.interval_ms != 0,
        "duplicate bar": step == 0,
        "unsorted, the bar before it is later": step < 0,
        "a number is missing (NaN or infinite)": ~np.isfinite(prices).all(axis=1) | ~np.isfinite(bars.volume),
        "low is not above zero": bars.low <= 0,
        "high is below open or close": bars.high < np.maximum(bars.open, bars.close),
        "low is above open or close": bars.low > np.minimum(bars.open, bars.close),
        "volume is below zero": bars.volume < 0,
    }


def gaps(bars: Bars) -> list[tuple[int, int]]:
    """(first missing open_time, next present open_time) of every hole."""
    return holes_between(bars.open_time, bars.interval_ms)


def holes_between(open_time: npt.NDArray[np.int64], interval_ms: int) -> list[tuple[int, int]]:
    """The same of open times alone."""
    holes = np.flatnonzero(np.diff(open_time) > interval_ms)
    return [(int(open_time[at]) + interval_ms, int(open_time[at + 1])) for at in holes]


def faults(bars: Bars, limits: Limits, kind: Kind = "bars") -> list[Fault]:
    """What one series says against itself, errors first."""
    if not len(bars):
        return []
    series = series_name(bars.interval_ms, kind)
    found = [
        _of_mask(bars, series, "absurd", "error", where, what) for what, where in absurd(bars).items() if where.any()
    ]
    found += _gaps(bars, series)
    jumps = _jumps(bars, limits.jump_pct)
    if jumps.any():
        words = f"the close moved by more than {limits.jump_pct:g} % from bar to bar"
        found.append(_of_mask(bars, series, "jump", "warning", jumps, words))
    if kind == "bars":
        found += _quiet(bars, series, max(limits.quiet_bars, HOUR_MS // bars.interval_ms))
    return found


def disagreements(hours: Bars, detail: Bars, limits: Limits) -> list[Fault]:
    """Where finer bars that cover an hour whole say otherwise than the hour's own bar."""
    made = whole_hours(detail)
    shared, ours, theirs = np.intersect1d(hours.open_time, made.open_time, return_indices=True)
    apart = np.zeros(len(shared), dtype=np.bool_)
    for name in PRICES:
        told, summed = getattr(hours, name)[ours], getattr(made, name)[theirs]
        apart |= np.abs(summed - told) > limits.agree_pct / 100 * np.abs(told)
    if not apart.any():
        return []
    count, name = int(apart.sum()), INTERVAL_NAME[detail.interval_ms]
    return [
        Fault(
            symbol=hours.symbol,
            series=series_name(detail.interval_ms),
            rule="detail",
            level="warning",
            first_at=int(shared[np.argmax(apart)]),
            count=count,
            words=f"{name} bars of a whole hour and its 1h bar differ by more than {limits.agree_pct:g} % "
            f"({count} of {len(shared)} hours)",
        )
    ]


def whole_hours(bars: Bars) -> Bars:
    """1h bars made of finer ones, of the hours that these cover completely."""
    hour = bars.open_time - bars.open_time % HOUR_MS
    each = HOUR_MS // bars.interval_ms
    opened, first, count = np.unique(hour, return_index=True, return_counts=True)
    first = first[count == each]
    rows = first[:, None] + np.arange(each)
    return Bars(
        bars.symbol,
        HOUR_MS,
        opened[count == each],
        bars.open[first],
        bars.high[rows].max(axis=1, initial=-np.inf),
        bars.low[rows].min(axis=1, initial=np.inf),
        bars.close[first + each - 1],
        bars.volume[rows].sum(axis=1),
    )


def _of_mask(bars: Bars, series: str, rule: str, level: Level, where: Mask, words: str) -> Fault:
    first = int(bars.open_time[np.argmax(where)])
    return Fault(
        symbol=bars.symbol,
        series=series,
        rule=rule,
        level=level,
        first_at=first,
        count=int(where.sum()),
        words=words,
    )


def _gaps(bars: Bars, series: str) -> list[Fault]:
    holes = gaps(bars)
    if not holes:
        return []
    missing = sum((end - start) // bars.interval_ms for start, end in holes)
    longest = max(holes, key=lambda hole: hole[1] - hole[0])
    return [
        Fault(
            symbol=bars.symbol,
            series=series,
            rule="gap",
            # no window and no replay crosses a missing hour; detail that is missing is played along the hour's bar
            level="error" if bars.interval_ms >= HOUR_MS else "warning",
            first_at=holes[0][0],
            count=missing,
            words=f"{len(holes)} gaps; the longest from {stamp(longest[0])} to {stamp(longest[1])}",
        )
    ]


def _jumps(bars: Bars, limit_pct: float) -> Mask:
    before, close = bars.close[:-1], bars.close[1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = np.abs(close / before - 1) > limit_pct / 100
    next_to = np.diff(bars.open_time) == bars.interval_ms
    return np.concatenate([[False], moved & next_to])


def _quiet(bars: Bars, series: str, least: int) -> list[Fault]:
    """Runs of at least `least` bars in which nothing was traded."""
    edges = np.diff(np.concatenate([[0], (bars.volume == 0).astype(np.int8), [0]]))
    begin, end = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    long = end - begin >= least
    if not long.any():
        return []
    return [
        Fault(
            symbol=bars.symbol,
            series=series,
            rule="no_volume",
            level="warning",
            first_at=int(bars.open_time[begin[long][0]]),
            count=int((end - begin)[long].sum()),
            words=f"{int(long.sum())} runs of {least} bars or more without volume",
        )
    ]
