"""Eight-bit products (VNNI through oneDNN), tried on the package's module: is the arithmetic twice as fast worth it?"""

from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.products import Products

ZERO_POINT = 128  # oneDNN's fast kernels take unsigned inputs


class Int8Linear(nn.Module):
    """A linear layer without bias: weights in 8 bits, one scale per output row; inputs in 8 bits, one scale for all.

    oneDNN takes one scale for a whole matrix of inputs, so each row is brought to the same size first and its
    result is scaled back, which is exact quantisation per row.
    """

    def __init__(self, weight: Tensor, rows: int) -> None:
        super().__init__()
        scale = weight.abs().amax(dim=1) / 127
        whole = (weight / scale[:, None]).round().to(torch.int8)
        self.packed = torch.ops.onednn.qlinear_prepack(whole, [rows, weight.shape[1]])
        self.scale = scale
        self.zeros = torch.zeros(len(weight), dtype=torch.int64)

    def forward(self, inputs: Tensor) -> Tensor:
        flat = inputs.reshape(-1, inputs.shape[-1])
        step = flat.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / 127
        unsigned = (flat / step).round_().add_(ZERO_POINT).to(torch.uint8)
        result: Tensor = torch.ops.onednn.qlinear_pointwise(
            unsigned, 1.0, ZERO_POINT, self.packed, self.scale, self.zeros, None, 1.0, 0, inputs.dtype, "none", [], ""
        )
        return result.mul_(step).view(*inputs.shape[:-1], -1)


class Int8Products:
    """The same products as `Products`, in 8 bits."""

    def __init__(self, products: Products) -> None:
        self._operands = [
            (inputs, [Int8Linear(matrix.float(), len(inputs)) for matrix in matrices])
            for inputs, matrices in products.operands
        ]

    def run(self) -> None:
        with torch.inference_mode():
            for inputs, layers in self._operands:
                for layer in layers:
                    layer(inputs)


def supported() -> bool:
    return "onednn" in torch.backends.quantized.supported_engines and hasattr(torch.ops.onednn, "qlinear_pointwise")


def quantise_layers(module: Any, rows: int) -> None:
    """Replace the layers' matrices in place; tokenizer and heads stay as they are."""
    for layer in module.stacked_xf:
        for owner, name in ((layer.attn, "qkv_proj"), (layer.attn, "out"), (layer, "ff0"), (layer, "ff1")):
            setattr(owner, name, Int8Linear(getattr(owner, name).weight.detach(), rows))
