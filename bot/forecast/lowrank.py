"""A product's outputs with each group's own adapter added, on torch's operations or in one compiled pass."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from bot.forecast import compiled, threads
from bot.forecast.adapters import Delta


class Own(NamedTuple):
    """Neighbouring rows of a batch, [first, last), with the update of the matrix that is theirs."""

    first: int
    last: int
    delta: Delta


def is_compiled(device: torch.device) -> bool:
    """Does the compiled pass run here?"""
    return device.type == "cpu" and threads.reachable()


def make_ready(device: torch.device) -> None:
    """Compile what runs adapters: a few seconds once on a machine, later it is read from numba's cache."""
    if is_compiled(device):
        compiled.kernel()


def adapted(product: Tensor, inputs: Tensor, owned: Sequence[Own], rows: slice) -> Tensor:
    """gain * `product` + b (a x), float32; `product` is (rows, out) of `rows` of the targets' outputs.

    `owned` ascends and does not overlap; the rows between are left as they are. `product` may be written over.
    """
    return (by_kernel if is_compiled(product.device) else by_torch)(product, inputs, owned, rows)


def by_torch(product: Tensor, inputs: Tensor, owned: Sequence[Own], rows: slice) -> Tensor:
    result = product.float()
    for first, last, delta in owned:
        part = result[first:last]
        part *= delta.gain[rows]
        part.addmm_(functional.linear(inputs[first:last], delta.a.to(inputs.dtype)).float(), delta.b[rows].t())
    return result


def by_kernel(product: Tensor, inputs: Tensor, owned: Sequence[Own], rows: slice) -> Tensor:
    assert product.is_contiguous()
    assert inputs.stride(1) == 1
    result = product if product.dtype is torch.float32 else torch.empty(product.shape)
    spans, done = [], 0
    for first, last, delta in owned:
        if done < first:
            spans.append(compiled.Span(done, first))
        spans.append(compiled.Span(first, last, *delta.place))
        done = last
    spans.append(compiled.Span(done, len(product)))
    low = torch.empty(len(product), max(span.rank for span in spans))
    outputs = compiled.Product(
        is_bfloat16=int(product.dtype is torch.bfloat16),
        inputs=inputs.data_ptr(),
        inputs_stride=inputs.stride(0),
        inputs_width=inputs.shape[1],
        source=product.data_ptr(),
        target=result.data_ptr(),
        width=product.shape[1],
        low=low.data_ptr(),
        low_stride=low.shape[1],
        skipped=rows.start or 0,
    )
    threads.run(compiled.kernel(), compiled.job_of(outputs, spans))
    return result
