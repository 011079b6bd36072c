"""The engine with an adapter against peft's own forward on the package's module, and against peft's own merge."""

import itertools
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Generator, Tensor

from bot.forecast.adapters import TARGETS, RawAdapter
from bot.forecast.checkpoints import Base
from bot.forecast.engine import Engine, ForecastOptions
from bot.forecast.foreign import bring_in
from bot.forecast.network import SPEC_200M, ModelSpec
from bot.forecast.verification import verify
from bot.forecast.weights import WeightsFile
from bot.messages import Floats
from tests.forecast.reference import Package, moves, random_weights, random_windows, relative_difference

LIMIT = 1e-4
FAR = 1e-2  # what an adapter at least changes in the forecasts' moves: a missing or wrong one cannot hide in LIMIT
SMALL = ModelSpec(layers=2, model_dims=32, hidden_dims=48, heads=2, quantile_patch=128)
OPTIONS = ForecastOptions()
HORIZON = 12

SUBSETS = [subset for size in range(1, len(TARGETS) + 1) for subset in itertools.combinations(TARGETS, size)]
GRID = [
    *((method, 4 * 2 ** (number % 3), subset) for number, subset in enumerate(SUBSETS) for method in ("dora", "lora")),
    *((method, rank, TARGETS) for rank in (4, 8, 16) for method in ("dora", "lora")),
]


class Trained:
    """peft's adapter on the package's own module, as if it had been trained: no part of it as it was started."""

    def __init__(self, spec: ModelSpec, weights: dict[str, Tensor], **config: Any) -> None:
        self.spec = spec
        self.package = Package(spec, weights)
        adapted = get_peft_model(self.package._model.model, LoraConfig(**config))
        assert isinstance(adapted, PeftModel)
        self.adapted = adapted.eval()
        generator = Generator().manual_seed(4)
        for name, parameter in adapted.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "lora_magnitude_vector" in name:
                parameter.data *= 1 + 0.3 * noise.clamp(-2, 2)
            elif "lora_" in name:
                parameter.data = 0.5 * noise / parameter.shape[1] ** 0.5

    def forecast(self, closes: Floats) -> Floats:
        return self.package.forecast(closes, OPTIONS, HORIZON)


def engine_of(spec: ModelSpec, weights: dict[str, Tensor], context: int) -> Engine:
    return Engine(weights, spec, OPTIONS, checkpoint="base", context=context, dtype="float32")


def forecast(engine: Engine, closes: Floats, raw: RawAdapter | None = None) -> Floats:
    adapters = None if raw is None else [engine.prepare(raw)] * len(closes)
    return engine.forecast(closes, HORIZON, adapters=adapters, levels=engine.spec.quantiles).quantiles


def brought_in(source: Path, tmp_path: Path, spec: ModelSpec) -> RawAdapter | WeightsFile:
    base = Base(name="base", sha256="0" * 64, spec=spec)
    return verify(bring_in(source, tmp_path / "checkpoints", "t1", source.stem, base), base)


def same(ours: Floats, theirs: Floats, closes: Floats) -> bool:
    """To LIMIT, in prices and in the moves that are traded."""
    in_moves = relative_difference(moves(ours, closes), moves(theirs, closes))
    return max(in_moves, relative_difference(ours, theirs)) <= LIMIT


def check(tmp_path: Path, **config: Any) -> None:
    """peft's own forward, peft's merge loaded as a full checkpoint, and the engine with the adapter: all the same."""
    weights, closes = random_weights(SMALL, seed=2), random_windows(4, 96, seed=3)
    engine = engine_of(SMALL, weights, 96)
    plain = forecast(engine, closes)
    trained = Trained(SMALL, weights, **config)
    theirs = trained.forecast(closes)
    assert relative_difference(moves(plain, closes), moves(theirs, closes)) > FAR

    trained.adapted.save_pretrained(str(tmp_path / "adapter"))
    raw = brought_in(tmp_path / "adapter", tmp_path, SMALL)
    assert isinstance(raw, RawAdapter)
    assert same(forecast(engine, closes, raw), theirs, closes)

    torch.save(trained.adapted.merge_and_unload().state_dict(), tmp_path / "best_x_merged.pt")
    full = brought_in(tmp_path / "best_x_merged.pt", tmp_path, SMALL)
    assert isinstance(full, WeightsFile)
    engine.replace_weights(full.open(), checkpoint="merged")
    assert same(forecast(engine, closes), theirs, closes)


