"""The actor that owns the model: requests in, one answer to each out, never more than one inference at a time."""

import math
from collections import Counter
from collections.abc import Awaitable, Callable

import anyio
import numpy as np
import structlog
from anyio import CapacityLimiter, to_thread
from anyio.abc import TaskStatus

from bot.clock import Clock
from bot.forecast.engine import Forecaster, Prediction
from bot.messages import Forecast, ForecastRefused, ForecastRequest, ForecastsReady, Window
from bot.streams import Stream

BASE = "base"
ABSURD_RETURN = 0.5  # a larger predicted move says that the model, not the market, is broken
LOWER, UPPER = 0.1, 0.9

logger = structlog.get_logger(__name__)


class ForecastActor:
    """Answers every `ForecastRequest` of its inbox with one `ForecastsReady`: each window forecast or refused by name.

    Reasons: wrong_length, not_finite, not_positive (the window); not_finite_forecast, absurd_forecast (the model's
    answer); unknown_checkpoint; stale (the request's deadline has passed). `refused` counts them.
    """

    def __init__(
        self,
        model: Forecaster,
        inbox: Stream[ForecastRequest],
        reply: Callable[[ForecastsReady], Awaitable[None]],
        clock: Clock,
        *,
        horizon: int,
    ) -> None:
        self.refused: Counter[str] = Counter()
        self._model = model
        self._inbox = inbox
        self._reply = reply
        self._clock = clock
        self._horizon = horizon
        self._limiter = CapacityLimiter(1)

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        async for request in self._inbox:
            answer = await self._answer(request)
            if answer.refused:
                self.refused.update(refusal.reason for refusal in answer.refused)
                logger.warning(
                    "forecasts_refused",
                    variant=request.variant,
                    request_id=request.request_id,
                    reasons={refusal.symbol: refusal.reason for refusal in answer.refused},
                )
            await self._reply(answer)

    async def _answer(self, request: ForecastRequest) -> ForecastsReady:
        if request.checkpoint != BASE:
            return _refuse_all(request, "unknown_checkpoint")
        if self._clock.now() > request.deadline:
            return _refuse_all(request, "stale")
        faults = {window.symbol: fault for window in request.windows if (fault := self._fault(window))}
        sound = [window for window in request.windows if window.symbol not in faults]
        forecasts: list[Forecast] = []
        refused = [ForecastRefused(symbol, reason) for symbol, reason in faults.items()]
        if sound:
            closes = np.stack([window.closes for window in sound])
            # No deadline around it: a thread cannot be stopped, so the answer's age is judged when it is there.
            prediction = await to_thread.run_sync(self._model.forecast, closes, self._horizon, limiter=self._limiter)
            if self._clock.now() > request.deadline:
                return _refuse_all(request, "stale")
            for row, window in enumerate(sound):
                outcome = self._judge(window, prediction, row)
                if isinstance(outcome, Forecast):
                    forecasts.append(outcome)
                else:
                    refused.append(outcome)
        return ForecastsReady(request.request_id, request.variant, tuple(forecasts), tuple(refused))

    def _fault(self, window: Window) -> str | None:
        if window.closes.shape != (self._model.context,):
            return "wrong_length"
        if not np.isfinite(window.closes).all():
            return "not_finite"
        if not (window.closes > 0).all():
            return "not_positive"
        return None

    def _judge(self, window: Window, prediction: Prediction, row: int) -> Forecast | ForecastRefused:
        last = float(window.closes[-1])
        ahead = prediction.quantiles[row, -1]
        point = float(prediction.point[row, -1]) / last - 1
        lower = float(ahead[prediction.levels.index(LOWER)]) / last - 1
        upper = float(ahead[prediction.levels.index(UPPER)]) / last - 1
        if not all(map(math.isfinite, (point, lower, upper))):
            return ForecastRefused(window.symbol, "not_finite_forecast")
        if abs(point) > ABSURD_RETURN:
            return ForecastRefused(window.symbol, "absurd_forecast")
        return Forecast(
            symbol=window.symbol,
            checkpoint=self._model.checkpoint,
            bar_close_at=window.bar_close_at,
            horizon=self._horizon,
            predicted_return=point,
            predicted_q10=lower,
            predicted_q90=upper,
        )


def _refuse_all(request: ForecastRequest, reason: str) -> ForecastsReady:
    refused = tuple(ForecastRefused(window.symbol, reason) for window in request.windows)
    return ForecastsReady(request.request_id, request.variant, (), refused)
