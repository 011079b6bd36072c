"""The network's weights in the precision that they run in, and the forward pass of a mixed-adapter batch."""

from collections.abc import Mapping, Sequence
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

from bot.forecast.adapters import TARGETS, target_shapes
from bot.forecast.lowrank import Group, Mixed
from bot.forecast.matrix import Matrix
from bot.forecast.network import ModelSpec

EPSILON = 1e-6  # timesfm.torch.normalization.RMSNorm
MAX_TIMESCALE = 10_000.0  # timesfm.torch.transformer.RotaryPositionalEmbedding
FEW_PATCHES = 8  # up to so many, `_attend` is faster than torch's fused attention: 0.7 against 3.3 ms at 6
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
        self._tensors: dict[str, Tensor] = {}
        self._matrices: dict[tuple[int, str], tuple[Matrix, ...]] = {}
        self._rotation: list[tuple[Tensor, Tensor]] = []

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
        self._rotation = [self._rotation_of(index) for index in range(self._spec.layers)]

    def matrices(self, index: int, target: str) -> tuple[Matrix, ...]:
        """What stands behind an adapter's target in layer `index`, by rows of the target's outputs."""
        return self._matrices[index, target]

    def forward(self, patches: Tensor, groups: Sequence[Group] = ()) -> Tensor:
        """The last patch's hidden state; (series, patches, patch), normalised -> (series, model_dims), float32."""
        series, count, _ = patches.shape
        mixed = Mixed(groups, series, count, self._device)
        hidden = self._tokenize(patches.reshape(series * count, -1))
        for index in range(self._spec.layers):
            last_only = index == self._spec.layers - 1  # nobody reads the other patches' outputs of the last layer
            attended = self._attention(hidden, index, mixed, series, last_only=last_only)
            if last_only:
                hidden = hidden.view(series, count, -1)[:, -1]
            hidden = torch.addcmul(hidden, attended.mul_(_inverse_rms(attended)), self._scale(index, "post_attn_ln"))
            inner = self._linear(self._norm(hidden, index, "pre_ff_ln"), index, "ff0", mixed)
            outer = self._linear(functional.silu(inner, inplace=True), index, "ff1", mixed)
            hidden.addcmul_(outer.mul_(_inverse_rms(outer)), self._scale(index, "post_ff_ln"))
        return hidden

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

    def _attention(self, hidden: Tensor, index: int, mixed: Mixed, series: int, *, last_only: bool) -> Tensor:
        """(rows, model_dims) -> the same, or with `last_only` one row for each series."""
        dims, heads = self._spec.model_dims, self._spec.heads
        normed = self._norm(hidden, index, "pre_attn_ln")
        cos, sin = self._rotation[index]
        if last_only:
            last = normed.view(series, -1, dims)[:, -1]
            query = self._linear(last, index, "qkv_proj", mixed)
            query = _rotate(query.view(series, 1, heads, -1), cos[-1:, :heads], sin[-1:, :heads])
            rest = self._linear(normed, index, "qkv_proj", mixed, part=1)
            key, value = rest.view(series, -1, 2, heads, self._spec.head_dims).unbind(2)
            key = _rotate(key, cos[:, heads:], sin[:, heads:])
        else:
            whole = self._linear(normed, index, "qkv_proj", mixed)
            whole = whole.view(series, -1, 3 * heads, self._spec.head_dims)
            both = _rotate(whole[:, :, : 2 * heads], cos, sin)
            query, key, value = both[:, :, :heads], both[:, :, heads:], whole[:, :, 2 * heads :]
        attended = _attend(query, key, value)
        return self._linear(attended.reshape(-1, dims), index, "out", mixed)

    def _linear(self, inputs: Tensor, index: int, target: str, mixed: Mixed, part: int = 0) -> Tensor:
        """The target's matrix, a `part` of it, with each group's own adapter on the group's rows; float32."""
        inputs = inputs.to(self._dtype)
        matrix = self._matrices[index, target][part]
        return mixed.adapted(matrix.times(inputs), inputs, (index, target), matrix.rows)

    def _norm(self, hidden: Tensor, index: int, name: str) -> Tensor:
        return (hidden * _inverse_rms(hidden)).mul_(self._scale(index, name))

    def _scale(self, index: int, name: str) -> Tensor:
        return self._tensors[f"stacked_xf.{index}.{name}.scale"]

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


def _inverse_rms(inputs: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(inputs, dim=-1, keepdim=True)
    return norm.square_().div_(inputs.shape[-1]).add_(EPSILON).rsqrt_()


def _rotate(inputs: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Normalise and rotate each head, in place; (series, patches, heads, head_dims)."""
    half = inputs.shape[-1] // 2
    inputs *= _inverse_rms(inputs)
    swapped = torch.empty(inputs.shape, device=inputs.device)  # twice as fast as torch.cat of a view
    swapped[..., :half].copy_(inputs[..., half:])
    swapped[..., half:].copy_(inputs[..., :half])
    return inputs.mul_(cos).addcmul_(swapped, sin)


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Causal attention without a scale; the queries are those of the newest patches.

    (series, patches, heads, head_dims) each -> the shape of `query`. Over few patches a product of matrices is mostly
    overhead, so on a CPU one key after another meets all queries that may see it.
    """
    if key.shape[1] > FEW_PATCHES or key.is_cuda:
        whole = query.shape[1] == key.shape[1]
        query, key, value = (part.transpose(1, 2) for part in (query, key, value))
        return functional.scaled_dot_product_attention(query, key, value, is_causal=whole, scale=1.0).transpose(1, 2)
    series, asking, heads, _ = query.shape
    patches = range(key.shape[1])
    sees = [slice(max(patch + asking - len(patches), 0), None) for patch in patches]  # the queries that may see it
    scores = torch.full((len(patches), series, asking, heads), -torch.inf)
    room = torch.empty(query.shape)
    for patch in patches:
        products = torch.mul(query[:, sees[patch]], key[:, patch : patch + 1], out=room[:, sees[patch]])
        torch.sum(products, dim=-1, out=scores[patch, :, sees[patch]])
    shares = scores.softmax(dim=0)[..., None]
    mixed = torch.mul(shares[0], value[:, :1], out=room)
    for patch in patches[1:]:
        mixed[:, sees[patch]].addcmul_(shares[patch, :, sees[patch]], value[:, patch : patch + 1])
    return mixed
