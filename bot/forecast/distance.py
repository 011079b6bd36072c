"""How unlike its training windows a window is: Mahalanobis distance of scale-free features of its log returns."""

from collections.abc import Mapping

import msgspec
import numpy as np

from bot.clock import DAY_MS
from bot.messages import Floats

# None depends on the price's unit. The model scales each window to unit deviation itself, so all but the first describe
# the shape that it then sees; the first says how wide that shape was. Heavy tails are taken as logarithms.
FEATURES = (
    "log_volatility",  # of the standard deviation of the returns
    "log_kurtosis",  # of their fourth standardised moment: Cont, Empirical properties of asset returns (2001), fact 2
    "log_largest",  # of the largest absolute return, in deviations: one jump that kurtosis averages away
    "autocorrelation",  # of neighbouring returns: reversal or momentum between bars (Cont 2001, fact 1: near zero)
    "trend",  # mean return / its standard error: the t-value of a drift
    "log_range",  # of highest - lowest log price, in deviations x sqrt(bars): Feller's range of a random walk (1951)
)
LEVELS = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9999, 1.0)
UNLIKE = 0.999  # rank beyond which a window is unlike its training
STILL = 1e-9  # deviation of the returns below which a window is a flat line, and unlike anything


class InputStats(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the training windows were like: the field `inputs` of a manifest."""

    windows: int  # that were measured
    features: tuple[str, ...]
    mean: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    levels: tuple[float, ...]
    distances: tuple[float, ...]  # of the training windows themselves, at those levels of their distribution

    def __post_init__(self) -> None:
        count = len(FEATURES)
        if self.features != FEATURES:
            raise ValueError(f"features {list(self.features)}; this version measures {list(FEATURES)}")
        if len(self.mean) != count or [len(row) for row in self.covariance] != [count] * count:
            raise ValueError(f"mean and covariance of another size than {count} features")
        if len(self.levels) != len(self.distances) or list(self.distances) != sorted(self.distances):
            raise ValueError("distances do not rise with their levels")
        if not self.levels:
            raise ValueError("levels and distances are empty")
        try:
            np.linalg.cholesky(np.array(self.covariance))
        except np.linalg.LinAlgError:
            raise ValueError("covariance is none: it is not positive definite") from None


def features(closes: Floats) -> Floats:
    """(windows, context) -> (windows, features), in the order of FEATURES; a flat window has no finite ones."""
    path = np.log(closes)
    returns = np.diff(path, axis=1)
    count = returns.shape[1]
    mean = returns.mean(axis=1)
    centred = returns - mean[:, None]
    deviation = returns.std(axis=1)
    flat = deviation < STILL
    scale = np.where(flat, 1.0, deviation)
    standard = centred / scale[:, None]
    columns = (
        np.log(scale),
        np.log(np.maximum((standard**4).mean(axis=1), 1.0)),
        np.log(np.maximum(np.abs(returns).max(axis=1) / scale, 1.0)),
        (standard[:, 1:] * standard[:, :-1]).mean(axis=1),
        mean / scale * np.sqrt(count),
        np.log(np.maximum(np.ptp(path, axis=1), STILL) / scale / np.sqrt(count)),
    )
    found = np.stack(columns, axis=1)
    found[flat] = np.inf
    return found


def describe(closes: Floats) -> InputStats:
    """The statistics of training windows, (windows, context); flat ones are left out.

    ValueError where fewer than 100 windows are left.
    """
    found = features(closes)
    found = found[np.isfinite(found).all(axis=1)]
    if len(found) < 100:
        raise ValueError(f"{len(found)} windows: too few to say what training windows are like")
    mean, covariance = found.mean(axis=0), np.cov(found, rowvar=False)
    own = _mahalanobis(found, mean, covariance)
    return InputStats(
        windows=len(found),
        features=FEATURES,
        mean=tuple(mean.tolist()),
        covariance=tuple(map(tuple, covariance.tolist())),
        levels=LEVELS,
        distances=tuple(np.quantile(own, LEVELS).tolist()),
    )


def distances(stats: InputStats, closes: Floats) -> Floats:
    """Mahalanobis distance of each window, (windows, context) -> (windows,); infinite for a flat one."""
    found = features(closes)
    flat = ~np.isfinite(found).all(axis=1)
    found[flat] = 0.0
    measured = _mahalanobis(found, np.array(stats.mean), np.array(stats.covariance))
    measured[flat] = np.inf
    return measured


def rank(stats: InputStats, distance: float) -> float:
    """Share of the training windows that were no farther away, between the levels by straight lines."""
    return float(np.interp(distance, stats.distances, stats.levels, left=0.0))


class Outliers:
    """Which windows are news: those unlike their training, each symbol of a tier at most once a day."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], int] = {}

    def news(self, tier: str, stats: InputStats, measured: Mapping[str, float], now: int) -> dict[str, float]:
        """Those of `measured` (distance by symbol) that shall be told now."""
        found = {}
        for symbol, distance in measured.items():
            told = self._told.get((tier, symbol))
            if rank(stats, distance) >= UNLIKE and (told is None or now - told >= DAY_MS):
                self._told[tier, symbol] = now
                found[symbol] = distance
        return found


def _mahalanobis(found: Floats, mean: Floats, covariance: Floats) -> Floats:
    """sqrt((x - m)' S^-1 (x - m)): Mahalanobis, On the generalised distance in statistics (1936)."""
    whitened = np.linalg.solve(np.linalg.cholesky(covariance), (found - mean).T)
    return np.asarray(np.sqrt((whitened**2).sum(axis=0)))
