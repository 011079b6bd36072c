"""Rank correlation of what was predicted and what came, with an error that overlapping horizons do not flatter."""

import math

import msgspec
import numpy as np
import numpy.typing as npt

from bot.messages import Floats

Ints = npt.NDArray[np.int64]
LEAST_SPANS = 4  # a series shorter than so many times its lags says nothing of its long-run variance


class Correlation(msgspec.Struct, frozen=True):
    """A rank correlation; NaN where there is nothing to tell it from."""

    value: float
    t: float


def ranks(values: Floats) -> Floats:
    """From 1; equal values share the mean of their ranks."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    first = np.concatenate([[True], ordered[1:] != ordered[:-1]])
    begins = np.flatnonzero(first)
    ends = np.append(begins[1:], len(values))
    mean = (begins + ends + 1) / 2
    found = np.empty(len(values))
    found[order] = np.repeat(mean, ends - begins)
    return found


def rank_correlation(predicted: Floats, actual: Floats) -> float:
    """Spearman's."""
    scores = _scores(predicted, actual)
    return math.nan if scores is None else float(np.mean(scores[0] * scores[1]))


def independent_t(value: float, count: int) -> float:
    """The t-value of a rank correlation of `count` rows that have nothing to do with each other."""
    return value * math.sqrt((count - 2) / (1 - value**2)) if count > 2 and abs(value) < 1 else math.nan


def panel_correlation(predicted: Floats, actual: Floats, at: Ints, step: int, lags: int) -> Correlation:
    """Spearman's, with a t-value that allows for rows of one time, and of times `lags` steps apart, going together.

    The error is that of Driscoll and Kraay (Review of Economics and Statistics 80, 1998): the rows' influence on the
    correlation is summed by time, and the sums' long-run variance is Newey and West's (Econometrica 55, 1987).
    """
    scores = _scores(predicted, actual) if len(at) > 2 else None
    if scores is None:
        return Correlation(math.nan, math.nan)
    first, second = scores
    value = float(np.mean(first * second))
    influence = first * second - value * (first**2 + second**2) / 2
    slots = (at - at.min()) // step
    sums = np.bincount(slots, weights=influence).astype(np.float64)
    error = math.sqrt(max(long_run_variance(sums, lags), 0.0)) / len(at)
    return Correlation(value, value / error if error > 0 and len(sums) >= LEAST_SPANS * lags else math.nan)


def long_run_variance(sums: Floats, lags: int) -> float:
    """Of the total of `sums`, a series of mean zero (Newey and West 1987, Bartlett's weights)."""
    found = float(sums @ sums)
    for lag in range(1, min(lags, len(sums) - 1) + 1):
        found += 2 * (1 - lag / (lags + 1)) * float(sums[lag:] @ sums[:-lag])
    return found


def mean_t(values: Floats, lags: int) -> float:
    """The t-value of the mean of a series whose neighbours up to `lags` apart may go together (Newey and West 1987)."""
    if len(values) < max(2, LEAST_SPANS * lags):
        return math.nan
    mean = float(np.mean(values))
    variance = long_run_variance(values - mean, lags)
    return mean * len(values) / math.sqrt(variance) if variance > 0 else math.nan


def information_ratio(correlations: Floats) -> float:
    """ICIR: the mean of the periods' correlations over their standard deviation, not annualised."""
    known = correlations[np.isfinite(correlations)]
    spread = float(np.std(known, ddof=1)) if len(known) > 1 else 0.0
    return float(np.mean(known)) / spread if spread else math.nan


def _scores(predicted: Floats, actual: Floats) -> tuple[Floats, Floats] | None:
    """Ranks with mean 0 and variance 1; None where all are equal."""
    if len(predicted) < 2:
        return None
    scores = []
    for values in (predicted, actual):
        ranked = ranks(values)
        spread = float(np.std(ranked))
        if not spread:
            return None
        scores.append((ranked - np.mean(ranked)) / spread)
    return scores[0], scores[1]
