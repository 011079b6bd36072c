"""Adapters in the pass: each row of one batch with its own, as if each had the model for itself."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from bot.errors import ModelRefused
from bot.forecast.adapters import TARGETS, Adapter, RawAdapter, RawDelta, target_shapes
from bot.forecast.engine import Engine, ForecastOptions
from bot.forecast.network import ModelSpec
from bot.forecast.trunk import matrix_name
from tests.forecast.reference import moves, random_weights, random_windows, relative_difference

SPEC = ModelSpec(layers=3, model_dims=64, hidden_dims=96, heads=4, quantile_patch=128)
CONTEXT = 96
LIMIT = 1e-4

Weights = dict[str, Tensor]


@pytest.fixture(scope="module")
def weights() -> Weights:
    return random_weights(SPEC, seed=4)


@pytest.fixture
def engine(weights: Weights) -> Engine:
    return make_engine(weights)


def make_engine(weights: Weights, *, flip: bool = True) -> Engine:
    options = ForecastOptions(flip_invariance=flip, infer_is_positive=False)
    return Engine(weights, SPEC, options, checkpoint="base", context=CONTEXT, dtype="float32")


def make_adapter(
    weights: Weights,
    *,
    rank: int = 8,
    dora: bool = True,
    targets: Sequence[str] = TARGETS,
    layers: Sequence[int] = range(SPEC.layers),
    seed: int = 0,
) -> RawAdapter:
    """Large enough for its forecasts to differ plainly from the base's, and without a scale of 1."""
    generator = Generator().manual_seed(seed)
    tensors = {}
    for layer in layers:
        for target in targets:
            out, inputs = target_shapes(SPEC)[target]
            magnitude = None
            if dora:
                norms = weights[matrix_name(layer, target)].norm(dim=1)
                magnitude = norms * (1 + 0.2 * torch.randn(out, generator=generator))
            tensors[layer, target] = RawDelta(
                a=torch.randn(rank, inputs, generator=generator) / inputs**0.5,
                b=0.2 * torch.randn(out, rank, generator=generator),
                magnitude=magnitude,
            )
    return RawAdapter(method="dora" if dora else "lora", rank=rank, alpha=1.5 * rank, tensors=tensors)


def merged(weights: Weights, raw: RawAdapter) -> Weights:
    """The base with the adapter in its matrices, after the papers: arXiv:2106.09685, arXiv:2402.09353 equation 5."""
    found = dict(weights)
    for (layer, target), delta in raw.tensors.items():
        name = matrix_name(layer, target)
        changed = weights[name] + raw.alpha / raw.rank * delta.b @ delta.a
        if delta.magnitude is not None:
            changed = changed * (delta.magnitude / changed.norm(dim=1))[:, None]
        found[name] = changed
    return found


def various(weights: Weights) -> list[RawAdapter]:
    return [
        make_adapter(weights, rank=8, seed=1),
        make_adapter(weights, rank=4, dora=False, seed=2),
        make_adapter(weights, rank=16, targets=["qkv_proj"], seed=3),
        make_adapter(weights, rank=4, targets=["out", "ff1"], seed=4),
        make_adapter(weights, rank=16, dora=False, targets=["ff0"], layers=[2], seed=5),
        make_adapter(weights, rank=8, targets=["qkv_proj", "out"], layers=[0, 2], seed=6),
    ]


@pytest.mark.parametrize("flip", [True, False])
def test_rows_with_different_adapters_answer_as_each_adapter_alone_and_as_its_merged_weights(
    weights: Weights, flip: bool
) -> None:
    engine = make_engine(weights, flip=flip)
    raws = various(weights)
    ready: list[Adapter | None] = [*map(engine.prepare, raws), None]
    order = [0, 6, 3, 1, 0, 5, 2, 6, 4, 1, 3, 0]  # by no means sorted
    closes = random_windows(len(order), CONTEXT, seed=9)
    mixed = engine.forecast(closes, 12, adapters=[ready[which] for which in order])
    base = moves(engine.forecast(closes, 12).quantiles, closes)
    got = moves(mixed.quantiles, closes)
    for which in set(order):
        rows = [row for row, other in enumerate(order) if other == which]
        alone = engine.forecast(closes[rows], 12, adapters=[ready[which]] * len(rows)).quantiles
        assert relative_difference(got[rows], moves(alone, closes[rows])) <= LIMIT
        if which == 6:
            assert relative_difference(got[rows], base[rows]) <= 1e-6
            continue
        full = make_engine(merged(weights, raws[which]), flip=flip).forecast(closes[rows], 12).quantiles
        assert relative_difference(got[rows], moves(full, closes[rows])) <= LIMIT
        assert relative_difference(got[rows], base[rows]) > 100 * LIMIT  # the adapter says something


