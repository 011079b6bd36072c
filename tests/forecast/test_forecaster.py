"""The actor with a tiny real model: every window answered in one pass, the loop never blocked."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
import torch

from bot.clock import ReplayClock
from bot.forecast.distance import InputStats, describe
from bot.forecast.engine import Engine, ForecastOptions, ModelSpec, Prediction
from bot.forecast.forecaster import ForecastActor, ForecasterNews
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
    Window,
)
from bot.metrics import Metrics
from bot.streams import Activity, Overflow, Stream
from bot.training.objective import finish_module, start_module

pytestmark = pytest.mark.anyio

SPEC = ModelSpec(layers=1, model_dims=16, hidden_dims=16, heads=2, quantile_patch=128)
CONTEXT = 64
HOUR = 3_600_000
NOW = 2 * HOUR
CLOSES = 100 * np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.01, CONTEXT)))


@pytest.fixture(scope="module")
def engine() -> Engine:
    torch.manual_seed(1)
    module = finish_module(start_module(SPEC))
    return Engine(module.state_dict(), SPEC, ForecastOptions(), checkpoint="tiny@1", context=CONTEXT)


class Serving:
    """The tiny model for every tier, under ids that a test may change; each pass is kept."""

    context = CONTEXT

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.ids = {"t1": "t1/a@1", "t2": "t2/a@1"}
        self.found: list[Change] = []
        self.failed: dict[str, str] = {}
        self.passes: list[tuple[str, ...]] = []
        self.stats: dict[str, InputStats] = {}
        self.first: Callable[[], None] = lambda: None  # done in the model's thread before each pass

    def refresh(self) -> Sequence[Change]:
        found, self.found = self.found, []
        for change in found:
            self.ids[change.tier] = change.after
        return found

    def serving(self, tier: str) -> str:
        return self.ids[tier]

    def inputs(self, tier: str) -> InputStats | None:
        return self.stats.get(tier)

    def failures(self) -> Mapping[str, str]:
        found, self.failed = self.failed, {}
        return found

    def forecast(self, closes: Floats, tiers: Sequence[str], horizon: int) -> Prediction:
        self.first()
        self.passes.append(tuple(tiers))
        return self._engine.forecast(closes, horizon)


@pytest.fixture
def model(engine: Engine) -> Serving:
    return Serving(engine)


class Answering(Serving):
    """A model whose point and quantiles are the same chosen price everywhere."""

    def __init__(self, price: float, rows: int | None = None) -> None:
        self.price, self.rows = price, rows
        self.found, self.failed, self.first, self.stats = [], {}, lambda: None, {}

    def serving(self, tier: str) -> str:
        return "fixed"

    def forecast(self, closes: Floats, tiers: Sequence[str], horizon: int) -> Prediction:
        self.first()
        shape = (len(closes) if self.rows is None else self.rows, horizon)
        return Prediction(np.full(shape, self.price), np.full((*shape, 2), self.price), (0.1, 0.9))


def window(symbol: str = "BTCUSDT", closes: Floats = CLOSES, bar_close_at: int = HOUR) -> Window:
    return Window(symbol, bar_close_at, closes)


def request(
    *windows: Window, request_id: int = 7, variant: str = "BTC", tier: str = "t1", deadline: int = NOW + 1_000
) -> ForecastRequest:
    return ForecastRequest(request_id, variant, tier, windows, NOW - 500, deadline)


class Talk:
    """What an actor was asked and said, from its start until it has nothing left to do."""

    def __init__(self, model: Forecaster, *messages: ForecastsDue, now: int = NOW, max_distance: float = 0.0) -> None:
        self.clock = ReplayClock(now)
        self.activity = Activity()
        self.inbox = Stream[ForecastsDue]("forecasts", 8, Overflow.BLOCK, self.activity)
        self.replies: list[ForecasterNews] = []
        self.events: list[BotEvent] = []
        self.metrics = Metrics()
        self.actor = ForecastActor(
            model,
            self.inbox,
            self._reply,
            self.events.append,
            self.clock,
            self.metrics,
            horizon=4,
            tiers=("t1", "t2", "t1"),
            max_distance=max_distance,
        )
        self._messages = messages

    async def _reply(self, news: ForecasterNews) -> None:
        self.replies.append(news)

    async def over(self) -> "Talk":
        """All messages wait in the inbox when the actor starts."""
        async with anyio.create_task_group() as group:
            for message in self._messages:
                await self.inbox.send(message)
            await group.start(lambda *, task_status: self.actor.run(task_status=task_status))
            await self.activity.wait_quiet()
            group.cancel_scope.cancel()
        return self

    async def then(self, *messages: ForecastsDue) -> "Talk":
        """The same actor goes on with more messages."""
        self._messages = messages
        return await self.over()

    @property
    def answers(self) -> list[ForecastsReady]:
        return [one for one in self.replies if isinstance(one, ForecastsReady)]

    def reasons(self, index: int = 0) -> dict[str, str]:
        return {refusal.symbol: refusal.reason for refusal in self.answers[index].refused}

    def told(self, name: str) -> list[dict[str, Any]]:
        return [event.detail for event in self.events if event.name == name]

    def metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


async def ask(model: Forecaster, *requests: ForecastRequest, now: int = NOW) -> Talk:
    return await Talk(model, ForecastsDue(requests), now=now).over()


async def test_a_sound_window_gets_the_models_return_and_the_close_time_of_its_last_bar(
    model: Serving, engine: Engine
) -> None:
    talk = await ask(model, request(window()))
    [answer] = talk.answers
    [forecast] = answer.forecasts
    prediction = engine.forecast(CLOSES[None], 4)
    assert (answer.request_id, forecast.symbol, forecast.checkpoint) == (7, "BTCUSDT", "t1/a@1")
    assert (forecast.bar_close_at, forecast.horizon) == (HOUR, 4)
    ahead = prediction.quantiles[0, 3, [prediction.levels.index(0.1), prediction.levels.index(0.9)]] / CLOSES[-1] - 1
    assert forecast.predicted_return == pytest.approx(prediction.point[0, 3] / CLOSES[-1] - 1)
    assert (forecast.predicted_q10, forecast.predicted_q90) == pytest.approx(tuple(ahead))
    assert forecast.predicted_q10 < forecast.predicted_return < forecast.predicted_q90
    assert talk.metric("forecasts_total", tier="t1") == 1
    assert talk.metric("forecast_seconds_count") == talk.metric("forecast_batch_rows_sum") == 1


# One pass for all


def closes_of(seed: int) -> Floats:
    return 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.01, CONTEXT)))


async def test_all_requests_that_wait_are_answered_by_one_pass(model: Serving) -> None:
    a, b, c = (window(symbol, closes_of(index)) for index, symbol in enumerate(("A", "B", "C")))
    first = ForecastsDue((request(a, b, request_id=1), request(c, request_id=2, tier="t2")))
    second = ForecastsDue((request(c, request_id=3),))
    talk = await Talk(model, first, second).over()
    assert model.passes == [("t1", "t1", "t2", "t1")]
    answered = [(one.request_id, [forecast.symbol for forecast in one.forecasts]) for one in talk.answers]
    assert answered == [(1, ["A", "B"]), (2, ["C"]), (3, ["C"])]
    assert [one.forecasts[0].checkpoint for one in talk.answers] == ["t1/a@1", "t2/a@1", "t1/a@1"]


async def test_equal_windows_of_equal_checkpoints_are_computed_once(model: Serving) -> None:
    model.ids["t2"] = model.ids["t1"]
    a, b = window("A", closes_of(1)), window("B", closes_of(2))
    requests = (request(a, b, request_id=1), request(b, request_id=2), request(b, request_id=3, tier="t2"))
    talk = await ask(model, *requests)
    assert model.passes == [("t1", "t1")]
    said = [{forecast.symbol: forecast.predicted_return for forecast in one.forecasts} for one in talk.answers]
    assert said[0]["B"] == said[1]["B"] == said[2]["B"] != said[0]["A"]


async def test_a_batch_of_nothing_but_faults_asks_no_model(model: Serving) -> None:
    talk = await ask(model, request(window("SHORT", CLOSES[1:])))
    assert model.passes == []
    assert talk.reasons() == {"SHORT": "wrong_length"}


# What is refused


async def test_a_faulty_window_is_refused_alone(model: Serving) -> None:
    gap, zero, negative, infinite = (CLOSES.copy() for _ in range(4))
    gap[3], zero[5], negative[0], infinite[-1] = np.nan, 0.0, -1.0, np.inf
    windows = [
        window("SHORT", CLOSES[1:]),
        window("SQUARE", np.ones((CONTEXT, CONTEXT))),
        window("NAN", gap),
        window("INFINITE", infinite),
        window("ZERO", zero),
        window("NEGATIVE", negative),
        window("AHEAD", bar_close_at=NOW + 1),
        window("TWICE"),
        window("GOOD"),
        window("TWICE", closes_of(3)),
    ]
    talk = await ask(model, request(*windows), request(window("OTHER"), request_id=8))
    assert [forecast.symbol for forecast in talk.answers[0].forecasts] == ["GOOD"]
    assert talk.reasons() == {
        "SHORT": "wrong_length",
        "SQUARE": "wrong_length",
        "NAN": "not_finite",
        "INFINITE": "not_finite",
        "ZERO": "not_positive",
        "NEGATIVE": "not_positive",
        "AHEAD": "bar_not_closed",
        "TWICE": "symbol_twice",
    }
    assert [forecast.symbol for forecast in talk.answers[1].forecasts] == ["OTHER"]
    assert talk.metric("forecasts_refused_total", tier="t1", reason="not_finite") == 2


@pytest.mark.parametrize(
    ("price", "reason"), [(CLOSES[-1] * 1.6, "absurd_forecast"), (float("nan"), "not_finite_forecast")]
)
async def test_an_absurd_answer_is_refused_and_counted(price: float, reason: str) -> None:
    talk = await ask(Answering(price), request(window()))
    assert talk.answers[0].forecasts == ()
    assert talk.reasons() == {"BTCUSDT": reason}
    assert talk.metric("forecasts_refused_total", tier="t1", reason=reason) == 1


async def test_an_answer_with_too_few_rows_belongs_to_nobody() -> None:
    talk = await ask(Answering(CLOSES[-1], rows=1), request(window("A"), window("B", closes_of(2))))
    assert talk.reasons() == {"A": "wrong_shape", "B": "wrong_shape"}


async def test_answers_in_another_order_than_the_windows_are_absurd(engine: Engine) -> None:
    class Shuffled(Serving):
        def forecast(self, closes: Floats, tiers: Sequence[str], horizon: int) -> Prediction:
            found = super().forecast(closes, tiers, horizon)
            return Prediction(found.point[::-1], found.quantiles[::-1], found.levels)

    talk = await ask(Shuffled(engine), request(window("DEAR", 1_000 * CLOSES), window("CHEAP", CLOSES)))
    assert talk.reasons() == {"DEAR": "absurd_forecast", "CHEAP": "absurd_forecast"}


async def test_a_tier_that_is_not_served_is_refused_and_the_rest_is_forecast(model: Serving) -> None:
    talk = await ask(model, request(window(), tier="t9"), request(window(), request_id=8))
    assert talk.reasons() == {"BTCUSDT": "unknown_tier"}
    assert talk.answers[1].forecasts


def test_every_reason_is_on_the_page_of_decisions() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "decisions.md").read_text(encoding="utf-8")
    bullets = re.findall(r"^- (.*?): ", page, re.MULTILINE)
    assert [word for bullet in bullets for word in re.findall("`(.*?)`", bullet)] == [
        str(refusal) for refusal in sorted(Refusal, key=lambda one: page.index(f"`{one}`"))
    ]


# Inputs unlike the training's


def random_walks(count: int) -> Floats:
    steps = np.random.default_rng(5).normal(0, 0.01, (count, CONTEXT))
    return 100 * np.exp(np.cumsum(steps, axis=1))


def jump() -> Floats:
    closes = random_walks(1)[0]
    closes[CONTEXT // 2 :] *= 1.8
    return closes


async def test_a_window_unlike_the_training_is_measured_and_told_once_a_day_and_forecast_all_the_same(
    model: Serving,
) -> None:
    model.stats["t1"] = describe(random_walks(1_000))
    usual, strange = window("USUAL", random_walks(1)[0]), window("STRANGE", jump())
    due = ForecastsDue((request(usual, strange),))
    talk = await Talk(model, due, ForecastsDue((request(strange, request_id=8, tier="t2"),))).over()
    assert [len(one.forecasts) for one in talk.answers] == [2, 1]
    [told] = talk.told("input_unlike_training")
    assert (told["tier"], told["checkpoint"], list(told["distances"])) == ("t1", "t1/a@1", ["STRANGE"])
    assert told["distances"]["STRANGE"] > told["limit"] > 0
    assert talk.metric("input_distance_count", tier="t1") == 2
    assert talk.metric("input_distance_count", tier="t2") is None, "its checkpoint does not tell of its training"
    await talk.then(ForecastsDue((request(strange, request_id=9),)))
    assert len(talk.told("input_unlike_training")) == 1
    talk.clock.advance(NOW + 24 * HOUR)
    await talk.then(ForecastsDue((request(strange, request_id=10, deadline=NOW + 25 * HOUR),)))
    assert len(talk.told("input_unlike_training")) == 2


async def test_the_gate_refuses_what_is_too_far_by_name(model: Serving) -> None:
    model.stats["t1"] = describe(random_walks(1_000))
    flat = np.full(CONTEXT, 100.0)
    windows = (window("USUAL", random_walks(1)[0]), window("STRANGE", jump()), window("FLAT", flat))
    due = ForecastsDue((request(*windows), request(window(), request_id=8, tier="t2")))
    talk = await Talk(model, due, max_distance=8.0).over()
    assert [forecast.symbol for forecast in talk.answers[0].forecasts] == ["USUAL"]
    assert talk.reasons() == {"STRANGE": "input_unlike_training", "FLAT": "input_unlike_training"}
    assert talk.reasons(1) == {"BTCUSDT": "inputs_unknown"}, "a gate that cannot be asked lets nothing pass"


# Deadlines


async def test_an_answer_that_comes_after_the_deadline_is_discarded_and_told_and_the_next_cycle_runs(
    model: Serving,
) -> None:
    talk = Talk(model, ForecastsDue((request(window()),)))
    model.first = lambda: talk.clock.advance(NOW + 10_000)  # the inference takes ten seconds of domain time
    await talk.over()
    assert (talk.answers[0].forecasts, talk.reasons()) == ((), {"BTCUSDT": "stale"})
    assert talk.told("forecast_stale") == [
        {"variant": "BTC", "request_id": 7, "age_ms": 10_500, "deadline_ms": 1_500},
    ]
    model.first = lambda: None
    await talk.then(ForecastsDue((request(window(), request_id=8, deadline=NOW + 11_000),)))
    assert talk.answers[1].forecasts
    assert len(talk.told("forecast_stale")) == 1


async def test_a_request_past_its_deadline_is_refused_without_inference(model: Serving) -> None:
    late = request(window(), deadline=NOW - 1)
    talk = await ask(model, late, request(window("ETHUSDT"), request_id=8))
    assert talk.reasons() == {"BTCUSDT": "stale"}
    assert len(talk.told("forecast_stale")) == 1
    assert model.passes == [("t1",)]
    assert talk.answers[1].forecasts


async def test_a_clock_that_is_set_back_while_the_model_works_makes_no_late_request_early(model: Serving) -> None:
    late = request(window(), deadline=NOW - 1)
    talk = Talk(model, ForecastsDue((late, request(window("ETHUSDT"), request_id=8))))

    def set_back() -> None:
        talk.clock._now = NOW - 60_000

    model.first = set_back
    await talk.over()
    assert talk.reasons() == {"BTCUSDT": "stale"}
    assert talk.answers[1].forecasts


async def test_the_loop_runs_on_while_the_model_works(model: Serving) -> None:
    release, entered = anyio.Event(), anyio.Event()

    def wait() -> None:
        anyio.from_thread.run_sync(entered.set)
        anyio.from_thread.run(release.wait)

    async def let_go() -> None:
        await entered.wait()
        release.set()

    model.first = wait
    async with anyio.create_task_group() as group:
        group.start_soon(let_go)
        talk = await ask(model, request(window()))
    assert talk.answers[0].forecasts


async def test_why_the_model_gave_no_forecast_is_told_with_the_cycle_that_missed_it(model: Serving) -> None:
    model.failed = {"t1": "f.pt: the file was changed"}
    talk = await ask(model, request(window()))
    assert talk.told("forecast_failed") == [
        {"tier": "t1", "checkpoint": "t1/a@1", "reason": "f.pt: the file was changed"}
    ]
    await talk.then(ForecastsDue((request(window(), request_id=8),)))
    assert len(talk.told("forecast_failed")) == 1


# Checkpoints


async def test_at_its_start_it_says_what_serves_each_tier(model: Serving) -> None:
    talk = await Talk(model).over()
    assert talk.replies == [CheckpointServed("t1", "t1/a@1"), CheckpointServed("t2", "t2/a@1")]
    assert talk.told("checkpoint_served") == [
        {"tier": "t1", "checkpoint": "t1/a@1"},
        {"tier": "t2", "checkpoint": "t2/a@1"},
    ]
    assert talk.metric("checkpoint_info", tier="t1", checkpoint="t1/a@1") == 1


async def test_an_activated_checkpoint_serves_from_the_next_batch_on(model: Serving) -> None:
    talk = Talk(model, ForecastsDue((request(window()),)))

    def activate() -> None:  # while the first batch is being computed
        model.found = [Change(tier="t1", before="t1/a@1", after="t1/b@2")]

    model.first = activate
    await talk.over()
    assert [one.checkpoint for one in talk.answers[0].forecasts] == ["t1/a@1"]
    assert talk.told("checkpoint_activated") == []
    model.first = lambda: None
    del talk.replies[:]
    await talk.then(ForecastsDue((request(window()),)))
    [activated] = talk.told("checkpoint_activated")
    assert (activated["tier"], activated["before"], activated["after"]) == ("t1", "t1/a@1", "t1/b@2")
    assert activated["seconds"] >= 0
    told = talk.replies.index(CheckpointServed("t1", "t1/b@2"))
    assert told < talk.replies.index(talk.answers[0])
    assert [one.checkpoint for one in talk.answers[0].forecasts] == ["t1/b@2"]
    assert talk.metric("checkpoint_info", tier="t1", checkpoint="t1/a@1") == 0
    assert talk.metric("checkpoint_info", tier="t1", checkpoint="t1/b@2") == 1


async def test_a_refused_checkpoint_is_an_error_and_changes_nothing(model: Serving) -> None:
    model.found = [Change(tier="t2", before="t2/a@1", after="t2/a@1", refused="weights: NaN in layers.0.ff0")]
    talk = await ask(model, request(window(), tier="t2"))
    assert talk.told("checkpoint_refused") == [
        {"tier": "t2", "before": "t2/a@1", "after": "t2/a@1", "reason": "weights: NaN in layers.0.ff0"}
    ]
    assert [event.severity for event in talk.events if event.name == "checkpoint_refused"] == [Severity.ERROR]
    assert talk.answers[0].forecasts[0].checkpoint == "t2/a@1"
    assert talk.replies[:2] == [CheckpointServed("t1", "t1/a@1"), CheckpointServed("t2", "t2/a@1")]
