"""How much of a result is luck: Sharpe ratios against their error and the number of trials, bootstrap, walk-forward."""

import math
from collections.abc import Iterator

import msgspec
import numpy as np
import numpy.typing as npt

from bot.messages import Floats
from bot.research.statistics import NORMAL, skew_and_kurtosis

EULER_MASCHERONI = 0.5772156649015329
DRAWN_AT_ONCE = 2_000_000  # indices; bounds the memory


class Split(msgspec.Struct, frozen=True):
    """One step of a walk-forward: half-open spans, nothing of the embargo in either."""

    train_from: int
    train_to: int
    test_from: int
    test_to: int


def probabilistic_sharpe(sharpe: float, benchmark: float, count: int, skew: float, kurtosis: float) -> float:
    """The probability that the true Sharpe ratio is above `benchmark`; both of one period, not annualised.

    Bailey and Lopez de Prado, "The Sharpe Ratio Efficient Frontier", Journal of Risk 15 (2012).
    """
    spread = 1 - skew * sharpe + (kurtosis - 1) / 4 * sharpe**2
    if count < 2 or not spread > 0:
        return math.nan
    return NORMAL.cdf((sharpe - benchmark) * math.sqrt(count - 1) / math.sqrt(spread))


def expected_best_sharpe(trials: int, variance: float) -> float:
    """What the best of so many trials without any skill shows; `variance` is of the trials' Sharpe ratios.

    Bailey and Lopez de Prado, "The Deflated Sharpe Ratio", Journal of Portfolio Management 40 (2014).
    """
    if trials < 2:
        return 0.0
    first, second = NORMAL.inv_cdf(1 - 1 / trials), NORMAL.inv_cdf(1 - 1 / (trials * math.e))
    return math.sqrt(variance) * ((1 - EULER_MASCHERONI) * first + EULER_MASCHERONI * second)


def deflated_sharpe(returns: Floats, trials: int, variance: float) -> float:
    """The probability that the chosen one of `trials` has skill at all, by its `returns` (Bailey and Lopez de Prado
    2014); `variance` of the trials' Sharpe ratios in the period of `returns`."""
    spread = float(np.std(returns, ddof=1)) if len(returns) > 1 else 0.0
    if not spread:
        return math.nan
    ratio = float(np.mean(returns)) / spread
    skew, kurtosis = skew_and_kurtosis(returns)
    return probabilistic_sharpe(ratio, expected_best_sharpe(trials, variance), len(returns), skew, kurtosis)


def bootstrap_p_value(returns: Floats, *, block: float, draws: int = 10_000, seed: int = 1) -> float:
    """How often returns of mean zero, with the dependence that these have, do as well as these did (one-sided).

    The stationary bootstrap of Politis and Romano, Journal of the American Statistical Association 89 (1994): blocks of
    random length, `block` on average, drawn from the returns closed to a circle.
    """
    count = len(returns)
    if count < 2 or float(np.ptp(returns)) == 0:
        return math.nan
    rng = np.random.default_rng(seed)
    observed = float(np.mean(returns))
    centred = returns - observed
    better, left, at_once = 0, draws, max(1, DRAWN_AT_ONCE // count)
    while left:
        size = min(left, at_once)
        means = centred[_stationary(rng, size, count, block)].mean(axis=1)
        better += int(np.sum(means >= observed))
        left -= size
    return (better + 1) / (draws + 1)


def _stationary(rng: np.random.Generator, draws: int, count: int, block: float) -> npt.NDArray[np.int64]:
    """Indices of so many resamples, (draws, count)."""
    begins = rng.random((draws, count)) < 1 / max(block, 1.0)
    begins[:, 0] = True
    place = np.broadcast_to(np.arange(count), (draws, count))
    last = np.maximum.accumulate(np.where(begins, place, 0), axis=1)
    starts = rng.integers(0, count, (draws, count))
    return (np.take_along_axis(starts, last, axis=1) + place - last) % count


def walk_forward(start: int, end: int, *, train: int, test: int, embargo: int) -> Iterator[Split]:
    """Test spans of length `test` one after the other, each after a span of `train` that ends `embargo` earlier, so
    that nothing that was open or looked ahead at its end reaches into the test. The last test span may be shorter."""
    test_from = start + train + embargo
    while test_from < end:
        train_to = test_from - embargo
        yield Split(train_to - train, train_to, test_from, min(test_from + test, end))
        test_from += test
