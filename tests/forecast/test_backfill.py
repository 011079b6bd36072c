"""History to stored forecasts: the numbers of the live actor, once each, whatever interrupted them."""

import math
import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import anyio
import msgspec
import numpy as np
import pytest

from bot.clock import HOUR_MS, ReplayClock
from bot.errors import ModelRefused
from bot.forecast.backfill import Missing, backfill, missing, tasks
from bot.forecast.bulk import Answer, Choice, Setup, Task, Worker, choose
from bot.forecast.checkpoints import load
from bot.forecast.forecaster import ForecastActor, ForecasterNews
from bot.forecast.memory import NO_CEILING
from bot.forecast.serving import Serving
from bot.forecast.workers import Local, Processes
from bot.history.forecasts import ForecastStore, make_store
from bot.messages import Bars, Forecast, ForecastRequest, ForecastsDue, ForecastsReady
from bot.metrics import Metrics
from bot.strategy.window import make_window, upto
from bot.streams import Activity, Overflow, Stream
from tests.forecast.checkpoints_made import CONTEXT, make_adapter, make_base

HORIZON = 4
COUNT = 160
START = CONTEXT * HOUR_MS  # the first close with a whole window behind it
END = (COUNT + 1) * HOUR_MS
# The matrix products of another batch size may add up in another order: float32 rounds at 6e-8, and the returns of
# one window then differ by some of its last places.
SAME = 2e-6


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("checkpoints")
    make_adapter(directory, make_base(directory), "a")
    return directory


def walk(seed: int, symbol: str = "BTCUSDT") -> Bars:
    close = 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.01, COUNT)))
    times = np.arange(COUNT, dtype=np.int64) * HOUR_MS
    return Bars(symbol, HOUR_MS, times, close, close * 1.01, close * 0.99, close, np.ones(COUNT))


def chosen(checkpoints: Path, name: str = "a") -> tuple[Choice, Setup]:
    choices = {"t1": name}
    found = choose(
        "tiny", checkpoints, choices, context=CONTEXT, horizon=HORIZON, interval_ms=HOUR_MS, dtype="float32"
    )["t1"]
    setup = Setup(
        base="tiny",
        directory=str(checkpoints),
        context=CONTEXT,
        horizon=HORIZON,
        dtype="float32",
        threads=1,
        choices={"t1": found.name},
    )
    return found, setup


def ignore(_: object) -> None:
    return None


def fill(store: ForecastStore, checkpoints: Path, bars: list[Bars], batch: int = 50) -> int:
    choice, setup = chosen(checkpoints)
    wanted = [missing(one, store, START, END) for one in bars]
    backfill(store, choice, wanted, Local(setup), batch, ignore)
    return sum(len(one.bar_close_at) for one in wanted)


def live(checkpoints: Path, bars: list[Bars]) -> dict[tuple[str, int], Forecast]:
    """What the actor answers, hour by hour, all symbols of an hour in one request."""
    loaded = load("tiny", checkpoints, context=CONTEXT, dtype="float32", threads=1)
    serving = Serving(loaded, checkpoints, {"t1": "a"}, NO_CEILING)
    found: dict[tuple[str, int], Forecast] = {}

    async def ask() -> None:
        inbox: Stream[ForecastsDue] = Stream("forecasts", 8, Overflow.BLOCK, Activity())
        answers, replies = anyio.create_memory_object_stream[ForecasterNews](8)
        clock = ReplayClock(END)
        actor = ForecastActor(serving, inbox, answers.send, ignore, clock, Metrics(), horizon=HORIZON, tiers=["t1"])
        async with anyio.create_task_group() as group:
            await group.start(actor.run)
            for at in range(START, END, HOUR_MS):
                windows = tuple(make_window(upto(one, at), CONTEXT, HOUR_MS) for one in bars)
                await inbox.send(ForecastsDue((ForecastRequest(1, "v", "t1", windows, END, END),)))
                while not isinstance(ready := await replies.receive(), ForecastsReady):
                    pass
                found.update({(one.symbol, one.bar_close_at): one for one in ready.forecasts})
            group.cancel_scope.cancel()
        answers.close()
        replies.close()

    anyio.run(ask)
    return found


def test_a_stored_forecast_is_the_live_actors_answer(checkpoints: Path, tmp_path: Path) -> None:
    bars = [walk(1), walk(2, "ETHUSDT"), walk(3, "SOLUSDT")]
    store = make_store(tmp_path, chosen(checkpoints)[0].manifest)
    assert fill(store, checkpoints, bars) == 3 * (COUNT - CONTEXT + 1)
    told = live(checkpoints, bars)
    assert len(told) == 3 * (COUNT - CONTEXT + 1)
    stored = {one.symbol: store.load(one.symbol) for one in bars}
    for (symbol, at), forecast in told.items():
        ours = stored[symbol].at(at)
        assert isinstance(ours, Forecast)
        assert (ours.checkpoint, ours.horizon) == (forecast.checkpoint, forecast.horizon)
        for name in ("predicted_return", "predicted_q10", "predicted_q90"):
            assert getattr(ours, name) == pytest.approx(getattr(forecast, name), abs=SAME)


def test_in_batches_of_the_live_size_it_is_that_answer_to_the_bit(checkpoints: Path, tmp_path: Path) -> None:
    bars = walk(1)
    store = make_store(tmp_path, chosen(checkpoints)[0].manifest)
    fill(store, checkpoints, [bars], batch=1)
    stored = store.load("BTCUSDT")
    for (_, at), forecast in live(checkpoints, [bars]).items():
        assert msgspec.structs.asdict(stored.at(at)) == msgspec.structs.asdict(forecast)


