"""The information coefficient of a panel: what a prediction's rank says of the return's, cut in every useful way."""

import datetime
import math
from collections.abc import Iterator

import msgspec
import numpy as np

from bot.clock import DAY_MS, HOUR_MS
from bot.messages import Floats
from bot.research.correlation import information_ratio, mean_t, panel_correlation, rank_correlation
from bot.research.panel import Ints, Mask, Panel
from bot.research.statistics import Group, grouped_means

WEEK_MS = 7 * DAY_MS
MONDAY_MS = 4 * DAY_MS  # of the first week of 1970
STRENGTHS = (0.0, 0.002, 0.005, 0.01, math.inf)  # |predicted return|
LEAST_ROWS = 30  # of a week or a day that counts as a period
LEAST_SYMBOLS = 5  # of an hour that symbols are ranked in against each other
LAG_HORIZONS = 3  # rows so many horizons apart are still taken to go together


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """One rank correlation, and how sure it is."""

    name: str
    rows: int
    ic: float
    t: float
    icir: float  # of the correlations of its periods: weeks; days within a week
    periods: int
    hits: float  # the share whose sign came true

    @classmethod
    def of(cls, name: str, predicted: Floats, actual: Floats, panel: Panel, ahead: int, period_ms: int) -> "Score":
        known = np.isfinite(predicted) & np.isfinite(actual)
        predicted, actual, at = predicted[known], actual[known], panel.at[known]
        found = panel_correlation(predicted, actual, at, panel.interval_ms, LAG_HORIZONS * ahead)
        periods = _by_period(predicted, actual, at, period_ms)
        return cls(
            name=name,
            rows=len(at),
            ic=found.value,
            t=found.t,
            icir=information_ratio(periods),
            periods=int(np.isfinite(periods).sum()),
            hits=float(np.mean(predicted * actual > 0)) if len(at) else math.nan,
        )


class Ahead(msgspec.Struct, frozen=True):
    """How the prediction fares at one horizon; beyond its own the last step is held against longer returns."""

    bars: int
    step: int  # that predicted, counted from 1
    score: Score


