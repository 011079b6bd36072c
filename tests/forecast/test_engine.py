"""The engine for itself: shapes, precision, what it refuses. Its agreement with the package has a file of its own."""

import msgspec
import numpy as np
import pytest
import torch
from timesfm.timesfm_2p5 import timesfm_2p5_torch
from timesfm.torch import util
from torch import Tensor

from bot.errors import ModelRefused
from bot.forecast import engine as engine_module
from bot.forecast.engine import Dtype, Engine, ForecastOptions, choose_dtype
from bot.forecast.matrix import Matrix, packs
from bot.forecast.network import SPEC_200M, ModelSpec, build_module, patch_stats
from bot.messages import Floats
from bot.training.base import SPEC_NANO
from tests.forecast.reference import moves, random_weights, random_windows, relative_difference

SPEC = ModelSpec(layers=3, model_dims=32, hidden_dims=48, heads=4, quantile_patch=256)
CONTEXT = 192


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    return random_weights(SPEC, seed=5)


@pytest.fixture
def closes() -> Floats:
    return random_windows(5, CONTEXT, seed=3)


def make_engine(weights: dict[str, Tensor], dtype: Dtype = "auto", **switches: bool) -> Engine:
    return Engine(weights, SPEC, ForecastOptions(**switches), checkpoint="x", context=CONTEXT, dtype=dtype)


def test_the_answer_has_a_row_for_each_window_and_a_column_for_each_step_and_level(
    weights: dict[str, Tensor], closes: Floats
) -> None:
    answer = make_engine(weights).forecast(closes, 7, levels=(0.9, 0.2))
    assert answer.point.shape == (5, 7)
    assert answer.quantiles.shape == (5, 7, 2)
    assert answer.levels == (0.9, 0.2)
    assert (answer.quantiles[..., 0] >= answer.quantiles[..., 1]).all()


def test_without_a_word_about_levels_the_answer_has_the_median_and_the_outer_deciles(
    weights: dict[str, Tensor], closes: Floats
) -> None:
    answer = make_engine(weights).forecast(closes, 3)
    assert answer.levels == (0.1, 0.5, 0.9)
    assert np.array_equal(answer.quantiles[..., 1], answer.point)


def test_flip_invariance_mirrors_the_forecast_of_a_mirrored_series(weights: dict[str, Tensor], closes: Floats) -> None:
    engine = make_engine(weights, infer_is_positive=False)
    plain, mirrored = engine.forecast(closes, 8), engine.forecast(-closes, 8)
    expected = -plain.quantiles[..., ::-1]
    assert relative_difference(moves(mirrored.quantiles, -closes), moves(expected, -closes)) < 1e-4


def test_a_row_is_forecast_the_same_alone_and_in_a_batch(weights: dict[str, Tensor], closes: Floats) -> None:
    engine = make_engine(weights)
    together = engine.forecast(closes, 4).quantiles
    alone = np.concatenate([engine.forecast(row[None], 4).quantiles for row in closes])
    assert relative_difference(moves(alone, closes), moves(together, closes)) < 1e-5


def test_the_same_call_gives_the_same_bits(weights: dict[str, Tensor], closes: Floats) -> None:
    engine = make_engine(weights)
    first, second = engine.forecast(closes, 4), engine.forecast(closes.copy(), 4)
    assert first.quantiles.tobytes() == second.quantiles.tobytes()


def test_the_engine_keeps_no_hold_of_the_weights_that_it_was_given(weights: dict[str, Tensor], closes: Floats) -> None:
    given = {name: tensor.clone() for name, tensor in weights.items()}
    engine = make_engine(given)
    before = engine.forecast(closes, 4)
    for tensor in given.values():
        tensor.zero_()
    assert engine.forecast(closes, 4).quantiles.tobytes() == before.quantiles.tobytes()


def test_bfloat16_says_nearly_what_float32_says(weights: dict[str, Tensor]) -> None:
    closes = random_windows(64, CONTEXT, seed=4)
    full, half = (make_engine(weights, dtype=dtype).forecast(closes, 4) for dtype in ("float32", "bfloat16"))
    assert relative_difference(moves(half.quantiles, closes), moves(full.quantiles, closes)) < 0.05
    ahead = moves(full.quantiles, closes)[:, -1, 1]
    assert np.corrcoef(ahead, moves(half.quantiles, closes)[:, -1, 1])[0, 1] > 0.999