def test_what_is_stored_is_not_computed_again_and_an_interruption_loses_one_batch(
    checkpoints: Path, tmp_path: Path
) -> None:
    choice, setup = chosen(checkpoints)
    store, bars = make_store(tmp_path, choice.manifest), walk(1)

    class Killed(Exception):
        pass

    class Falling(Local):
        def answers(self, tasks: Iterator[Task]) -> Iterator[tuple[Task, Answer]]:
            for number, answered in enumerate(super().answers(tasks)):
                if number == 2:
                    raise Killed
                yield answered

    with pytest.raises(Killed):
        backfill(store, choice, [missing(bars, store, START, END)], Falling(setup), 20, ignore)
    assert len(store.load("BTCUSDT")) == 40
    left = missing(bars, store, START, END)
    assert (left.stored, len(left.bar_close_at)) == (40, COUNT - CONTEXT + 1 - 40)
    assert fill(store, checkpoints, [bars]) == COUNT - CONTEXT + 1 - 40
    assert fill(store, checkpoints, [bars]) == 0


def test_a_bar_that_was_replaced_makes_the_forecasts_on_it_stale(checkpoints: Path, tmp_path: Path) -> None:
    store = make_store(tmp_path, chosen(checkpoints)[0].manifest)
    bars = walk(1)
    fill(store, checkpoints, [bars])
    close = bars.close.copy()
    close[-3] *= 1.001
    revised = msgspec.structs.replace(bars, close=close, high=close * 1.01, low=close * 0.99)
    left = missing(revised, store, START, END)
    assert (left.bar_close_at // HOUR_MS).tolist() == [COUNT - 2, COUNT - 1, COUNT]


def test_windows_that_the_bot_would_refuse_are_counted_by_reason(checkpoints: Path, tmp_path: Path) -> None:
    store = make_store(tmp_path, chosen(checkpoints)[0].manifest)
    bars = walk(1)
    times = bars.open_time.copy()
    times[100:] += HOUR_MS
    found = missing(msgspec.structs.replace(bars, open_time=times), store, 0, END + HOUR_MS)
    assert found.refused == {"window_short": CONTEXT - 1, "window_gap": COUNT - 100}
    assert len(found.bar_close_at) == 100 - CONTEXT + 1


def test_batches_are_full_but_the_last_and_run_on_from_symbol_to_symbol(checkpoints: Path) -> None:
    choice, _ = chosen(checkpoints)
    windows = np.ones((30, CONTEXT))
    wanted = [Missing(name, np.arange(30) * HOUR_MS, windows, 0, {}) for name in ("AUSDT", "BUSDT", "CUSDT")]
    made = list(tasks(choice, wanted, 40))
    assert [len(task) for task in made] == [40, 40, 10]
    assert made[0].symbols == ("AUSDT",) * 30 + ("BUSDT",) * 10
    assert made[1].bar_close_at[:20] == tuple(hour * HOUR_MS for hour in range(10, 30))


def test_processes_answer_as_one_does(checkpoints: Path, tmp_path: Path) -> None:
    choice, setup = chosen(checkpoints)
    bars = walk(1)
    alone, shared = (make_store(tmp_path / name, choice.manifest) for name in ("one", "two"))
    for store, workers in ((alone, Local(setup)), (shared, Processes(setup, 2))):
        backfill(store, choice, [missing(bars, store, START, END)], workers, 25, ignore)
    one, two = alone.load("BTCUSDT"), shared.load("BTCUSDT")
    assert np.array_equal(one.bar_close_at, two.bar_close_at)
    assert np.array_equal(one.path, two.path)


def test_a_process_that_is_still_starting_does_not_hear_ctrl_c(checkpoints: Path) -> None:
    choice, setup = chosen(checkpoints)
    closes = np.full((1, CONTEXT), 100.0)
    task = Task(tier="t1", checkpoint=choice.checkpoint, symbols=("XUSDT",), bar_close_at=(0,), closes=closes)
    answers = Processes(setup, 2).answers(interrupted_first(task))
    assert [found for found, _ in answers] == [task]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def interrupted_first(task: Task) -> Iterator[Task]:
    """The task, once every process that was started for it has been sent what a terminal sends it at Ctrl-C."""
    started = multiprocessing.active_children()
    assert started
    for process in started:
        assert process.pid is not None
        os.kill(process.pid, signal.SIGINT)
    yield task


def test_a_worker_refuses_a_task_of_other_weights_in_every_process(checkpoints: Path, tmp_path: Path) -> None:
    choice, setup = chosen(checkpoints)
    store = make_store(tmp_path, choice.manifest)
    other = msgspec.structs.replace(choice, checkpoint="t1/b@00000000")
    for workers in (Local(setup), Processes(setup, 2)):
        with pytest.raises(ModelRefused, match="t1/b@00000000 was asked for"):
            backfill(store, other, [missing(walk(1), store, START, END)], workers, 25, ignore)


def test_an_answer_that_the_bot_would_not_take_is_stored_as_refused(checkpoints: Path) -> None:
    choice, setup = chosen(checkpoints)
    closes = np.full((1, CONTEXT), 1e-30)
    closes[0, :-1] = 1e30
    task = Task(tier="t1", checkpoint=choice.checkpoint, symbols=("XUSDT",), bar_close_at=(0,), closes=closes)
    answer = Worker(setup).answer(task)
    assert answer.refused[0] in ("absurd_forecast", "not_finite_forecast")
    assert math.isnan(answer.distance[0])


def test_the_base_and_an_adapter_have_stores_of_their_own(checkpoints: Path) -> None:
    base, adapter = chosen(checkpoints, "base")[0], chosen(checkpoints)[0]
    assert base.manifest.adapter is None
    assert adapter.manifest.adapter == "t1/a"
    assert base.manifest.base_sha256 == adapter.manifest.base_sha256
    assert base.checkpoint != adapter.checkpoint
