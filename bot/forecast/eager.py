"""The layers by torch's own operations, on any device."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from bot.forecast.layers import Batch, Layer
from bot.forecast.matrix import Matrix
from bot.forecast.network import EPSILON


def run(layers: Sequence[Layer], hidden: Tensor, batch: Batch) -> Tensor:
    """The last patch's hidden state after all layers; (series * patches, model_dims) -> (series, model_dims).

    `hidden` is written over. Nobody reads the other patches' outputs of the last layer, so they are not computed.
    """
    for index, layer in enumerate(layers):
        last_only = index == len(layers) - 1
        attended = _attention(hidden, index, layer, batch, last_only=last_only)
        if last_only:
            hidden = _last_patch(hidden, batch)
        hidden = torch.addcmul(hidden, attended.mul_(_inverse_rms(attended)), layer.post_attn)
        inner = _times(layer.ff0, _norm(hidden, layer.pre_ff), (index, "ff0"), batch)
        outer = _times(layer.ff1, functional.silu(inner, inplace=True), (index, "ff1"), batch)
        hidden.addcmul_(outer.mul_(_inverse_rms(outer)), layer.post_ff)
    return hidden


def _attention(hidden: Tensor, index: int, layer: Layer, batch: Batch, *, last_only: bool) -> Tensor:
    """(rows, model_dims) -> the same, or with `last_only` one row for each series."""
    target, heads = (index, "qkv_proj"), batch.heads
    normed = _norm(hidden, layer.pre_attn)
    if last_only:
        query = _times(layer.qkv_proj[0], _last_patch(normed, batch), target, batch).view(batch.series, 1, heads, -1)
        query = _rotate(query, layer.cos[batch.patches - 1, :heads], layer.sin[batch.patches - 1, :heads])
        rest = _times(layer.qkv_proj[1], normed, target, batch)
        key, value = rest.view(batch.series, batch.patches, 2, heads, -1).unbind(2)
        key = _rotate(key, layer.cos[: batch.patches, heads:], layer.sin[: batch.patches, heads:])
    else:
        whole = _times(layer.qkv_proj[0], normed, target, batch).view(batch.series, batch.patches, 3 * heads, -1)
        both = _rotate(whole[:, :, : 2 * heads], layer.cos[: batch.patches], layer.sin[: batch.patches])
        query, key, value = both[:, :, :heads], both[:, :, heads:], whole[:, :, 2 * heads :]
    query, key, value = (part.transpose(1, 2) for part in (query, key, value))
    attended = functional.scaled_dot_product_attention(query, key, value, is_causal=not last_only, scale=1.0)
    return _times(layer.out, attended.transpose(1, 2).reshape(-1, hidden.shape[-1]), (index, "out"), batch)


def _times(matrix: Matrix, inputs: Tensor, target: tuple[int, str], batch: Batch) -> Tensor:
    """gain * (W x) + b (a x) with each group's own adapter on the group's rows; float32."""
    inputs = inputs.to(batch.dtype)
    result, each, (index, name) = matrix.times(inputs).float(), len(inputs) // batch.series, target
    for first, last, adapter in batch.groups:
        delta = adapter.layers[index].get(name)
        if delta is not None:
            own = slice(first * each, last * each)
            low = functional.linear(inputs[own], delta.a[:, : inputs.shape[1]]).float()
            result[own].mul_(delta.gain[matrix.rows]).addmm_(low, delta.b[matrix.rows].t())
    return result


def _last_patch(rows: Tensor, batch: Batch) -> Tensor:
    return rows.view(batch.series, batch.patches, -1)[:, -1]


def _norm(hidden: Tensor, scale: Tensor) -> Tensor:
    return (hidden * _inverse_rms(hidden)).mul_(scale)


def _inverse_rms(inputs: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(inputs, dim=-1, keepdim=True)
    return norm.square_().div_(inputs.shape[-1]).add_(EPSILON).rsqrt_()


def _rotate(inputs: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Normalise and rotate each head; (series, patches, heads, head_dims). `inputs` is written over."""
    inputs *= _inverse_rms(inputs)
    lower, upper = inputs.chunk(2, dim=-1)
    return inputs * cos + torch.cat([upper, lower], dim=-1) * sin
