"""TimesFM 2.5 at any size: its dimensions, its weights' layout, and the package's own modules, which training fits."""

from collections.abc import Mapping
from typing import Any, cast

import msgspec
import torch
from timesfm import configs
from timesfm.timesfm_2p5 import timesfm_2p5_base, timesfm_2p5_torch
from torch import Tensor, nn

from bot.errors import ModelRefused

EPSILON = 1e-6  # timesfm.torch.normalization.RMSNorm
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

    @property
    def head_dims(self) -> int:
        return self.model_dims // self.heads

    @property
    def max_horizon(self) -> int:
        """Steps that both heads answer after one pass."""
        return min(self.output_patch, self.quantile_patch)


SPEC_200M = ModelSpec(layers=20, model_dims=1280, hidden_dims=1280, heads=16)


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


def embed(module: Any, normed: Tensor) -> Tensor:
    """The package's trunk, with gradients; (batch, patches, patch) -> (batch, patches, model_dims)."""
    mask = torch.zeros_like(normed, dtype=torch.bool)
    hidden: Tensor = module.tokenizer(torch.cat([normed, mask.to(normed.dtype)], dim=-1))
    for layer in module.stacked_xf:
        hidden, _ = layer(hidden, mask[..., -1])
    return hidden


def patch_stats(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Running mean and deviation up to and including each patch; (batch, patches, patch) -> two (batch, patches).

    `timesfm.torch.util.update_running_stats` where nothing is masked, operation by operation.
    """
    size = patches.shape[-1]
    patch_mu = patches.sum(dim=-1) / size
    patch_var = (((patches - patch_mu[..., None]) ** 2).sum(dim=-1) / size).sqrt().pow(2)
    mu, sigma = patch_mu[:, 0], patch_var[:, 0].sqrt()
    means, deviations = [mu], [sigma]
    for i in range(1, patches.shape[1]):
        seen, total = i * size, (i + 1) * size
        new_mu = (seen * mu + patch_mu[:, i] * size) / total
        within = seen * sigma.pow(2) + size * patch_var[:, i]
        between = seen * (mu - new_mu).pow(2), size * (patch_mu[:, i] - new_mu).pow(2)
        sigma = ((within + between[0] + between[1]) / total).clamp(min=0.0).sqrt()
        mu = new_mu
        means.append(mu)
        deviations.append(sigma)
    return torch.stack(means, dim=1), torch.stack(deviations, dim=1)


def layout(spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor in a state dict of the package's module."""
    with torch.device("meta"):
        module = build_module(spec)
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def check_layout(spec: ModelSpec, tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """The layout of `spec`; raises ModelRefused naming the first of `tensors` that is missing, surplus or unlike it."""
    wanted = layout(spec)
    for name in sorted(wanted.keys() | tensors.keys()):
        found = tuple(tensors[name].shape) if name in tensors else None
        if found != wanted.get(name):
            raise ModelRefused(f"weights: tensor {name} has shape {found}, this architecture has {wanted.get(name)}")
        if not tensors[name].is_floating_point():
            raise ModelRefused(f"weights: tensor {name} holds {tensors[name].dtype}, not floating point numbers")
    return wanted
