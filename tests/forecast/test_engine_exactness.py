"""With the same weights the engine answers what the timesfm package itself answers, whatever is switched on."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from bot.forecast.engine import Engine, ForecastOptions
from bot.forecast.network import SPEC_200M, ModelSpec
from bot.training.base import SPEC_NANO
from tests.forecast.reference import Package, moves, random_weights, random_windows, relative_difference

LIMIT = 1e-4

Shape = tuple[int, int, int]  # context, horizon, batch
NANO_SHAPES: list[Shape] = [(32, 128, 64), (64, 1, 3), (192, 24, 5), (480, 100, 1), (1024, 4, 4)]

# Each shape's extremes; every combination of switches at one shape is a test of its own.
FULL_SIZE: list[tuple[str, Shape]] = [
    ("normalize flip positive continuous uncross", (192, 4, 6)),
    ("normalize flip - - -", (1024, 128, 1)),
    ("normalize - positive - uncross", (32, 1, 64)),
    ("normalize - - continuous -", (320, 17, 2)),
    ("- flip positive - -", (96, 128, 3)),
    ("- flip - continuous uncross", (64, 24, 5)),
    ("- - positive continuous -", (512, 1, 1)),
    ("- - - - uncross", (192, 64, 3)),
]

Loaded = tuple[ModelSpec, dict[str, Tensor], Package]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Many small operations on many threads mostly wait for one another, and the more so on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def nano() -> Loaded:
    weights = random_weights(SPEC_NANO, seed=2)
    return SPEC_NANO, weights, Package(SPEC_NANO, weights)


@pytest.fixture(scope="module")
def full_size() -> Iterator[Loaded]:
    weights = random_weights(SPEC_200M, seed=3)
    yield SPEC_200M, weights, Package(SPEC_200M, weights)
    weights.clear()


def switched(words: str) -> tuple[bool, ...]:
    return tuple(word != "-" for word in words.split())


def options_of(switches: tuple[bool, ...]) -> ForecastOptions:
    return ForecastOptions(**dict(zip(ForecastOptions.__struct_fields__, switches, strict=True)))


def check_against_the_package(loaded: Loaded, options: ForecastOptions, shape: Shape, engine: Engine) -> None:
    spec, _, package = loaded
    context, horizon, batch = shape
    closes = random_windows(batch, context, seed=context + batch)
    theirs = package.forecast(closes, options, horizon)
    engine.options = options
    ours = engine.forecast(closes, horizon, levels=spec.quantiles)
    assert relative_difference(ours.quantiles, theirs) <= LIMIT
    assert relative_difference(moves(ours.quantiles, closes), moves(theirs, closes)) <= LIMIT
    assert np.array_equal(ours.point, ours.quantiles[..., 4])


@pytest.mark.parametrize("shape", NANO_SHAPES, ids=lambda shape: "context-{}-horizon-{}-batch-{}".format(*shape))
def test_a_small_network_answers_as_the_package_with_every_combination_of_switches(nano: Loaded, shape: Shape) -> None:
    spec, weights, _ = nano
    engine = Engine(weights, spec, ForecastOptions(), checkpoint="nano", context=shape[0])
    for switches in itertools.product((True, False), repeat=5):
        check_against_the_package(nano, options_of(switches), shape, engine)


@pytest.mark.parametrize(("switches", "shape"), FULL_SIZE)
def test_the_full_size_answers_as_the_package(full_size: Loaded, switches: str, shape: Shape) -> None:
    spec, weights, _ = full_size
    options = options_of(switched(switches))
    engine = Engine(weights, spec, options, checkpoint="full", context=shape[0], dtype="float32")
    check_against_the_package(full_size, options, shape, engine)


def test_the_full_size_answers_as_the_package_with_every_combination_of_switches(full_size: Loaded) -> None:
    spec, weights, _ = full_size
    shape = (64, 128, 2)  # two patches: the smallest with attention between them
    engine = Engine(weights, spec, ForecastOptions(), checkpoint="full", context=shape[0], dtype="float32")
    for switches in itertools.product((True, False), repeat=5):
        check_against_the_package(full_size, options_of(switches), shape, engine)


def test_the_random_weights_make_forecasts_in_which_a_fault_would_show(full_size: Loaded) -> None:
    closes = random_windows(6, 96, seed=1)
    options = ForecastOptions(infer_is_positive=False, fix_quantile_crossing=False)
    paths = moves(full_size[2].forecast(closes, options, 24), closes)
    assert (np.abs(paths).max(axis=(1, 2)) > 0.5).all()
    assert (paths.std(axis=1) > 0.1).all()  # over the steps
    assert (paths.std(axis=2) > 0.1).all()  # over the levels
    assert (paths.std(axis=0).mean() > 0.1).all()  # over the windows
    assert (np.diff(paths, axis=2) < 0).any()


@pytest.mark.parametrize("normalize", [True, False])
def test_a_series_that_stands_still_answers_as_the_package(nano: Loaded, normalize: bool) -> None:
    spec, weights, package = nano
    options = ForecastOptions(normalize_inputs=normalize)
    closes = np.full((2, 96), 250.0)
    ours = Engine(weights, spec, options, checkpoint="nano", context=96).forecast(closes, 8, levels=spec.quantiles)
    assert relative_difference(ours.quantiles, package.forecast(closes, options, 8)) <= LIMIT


@pytest.mark.parametrize("levels", [(0.5,), (0.9, 0.1), (0.1, 0.5, 0.9), (0.3,), (0.2, 0.7)])
@pytest.mark.parametrize("switches", list(itertools.product((True, False), repeat=3)))
def test_the_levels_that_are_asked_for_are_those_of_the_whole_answer(
    nano: Loaded, levels: tuple[float, ...], switches: tuple[bool, bool, bool]
) -> None:
    spec, weights, _ = nano
    flip, continuous, uncross = switches
    options = ForecastOptions(flip_invariance=flip, continuous_quantiles=continuous, fix_quantile_crossing=uncross)
    engine = Engine(weights, spec, options, checkpoint="nano", context=64)
    closes = random_windows(3, 64, seed=8)
    asked, whole = engine.forecast(closes, 5, levels=levels), engine.forecast(closes, 5, levels=spec.quantiles)
    assert asked.levels == levels
    where = [spec.quantiles.index(level) for level in levels]
    assert relative_difference(asked.quantiles, whole.quantiles[..., where]) <= 1e-6
    assert relative_difference(asked.point[..., None], whole.point[..., None]) <= 1e-6


def test_the_tests_run_in_full_precision() -> None:
    assert torch.get_float32_matmul_precision() == "highest"
