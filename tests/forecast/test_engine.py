"""The engine against the package's own forecast, on random weights of the nano size."""

import numpy as np
import pytest
import timesfm
import torch
from timesfm.timesfm_2p5 import timesfm_2p5_torch
from torch import nn

from bot.errors import ModelRefused
from bot.forecast.engine import Engine, ForecastOptions
from bot.forecast.network import SPEC_200M, ModelSpec, build_module
from bot.messages import Floats

SPEC = ModelSpec(layers=3, model_dims=32, hidden_dims=48, heads=4, quantile_patch=256)
CONTEXT = 192


@pytest.fixture
def module() -> nn.Module:
    generator = torch.Generator().manual_seed(5)
    module = build_module(SPEC)
    for parameter in module.parameters():
        # The package starts its norms at zero, which would hide the trunk from the comparison.
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.2 + 0.1
    return module


@pytest.fixture
def closes() -> Floats:
    steps = np.random.default_rng(3).normal(0, 0.01, (5, CONTEXT))
    start = np.array([[60_000.0], [1.0], [0.00001], [150.0], [3.0]])
    return np.asarray(start * np.exp(np.cumsum(steps, axis=1)))


def package_forecast(module: nn.Module, closes: Floats, options: ForecastOptions, horizon: int) -> Floats:
    """The package's own forecast; (batch, horizon, channels)."""
    package_class = timesfm_2p5_torch.TimesFM_2p5_200M_torch_module
    full_size = package_class.config
    package_class.config = module.config
    try:
        model = timesfm.TimesFM_2p5_200M_torch(torch_compile=False)
    finally:
        package_class.config = full_size
    model.model.load_state_dict(module.state_dict(), strict=True)
    model.compile(
        timesfm.ForecastConfig(
            max_context=CONTEXT,
            max_horizon=128,
            per_core_batch_size=len(closes),
            normalize_inputs=options.normalize_inputs,
            force_flip_invariance=options.flip_invariance,
            infer_is_positive=options.infer_is_positive,
            use_continuous_quantile_head=options.continuous_quantiles,
            fix_quantile_crossing=options.fix_quantile_crossing,
        )
    )
    _, full = model.forecast(horizon, [row.copy() for row in closes])
    return np.asarray(full, dtype=np.float64)


@pytest.mark.parametrize(
    "options",
    [
        ForecastOptions(),
        ForecastOptions(flip_invariance=False),
        ForecastOptions(continuous_quantiles=False, fix_quantile_crossing=False),
        ForecastOptions(infer_is_positive=False),
    ],
)
def test_the_engine_forecasts_what_the_package_forecasts(
    module: nn.Module, closes: Floats, options: ForecastOptions
) -> None:
    theirs = package_forecast(module, closes, options, 24)
    engine = Engine(module.state_dict(), SPEC, options, checkpoint="x", context=CONTEXT)
    ours = engine.forecast(closes, 24, levels=SPEC.quantiles)
    # where a quantile crosses zero nothing of it is left but float32 rounding of its series
    rounding = 1e-6 * np.abs(theirs).max(axis=(1, 2), keepdims=True)
    assert (np.abs(ours.point - theirs[..., 5]) <= 1e-4 * np.abs(theirs[..., 5]) + rounding[..., 0]).all()
    assert (np.abs(ours.quantiles - theirs[..., 1:]) <= 1e-4 * np.abs(theirs[..., 1:]) + rounding).all()


def test_raw_prices_match_the_package_without_its_outer_normalisation(module: nn.Module, closes: Floats) -> None:
    options = ForecastOptions(normalize_inputs=False)
    rows = closes[[0, 3, 4]]  # the package treats a spread below 1e-6 as none, so the tiny price needs the outer one
    theirs = package_forecast(module, rows, options, 4)
    ours = Engine(module.state_dict(), SPEC, options, checkpoint="x", context=CONTEXT).forecast(rows, 4)
    np.testing.assert_allclose(ours.point, theirs[..., 5], rtol=1e-4)


def test_flip_invariance_mirrors_the_forecast_of_a_mirrored_series(module: nn.Module, closes: Floats) -> None:
    engine = Engine(
        module.state_dict(), SPEC, ForecastOptions(infer_is_positive=False), checkpoint="x", context=CONTEXT
    )
    plain, mirrored = engine.forecast(closes[3:], 8), engine.forecast(-closes[3:], 8)
    np.testing.assert_allclose(mirrored.point, -plain.point, rtol=1e-4)
    np.testing.assert_allclose(mirrored.quantiles, -plain.quantiles[..., ::-1], rtol=1e-4)


def test_a_row_is_forecast_the_same_alone_and_in_a_batch(module: nn.Module, closes: Floats) -> None:
    engine = Engine(module.state_dict(), SPEC, ForecastOptions(), checkpoint="x", context=CONTEXT)
    together = engine.forecast(closes, 4).point
    alone = np.concatenate([engine.forecast(row[None], 4).point for row in closes])
    np.testing.assert_allclose(alone, together, rtol=1e-5)


def test_bfloat16_stays_close_to_float32(module: nn.Module, closes: Floats) -> None:
    full = Engine(module.state_dict(), SPEC, ForecastOptions(), checkpoint="x", context=CONTEXT).forecast(closes, 4)
    half = Engine(module.state_dict(), SPEC, ForecastOptions(), checkpoint="x", context=CONTEXT, dtype="bfloat16")
    spread = float(closes[0].std())
    np.testing.assert_allclose(half.forecast(closes[:1], 4).point, full.point[:1], rtol=0.02, atol=spread)


def test_the_200m_layout_is_the_packages_own() -> None:
    with torch.device("meta"):
        ours = build_module(SPEC_200M)
        theirs = timesfm_2p5_torch.TimesFM_2p5_200M_torch_module()
    shapes = {name: tensor.shape for name, tensor in ours.state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in theirs.state_dict().items()}
    assert sum(parameter.numel() for parameter in ours.parameters()) // 1_000_000 == 231


@pytest.mark.parametrize(("key", "text"), [("tokenizer.hidden_layer.weight", "None"), ("surplus", "None")])
def test_weights_of_another_layout_are_refused_by_the_tensors_name(module: nn.Module, key: str, text: str) -> None:
    tensors = dict(module.state_dict())
    if key in tensors:
        del tensors[key]
    else:
        tensors[key] = torch.zeros(2)
    with pytest.raises(ModelRefused, match=f"{key} .*{text}"):
        Engine(tensors, SPEC, ForecastOptions(), checkpoint="x", context=CONTEXT)


def test_a_context_that_is_no_multiple_of_the_patch_is_refused(module: nn.Module) -> None:
    with pytest.raises(ModelRefused, match="multiple of the input patch, 32"):
        Engine(module.state_dict(), SPEC, ForecastOptions(), checkpoint="x", context=100)


@pytest.mark.parametrize("horizon", [0, 129])
def test_a_horizon_beyond_one_output_patch_is_refused(module: nn.Module, closes: Floats, horizon: int) -> None:
    with pytest.raises(ValueError, match="1 to 128"):
        Engine(module.state_dict(), SPEC, ForecastOptions(), checkpoint="x", context=CONTEXT).forecast(closes, horizon)
