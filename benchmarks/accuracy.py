"""What a cheaper arithmetic does to the predicted return, against float32 on the same windows."""

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from bot.forecast.engine import Engine
from bot.messages import Floats
from bot.training.evaluate import spearman

Forecast = Callable[[Floats], Floats]  # closes (batch, context) -> predicted returns (batch,)


class Agreement(msgspec.Struct, frozen=True):
    windows: int
    same_sign: float  # share of the windows
    relative_error: float  # median of |difference| by |float32's predicted return|
    error: float  # root of the mean squared difference by the standard deviation of float32's predicted returns
    rank_correlation: float

    @property
    def cells(self) -> tuple[int, float, float, float, float]:
        return self.windows, self.same_sign, self.relative_error, self.error, self.rank_correlation


COLUMNS = ("windows", "same sign", "relative error, median", "error ÷ spread", "rank correlation")
NOTE = (
    "of the predicted return, against float32 on the same windows; error ÷ spread: root mean square of the difference "
    "÷ standard deviation of float32's predicted returns (relative errors alone grow without bound near zero)"
)


def predicted_returns(engine: Engine, horizon: int) -> Forecast:
    """The engine's, without adapters."""
    return lambda closes: engine.forecast(closes, horizon).point[:, -1] / closes[:, -1] - 1


def compare(reference: Forecast, other: Forecast, batches: Sequence[Floats]) -> Agreement:
    exact = np.concatenate([reference(closes) for closes in batches])
    found = np.concatenate([other(closes) for closes in batches])
    difference = found - exact
    return Agreement(
        windows=len(exact),
        same_sign=float((np.sign(found) == np.sign(exact)).mean()),
        relative_error=float(np.median(np.abs(difference) / np.abs(exact))),
        error=float(np.sqrt((difference**2).mean()) / exact.std()),
        rank_correlation=spearman(exact, found),
    )
