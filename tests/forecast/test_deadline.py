"""Both actors together and a model that is too slow once: the cycle is refused and told, and the next one runs."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import anyio
import numpy as np
import pytest
from anyio import from_thread
from anyio.lowlevel import checkpoint

from bot.clock import ReplayClock
from bot.forecast.engine import Engine, ForecastOptions, Prediction
from bot.forecast.forecaster import ForecastActor
from bot.messages import Bar, BarClosed, BotEvent, Floats, ForecastsDue, MarkChanged, Signal, TradingState
from bot.metrics import Metrics
from bot.streams import Activity, Overflow, Stream
from bot.variants.runner import CycleFrame, VariantsActor, VariantsMessage
from tests.forecast.checkpoints_made import CONTEXT, SPEC, random_module
from tests.forecast.test_forecaster import Serving
from tests.strategy.scenes import BTC, HOUR, MONDAY, make_variant

pytestmark = pytest.mark.anyio

MINUTE = 60_000
NOON = MONDAY + 12 * HOUR
FRAME = CycleFrame(context=CONTEXT, horizon=4, interval_ms=HOUR, deadline_ms=2 * MINUTE)


class Slow(Serving):
    """The first pass takes three minutes of domain time."""

    def __init__(self, engine: Engine, clock: ReplayClock) -> None:
        super().__init__(engine)
        self._clock = clock

    def forecast(self, closes: Floats, tiers: Sequence[str], horizon: int) -> Prediction:
        if not self.passes:
            from_thread.run(self._three_minutes)
        return super().forecast(closes, tiers, horizon)

    async def _three_minutes(self) -> None:
        """Minute by minute, so that whoever waits for one of them has its turn."""
        for _ in range(3):
            self._clock.advance(self._clock.now() + MINUTE)
            for _ in range(30):
                await checkpoint()


async def test_a_forecast_past_its_deadline_is_discarded_and_the_next_cycle_runs() -> None:
    clock, activity = ReplayClock(NOON), Activity()
    inbox: Stream[VariantsMessage] = Stream("variants", 1_000, Overflow.HALT, activity)
    due = Stream[ForecastsDue]("forecasts", 8, Overflow.BLOCK, activity)
    told: list[Any] = []

    async def journal(one: Any) -> None:
        told.append(one)

    engine = Engine(random_module(1).state_dict(), SPEC, ForecastOptions(), checkpoint="tiny@1", context=CONTEXT)
    model = Slow(engine, clock)
    forecaster = ForecastActor(model, due, inbox.send, told.append, clock, Metrics(), horizon=4, tiers=["t1"])
    variants = VariantsActor(
        [make_variant(variant={"minutes": [3, 33], "threshold_pct": 0.000001})],
        {"BTCUSDT": BTC},
        FRAME,
        inbox,
        clock,
        TradingState.ACTIVE,
        recent={},
        request=due.send,
        journal=journal,
        enter=journal,
    )
    closes = 50_000 * np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.01, CONTEXT)))
    async with anyio.create_task_group() as group:
        await group.start(forecaster.run)
        await group.start(variants.run)
        for index, close in enumerate(closes.tolist()):
            opened = NOON - (CONTEXT - index) * HOUR
            await inbox.send(BarClosed(Bar("BTCUSDT", HOUR, opened, close, close, close, close, 1.0)))
        for minute in (3, 33):
            await inbox.send(MarkChanged("BTCUSDT", Decimal(50_000), Decimal(0), 0, clock.now()))
            clock.advance(NOON + minute * MINUTE)
            for _ in range(30):
                await checkpoint()
            await activity.wait_quiet()
        group.cancel_scope.cancel()
    first, second = (one for one in told if isinstance(one, Signal))
    assert (first.decision_reason, first.checkpoint, first.predicted_return) == ("forecast_missing", "t1/a@1", None)
    assert second.predicted_return is not None
    assert second.decision_reason != "forecast_missing"
    events = [one for one in told if isinstance(one, BotEvent)]
    assert [event.name for event in events] == ["checkpoint_served", "forecast_overdue", "forecast_stale"]
    assert events[-1].detail == {"variant": "BTC", "request_id": 1, "age_ms": 3 * MINUTE, "deadline_ms": 2 * MINUTE}
