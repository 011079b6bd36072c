"""Figures of returns, trades and probabilities, from plain arrays. NaN: there is nothing to tell, or no bound to it."""

import math
from collections.abc import Iterable, Sequence
from statistics import NormalDist

import msgspec
import numpy as np
import numpy.typing as npt

from bot.messages import Floats

NORMAL = NormalDist()
YEAR_DAYS = 365.0  # this market never closes
DECILES = 10
QUINTILES = 5
TENTH = NORMAL.inv_cdf(0.9)  # standard deviations from the mean to the 0.9 quantile

Mask = npt.NDArray[np.bool_]


class Group(msgspec.Struct, frozen=True):
    """One of equally large groups of rows in the order of some measure, the lowest first."""

    number: int  # from 1
    count: int
    low: float  # of the measure
    high: float
    mean: float  # of what was measured against it


def sharpe(returns: Floats, per_year: float = YEAR_DAYS) -> float:
    """Mean over standard deviation, annualised; `returns` of equal periods, `per_year` of them in a year."""
    if len(returns) < 2:
        return math.nan
    spread = float(np.std(returns, ddof=1))
    return _over(float(np.mean(returns)), spread) * math.sqrt(per_year)


def sortino(returns: Floats, per_year: float = YEAR_DAYS) -> float:
    """As the Sharpe ratio, over the root mean square of the losses (a gain counts as 0), annualised."""
    if len(returns) < 2:
        return math.nan
    downside = math.sqrt(float(np.mean(np.minimum(returns, 0.0) ** 2)))
    return _over(float(np.mean(returns)), downside) * math.sqrt(per_year)


def max_drawdown(equity: Floats) -> float:
    """The largest fall from the highest so far, as a fraction of that."""
    if not len(equity):
        return math.nan
    peaks = np.maximum.accumulate(equity)
    return float(np.max((peaks - equity) / peaks))


def calmar(equity: Floats, years: float) -> float:
    """Compound growth in a year over the largest drawdown."""
    if len(equity) < 2 or years <= 0 or equity[0] <= 0 or equity[-1] <= 0:
        return math.nan
    growth = float(equity[-1] / equity[0]) ** (1 / years) - 1
    return _over(growth, max_drawdown(equity))


def profit_factor(results: Floats) -> float:
    """What the winners made over what the losers lost."""
    won, lost = float(results[results > 0].sum()), float(-results[results < 0].sum())
    return _over(won, lost)


def exposure(held: Iterable[tuple[int, int]], start: int, end: int) -> float:
    """The share of start ... end in which anything was open; `held`: (from, to) of each position."""
    covered, until = 0, start
    for begin, stop in sorted(held):
        begin, stop = max(begin, until), min(stop, end)
        if stop > begin:
            covered += stop - begin
            until = stop
    return covered / (end - start) if end > start else math.nan


def turnover(traded: float, mean_equity: float, years: float) -> float:
    """How often a year the equity was traded, entries and exits both counted."""
    return _over(traded, mean_equity * years)


def probability_up(predicted: Floats, q10: Floats, q90: Floats) -> Floats:
    """That the return is above zero, by a normal distribution around the point forecast that is as wide as the
    forecast's 0.1 and 0.9 quantiles lie apart; 0 or 1 where they do not lie apart."""
    spread = (q90 - q10) / (2 * TENTH)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(spread > 0, predicted / spread, np.sign(predicted) * np.inf)
    return np.array([0.5 if math.isnan(one) else 0.5 * (1 + math.erf(one / math.sqrt(2))) for one in z])


def brier(probabilities: Floats, happened: Mask) -> float:
    """Mean squared distance of a probability from what came: 0 is perfect, 0.25 is what always saying a half gives."""
    return float(np.mean((probabilities - happened) ** 2)) if len(probabilities) else math.nan


def grouped_means(measure: Floats, values: Floats, groups: int = QUINTILES) -> list[Group]:
    """The mean of `values` in equally large groups by `measure`; fewer groups where there are fewer rows."""
    order = np.argsort(measure, kind="stable")
    parts = [part for part in np.array_split(order, groups) if len(part)]
    return [
        Group(number, len(part), float(measure[part[0]]), float(measure[part[-1]]), float(np.mean(values[part])))
        for number, part in enumerate(parts, 1)
    ]


def hit_rates(predicted: Floats, actual: Floats, groups: int = DECILES) -> list[Group]:
    """The share of forecasts whose sign came true, by how large they were. What did not move is no hit."""
    return grouped_means(np.abs(predicted), (predicted * actual > 0).astype(np.float64), groups)


def skew_and_kurtosis(values: Floats) -> tuple[float, float]:
    """Of the sample as it is, without a correction for its size; the kurtosis of a normal distribution is 3."""
    deviations = values - np.mean(values)
    variance = float(np.mean(deviations**2))
    if variance == 0:
        return math.nan, math.nan
    return float(np.mean(deviations**3)) / variance**1.5, float(np.mean(deviations**4)) / variance**2


def daily(at: Sequence[int] | npt.NDArray[np.int64], equity: Floats, day_ms: int) -> Floats:
    """Returns of each day of an equity that is known at the times `at`, the first of them being its beginning.

    What is known at midnight closes the day before; a day without one repeats the last. NaN all over where the equity
    ever was at or below zero: what is ruined has no returns.
    """
    if len(at) < 2:
        return np.zeros(0)
    days = (np.asarray(at)[1:] - 1) // day_ms
    wanted = np.arange(days[0], days[-1] + 1)
    closing = np.concatenate([equity[:1], equity[np.searchsorted(days, wanted, side="right")]])
    if (equity <= 0).any():
        return np.full(len(wanted), np.nan)
    return np.asarray(np.diff(closing) / closing[:-1])


def _over(value: float, whole: float) -> float:
    return value / whole if whole else math.nan
