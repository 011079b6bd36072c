"""The trunk's matrix products and nothing else: the yardstick for what a forward pass costs beside them."""

from collections.abc import Sequence

import msgspec
import torch
from torch import Tensor
from torch.nn import functional

from bot.forecast.network import ModelSpec


class Shape(msgspec.Struct, frozen=True):
    """`count` products of (rows, inputs) by (inputs, outputs)."""

    name: str
    rows: int
    inputs: int
    outputs: int
    count: int

    @property
    def flops(self) -> int:
        return 2 * self.rows * self.inputs * self.outputs * self.count


def shapes(spec: ModelSpec, series: int, patches: int) -> tuple[Shape, ...]:
    """What no exact pass over `series` series of `patches` patches can do without.

    Of the last layer only the last patch's output is read, so there only keys and values need every patch. The
    tokenizer, the heads, attention itself and the adapters' own products are not counted.
    """
    rows, d, h = series * patches, spec.model_dims, spec.hidden_dims
    whole = spec.layers - 1
    return (
        Shape("qkv_proj", rows, d, 3 * d, whole),
        Shape("out", rows, d, d, whole),
        Shape("ff0", rows, d, h, whole),
        Shape("ff1", rows, h, d, whole),
        Shape("last layer, keys and values", rows, d, 2 * d, 1),
        Shape("last layer, query", series, d, d, 1),
        Shape("last layer, out", series, d, d, 1),
        Shape("last layer, ff0", series, d, h, 1),
        Shape("last layer, ff1", series, h, d, 1),
    )


class Products:
    """Runs them once each on operands of their own, so that the matrices come from memory as they do in a pass."""

    def __init__(self, wanted: Sequence[Shape], dtype: torch.dtype, device: torch.device) -> None:
        generator = torch.Generator().manual_seed(1)

        def drawn(*shape: int) -> Tensor:
            noise: Tensor = torch.randn(shape, generator=generator) / shape[1] ** 0.5
            return noise.to(device, dtype)

        self.operands = [
            (drawn(shape.rows, shape.inputs), [drawn(shape.outputs, shape.inputs) for _ in range(shape.count)])
            for shape in wanted
        ]

    def run(self) -> None:
        with torch.inference_mode():
            for inputs, matrices in self.operands:
                for matrix in matrices:
                    functional.linear(inputs, matrix)
            if inputs.is_cuda:
                torch.cuda.synchronize()
