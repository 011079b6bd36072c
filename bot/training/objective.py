"""Where a small model starts and what it is trained for."""

import math
from statistics import NormalDist
from typing import Any, cast

import msgspec
import numpy as np
import torch
from timesfm.torch import util
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from bot.forecast.network import ModelSpec, build_module, embed, patch_stats
from bot.messages import Floats

LAST, ONE = 0, 1  # two dimensions of the residual stream that no layer may change
POST_NORM_START = 0.2
FAR_EVERY = 4
HOUR_STEP = 0.1  # a typical hourly change of a close, in deviations of its window


class Objective(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Weights of the loss. Errors are counted in deviations of the hourly change x sqrt(bars ahead)."""

    horizon: int = 4  # the one that counts most
    near: int = 12  # bars ahead that every patch is trained on
    horizon_weight: float = 6.0  # of `horizon`, where each other near step has 1
    far_weight: float = 0.1  # of the steps beyond `near`: last patch only, of every fourth window
    point_weight: float = 1.0  # of the point, the median, where all quantiles together have 1
    mean_weight: float = 0.1  # of the mean's Huber loss; few large moves rule it, so it may not lead
    huber: float = 1.0
    clip: float = 6.0


class InHourlySteps(nn.Module):
    """Trains a tokenizer's weight as a function of the last close and the hourly changes instead of the closes.

    Neighbouring closes are almost equal, so gradient descent on them hardly finds what the changes say.
    """

    basis: Tensor

    def __init__(self, patch: int) -> None:
        super().__init__()
        basis = torch.zeros(2 * patch, 2 * patch)  # the second half answers for the package's mask inputs
        basis[0, patch - 1] = 1.0
        for step in range(1, patch):
            basis[step, step], basis[step, step - 1] = 1 / HOUR_STEP, -1 / HOUR_STEP
        self.register_buffer("basis", basis)

    def forward(self, weight: Tensor) -> Tensor:
        return weight @ self.basis


def start_module(spec: ModelSpec) -> nn.Module:
    """A module that forecasts the last close exactly, with the spread of a random walk, and learns what differs."""
    module: Any = build_module(spec)
    for name, parameter in module.named_parameters():
        if name.endswith(".scale"):
            parameter.data.fill_(POST_NORM_START if ".post_" in name else 1.0)
    tokenizer = module.tokenizer
    for layer in (tokenizer.hidden_layer, tokenizer.residual_layer):
        layer.weight.data[:, spec.input_patch :] = 0.0
        parametrize.register_parametrization(layer, "weight", InHourlySteps(spec.input_patch))
    for head, steps in (
        (module.output_projection_point, spec.output_patch),
        (module.output_projection_quantiles, spec.quantile_patch),
    ):
        head.output_layer.weight.data.zero_()
        head.residual_layer.weight.data.zero_()
        head.residual_layer.weight.data[:, ONE] = _random_walk(spec, steps).flatten()
    _pin(module)
    return cast(nn.Module, module)


def finish_module(module: nn.Module) -> nn.Module:
    """Fold the training's own coordinates into plain weights of the package's layout."""
    tokenizer: Any = module.tokenizer
    for layer in (tokenizer.hidden_layer, tokenizer.residual_layer):
        if parametrize.is_parametrized(layer):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    return module


def _random_walk(spec: ModelSpec, steps: int) -> Tensor:
    """Offset of each output from the last close; (steps, channels)."""
    normal = torch.tensor([0.0, *(NormalDist().inv_cdf(level) for level in spec.quantiles)])
    return HOUR_STEP * torch.arange(1, steps + 1).sqrt()[:, None] * normal


def _pin(module: Any) -> None:
    """Let no update reach the weights that write LAST and ONE, nor LAST's way to the outputs."""
    tokenizer = module.tokenizer
    last_close = tokenizer.residual_layer.parametrizations.weight.original
    writers = [last_close, tokenizer.residual_layer.bias, tokenizer.output_layer.weight, tokenizer.output_layer.bias]
    for layer in module.stacked_xf:
        writers += [layer.post_attn_ln.scale, layer.post_ff_ln.scale]
    for parameter in writers:
        parameter.data[[LAST, ONE]] = 0.0
        _mute(parameter, (slice(0, 2),))
    last_close.data[LAST, 0] = 1.0
    tokenizer.output_layer.bias.data[ONE] = 1.0
    for head in (module.output_projection_point, module.output_projection_quantiles):
        head.residual_layer.weight.data[:, LAST] = 1.0
        _mute(head.residual_layer.weight, (slice(None), LAST))


def _mute(parameter: Any, where: tuple[Any, ...]) -> None:
    mask = torch.ones_like(parameter)
    mask[where] = 0.0
    parameter.register_hook(lambda gradient: gradient * mask)


def normalise(windows: Floats, context: int) -> Tensor:
    """As the engine normalises a context, applied to its future as well; (batch, context + future)."""
    seen = windows[:, :context]
    mean, deviation = seen.mean(axis=1, keepdims=True), seen.std(axis=1, keepdims=True, ddof=1)
    return torch.from_numpy(((windows - mean) / np.maximum(deviation, 1e-12)).astype(np.float32))


class Batch(msgspec.Struct, frozen=True, eq=False):
    """One batch in training units; patches counts the trained positions of each window."""

    normed: Tensor  # (batch, all patches, patch), what the network sees
    last: Tensor  # (batch, patches), last close as the network sees it
    unit: Tensor  # (batch, patches), deviation of the hourly change, in the network's units
    target: Tensor  # (batch, patches, future), change from the last close in `unit` x sqrt(bars ahead)

    @property
    def far(self) -> "Batch":
        return Batch(*(tensor[::FAR_EVERY] for tensor in (self.normed, self.last, self.unit, self.target)))


def prepare(series: Tensor, context: int, patch: int, clip: float) -> Batch:
    """`series` is (batch, context + future), normalised. The first patch is left out: too little context."""
    future = series.shape[1] - context
    patches = series[:, :context].reshape(len(series), -1, patch)
    mu, sigma = patch_stats(patches)
    normed = util.revin(patches, mu, sigma, reverse=False)
    ends = torch.arange(2 * patch - 1, context, patch)
    squares = series[:, :context].diff(dim=1).square().cumsum(dim=1)
    hourly = (squares[:, ends - 1] / ends).sqrt().clamp(min=1e-4)
    last = series[:, ends]
    ahead = series[:, 2 * patch :].unfold(1, future, patch)
    root = torch.arange(1, future + 1).sqrt()
    target = ((ahead - last[..., None]) / (hourly[..., None] * root)).clamp(-clip, clip)
    return Batch(normed, normed[:, 1:, -1], hourly / sigma[:, 1:].clamp(min=1e-6), target)


def loss_of(module: Any, spec: ModelSpec, objective: Objective, batch: Batch) -> Tensor:
    hidden = embed(module, batch.normed)[:, 1:]
    near = objective.near
    weight = torch.ones(near)
    weight[objective.horizon - 1] = objective.horizon_weight
    total = hidden.new_zeros(())
    for head, pointed in ((module.output_projection_point, True), (module.output_projection_quantiles, False)):
        paths = _steps(head, hidden, 0, near, spec.channels)
        errors = _errors(paths, batch, slice(0, near), slice(None))
        total = total + (_step_losses(errors, spec, objective, pointed) * weight).sum() / weight.sum()
        steps = slice(near, batch.target.shape[-1])
        far = _steps(head, hidden[::FAR_EVERY, -1:], near, steps.stop, spec.channels)
        errors = _errors(far, batch.far, steps, slice(-1, None))
        total = total + objective.far_weight * _step_losses(errors, spec, objective, pointed).mean()
    return total


def _steps(head: Any, hidden: Tensor, first: int, last: int, channels: int) -> Tensor:
    """A head's outputs for the steps [first, last) only; (batch, patches, steps, channels)."""
    rows = slice(first * channels, last * channels)
    inner = head.activation(head.hidden_layer(hidden))
    flat = functional.linear(inner, head.output_layer.weight[rows])
    flat = flat + functional.linear(hidden, head.residual_layer.weight[rows])
    return flat.reshape(*flat.shape[:-1], last - first, channels)


def _errors(paths: Tensor, batch: Batch, steps: slice, patches: slice) -> Tensor:
    """Target minus output, in the target's units; (batch, patches, steps, channels)."""
    root = torch.arange(steps.start + 1, steps.stop + 1).sqrt()[:, None]
    change = (paths - batch.last[:, patches, None, None]) / (batch.unit[:, patches, None, None] * root)
    return batch.target[:, patches, steps, None] - change


def _step_losses(errors: Tensor, spec: ModelSpec, objective: Objective, pointed: bool) -> Tensor:
    """(batch, patches, steps, channels) -> (steps,)"""
    levels = torch.tensor(spec.quantiles)
    quantiles = errors[..., 1:]
    losses = torch.maximum(levels * quantiles, (levels - 1) * quantiles).mean(dim=(0, 1, 3))
    if pointed:
        point, mean = errors[..., spec.point_channel], errors[..., 0]
        huber = functional.huber_loss(mean, torch.zeros_like(mean), reduction="none", delta=objective.huber)
        losses = losses + (objective.point_weight * point.abs() + objective.mean_weight * huber).mean(dim=(0, 1))
    return losses


def learning_rate(step: int, steps: int, peak: float) -> float:
    """A short warm-up, then a cosine down to zero."""
    warm = max(1, steps // 20)
    if step < warm:
        return peak * (step + 1) / warm
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
