"""Trains a small TimesFM 2.5 from nothing on hourly closes; options in, a checkpoint directory out."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from bot.forecast.checkpoints import DataUsed, Manifest, TrainingRun, save
from bot.forecast.engine import Engine, ForecastOptions
from bot.forecast.network import ModelSpec
from bot.training.dataset import Series, TrainingSet, read_series
from bot.training.evaluate import score
from bot.training.inputs import measure
from bot.training.objective import (
    Objective,
    finish_module,
    learning_rate,
    loss_of,
    normalise,
    prepare,
    start_module,
)

SPEC_NANO = ModelSpec(layers=2, model_dims=32, hidden_dims=32, heads=2, quantile_patch=128)


def utc_ms(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1_000)


class TrainOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`python -m bot train base`. The number of steps decides when it ends, so a seed means one result."""

    bars: tuple[Path, ...]  # a later directory adds only history before an earlier one's
    out: Path
    seed: int = 7
    steps: int = 600  # with more of them it memorises the market days, and the validation worsens
    batch: int = 512
    threads: int = 2  # part of what the result depends on, to the last bit
    cutoff: int = utc_ms("2024-10-01")  # training ends, validation begins
    validation_to: int = utc_ms("2025-01-01")  # the test stretch begins
    test_to: int = utc_ms("2025-07-01")
    context: int = 192
    spec: ModelSpec = SPEC_NANO
    options: ForecastOptions = ForecastOptions(flip_invariance=False)  # the training mirrors instead
    objective: Objective = Objective()
    learning_rate: float = 1e-3
    weight_decay: float = 1.0
    average: float = 0.998  # of the weights, per step
    mixed: float = 0.8  # share of windows that are blends of two


class TrainProgress(msgspec.Struct, frozen=True):
    """What a long run tells while it works."""

    stage: str  # "train" | "validation" | "test"
    step: int
    steps: int
    loss: float
    seconds: float


Report = Callable[[TrainProgress], None]
PROGRESS_EVERY = 100  # steps
DECAYED = ("qkv_proj.weight", "out.weight", "ff0.weight", "ff1.weight", "hidden_layer.weight", "output_layer.weight")


def train_base(options: TrainOptions, progress: Report) -> Path:
    """Train, score on both later stretches, and write weights and manifest; returns the directory.

    Raises OperatorError where the bars do not suffice.
    """
    began = time.monotonic()
    series = read_series(options.bars)
    windows = _training_set(options, series)
    with _reproducible(options.seed, options.threads):
        module = fit(options, windows, progress)
        weights = module.state_dict()
        engine = Engine(weights, options.spec, options.options, checkpoint=options.out.name, context=options.context)
        stretches = []
        for stage, first, last in (
            ("validation", options.cutoff, options.validation_to),
            ("test", options.validation_to, options.test_to),
        ):
            progress(TrainProgress(stage, options.steps, options.steps, 0.0, time.monotonic() - began))
            stretches.append(score(engine, series, first, last, horizon=options.objective.horizon))
    manifest = Manifest(
        format=1,
        name=options.out.name,
        architecture="timesfm-2.5",
        licence="MIT",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        spec=options.spec,
        options=options.options,
        context=options.context,
        parameters=engine.parameters,
        bytes=1,
        sha256="0" * 64,
        data=_data_used(options, series, windows),
        training=_training_run(options, time.monotonic() - began),
        validation=stretches[0],
        test=stretches[1],
        inputs=measure(series, 0, options.cutoff, options.context),
    )
    save(module, manifest, options.out)
    return options.out