class Study(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of one tier and checkpoint."""

    tier: str
    checkpoint: str
    horizon: int
    from_at: int  # first and last bar's close
    to_at: int
    in_sample: int  # rows that training may have seen
    in_sample_left_out: bool
    symbols: int
    total: Score
    across: Score  # symbols ranked against each other, hour by hour
    by_symbol: list[Score]
    by_week: list[Score]
    by_hour: list[Score]
    by_strength: list[Score]
    decay: list[Ahead]
    quintiles: list[Group]  # mean actual return by predicted return
    baselines: list[Score]
    without_forecasts: list[str] = []  # symbols that were asked for and have no row
    notes: list[str] = []  # where more was asked for than there is


def study(panel: Panel, tier: str, checkpoint: str, horizon: int, in_sample: int, *, left_out: bool) -> Study:
    """`panel` has at least one row."""
    predicted, actual = panel.path[:, -1], panel.actual[horizon]
    known = np.isfinite(predicted) & np.isfinite(actual)
    return Study(
        tier=tier,
        checkpoint=checkpoint,
        horizon=horizon,
        from_at=int(panel.at.min()),
        to_at=int(panel.at.max()),
        in_sample=in_sample,
        in_sample_left_out=left_out,
        symbols=len(np.unique(panel.symbol)),
        total=Score.of("all", predicted, actual, panel, horizon, WEEK_MS),
        across=_across(panel, horizon),
        by_symbol=list(_cut(panel, horizon, _symbols(panel), WEEK_MS)),
        by_week=list(_cut(panel, horizon, _weeks(panel), DAY_MS)),
        by_hour=list(_cut(panel, horizon, _hours(panel), WEEK_MS)),
        by_strength=list(_cut(panel, horizon, _strengths(panel), WEEK_MS)),
        decay=list(_decay(panel)),
        quintiles=grouped_means(predicted[known], actual[known]),
        baselines=[Score.of(name, values, actual, panel, horizon, WEEK_MS) for name, values in panel.baselines.items()],
    )


def day_of(at: int) -> str:
    return datetime.datetime.fromtimestamp(at / 1000, datetime.UTC).strftime("%Y-%m-%d")


def _cut(panel: Panel, horizon: int, cuts: Iterator[tuple[str, Mask]], period_ms: int) -> Iterator[Score]:
    for name, mask in cuts:
        part = panel.where(mask)
        yield Score.of(name, part.path[:, -1], part.actual[horizon], part, horizon, period_ms)


def _symbols(panel: Panel) -> Iterator[tuple[str, Mask]]:
    for name in np.unique(panel.symbol):
        yield str(name), panel.symbol == name


def _weeks(panel: Panel) -> Iterator[tuple[str, Mask]]:
    weeks = (panel.at - MONDAY_MS) // WEEK_MS
    for week in np.unique(weeks):
        yield day_of(int(week) * WEEK_MS + MONDAY_MS), weeks == week


def _hours(panel: Panel) -> Iterator[tuple[str, Mask]]:
    hours = panel.at // HOUR_MS % 24
    for hour in np.unique(hours):
        yield f"{hour:02d}", hours == hour


def _strengths(panel: Panel) -> Iterator[tuple[str, Mask]]:
    strength = np.abs(panel.path[:, -1])
    for low, high in zip(STRENGTHS[:-1], STRENGTHS[1:], strict=True):
        name = f"{100 * low:g} % +" if math.isinf(high) else f"{100 * low:g}-{100 * high:g} %"
        yield name, (strength >= low) & (strength < high)


def _decay(panel: Panel) -> Iterator[Ahead]:
    steps = panel.path.shape[1]
    for ahead, actual in panel.actual.items():
        step = min(ahead, steps)
        score = Score.of(f"{ahead} bars", panel.path[:, step - 1], actual, panel, ahead, WEEK_MS)
        yield Ahead(ahead, step, score)


def _across(panel: Panel, horizon: int) -> Score:
    """The mean over the bars of the correlation between symbols, its t-value by Newey and West."""
    predicted, actual = panel.path[:, -1], panel.actual[horizon]
    panel = panel.where(np.isfinite(predicted) & np.isfinite(actual))
    predicted, actual = panel.path[:, -1], panel.actual[horizon]
    _, begins = np.unique(panel.at, return_index=True)
    found, rows, right = [], 0, []
    for begin, end in zip(begins, [*begins[1:], len(panel)], strict=True):
        if end - begin >= LEAST_SYMBOLS:
            found.append(rank_correlation(predicted[begin:end], actual[begin:end]))
            rows += end - begin
            right.append(_beside(predicted[begin:end]) * _beside(actual[begin:end]))
    sides = np.concatenate(right) if right else np.array([])
    values = np.array([one for one in found if math.isfinite(one)])
    known = len(values) > 0
    return Score(
        name="across symbols",
        rows=int(rows),
        ic=float(np.mean(values)) if known else math.nan,
        t=mean_t(values, LAG_HORIZONS * horizon) if known else math.nan,
        icir=information_ratio(values),
        periods=len(values),
        hits=float(np.mean(sides[sides != 0] > 0)) if np.any(sides) else math.nan,
    )


def _beside(values: Floats) -> Floats:
    """On which side of the others; the median itself is on none."""
    return np.asarray(values - np.median(values))


def _by_period(predicted: Floats, actual: Floats, at: Ints, period_ms: int) -> Floats:
    """The correlation of each period that has enough rows; periods of weeks begin on Mondays."""
    periods = (at - MONDAY_MS) // period_ms
    found = []
    for begin, end in _runs(periods):
        if end - begin >= LEAST_ROWS:
            found.append(rank_correlation(predicted[begin:end], actual[begin:end]))
    return np.array(found)


def _runs(values: Ints) -> Iterator[tuple[int, int]]:
    """Where equal neighbours begin and end; `values` are in order, as a panel's times are."""
    begins = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]])) if len(values) else np.array([], int)
    yield from zip(begins.tolist(), [*begins[1:].tolist(), len(values)], strict=True) if len(begins) else ()
