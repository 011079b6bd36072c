"""A layer's weights as they run, and which rows of a batch run with which adapter."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import torch
from torch import Tensor

from bot.forecast.adapters import Adapter
from bot.forecast.matrix import Matrix


class Group(NamedTuple):
    """Neighbouring series of a batch, [first, last), that run with one adapter."""

    first: int
    last: int
    adapter: Adapter


class Layer(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Matrices in the precision that they run in; all else is float32."""

    qkv_proj: tuple[Matrix, ...]  # the last layer's queries apart: only the last patch asks there
    out: Matrix
    ff0: Matrix
    ff1: Matrix
    pre_attn: Tensor  # scales of the norms, (model_dims,)
    post_attn: Tensor
    pre_ff: Tensor
    post_ff: Tensor
    cos: Tensor  # of each patch's rotation, (patches, 2 heads, head_dims), the queries' heads before the keys'
    sin: Tensor


class Batch(NamedTuple):
    """What one pass works on. `groups` ascend and do not overlap; the other series run on the base alone."""

    series: int
    patches: int
    groups: Sequence[Group]
    heads: int
    dtype: torch.dtype  # of the matrices
