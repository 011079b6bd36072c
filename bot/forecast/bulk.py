"""Forecasts in bulk, away from the live loop: a model by its setup, windows in, the live engine's numbers out."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from bot.errors import ModelRefused
from bot.forecast import pointers
from bot.forecast.batch import LOWER, UPPER, judge
from bot.forecast.checkpoints import identify, load, locate
from bot.forecast.distance import distances
from bot.forecast.engine import Dtype, ForecastOptions, choose_dtype
from bot.forecast.memory import NO_CEILING
from bot.forecast.registry import BASE, find
from bot.forecast.serving import ACTIVE, Serving
from bot.history.forecasts import StoreManifest
from bot.messages import Floats, ForecastRefused, Window


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One checkpoint by the names that find it: a tier and `base` or an id, with the id in signal rows."""

    tier: str
    name: str
    checkpoint: str
    manifest: StoreManifest


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """Which model a worker shall load. Plain values: they travel to other processes and machines."""

    base: str
    directory: str
    context: int
    horizon: int
    dtype: Dtype
    threads: int
    choices: dict[str, str]  # tier to checkpoint: "base" or an id, never what may change while the work goes on


class Task(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One batch: windows of any symbols for one checkpoint."""

    tier: str
    checkpoint: str
    symbols: tuple[str, ...]  # of each row
    bar_close_at: tuple[int, ...]
    closes: Floats  # (rows, context)

    def __len__(self) -> int:
        return len(self.symbols)


class Answer(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The model's word on each row of a task, in its order."""

    path: Floats  # (rows, horizon), predicted returns
    q10: Floats  # (rows,), at the horizon
    q90: Floats
    distance: Floats
    refused: tuple[str, ...]  # as the live forecaster refuses an answer; "" where it does not


class Worker:
    """One loaded model. Not safe for two threads at once."""

    def __init__(self, setup: Setup) -> None:
        directory = Path(setup.directory)
        loaded = load(setup.base, directory, context=setup.context, dtype=setup.dtype, threads=setup.threads)
        self._model = Serving(loaded, directory, setup.choices, NO_CEILING)
        self._horizon = setup.horizon

    def answer(self, task: Task) -> Answer:
        """ModelRefused where this worker's model is not the task's, or has no answer."""
        serving = self._model.serving(task.tier)
        if serving != task.checkpoint:
            raise ModelRefused(f"tier {task.tier}: the files hold {serving} now, and {task.checkpoint} was asked for")
        prediction = self._model.forecast(task.closes, [task.tier] * len(task), self._horizon)
        for reason in self._model.failures().values():
            raise ModelRefused(reason)
        stats = self._model.inputs(task.tier)
        last = task.closes[:, -1]
        lower, upper = (prediction.quantiles[:, -1, prediction.levels.index(level)] for level in (LOWER, UPPER))
        windows = map(Window, task.symbols, task.bar_close_at, task.closes)
        judged = [judge(window, prediction, row, serving) for row, window in enumerate(windows)]
        return Answer(
            path=prediction.point / last[:, None] - 1,
            q10=lower / last - 1,
            q90=upper / last - 1,
            distance=distances(stats, task.closes) if stats is not None else last * float("nan"),
            refused=tuple(one.reason if isinstance(one, ForecastRefused) else "" for one in judged),
        )


def choose(
    base: str,
    directory: Path,
    choices: Mapping[str, str],
    *,
    context: int,
    horizon: int,
    interval_ms: int,
    dtype: Dtype,
) -> dict[str, Choice]:
    """What each tier's choice (active, base, an id) comes to now, by tier, before any weights are read.

    ModelRefused as the bot's own start would.
    """
    located = locate(base, directory)
    known = identify(located)
    options = located.manifest.options if located.manifest else ForecastOptions()
    data = located.manifest.data if located.manifest else None
    made = StoreManifest(
        checkpoint=f"{known.name}@{known.sha256[:8]}",
        base=known.name,
        base_sha256=known.sha256,
        adapter=None,
        adapter_sha256=None,
        context=context,
        horizon=horizon,
        interval_ms=interval_ms,
        options=msgspec.structs.asdict(options),
        dtype=str(choose_dtype(dtype, known.spec)).removeprefix("torch."),
        trained_to_at=None if data is None else data.train_to,
    )
    found: dict[str, Choice] = {}
    for tier, choice in choices.items():
        name = pointers.current(directory, tier) if choice == ACTIVE else choice
        manifest = made
        if name != BASE:
            one = find(directory, tier, name)
            manifest = msgspec.structs.replace(
                made,
                checkpoint=one.serves_as,
                adapter=f"{tier}/{name}",
                adapter_sha256=one.manifest.sha256,
                trained_to_at=one.manifest.cutoff,
            )
        found[tier] = Choice(tier=tier, name=name, checkpoint=manifest.checkpoint, manifest=manifest)
    return found
