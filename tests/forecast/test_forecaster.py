"""The actor with a tiny real model: every window answered, the loop never blocked."""

from collections.abc import Sequence

import anyio
import numpy as np
import pytest
import torch

from bot.clock import ReplayClock
from bot.forecast.engine import Engine, Forecaster, ForecastOptions, ModelSpec, Prediction
from bot.forecast.forecaster import ForecastActor
from bot.messages import Floats, ForecastRequest, ForecastsReady, Window
from bot.streams import Activity, Overflow, Stream
from bot.training.objective import finish_module, start_module

pytestmark = pytest.mark.anyio

SPEC = ModelSpec(layers=1, model_dims=16, hidden_dims=16, heads=2, quantile_patch=128)
CONTEXT = 64
CLOSES = 100 * np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.01, CONTEXT)))


@pytest.fixture
def model() -> Engine:
    torch.manual_seed(1)
    module = finish_module(start_module(SPEC))
    return Engine(module, SPEC, ForecastOptions(), checkpoint="tiny@1", context=CONTEXT)


class Answering:
    """A model whose point and quantiles are the same chosen price everywhere; `while_working` runs in its thread."""

    checkpoint = "fixed"
    context = CONTEXT

    def __init__(self, price: float) -> None:
        self.price = price
        self.clock: ReplayClock | None = None

    def forecast(self, closes: Floats, horizon: int) -> Prediction:
        if self.clock is not None:
            self.clock.advance(10_000)
        shape = (len(closes), horizon)
        return Prediction(np.full(shape, self.price), np.full((*shape, 2), self.price), (0.1, 0.9))


def request(windows: Sequence[Window], deadline: int = 1_000, checkpoint: str = "base") -> ForecastRequest:
    return ForecastRequest(7, "BTC", checkpoint, tuple(windows), deadline)


async def answers(
    model: Forecaster, requests: Sequence[ForecastRequest], clock: ReplayClock | None = None
) -> tuple[list[ForecastsReady], ForecastActor]:
    activity = Activity()
    inbox = Stream[ForecastRequest]("forecasts", 8, Overflow.BLOCK, activity)
    got: list[ForecastsReady] = []

    async def reply(answer: ForecastsReady) -> None:
        got.append(answer)

    actor = ForecastActor(model, inbox, reply, clock or ReplayClock(), horizon=4)
    async with anyio.create_task_group() as group:
        await group.start(lambda *, task_status: actor.run(task_status=task_status))
        for one in requests:
            await inbox.send(one)
        await activity.wait_quiet()
        group.cancel_scope.cancel()
    return got, actor


async def test_a_sound_window_gets_the_models_return_and_the_close_time_of_its_last_bar(model: Engine) -> None:
    got, _ = await answers(model, [request([Window("BTCUSDT", 3_600_000, CLOSES)])])
    forecast = got[0].forecasts[0]
    prediction = model.forecast(CLOSES[None], 4)
    assert (got[0].request_id, forecast.symbol, forecast.checkpoint) == (7, "BTCUSDT", "tiny@1")
    assert (forecast.bar_close_at, forecast.horizon) == (3_600_000, 4)
    assert forecast.predicted_return == pytest.approx(prediction.point[0, 3] / CLOSES[-1] - 1)
    assert forecast.predicted_q10 == pytest.approx(prediction.quantiles[0, 3, 0] / CLOSES[-1] - 1)
    assert forecast.predicted_q10 < forecast.predicted_return < forecast.predicted_q90


async def test_a_faulty_window_is_refused_alone(model: Engine) -> None:
    gap, zero = CLOSES.copy(), CLOSES.copy()
    gap[3], zero[5] = np.nan, 0.0
    windows = [
        Window("SHORT", 1, CLOSES[1:]),
        Window("NAN", 1, gap),
        Window("ZERO", 1, zero),
        Window("GOOD", 1, CLOSES),
    ]
    got, actor = await answers(model, [request(windows)])
    assert [forecast.symbol for forecast in got[0].forecasts] == ["GOOD"]
    reasons = {refusal.symbol: refusal.reason for refusal in got[0].refused}
    assert reasons == {"SHORT": "wrong_length", "NAN": "not_finite", "ZERO": "not_positive"}
    assert actor.refused == {"wrong_length": 1, "not_finite": 1, "not_positive": 1}


@pytest.mark.parametrize(
    ("price", "reason"), [(CLOSES[-1] * 1.6, "absurd_forecast"), (float("nan"), "not_finite_forecast")]
)
async def test_an_absurd_answer_is_refused_and_counted(price: float, reason: str) -> None:
    got, actor = await answers(Answering(price), [request([Window("BTCUSDT", 1, CLOSES)])])
    assert got[0].forecasts == ()
    assert got[0].refused[0].reason == reason
    assert actor.refused[reason] == 1


async def test_an_answer_that_comes_after_the_deadline_is_refused_as_stale() -> None:
    model, clock = Answering(CLOSES[-1]), ReplayClock()
    model.clock = clock  # the inference takes ten seconds of domain time
    got, _ = await answers(model, [request([Window("BTCUSDT", 1, CLOSES)])], clock)
    assert (got[0].forecasts, got[0].refused[0].reason) == ((), "stale")


async def test_a_request_past_its_deadline_is_refused_without_inference() -> None:
    model = Answering(CLOSES[-1])
    got, _ = await answers(model, [request([Window("BTCUSDT", 1, CLOSES)], deadline=5)], ReplayClock(6))
    assert got[0].refused[0].reason == "stale"


async def test_a_checkpoint_that_is_not_loaded_is_refused(model: Engine) -> None:
    got, _ = await answers(model, [request([Window("BTCUSDT", 1, CLOSES)], checkpoint="t1-7")])
    assert got[0].refused[0].reason == "unknown_checkpoint"


async def test_the_loop_runs_on_while_the_model_works() -> None:
    release, entered = anyio.Event(), anyio.Event()

    class Slow(Answering):
        def forecast(self, closes: Floats, horizon: int) -> Prediction:
            anyio.from_thread.run_sync(entered.set)
            anyio.from_thread.run(release.wait)
            return super().forecast(closes, horizon)

    async def let_go() -> None:
        await entered.wait()
        release.set()

    async with anyio.create_task_group() as group:
        group.start_soon(let_go)
        got, _ = await answers(Slow(CLOSES[-1]), [request([Window("BTCUSDT", 1, CLOSES)])])
    assert got[0].forecasts[0].predicted_return == pytest.approx(0.0)
