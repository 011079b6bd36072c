"""Low-rank adapters: as they are read from a file, and ready to run beside the base's weights without a merge."""

import functools
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec
import torch
from torch import Tensor
from torch.nn import functional

from bot.errors import ModelRefused
from bot.forecast.matrix import Matrix
from bot.forecast.network import ModelSpec

RANKS, COLUMNS = 4, 32  # so many of A's rows, and of a product's outputs, the kernels take at a time
TARGETS = ("qkv_proj", "out", "ff0", "ff1")


class RawDelta(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One matrix's update as it was trained."""

    a: Tensor  # (rank, in)
    b: Tensor  # (out, rank)
    magnitude: Tensor | None  # (out,), DoRA's; None: LoRA


class RawAdapter(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A whole adapter as it was trained; `tensors` by layer index and target (one of TARGETS)."""

    method: Literal["dora", "lora"]
    rank: int
    alpha: float
    tensors: Mapping[tuple[int, str], RawDelta]


class Place(NamedTuple):
    """Where the kernels find an update: its rank, and addresses."""

    rank: int
    a: int
    b: int
    gain: int


class Delta(msgspec.Struct, frozen=True, kw_only=True, eq=False, dict=True):
    """One matrix's update in the pass: y = gain * (W x) + b (a x)."""

    a_blocks: Tensor  # a and b as `blocked` lays them, in the dtype of W; the rank filled up to a multiple of RANKS
    b_blocks: Tensor  # times alpha / rank and times the gain
    gain: Tensor  # (out,), float32; LoRA has ones

    @functools.cached_property
    def place(self) -> Place:
        rank = self.a_blocks.shape[1]
        return Place(rank, self.a_blocks.data_ptr(), self.b_blocks.data_ptr(), self.gain.data_ptr())

    @functools.cached_property
    def a(self) -> Tensor:
        """(rank, in), as torch's operations take it; the inputs filled up with zeros to a multiple of COLUMNS."""
        return unblocked(self.a_blocks)

    @functools.cached_property
    def b(self) -> Tensor:
        """(out, rank), float32"""
        return unblocked(self.b_blocks).t()[: len(self.gain)].float()


class Adapter(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """An adapter ready to run on the base with the id `base`, and on no other."""

    base: str
    layers: tuple[Mapping[str, Delta], ...]

    @property
    def nbytes(self) -> int:
        tensors = (t for layer in self.layers for one in layer.values() for t in (one.a_blocks, one.b_blocks, one.gain))
        return sum(tensor.nbytes for tensor in tensors)


def check(raw: RawAdapter, spec: ModelSpec) -> None:
    """Raises ModelRefused naming the layer and the fault where `raw` does not fit a network of `spec`."""
    if not raw.tensors:
        raise ModelRefused("adapter: it changes no layer")
    shapes = target_shapes(spec)
    for (index, target), delta in raw.tensors.items():
        where = f"adapter: layer {index}, {target}"
        if not 0 <= index < spec.layers or target not in shapes:
            raise ModelRefused(f"{where}: this architecture has layers 0 to {spec.layers - 1} of {', '.join(shapes)}")
        out, inputs = shapes[target]
        if (raw.method == "dora") != (delta.magnitude is not None):
            raise ModelRefused(f"{where}: a magnitude belongs to dora and to nothing else; the method is {raw.method}")
        for name, tensor, shape in (
            ("A", delta.a, (raw.rank, inputs)),
            ("B", delta.b, (out, raw.rank)),
            ("magnitude", delta.magnitude, (out,)),
        ):
            if tensor is None:
                continue
            if tuple(tensor.shape) != shape:
                raise ModelRefused(f"{where}: {name} has shape {tuple(tensor.shape)}, not {shape}")
            if not (tensor.is_floating_point() and bool(torch.isfinite(tensor).all())):
                raise ModelRefused(f"{where}: {name} holds values that are no finite numbers")


def target_shapes(spec: ModelSpec) -> dict[str, tuple[int, int]]:
    """(out, in) of the matrix behind each target."""
    dims, hidden = spec.model_dims, spec.hidden_dims
    return {"qkv_proj": (3 * dims, dims), "out": (dims, dims), "ff0": (hidden, dims), "ff1": (dims, hidden)}


def compose(raw: RawDelta, scale: float, matrices: Sequence[Matrix]) -> Delta:
    """`raw` for the base matrix W, the rows of which are those of `matrices`.

    DoRA (arXiv:2402.09353, equation 5): W' = m (W + s BA) / ||W + s BA||, the norm per output row, so the pass is
    y = g (W x) + g s B (A x) with g = m / ||W + s BA||. The norm needs no W + s BA:
    ||w + s bA||^2 = ||w||^2 + 2 s b.(A w) + s^2 b (A A^T) b^T.
    """
    device, dtype = matrices[0].device, matrices[0].dtype
    missing = -len(raw.a) % RANKS
    a = functional.pad(raw.a.to(device, torch.float32), (0, 0, 0, missing))
    b = functional.pad(raw.b.to(device, torch.float32) * scale, (0, missing))
    gain = torch.ones(len(raw.b), device=device)
    if raw.magnitude is not None:
        inputs, upright = a.to(dtype), b.t().contiguous()  # (rank, out): sums over few columns are slow
        cross = torch.cat([matrix.times(inputs) for matrix in matrices], dim=1).float()
        squares = torch.cat([matrix.squares for matrix in matrices])
        norm = torch.addmm(cross, a @ a.t(), upright, beta=2).mul_(upright).sum(dim=0)
        norm = norm.add_(squares).clamp_(min=0.0).sqrt_()
        gain = raw.magnitude.to(device, torch.float32) / norm
        b = b * gain[:, None]
    return Delta(a_blocks=blocked(a.to(dtype)), b_blocks=blocked(b.to(dtype).t()), gain=gain)


def blocked(rows: Tensor) -> Tensor:
    """(rank, n) -> (n / COLUMNS, rank, COLUMNS), the last filled up with zeros: as the kernels go through it.

    In bfloat16 a block's first half and its second take turns: side by side they are read at once.
    """
    whole = functional.pad(rows, (0, -rows.shape[1] % COLUMNS)).view(len(rows), -1, COLUMNS).transpose(0, 1)
    if rows.dtype is torch.bfloat16:
        whole = whole.reshape(*whole.shape[:2], 2, COLUMNS // 2).transpose(2, 3).flatten(2)
    return whole.contiguous()


def unblocked(blocks: Tensor) -> Tensor:
    """(n / COLUMNS, rank, COLUMNS) -> (rank, n)"""
    if blocks.dtype is torch.bfloat16:
        blocks = blocks.view(*blocks.shape[:2], COLUMNS // 2, 2).transpose(2, 3).flatten(2)
    return blocks.transpose(0, 1).flatten(1)
