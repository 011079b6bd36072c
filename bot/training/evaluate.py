"""A model and a stretch of bars in, its score beside the last value's and a 24-hour reversal's out."""

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from bot.clock import HOUR_MS
from bot.errors import OperatorError
from bot.forecast.checkpoints import StretchScore, SymbolScore
from bot.forecast.engine import Engine
from bot.messages import Floats
from bot.training.dataset import Series

REVERSAL_BARS = 24
MIN_WINDOWS = 200
BATCH = 256


class _Outcome(msgspec.Struct, frozen=True, eq=False):
    """One symbol's windows on the stretch; each array has shape (windows,)."""

    last: Floats
    before: Floats  # close 24 bars before the last
    deviation: Floats
    actual: Floats  # close at the horizon
    point: Floats
    q10: Floats
    q90: Floats


def score(
    model: Engine, series: Sequence[Series], first: int, last: int, *, horizon: int, stride: int = 1
) -> StretchScore:
    """Forecast every `stride`-th bar that opens in [first, last) and has its horizon in there too.

    Symbols with fewer than 200 such windows are left out; raises OperatorError where none is left.
    """
    scores: dict[str, SymbolScore] = {}
    losses: list[tuple[float, float, float]] = []
    for one in series:
        begin = first - (model.context - 1) * HOUR_MS
        starts = one.starts(begin, last, model.context + horizon)[::stride]
        if len(starts) < MIN_WINDOWS:
            continue
        outcome = _forecast(model, one.close, starts, horizon)
        scores[one.symbol] = _score_symbol(outcome)
        losses.append(_losses(outcome))
    if not scores:
        raise OperatorError(f"--bars: no symbol has {MIN_WINDOWS} windows between {first} and {last} (ms UTC)")
    loss, loss_last_value, coverage = np.mean(losses, axis=0)
    return StretchScore(
        horizon=horizon,
        symbols=len(scores),
        ic=float(np.mean([one.ic for one in scores.values()])),
        ic_reversal_24h=float(np.mean([one.ic_reversal_24h for one in scores.values()])),
        symbols_above_reversal=sum(one.ic > one.ic_reversal_24h for one in scores.values()),
        loss=float(loss),
        loss_last_value=float(loss_last_value),
        coverage_q10_q90=float(coverage),
        by_symbol=scores,
    )


def _forecast(model: Engine, close: Floats, starts: npt.NDArray[np.int64], horizon: int) -> _Outcome:
    paths = []
    windows = close[starts[:, None] + np.arange(model.context)]
    for batch in np.array_split(windows, -(-len(windows) // BATCH)):
        prediction = model.forecast(batch, horizon)
        q10, q90 = prediction.levels.index(0.1), prediction.levels.index(0.9)
        at = prediction.quantiles[:, -1]
        paths.append(np.stack([prediction.point[:, -1], at[:, q10], at[:, q90]]))
    point, low, high = np.concatenate(paths, axis=1)
    return _Outcome(
        last=windows[:, -1],
        before=windows[:, -1 - REVERSAL_BARS],
        deviation=windows.std(axis=1, ddof=1),
        actual=close[starts + model.context + horizon - 1],
        point=point,
        q10=low,
        q90=high,
    )


def _score_symbol(outcome: _Outcome) -> SymbolScore:
    predicted = outcome.point / outcome.last - 1
    actual = outcome.actual / outcome.last - 1
    q50, q90, q99 = np.quantile(np.abs(predicted), (0.5, 0.9, 0.99))
    return SymbolScore(
        windows=len(actual),
        ic=spearman(predicted, actual),
        ic_reversal_24h=spearman(1 - outcome.last / outcome.before, actual),
        abs_return_q50=float(q50),
        abs_return_q90=float(q90),
        abs_return_q99=float(q99),
    )


def _losses(outcome: _Outcome) -> tuple[float, float, float]:
    """Mean absolute error of the model and of the last value, in deviations; share between the outer quantiles."""
    model = np.abs(outcome.actual - outcome.point) / outcome.deviation
    naive = np.abs(outcome.actual - outcome.last) / outcome.deviation
    inside = (outcome.actual >= outcome.q10) & (outcome.actual <= outcome.q90)
    return float(model.mean()), float(naive.mean()), float(inside.mean())


def spearman(left: Floats, right: Floats) -> float:
    """Rank correlation, equal values sharing their mean rank; 0 where one side never changes."""
    a, b = _ranks(left), _ranks(right)
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum() / scale) if scale else 0.0


def _ranks(values: Floats) -> Floats:
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[which])
