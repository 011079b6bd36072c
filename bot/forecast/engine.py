"""Closes in, point and quantile paths out: the timesfm package's own 2.5 modules at any size, in its own layout."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, Protocol, cast

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from timesfm import configs
from timesfm.timesfm_2p5 import timesfm_2p5_base, timesfm_2p5_torch
from timesfm.torch import util
from torch import Tensor, nn

from bot.errors import ModelRefused
from bot.messages import Floats

Dtype = Literal["auto", "float32", "bfloat16"]
DECILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The dimensions of one TimesFM 2.5 network."""

    layers: int
    model_dims: int
    hidden_dims: int
    heads: int
    input_patch: int = 32
    output_patch: int = 128
    quantile_patch: int = 1024  # steps of the continuous quantile head
    quantiles: tuple[float, ...] = DECILES

    @property
    def channels(self) -> int:
        """Outputs per step: the mean, then the quantiles."""
        return len(self.quantiles) + 1

    @property
    def point_channel(self) -> int:
        """The package's point forecast is the median."""
        return 1 + self.quantiles.index(0.5)


SPEC_200M = ModelSpec(layers=20, model_dims=1280, hidden_dims=1280, heads=16)


class ForecastOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The package's ForecastConfig switches, set as Google's own 2.5 example sets them."""

    normalize_inputs: bool = True
    flip_invariance: bool = True  # averages with the mirrored series: twice the work
    infer_is_positive: bool = True
    continuous_quantiles: bool = True
    fix_quantile_crossing: bool = True


class Prediction(msgspec.Struct, frozen=True, eq=False):
    point: Floats  # (batch, horizon), in the units of the closes
    quantiles: Floats  # (batch, horizon, quantiles), in the order of `levels`
    levels: tuple[float, ...]


class Forecaster(Protocol):
    """One loaded model. Not safe for two threads at once: its owner serialises the calls."""

    @property
    def checkpoint(self) -> str:
        """Id of what is loaded, as it goes into every forecast."""
        ...

    @property
    def context(self) -> int: ...

    def forecast(self, closes: Floats, horizon: int) -> Prediction:
        """Forecast each row of `closes` (batch, context). Each row is finite and above zero; the caller sees to it."""
        ...


def build_module(spec: ModelSpec) -> nn.Module:
    """The package's network with the dimensions of `spec`, its parameters as the package initialises them."""
    point = spec.output_patch * spec.channels
    spread = spec.quantile_patch * spec.channels
    definition = timesfm_2p5_base.TimesFM_2p5_200M_Definition(
        input_patch_len=spec.input_patch,
        output_patch_len=spec.output_patch,
        output_quantile_len=spec.quantile_patch,
        quantiles=list(spec.quantiles),
        decode_index=spec.point_channel,
        tokenizer=_block(2 * spec.input_patch, spec.model_dims, spec.model_dims, bias=True),
        stacked_transformers=configs.StackedTransformersConfig(spec.layers, _transformer(spec)),
        output_projection_point=_block(spec.model_dims, spec.model_dims, point, bias=False),
        output_projection_quantiles=_block(spec.model_dims, spec.model_dims, spread, bias=False),
    )
    sized: Any = type("TimesFM25", (timesfm_2p5_torch.TimesFM_2p5_200M_torch_module,), {"config": definition})
    return cast(nn.Module, sized())


def _block(inputs: int, hidden: int, outputs: int, *, bias: bool) -> Any:
    return configs.ResidualBlockConfig(
        input_dims=inputs, hidden_dims=hidden, output_dims=outputs, use_bias=bias, activation="swish"
    )


def _transformer(spec: ModelSpec) -> Any:
    return configs.TransformerConfig(
        model_dims=spec.model_dims,
        hidden_dims=spec.hidden_dims,
        num_heads=spec.heads,
        attention_norm="rms",
        feedforward_norm="rms",
        qk_norm="rms",
        use_bias=False,
        use_rotary_position_embeddings=True,
        ff_activation="swish",
        fuse_qkv=True,
    )


def patch_stats(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Running mean and deviation up to and including each patch; (batch, patches, patch) -> two (batch, patches)."""
    n = mu = sigma = torch.zeros(len(patches), device=patches.device)
    unmasked = torch.zeros_like(patches[:, 0], dtype=torch.bool)
    means, deviations = [], []
    for i in range(patches.shape[1]):
        (n, mu, sigma), _ = util.update_running_stats(n, mu, sigma, patches[:, i], unmasked)
        means.append(mu)
        deviations.append(sigma)
    return torch.stack(means, dim=1), torch.stack(deviations, dim=1)


def embed(module: Any, normed: Tensor) -> Tensor:
    """The trunk without the package's decode cache; (batch, patches, patch) -> (batch, patches, model_dims)."""
    mask = torch.zeros_like(normed, dtype=torch.bool)
    hidden: Tensor = module.tokenizer(torch.cat([normed, mask.to(normed.dtype)], dim=-1))
    for layer in module.stacked_xf:
        hidden, _ = layer(hidden, mask[..., -1])
    return hidden


def load_weights(spec: ModelSpec, tensors: Mapping[str, Tensor]) -> nn.Module:
    """A module of `spec` that holds `tensors`; raises ModelRefused naming the first tensor that does not fit."""
    with torch.device("meta"):
        module = build_module(spec)
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    for name in sorted(wanted.keys() | tensors.keys()):
        found = tuple(tensors[name].shape) if name in tensors else None
        if found != wanted.get(name):
            raise ModelRefused(f"weights: tensor {name} has shape {found}, this architecture has {wanted.get(name)}")
    module.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, assign=True)
    return module.eval()


