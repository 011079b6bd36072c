"""The actor that owns the model: all requests that are due in, one pass, one answer to each out."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

import numpy as np
import structlog
from anyio import TASK_STATUS_IGNORED, CapacityLimiter, to_thread
from anyio.abc import TaskStatus

from bot.clock import Clock, Stopwatch
from bot.forecast.batch import Answered, Batch, compose, measure, refuse
from bot.forecast.distance import UNLIKE, Outliers
from bot.forecast.engine import Prediction
from bot.forecast.serving import Change, Forecaster
from bot.messages import (
    BotEvent,
    CheckpointServed,
    Floats,
    ForecastRequest,
    ForecastsDue,
    ForecastsReady,
    Refusal,
    Severity,
)
from bot.metrics import Metrics
from bot.streams import Stream

logger = structlog.get_logger(__name__)

ForecasterNews = ForecastsReady | CheckpointServed


class ForecastActor:
    """Answers every `ForecastRequest` of its inbox with one `ForecastsReady`: each window forecast or refused by name.

    The reasons are `Refusal`'s. Beyond `max_distance` from the checkpoint's training windows a
    window is refused; 0: none is too far. Another checkpoint is taken before a batch, never inside one.
    """

    def __init__(
        self,
        model: Forecaster,
        inbox: Stream[ForecastsDue],
        reply: Callable[[ForecasterNews], Awaitable[None]],
        tell: Callable[[BotEvent], None],
        clock: Clock,
        metrics: Metrics,
        *,
        horizon: int,
        tiers: Sequence[str],
        max_distance: float = 0.0,
    ) -> None:
        self._model = model
        self._inbox = inbox
        self._reply, self._tell = reply, tell
        self._clock = clock
        self._metrics = metrics
        self._horizon = horizon
        self._tiers = tuple(dict.fromkeys(tiers))
        self._max_distance = max_distance
        self._outliers = Outliers()
        self._limiter = CapacityLimiter(1)

    async def run(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        for tier in self._tiers:
            await self._serves(tier, self._model.serving(tier))
            self._event("checkpoint_served", Severity.INFO, {"tier": tier, "checkpoint": self._model.serving(tier)})
        task_status.started()
        async for due in self._inbox:
            waiting = self._inbox.receive_waiting()
            await self._refresh()
            await self._answer([request for one in (due, *waiting) for request in one.requests])

    async def _refresh(self) -> None:
        took = Stopwatch()
        for change in await to_thread.run_sync(self._model.refresh, limiter=self._limiter):
            await self._take(change, took.seconds)

    async def _take(self, change: Change, seconds: float) -> None:
        detail: dict[str, object] = {"tier": change.tier, "before": change.before, "after": change.after}
        if change.refused is not None:
            self._event("checkpoint_refused", Severity.ERROR, detail | {"reason": change.refused})
            return
        await self._serves(change.tier, change.after, change.before)
        self._event("checkpoint_activated", Severity.INFO, detail | {"seconds": round(seconds, 3)})

    async def _serves(self, tier: str, checkpoint: str, before: str | None = None) -> None:
        self._metrics.serves(tier, checkpoint, before)
        await self._reply(CheckpointServed(tier, checkpoint))

    async def _answer(self, requests: Sequence[ForecastRequest]) -> None:
        now = self._clock.now()
        asked = [request for request in requests if request.tier in self._tiers and now <= request.deadline]
        began_in_time = {request.request_id for request in asked}  # the clock may be set back while the model works
        serving = {tier: self._model.serving(tier) for tier in self._tiers}
        batch = compose(asked, self._model.context, serving, now)
        # No deadline around it: a thread cannot be stopped, so the answer's age is judged when it is there.
        prediction, distances = await to_thread.run_sync(self._infer, batch, limiter=self._limiter)
        for tier, reason in self._model.failures().items():
            detail: dict[str, object] = {"tier": tier, "checkpoint": serving[tier], "reason": reason}
            self._event("forecast_failed", Severity.ERROR, detail)
        answered = Answered(batch, prediction, distances, serving, self._max_distance)
        for tier, measured in answered.measured(asked).items():
            self._tell_distances(tier, serving[tier], measured)
        for request in requests:
            if request.tier not in self._tiers:
                ready = refuse(request, Refusal.UNKNOWN_TIER)
            elif request.request_id not in began_in_time or self._clock.now() > request.deadline:
                self._tell_stale(request)
                ready = refuse(request, Refusal.STALE)
            else:
                ready = answered.ready(request)
            self._count(request, ready)
            await self._reply(ready)

    def _infer(self, batch: Batch) -> tuple[Prediction | None, Floats]:
        """In the worker thread: the model's answer to the batch, and each row's distance from the training windows."""
        if not len(batch):
            return None, np.empty(0)
        self._metrics.forecast_batch_rows.observe(len(batch))
        with self._metrics.forecast_seconds.time():
            prediction = self._model.forecast(batch.closes, batch.tiers, self._horizon)
        return prediction, measure(batch, {tier: self._model.inputs(tier) for tier in self._tiers})

    def _tell_distances(self, tier: str, checkpoint: str, measured: Mapping[str, float]) -> None:
        stats = self._model.inputs(tier)
        assert stats is not None  # what was measured was measured against them
        for distance in measured.values():
            self._metrics.input_distance.labels(tier).observe(distance)
        farthest = max(measured, key=measured.__getitem__)
        logger.info(
            "input_distances",
            tier=tier,
            windows=len(measured),
            median=float(np.median(list(measured.values()))),
            farthest=farthest,
            largest=measured[farthest],
        )
        news = self._outliers.news(tier, stats, measured, self._clock.now())
        if news:
            limit = float(np.interp(UNLIKE, stats.levels, stats.distances))
            detail = {"tier": tier, "checkpoint": checkpoint, "distances": news, "limit": limit}
            self._event("input_unlike_training", Severity.WARNING, detail)

    def _tell_stale(self, request: ForecastRequest) -> None:
        detail = {
            "variant": request.variant,
            "request_id": request.request_id,
            "age_ms": self._clock.now() - request.asked_at,
            "deadline_ms": request.deadline - request.asked_at,
        }
        self._event("forecast_stale", Severity.WARNING, detail)

    def _count(self, request: ForecastRequest, ready: ForecastsReady) -> None:
        self._metrics.forecasts.labels(request.tier).inc(len(ready.forecasts))
        for refusal in ready.refused:
            self._metrics.forecasts_refused.labels(request.tier, refusal.reason).inc()
        if ready.refused:
            reasons = {refusal.symbol: refusal.reason for refusal in ready.refused}
            logger.warning("forecasts_refused", variant=request.variant, request_id=request.request_id, reasons=reasons)

    def _event(self, name: str, severity: Severity, detail: dict[str, object]) -> None:
        self._tell(BotEvent(at=self._clock.now(), name=name, severity=severity, detail=detail))