@pytest.mark.parametrize(
    ("method", "rank", "targets"), GRID, ids=lambda value: "-".join(value) if isinstance(value, tuple) else str(value)
)
def test_an_adapter_is_served_as_peft_runs_and_merges_it(
    tmp_path: Path, method: str, rank: int, targets: tuple[str, ...]
) -> None:
    check(tmp_path, r=rank, lora_alpha=2 * rank, use_dora=method == "dora", target_modules=list(targets))


@pytest.mark.parametrize("dora", [True, False])
@pytest.mark.parametrize(
    "config",
    [
        {"rank_pattern": {"ff0": 16, "stacked_xf.1.attn.out": 2}},
        {"alpha_pattern": {"ff1": 3, "^stacked_xf.0.attn.qkv_proj": 20}},
        {"rank_pattern": {"out": 8}, "alpha_pattern": {"out": 1}, "use_rslora": True},
        {"use_rslora": True},
        {"layers_to_transform": [1], "layers_pattern": "stacked_xf"},
    ],
    ids=str,
)
def test_ranks_and_factors_of_single_modules_are_honoured(tmp_path: Path, config: dict[str, Any], dora: bool) -> None:
    check(tmp_path, r=4, lora_alpha=8, use_dora=dora, target_modules=list(TARGETS), **config)


@pytest.mark.parametrize("wrong", ["alpha", "magnitude", "layer"])
def test_an_adapter_that_is_slightly_wrong_would_be_seen(tmp_path: Path, wrong: str) -> None:
    weights, closes = random_weights(SMALL, seed=2), random_windows(4, 96, seed=3)
    engine = engine_of(SMALL, weights, 96)
    trained = Trained(SMALL, weights, r=4, lora_alpha=8, use_dora=True, target_modules=["ff0"])
    theirs = trained.forecast(closes)
    trained.adapted.save_pretrained(str(tmp_path / "adapter"))
    raw = brought_in(tmp_path / "adapter", tmp_path, SMALL)
    assert isinstance(raw, RawAdapter)
    tensors = dict(raw.tensors)
    last = tensors[1, "ff0"]
    assert last.magnitude is not None
    if wrong == "alpha":
        raw = msgspec.structs.replace(raw, alpha=raw.alpha * 1.01)
    elif wrong == "magnitude":
        tensors[1, "ff0"] = msgspec.structs.replace(last, magnitude=last.magnitude * 1.01)
        raw = msgspec.structs.replace(raw, tensors=tensors)
    else:
        raw = msgspec.structs.replace(raw, tensors={at: delta for at, delta in tensors.items() if at[0] == 0})
    assert not same(forecast(engine, closes, raw), theirs, closes)


def test_the_full_size_too(tmp_path: Path) -> None:
    weights, closes = random_weights(SPEC_200M, seed=2), random_windows(2, 64, seed=3)
    engine = engine_of(SPEC_200M, weights, 64)
    plain = forecast(engine, closes)
    trained = Trained(SPEC_200M, weights, r=8, lora_alpha=16, use_dora=True, target_modules=list(TARGETS))
    weights.clear()
    theirs = trained.forecast(closes)
    assert relative_difference(moves(plain, closes), moves(theirs, closes)) > FAR
    trained.adapted.save_pretrained(str(tmp_path / "adapter"))
    raw = brought_in(tmp_path / "adapter", tmp_path, SPEC_200M)
    assert isinstance(raw, RawAdapter)
    assert same(forecast(engine, closes, raw), theirs, closes)
    engine.replace_weights(trained.adapted.merge_and_unload().state_dict(), checkpoint="merged")
    assert same(forecast(engine, closes), theirs, closes)