class Engine:
    """TimesFM 2.5 behind the `Forecaster` protocol."""

    def __init__(
        self,
        module: nn.Module,
        spec: ModelSpec,
        options: ForecastOptions,
        *,
        checkpoint: str,
        context: int,
        dtype: Dtype = "auto",
    ) -> None:
        if context % spec.input_patch:
            raise ModelRefused(f"context {context}: must be a multiple of the input patch, {spec.input_patch}")
        self.checkpoint = checkpoint
        self.context = context
        self.spec = spec
        self.options = options
        self.dtype = torch.bfloat16 if dtype == "bfloat16" else torch.float32
        self.device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
        self._module: Any = module.to(self.device).eval()
        if self.dtype is torch.bfloat16:
            for layer in self._module.modules():
                if isinstance(layer, nn.Linear):
                    layer.to(torch.bfloat16)

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self._module.parameters())

    def forecast(self, closes: Floats, horizon: int) -> Prediction:
        if closes.ndim != 2 or closes.shape[1] != self.context:
            raise ValueError(f"closes have shape {closes.shape}, the model takes (batch, {self.context})")
        limit = min(self.spec.output_patch, self.spec.quantile_patch)
        if not 1 <= horizon <= limit:
            raise ValueError(f"horizon {horizon}: the model answers 1 to {limit} bars ahead")
        with torch.inference_mode(), self._precision():
            outputs = self._decode(torch.from_numpy(closes).to(self.device, torch.float32), horizon)
        full = outputs.cpu().numpy().astype(np.float64)
        point: npt.NDArray[np.float64] = full[..., self.spec.point_channel]
        return Prediction(point, full[..., 1:], self.spec.quantiles)

    def _precision(self) -> AbstractContextManager[object]:
        if self.dtype is torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)

    def _decode(self, series: Tensor, horizon: int) -> Tensor:
        """(batch, context) -> (batch, horizon, channels): the mean, then the quantiles."""
        positive = torch.all(series >= 0, dim=-1)[:, None, None]
        mean, deviation = series.mean(dim=-1, keepdim=True), series.std(dim=-1, keepdim=True)
        if self.options.normalize_inputs:
            series = util.revin(series, mean, deviation, reverse=False)
        if self.options.flip_invariance:
            path, spread = self._trunk(torch.cat([series, -series]), horizon)
            path, spread = _fold_flipped(path), _fold_flipped(spread)
        else:
            path, spread = self._trunk(series, horizon)
        if self.options.continuous_quantiles:
            middle = self.spec.point_channel
            quantiles = spread - spread[..., middle, None] + path[..., middle, None]
            path = torch.cat([path[..., :1], quantiles[..., 1:]], dim=-1)
        if self.options.fix_quantile_crossing:
            path = _uncross(path, self.spec.point_channel)
        if self.options.normalize_inputs:
            path = util.revin(path, mean, deviation, reverse=True)
        return torch.where(positive, path.clamp(min=0.0), path) if self.options.infer_is_positive else path

    def _trunk(self, series: Tensor, horizon: int) -> tuple[Tensor, Tensor]:
        """The point head's and the quantile head's path after the last patch, each (batch, horizon, channels)."""
        patches = series.reshape(len(series), -1, self.spec.input_patch)
        mu, sigma = patch_stats(patches)
        last = embed(self._module, util.revin(patches, mu, sigma, reverse=False))[:, -1]
        shape = (len(series), -1, self.spec.channels)
        path = self._module.output_projection_point(last).float().reshape(shape)[:, :horizon]
        spread = self._module.output_projection_quantiles(last).float().reshape(shape)[:, :horizon]
        mu, sigma = mu[:, -1], sigma[:, -1]
        return util.revin(path, mu, sigma, reverse=True), util.revin(spread, mu, sigma, reverse=True)


def _fold_flipped(paths: Tensor) -> Tensor:
    """Average of the plain half with the mirrored half; mirrored, the 0.1 quantile answers for the 0.9."""
    plain, flipped = paths.chunk(2)
    flipped = torch.cat([flipped[..., :1], flipped[..., 1:].flip(-1)], dim=-1)
    return (plain - flipped) / 2


def _uncross(path: Tensor, middle: int) -> Tensor:
    upper = torch.cummax(path[..., middle:], dim=-1).values
    lower = torch.cummin(path[..., 1 : middle + 1].flip(-1), dim=-1).values.flip(-1)
    return torch.cat([path[..., :1], lower[..., :-1], upper], dim=-1)