def fit(options: TrainOptions, windows: TrainingSet, progress: Report) -> nn.Module:
    """The training loop alone; returns the averaged weights in the package's layout."""
    began = time.monotonic()
    draw = np.random.default_rng(options.seed)
    module = start_module(options.spec)
    averaged = [parameter.detach().clone() for parameter in module.parameters()]
    optimizer = _optimizer(module, options)
    for step in range(options.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, options.steps, options.learning_rate)
        loss = _step(module, optimizer, options, windows, draw)
        # A short average at first, so that the start is forgotten soon.
        decay = min(options.average, step / (step + 10))
        torch._foreach_lerp_(averaged, [parameter.detach() for parameter in module.parameters()], 1 - decay)
        if (step + 1) % PROGRESS_EVERY == 0 or step + 1 == options.steps:
            progress(TrainProgress("train", step + 1, options.steps, float(loss), time.monotonic() - began))
    for parameter, mean in zip(module.parameters(), averaged, strict=True):
        parameter.data.copy_(mean)
    return finish_module(module).eval()


def _step(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    options: TrainOptions,
    windows: TrainingSet,
    draw: np.random.Generator,
) -> Tensor:
    series = augment(normalise(windows.batch(draw, options.batch), options.context), draw, options.mixed)
    batch = prepare(series, options.context, options.spec.input_patch, options.objective.clip)
    loss = loss_of(module, options.spec, options.objective, batch)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
    optimizer.step()
    return loss.detach()


def augment(series: Tensor, draw: np.random.Generator, mixed: float) -> Tensor:
    """Turn half of the windows upside down, then blend a share of them with another window (Chronos' TSMixup).

    The coins move together, so a few thousand market days are all there is to memorise. A blend has no day.
    """
    signs = draw.choice(np.array([-1.0, 1.0], dtype=np.float32), size=(len(series), 1))
    share = draw.uniform(0.0, 0.5, size=(len(series), 1)) * (draw.uniform(size=(len(series), 1)) < mixed)
    series = series * torch.from_numpy(signs)
    return torch.lerp(series, series.roll(1, dims=0), torch.from_numpy(share.astype(np.float32)))


def _optimizer(module: nn.Module, options: TrainOptions) -> torch.optim.Optimizer:
    """Weight decay on plain matrices only: elsewhere it would pull at the pinned path of the last close."""
    decayed: list[Tensor] = []
    plain: list[Tensor] = []
    for name, parameter in module.named_parameters():
        (decayed if name.endswith(DECAYED) and "tokenizer" not in name else plain).append(parameter)
    return torch.optim.AdamW(
        [{"params": decayed, "weight_decay": options.weight_decay}, {"params": plain, "weight_decay": 0.0}],
        lr=options.learning_rate,
        betas=(0.9, 0.98),
    )


@contextmanager
def _reproducible(seed: int, threads: int) -> Iterator[None]:
    before, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.use_deterministic_algorithms(strict)
        torch.set_num_threads(before)


def _training_set(options: TrainOptions, series: Sequence[Series]) -> TrainingSet:
    length = options.context + options.spec.output_patch
    return TrainingSet(series, 0, options.cutoff, length)


def _data_used(options: TrainOptions, series: Sequence[Series], windows: TrainingSet) -> DataUsed:
    return DataUsed(
        symbols=windows.symbols,
        bars=sum(int((one.open_time < options.cutoff).sum()) for one in series),
        train_from=min(int(one.open_time[0]) for one in series),
        train_to=options.cutoff,
        validation_from=options.cutoff,
        validation_to=options.validation_to,
        test_from=options.validation_to,
        test_to=options.test_to,
    )


def _training_run(options: TrainOptions, seconds: float) -> TrainingRun:
    objective = msgspec.structs.asdict(options.objective)
    return TrainingRun(
        seed=options.seed,
        steps=options.steps,
        batch=options.batch,
        threads=options.threads,
        torch=str(torch.__version__),
        wall_seconds=round(seconds, 1),
        recipe={
            "learning_rate": options.learning_rate,
            "weight_decay": options.weight_decay,
            "average": options.average,
            "mixed": options.mixed,
            **{name: float(value) for name, value in objective.items()},
        },
    )
