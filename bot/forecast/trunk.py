"""The network's weights in the precision that they run in, and the forward pass of a mixed-adapter batch."""

from collections.abc import Mapping, Sequence
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

from bot.forecast import eager, fused
from bot.forecast.adapters import TARGETS, target_shapes
from bot.forecast.layers import Batch, Group, Layer
from bot.forecast.matrix import Matrix
from bot.forecast.network import ModelSpec

MAX_TIMESCALE = 10_000.0  # timesfm.torch.transformer.RotaryPositionalEmbedding
LOG2_E = 1.442695041  # timesfm.torch.transformer.PerDimScale
POINT, SPREAD = "output_projection_point", "output_projection_quantiles"


class Trunk:
    """Tokenizer, layers and heads. The layers' matrices are in `dtype`; all else is float32.

    The tokenizer and the heads stay in float32, because they carry the last close to the outputs: in bfloat16 it
    would be rounded by more than the changes that are forecast.
    """

    def __init__(
        self, spec: ModelSpec, dtype: torch.dtype, device: torch.device, patches: int, *, packed: bool
    ) -> None:
        self._spec = spec
        self._dtype = dtype
        self._device = device
        self._patches = patches
        self._packed = packed
        self._fused = fused.runs(spec, device)
        if self._fused:
            fused.make_ready(dtype)
        self._tensors: dict[str, Tensor] = {}
        self._matrices: dict[tuple[int, str], tuple[Matrix, ...]] = {}
        self.layers: list[Layer] = []

    def fill(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy `tensors`, which have the layout of the package's state dict, in, one at a time."""
        places = {matrix_name(*place): place for place in product(range(self._spec.layers), TARGETS)}
        # One room for all conversions: as many of them as there are matrices would leave holes in the memory.
        largest = max(out * inputs for out, inputs in target_shapes(self._spec).values())
        room = torch.empty(largest, dtype=self._dtype, device=self._device)
        for name in tensors:
            source = tensors[name][: self._kept(name)]
            if name in places:
                parts = self._parts(*places[name])
                self._matrices[places[name]] = tuple(
                    Matrix(source[rows], rows, room, packed=self._packed) for rows in parts
                )
            else:
                self._tensors[name] = source.to(self._device, torch.float32, copy=True)
        self.layers = [self._layer(index) for index in range(self._spec.layers)]

    def matrices(self, index: int, target: str) -> tuple[Matrix, ...]:
        """What stands behind an adapter's target in layer `index`, by rows of the target's outputs."""
        return self._matrices[index, target]

    def forward(self, patches: Tensor, groups: Sequence[Group] = ()) -> Tensor:
        """The last patch's hidden state; (series, patches, patch), normalised -> (series, model_dims), float32."""
        series, count, _ = patches.shape
        hidden = self._tokenize(patches.reshape(series * count, -1))
        batch = Batch(series, count, groups, self._spec.heads, self._dtype)
        run = fused.run if self._fused else eager.run
        return run(self.layers, hidden, batch)

    def head(self, hidden: Tensor, name: str, rows: Tensor) -> Tensor:
        """Outputs `rows` of the head POINT or SPREAD; (series, model_dims) -> (series, rows)."""
        inner = functional.silu(functional.linear(hidden, self._tensors[f"{name}.hidden_layer.weight"]), inplace=True)
        output, residual = (self._tensors[f"{name}.{part}_layer.weight"][rows] for part in ("output", "residual"))
        return functional.linear(inner, output) + functional.linear(hidden, residual)

    def _parts(self, index: int, target: str) -> tuple[slice, ...]:
        """Rows of a target: the last layer's queries apart, because only the last patch asks there."""
        whole, dims = target_shapes(self._spec)[target][0], self._spec.model_dims
        if target == "qkv_proj" and index == self._spec.layers - 1:
            return slice(0, dims), slice(dims, whole)
        return (slice(0, whole),)

    def _kept(self, name: str) -> int | None:
        """Rows of a tensor that can be asked for: the spread head answers 1024 steps, the point head 128."""
        last_of_a_head = name.startswith((POINT, SPREAD)) and not name.endswith("hidden_layer.weight")
        return self._spec.max_horizon * self._spec.channels if last_of_a_head else None

    def _tokenize(self, patches: Tensor) -> Tensor:
        """(rows, patch) -> (rows, model_dims). Nothing is masked, so the mask's half of the inputs is zero."""
        at = {part: self._tensors[f"tokenizer.{part}"] for part in _TOKENIZER}
        width = self._spec.input_patch
        inner = functional.linear(patches, at["hidden_layer.weight"][:, :width], at["hidden_layer.bias"])
        outer = functional.linear(functional.silu(inner, inplace=True), at["output_layer.weight"])
        outer += at["output_layer.bias"]
        residual = functional.linear(patches, at["residual_layer.weight"][:, :width], at["residual_layer.bias"])
        return outer.add_(residual)

    def _layer(self, index: int) -> Layer:
        (out,), (ff0,), (ff1,) = (self._matrices[index, target] for target in ("out", "ff0", "ff1"))
        pre_attn, post_attn, pre_ff, post_ff = (
            self._tensors[f"stacked_xf.{index}.{name}_ln.scale"]
            for name in ("pre_attn", "post_attn", "pre_ff", "post_ff")
        )
        cos, sin = self._rotation_of(index)
        return Layer(
            qkv_proj=self._matrices[index, "qkv_proj"],
            out=out,
            ff0=ff0,
            ff1=ff1,
            pre_attn=pre_attn,
            post_attn=post_attn,
            pre_ff=pre_ff,
            post_ff=post_ff,
            cos=cos,
            sin=sin,
        )

    def _rotation_of(self, index: int) -> tuple[Tensor, Tensor]:
        """Cosine and sine of each patch's rotation, times what scales it afterwards.

        Both are (patches, 2 heads, head_dims), the queries' heads before the keys'.

        The package rotates, then normalises, then scales each dimension. A rotation leaves the norm as it is, so the
        scales can stand in the tables. The sine's first half is negative: out = x cos + swapped(x) sin.
        """
        at = f"stacked_xf.{index}.attn."
        dims = self._spec.head_dims
        fraction = 2 * torch.arange(dims // 2, device=self._device) / dims
        angles = torch.arange(self._patches, device=self._device)[:, None] / MAX_TIMESCALE**fraction
        softplus = functional.softplus(self._tensors[at + "per_dim_scale.per_dim_scale"])
        query = self._tensors[at + "query_ln.scale"] * (LOG2_E / dims**0.5 * softplus)
        scales = torch.stack([query, self._tensors[at + "key_ln.scale"]]).repeat_interleave(self._spec.heads, dim=0)
        cos, sin = angles.cos(), angles.sin()
        return torch.cat([cos, cos], dim=-1)[:, None] * scales, torch.cat([-sin, sin], dim=-1)[:, None] * scales


def matrix_name(index: int, target: str) -> str:
    """Name of the matrix behind an adapter's target in a state dict of the package's module."""
    inner = f"attn.{target}" if target in ("qkv_proj", "out") else target
    return f"stacked_xf.{index}.{inner}.weight"


_TOKENIZER = tuple(f"{layer}_layer.{part}" for layer in ("hidden", "output", "residual") for part in ("weight", "bias"))
