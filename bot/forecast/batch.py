"""All requests of one moment as one batch for the model, and its answer as forecasts. Pure."""

import math
from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np

from bot.forecast.distance import InputStats, distances
from bot.forecast.engine import Prediction
from bot.messages import Floats, Forecast, ForecastRefused, ForecastRequest, ForecastsReady, Refusal, Window
from bot.strategy.window import distance_refusal

ABSURD_RETURN = 0.5  # a larger predicted move says that the model, not the market, is broken
LOWER, UPPER = 0.1, 0.9


Place = tuple[int, str]  # request id, symbol


class Batch(msgspec.Struct, frozen=True, eq=False):
    """Windows that are sound, each once, and what was refused before the model saw it."""

    closes: Floats  # (rows, context)
    tiers: tuple[str, ...]  # of each row
    rows: Mapping[Place, int]
    faults: Mapping[Place, Refusal]

    def __len__(self) -> int:
        return len(self.tiers)


def compose(requests: Sequence[ForecastRequest], context: int, serving: Mapping[str, str], now: int) -> Batch:
    """Rows in the order of the requests; equal windows of equal checkpoints share one. `serving` holds every tier."""
    known: dict[tuple[str, bytes], int] = {}
    closes: list[Floats] = []
    tiers: list[str] = []
    rows: dict[Place, int] = {}
    faults: dict[Place, Refusal] = {}
    for request in requests:
        for window in request.windows:
            place = request.request_id, window.symbol
            fault = Refusal.SYMBOL_TWICE if place in rows or place in faults else window_fault(window, context, now)
            if fault is not None:
                faults[place] = fault
                continue
            key = serving[request.tier], window.closes.tobytes()
            if key not in known:
                known[key] = len(closes)
                closes.append(window.closes)
                tiers.append(request.tier)
            rows[place] = known[key]
    stacked = np.stack(closes) if closes else np.empty((0, context))
    return Batch(stacked, tuple(tiers), rows, faults)


def measure(batch: Batch, inputs: Mapping[str, InputStats | None]) -> Floats:
    """The distance of each row from the training windows of its tier's checkpoint, (rows,); NaN where none is told."""
    found = np.full(len(batch), np.nan)
    for tier, stats in inputs.items():
        rows = [row for row, its in enumerate(batch.tiers) if its == tier]
        if rows and stats is not None:
            found[rows] = distances(stats, batch.closes[rows])
    return found


def window_fault(window: Window, context: int, now: int) -> Refusal | None:
    """Why the model may not see this window; None where it may."""
    if window.closes.shape != (context,):
        return Refusal.WRONG_LENGTH
    if not np.isfinite(window.closes).all():
        return Refusal.NOT_FINITE
    if not (window.closes > 0).all():
        return Refusal.NOT_POSITIVE
    if window.bar_close_at > now:
        return Refusal.BAR_NOT_CLOSED
    return None


def judge(window: Window, prediction: Prediction, row: int, checkpoint: str) -> Forecast | ForecastRefused:
    """The row's last step as a forecast of `window`, or why it is none."""
    last = float(window.closes[-1])
    ahead = prediction.quantiles[row, -1]
    point = float(prediction.point[row, -1]) / last - 1
    lower = float(ahead[prediction.levels.index(LOWER)]) / last - 1
    upper = float(ahead[prediction.levels.index(UPPER)]) / last - 1
    if not all(map(math.isfinite, (point, lower, upper))):
        return ForecastRefused(window.symbol, Refusal.NOT_FINITE_FORECAST)
    if abs(point) > ABSURD_RETURN:
        return ForecastRefused(window.symbol, Refusal.ABSURD_FORECAST)
    return Forecast(
        symbol=window.symbol,
        checkpoint=checkpoint,
        bar_close_at=window.bar_close_at,
        horizon=prediction.point.shape[1],
        predicted_return=point,
        predicted_q10=lower,
        predicted_q90=upper,
    )


class Answered(msgspec.Struct, frozen=True, eq=False):
    """A batch with the model's answer to it."""

    batch: Batch
    prediction: Prediction | None  # None: the batch had no row
    distances: Floats  # (rows,) from the training windows; NaN where the checkpoint does not tell of them
    serving: Mapping[str, str]  # the checkpoint that each tier's rows got
    max_distance: float = 0.0  # beyond it a window gets no forecast; 0: none is too far

    def ready(self, request: ForecastRequest) -> ForecastsReady:
        """Every window of the request once, as a forecast or refused."""
        outcomes = {window.symbol: self._outcome(request, window) for window in request.windows}
        forecasts = tuple(one for one in outcomes.values() if isinstance(one, Forecast))
        refused = tuple(one for one in outcomes.values() if isinstance(one, ForecastRefused))
        return ForecastsReady(request.request_id, request.variant, forecasts, refused)

    def _outcome(self, request: ForecastRequest, window: Window) -> Forecast | ForecastRefused:
        place = request.request_id, window.symbol
        if place in self.batch.faults:
            return ForecastRefused(window.symbol, self.batch.faults[place])
        assert self.prediction is not None  # a window without a fault has a row
        if not _is_whole(self.prediction, len(self.batch)):
            return ForecastRefused(window.symbol, Refusal.WRONG_SHAPE)
        row = self.batch.rows[place]
        far = distance_refusal(float(self.distances[row]), self.max_distance)
        if far is not None:
            return ForecastRefused(window.symbol, far)
        return judge(window, self.prediction, row, self.serving[request.tier])

    def measured(self, requests: Iterable[ForecastRequest]) -> dict[str, dict[str, float]]:
        """The known distances by tier and symbol."""
        found: dict[str, dict[str, float]] = {}
        for request in requests:
            for window in request.windows:
                row = self.batch.rows.get((request.request_id, window.symbol))
                if row is not None and not math.isnan(self.distances[row]):
                    found.setdefault(request.tier, {})[window.symbol] = float(self.distances[row])
        return found


def refuse(request: ForecastRequest, reason: Refusal) -> ForecastsReady:
    """No forecast for any window of the request."""
    refused = tuple(ForecastRefused(window.symbol, reason) for window in request.windows)
    return ForecastsReady(request.request_id, request.variant, (), refused)


def _is_whole(prediction: Prediction, rows: int) -> bool:
    """Whether each row of the answer can be told from the others."""
    shape = prediction.point.shape
    return len(shape) == 2 and shape[0] == rows and prediction.quantiles.shape == (*shape, len(prediction.levels))
