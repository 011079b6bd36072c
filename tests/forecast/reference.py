"""Random weights, the timesfm package's own forecast with them, and what a difference is measured against."""

from collections.abc import Mapping

import numpy as np
import timesfm
import torch
from torch import Generator, Tensor

from bot.forecast.engine import ForecastOptions
from bot.forecast.network import ModelSpec, build_module, layout
from bot.messages import Floats


def random_weights(spec: ModelSpec, seed: int) -> dict[str, Tensor]:
    """A state dict that makes every part of the network matter to the forecast.

    The package starts its norms at zero, with which no layer would say anything. Here matrices have the variance
    1 / inputs, which keeps a signal's size; norms scale by about 1 before a block, so that attention is neither
    uniform nor one patch, and by about 0.5 after it, so that 20 layers add up to several times what the tokenizer
    wrote and no layer drowns the others. Forecasts are then moves of a few deviations of the window, in both
    directions, with quantiles that cross.
    """
    generator = Generator().manual_seed(seed)
    return {name: _draw(name, shape, generator) for name, shape in layout(spec).items()}


def _draw(name: str, shape: tuple[int, ...], generator: Generator) -> Tensor:
    noise = torch.randn(shape, generator=generator)
    if name.endswith("weight"):
        return noise.div_(shape[1] ** 0.5)
    if name.endswith(".scale"):
        return noise.mul_(0.1).add_(0.5) if ".post_" in name else noise.mul_(0.2).add_(1.0)
    return noise.mul_(0.3)  # biases, and the per-dimension scale of the queries


def random_windows(batch: int, context: int, seed: int) -> Floats:
    """Closes (batch, context) of coins at prices from 1e-4 to 6e4, calm and wild; the last one stands still at first.

    The wild ones fall so far that the forecast would be below zero, where positivity is a matter.
    """
    draw = np.random.default_rng(seed)
    steps = draw.normal(0, draw.choice([0.002, 0.01, 0.1], (batch, 1)), (batch, context))
    if context > 32:
        steps[-1, :33] = 0.0
    start = np.exp(draw.uniform(-9, 11, (batch, 1)))
    return np.asarray(start * np.exp(np.cumsum(steps, axis=1)))


class Package:
    """`TimesFM_2p5_200M_torch` of any size, without torch.compile."""

    def __init__(self, spec: ModelSpec, tensors: Mapping[str, Tensor]) -> None:
        with torch.device("meta"):
            self._model = timesfm.TimesFM_2p5_200M_torch(torch_compile=False)
            module = build_module(spec)
        module.load_state_dict(tensors, assign=True)
        self._model.model = module.to(module.device).eval()

    def forecast(self, closes: Floats, options: ForecastOptions, horizon: int) -> Floats:
        """Its quantiles, (batch, horizon, quantiles); its point is the median, which is checked."""
        self._model.compile(
            timesfm.ForecastConfig(
                max_context=closes.shape[1],
                max_horizon=128,
                per_core_batch_size=len(closes),
                normalize_inputs=options.normalize_inputs,
                force_flip_invariance=options.flip_invariance,
                infer_is_positive=options.infer_is_positive,
                use_continuous_quantile_head=options.continuous_quantiles,
                fix_quantile_crossing=options.fix_quantile_crossing,
            )
        )
        point, full = self._model.forecast(horizon, [row.copy() for row in closes])
        assert np.array_equal(point, full[..., 5])
        return np.asarray(full[..., 1:], dtype=np.float64)


def moves(paths: Floats, closes: Floats) -> Floats:
    """Predicted change from the last close, in the window's deviations: what is left of a price when its level is
    taken off. A difference in prices alone would hide one in the change, which is what is traded."""
    deviation = closes.std(axis=1) + np.finfo(np.float64).tiny
    return np.asarray((paths - closes[:, -1, None, None]) / deviation[:, None, None])


def relative_difference(ours: Floats, theirs: Floats) -> float:
    """The largest difference in any row, step and level, each against the largest value of its row."""
    scale = np.abs(theirs).max(axis=(1, 2), keepdims=True)
    return float((np.abs(ours - theirs) / scale).max())