def test_an_adapter_answers_the_same_after_another_had_its_turn(weights: Weights, engine: Engine) -> None:
    first, second = (engine.prepare(make_adapter(weights, seed=seed)) for seed in (1, 2))
    closes = random_windows(3, CONTEXT, seed=2)
    before = engine.forecast(closes, 4, adapters=[first] * 3)
    between = engine.forecast(closes, 4, adapters=[second] * 3)
    after = engine.forecast(closes, 4, adapters=[first] * 3)
    assert before.quantiles.tobytes() == after.quantiles.tobytes()
    assert before.quantiles.tobytes() != between.quantiles.tobytes()


def test_a_full_checkpoint_takes_the_bases_place_and_gives_it_back(weights: Weights, engine: Engine) -> None:
    raw = make_adapter(weights, seed=3)
    adapter = engine.prepare(raw)
    closes = random_windows(2, CONTEXT, seed=3)
    base, adapted = engine.forecast(closes, 4), engine.forecast(closes, 4, adapters=[adapter] * 2)
    engine.replace_weights(merged(weights, raw), checkpoint="tuned")
    assert engine.checkpoint == "tuned"
    tuned = engine.forecast(closes, 4)
    assert relative_difference(moves(tuned.quantiles, closes), moves(adapted.quantiles, closes)) <= LIMIT
    with pytest.raises(ValueError, match="prepared on base cannot run on tuned"):
        engine.forecast(closes, 4, adapters=[None, adapter])
    engine.replace_weights(weights, checkpoint="base")
    assert engine.forecast(closes, 4).quantiles.tobytes() == base.quantiles.tobytes()
    assert engine.forecast(closes, 4, adapters=[adapter] * 2).quantiles.tobytes() == adapted.quantiles.tobytes()


def test_an_adapter_is_made_for_the_weights_that_are_resident(weights: Weights, engine: Engine) -> None:
    other = random_weights(SPEC, seed=11)
    raw = make_adapter(weights, seed=1)
    engine.prepare(raw)  # the norms of the base's rows are known from here on
    engine.replace_weights(other, checkpoint="other")
    closes = random_windows(2, CONTEXT, seed=3)
    got = engine.forecast(closes, 4, adapters=[engine.prepare(raw)] * 2).quantiles
    expected = make_engine(merged(other, raw)).forecast(closes, 4).quantiles
    assert relative_difference(moves(got, closes), moves(expected, closes)) <= LIMIT


def test_weights_that_do_not_fit_leave_the_old_ones_whole(weights: Weights, engine: Engine) -> None:
    closes = random_windows(2, CONTEXT, seed=3)
    before = engine.forecast(closes, 4)
    other = random_weights(SPEC, seed=11)
    other["tokenizer.output_layer.bias"] = torch.zeros(3)  # one of the last by name
    with pytest.raises(ModelRefused, match=r"tokenizer.output_layer.bias has shape \(3,\)"):
        engine.replace_weights(other, checkpoint="other")
    assert engine.checkpoint == "base"
    assert engine.forecast(closes, 4).quantiles.tobytes() == before.quantiles.tobytes()


def test_a_swap_that_breaks_off_leaves_no_checkpoint_and_no_adapter_runs(weights: Weights, engine: Engine) -> None:
    class Breaking(dict[str, Tensor]):
        reads = 0

        def __getitem__(self, name: str) -> Tensor:
            self.reads += 1
            if self.reads > 2 * len(self) + 5:  # past the look at every shape
                raise OSError("the disk is gone")
            return super().__getitem__(name)

    adapter = engine.prepare(make_adapter(weights))
    with pytest.raises(OSError, match="disk"):
        engine.replace_weights(Breaking(random_weights(SPEC, seed=11)), checkpoint="other")
    assert engine.checkpoint == ""
    with pytest.raises(ValueError, match="prepared on base"):
        engine.forecast(random_windows(1, CONTEXT, seed=1), 4, adapters=[adapter])