@pytest.mark.parametrize(
    ("asked", "spec", "native", "got"),
    [
        ("auto", SPEC_200M, True, torch.bfloat16),
        ("auto", SPEC_200M, False, torch.float32),
        ("auto", SPEC_NANO, True, torch.float32),
        ("float32", SPEC_200M, True, torch.float32),
        ("bfloat16", SPEC_NANO, False, torch.bfloat16),
    ],
)
def test_auto_takes_bfloat16_for_a_large_model_on_a_machine_that_computes_in_it(
    monkeypatch: pytest.MonkeyPatch, asked: Dtype, spec: ModelSpec, native: bool, got: torch.dtype
) -> None:
    monkeypatch.setattr(engine_module, "computes_bfloat16", lambda device: native)
    assert choose_dtype(asked, spec) is got


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 7, 300])
def test_a_packed_matrix_multiplies_as_a_plain_one(dtype: torch.dtype, rows: int) -> None:
    if not packs(dtype, torch.device("cpu")):
        pytest.skip("oneDNN has no layout of its own for it on this machine")
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(96, 64, generator=generator)
    inputs = torch.randn(rows, 64, generator=generator).to(dtype)
    room = torch.empty(weight.numel() + 5, dtype=dtype)
    plain, packed = (Matrix(weight, slice(0, 96), room, packed=way) for way in (False, True))
    room.zero_()
    assert torch.allclose(plain.times(inputs).float(), packed.times(inputs).float(), rtol=1e-2, atol=1e-4)
    assert torch.equal(plain.squares, packed.squares)


def test_the_running_statistics_are_the_packages_own_bit_by_bit() -> None:
    patches = torch.from_numpy(random_windows(7, 320, seed=2)).float().view(7, 10, 32)
    n = mu = sigma = torch.zeros(7)
    nothing_masked = torch.zeros(7, 32, dtype=torch.bool)
    for index, (mean, deviation) in enumerate(zip(*(part.unbind(1) for part in patch_stats(patches)), strict=True)):
        (n, mu, sigma), _ = util.update_running_stats(n, mu, sigma, patches[:, index], nothing_masked)
        assert torch.equal(mean, mu)
        assert torch.equal(deviation, sigma)


def test_the_200m_layout_is_the_packages_own() -> None:
    with torch.device("meta"):
        ours = build_module(SPEC_200M)
        theirs = timesfm_2p5_torch.TimesFM_2p5_200M_torch_module()
    shapes = {name: tensor.shape for name, tensor in ours.state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in theirs.state_dict().items()}
    assert sum(parameter.numel() for parameter in ours.parameters()) // 1_000_000 == 231


def test_the_parameters_are_those_of_the_checkpoint(weights: dict[str, Tensor]) -> None:
    assert make_engine(weights).parameters == sum(tensor.numel() for tensor in weights.values())


@pytest.mark.parametrize("key", ["tokenizer.hidden_layer.weight", "surplus"])
def test_weights_of_another_layout_are_refused_by_the_tensors_name(weights: dict[str, Tensor], key: str) -> None:
    tensors = dict(weights)
    if key in tensors:
        del tensors[key]
    else:
        tensors[key] = torch.zeros(2)
    with pytest.raises(ModelRefused, match=f"{key} .*None"):
        make_engine(tensors)


def test_weights_that_are_no_floating_point_numbers_are_refused(weights: dict[str, Tensor]) -> None:
    name = "stacked_xf.0.ff0.weight"
    with pytest.raises(ModelRefused, match=f"{name} holds torch.int32"):
        make_engine(weights | {name: weights[name].int()})


def test_a_context_that_is_no_multiple_of_the_patch_is_refused(weights: dict[str, Tensor]) -> None:
    with pytest.raises(ModelRefused, match="multiple of the input patch, 32"):
        Engine(weights, SPEC, ForecastOptions(), checkpoint="x", context=100)


@pytest.mark.parametrize("horizon", [0, 129])
def test_a_horizon_beyond_one_output_patch_is_refused(weights: dict[str, Tensor], closes: Floats, horizon: int) -> None:
    with pytest.raises(ValueError, match="1 to 128"):
        make_engine(weights).forecast(closes, horizon)


def test_a_horizon_beyond_the_quantile_head_is_refused(closes: Floats) -> None:
    spec = msgspec.structs.replace(SPEC, quantile_patch=64)
    engine = Engine(random_weights(spec, seed=1), spec, ForecastOptions(), checkpoint="x", context=CONTEXT)
    assert engine.forecast(closes, 64).point.shape == (5, 64)
    with pytest.raises(ValueError, match="1 to 64"):
        engine.forecast(closes, 65)


def test_a_level_that_the_model_does_not_answer_is_refused(weights: dict[str, Tensor], closes: Floats) -> None:
    with pytest.raises(ValueError, match=r"levels \[0.05\]"):
        make_engine(weights).forecast(closes, 4, levels=(0.05, 0.5))


@pytest.mark.parametrize("shape", [(CONTEXT,), (2, CONTEXT - 1), (2, 1, CONTEXT)])
def test_closes_of_another_shape_are_refused(weights: dict[str, Tensor], shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="the model takes"):
        make_engine(weights).forecast(np.ones(shape), 4)
