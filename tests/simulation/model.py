"""A model whose forecasts follow from the window and the seed: torch's threads live in real time, this does not."""

from collections.abc import Mapping, Sequence

import numpy as np

from bot.forecast.distance import InputStats
from bot.forecast.engine import LEVELS, Prediction
from bot.forecast.serving import Change
from bot.messages import Floats

CONTEXT = 64


class SeededForecaster:
    """A Forecaster. `spread`: the standard deviation of what it predicts."""

    def __init__(self, seed: int, spread: float = 0.008) -> None:
        self._seed = seed
        self._spread = spread

    @property
    def context(self) -> int:
        return CONTEXT

    def refresh(self) -> Sequence[Change]:
        return ()

    def serving(self, tier: str) -> str:
        return "seeded"

    def inputs(self, tier: str) -> InputStats | None:
        return None

    def forecast(self, closes: Floats, tiers: Sequence[str], horizon: int) -> Prediction:
        steps = np.arange(1, horizon + 1) / horizon
        moves = np.array([self._move(row) for row in closes])
        point = closes[:, -1:] * (1 + moves[:, None] * steps)
        quantiles = np.stack([point * (1 + level) for level in (-0.01, 0.0, 0.01)], axis=-1)
        return Prediction(point, quantiles, LEVELS)

    def failures(self) -> Mapping[str, str]:
        return {}

    def _move(self, row: Floats) -> float:
        return float(np.random.default_rng([self._seed, int(row[-1] * 1e6)]).normal(0.0, self._spread))