def test_in_bfloat16_an_adapter_moves_the_forecast_as_in_float32(weights: Weights, engine: Engine) -> None:
    half = Engine(weights, SPEC, engine.options, checkpoint="base", context=CONTEXT, dtype="bfloat16")
    closes, raw = random_windows(16, CONTEXT, seed=6), make_adapter(weights, seed=1)
    effects = []
    for each in (engine, half):
        adapter = each.prepare(raw)
        paths = each.forecast(closes, 8, adapters=[adapter] * 16).quantiles - each.forecast(closes, 8).quantiles
        effects.append((paths / closes.std(axis=1)[:, None, None]).ravel())
    assert np.corrcoef(*effects)[0, 1] > 0.99


def broken(raw: RawAdapter, **changes: Tensor | None) -> RawAdapter:
    tensors = dict(raw.tensors)
    delta = tensors[1, "ff0"]
    values = {"a": delta.a, "b": delta.b, "magnitude": delta.magnitude} | changes
    tensors[1, "ff0"] = RawDelta(**values)  # type: ignore[arg-type]  # the cases below put None only where it may stand
    return RawAdapter(method=raw.method, rank=raw.rank, alpha=raw.alpha, tensors=tensors)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"a": torch.zeros(8, 63)}, r"layer 1, ff0: A has shape \(8, 63\), not \(8, 64\)"),
        ({"a": torch.zeros(4, 64)}, r"A has shape \(4, 64\), not \(8, 64\)"),
        ({"b": torch.zeros(64, 8)}, r"B has shape \(64, 8\), not \(96, 8\)"),
        ({"magnitude": torch.ones(1, 96)}, r"magnitude has shape \(1, 96\), not \(96,\)"),
        ({"magnitude": None}, "a magnitude belongs to dora and to nothing else; the method is dora"),
        ({"b": torch.full((96, 8), float("nan"))}, "layer 1, ff0: B holds values that are no finite numbers"),
        ({"a": torch.full((8, 64), float("inf"))}, "A holds values that are no finite numbers"),
        ({"a": torch.zeros(8, 64, dtype=torch.int64)}, "A holds values that are no finite numbers"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused_by_layer_and_fault(
    weights: Weights, engine: Engine, changes: dict[str, Tensor | None], told: str
) -> None:
    with pytest.raises(ModelRefused, match=told):
        engine.prepare(broken(make_adapter(weights), **changes))


@pytest.mark.parametrize("place", [(3, "ff0"), (-1, "ff0"), (0, "ff2"), (0, "query")])
def test_an_adapter_for_a_layer_or_target_that_is_not_there_is_refused(
    weights: Weights, engine: Engine, place: tuple[int, str]
) -> None:
    delta = make_adapter(weights).tensors[0, "ff0"]
    raw = RawAdapter(method="dora", rank=8, alpha=8.0, tensors={place: delta})
    with pytest.raises(ModelRefused, match="layers 0 to 2 of qkv_proj, out, ff0, ff1"):
        engine.prepare(raw)


def test_a_magnitude_of_a_row_without_direction_is_refused(weights: Weights) -> None:
    name = matrix_name(1, "ff0")
    holed = weights | {name: weights[name].clone()}
    holed[name][5] = 0.0
    raw = make_adapter(weights)
    raw.tensors[1, "ff0"].b[5] = 0.0
    with pytest.raises(ModelRefused, match=r"layer 1, ff0: a row of W \+ BA is zero"):
        make_engine(holed).prepare(raw)


def test_an_adapter_without_a_layer_is_refused(engine: Engine) -> None:
    with pytest.raises(ModelRefused, match="changes no layer"):
        engine.prepare(RawAdapter(method="lora", rank=8, alpha=8.0, tensors={}))


def test_each_row_needs_a_word_about_its_adapter(engine: Engine) -> None:
    with pytest.raises(ValueError, match="1 adapters for 2 rows"):
        engine.forecast(random_windows(2, CONTEXT, seed=1), 4, adapters=[None])


def test_a_prepared_adapter_knows_its_size(weights: Weights, engine: Engine) -> None:
    outs, ins = zip(*target_shapes(SPEC).values(), strict=True)
    numbers = SPEC.layers * (8 * (sum(outs) + sum(ins)) + sum(outs))  # A, B and the gains
    assert engine.prepare(make_adapter(weights, rank=8)).nbytes == 4 * numbers
