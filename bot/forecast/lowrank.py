"""A product's outputs with each group's own adapter added, on torch's operations or in one compiled pass."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from bot.forecast import compiled, threads
from bot.forecast.adapters import Delta

TOGETHER = 64  # ranks: so many columns of A cost one product little more than a few do


class Own(NamedTuple):
    """Neighbouring rows of a batch, [first, last), with the update of the matrix that is theirs."""

    first: int
    last: int
    delta: Delta


def is_compiled(device: torch.device) -> bool:
    """Does the compiled pass run here?"""
    return device.type == "cpu" and threads.reachable()


def adapted(product: Tensor, inputs: Tensor, owned: Sequence[Own], rows: slice) -> Tensor:
    """gain * `product` + b (a x), float32; `product` is (rows, out) of `rows` of the targets' outputs.

    `owned` ascends and does not overlap; the rows between are left as they are. `product` may be written over.
    """
    return (by_kernel if is_compiled(product.device) else by_torch)(product, inputs, owned, rows)


def by_torch(product: Tensor, inputs: Tensor, owned: Sequence[Own], rows: slice) -> Tensor:
    result = product.float()
    for first, last, delta in owned:
        part = result[first:last]
        if delta.gain is not None:
            part *= delta.gain[rows]
        part.addmm_(functional.linear(inputs[first:last], delta.a).float(), delta.b[rows].t())
    return result


def by_kernel(product: Tensor, inputs: Tensor, owned: Sequence[Own], rows: slice) -> Tensor:
    result = product if product.dtype is torch.float32 else torch.empty(product.shape)
    outputs = compiled.Outputs(
        product.data_ptr(), int(product.dtype is torch.bfloat16), result.data_ptr(), product.shape[1]
    )
    low = list(_low(inputs, owned))  # holds them until the kernel has read them
    spans = []
    for (first, last, delta), part, before in zip(owned, low, chain([0], (own.last for own in owned)), strict=False):
        spans.append(compiled.Span(before, first))
        b, gain = delta.b.t()[:, rows], delta.gain
        spans.append(
            compiled.Span(
                first, last, len(b), part.data_ptr(), part.stride(0), b.data_ptr(), b.stride(0),
                0 if gain is None else gain[rows].data_ptr(),
            )
        )  # fmt: skip
    spans.append(compiled.Span(owned[-1].last, len(product)))
    threads.run(compiled.kernel(), compiled.job_of(outputs, spans))
    return result


def _low(inputs: Tensor, owned: Sequence[Own]) -> Iterator[Tensor]:
    """a x of each of `owned`, (its rows, rank), float32. Several take part in one product: most of it is reading x."""
    waiting = list(owned)
    while waiting:
        count, ranks = 1, len(waiting[0].delta.a)
        while count < len(waiting) and ranks + len(waiting[count].delta.a) <= TOGETHER:
            ranks += len(waiting[count].delta.a)
            count += 1
        now, waiting = waiting[:count], waiting[count:]
        start, stop = now[0].first, now[-1].last
        a = now[0].delta.a if count == 1 else torch.cat([own.delta.a for own in now])
        shares = functional.linear(inputs[start:stop], a).float()
        column = 0
        for first, last, delta in now:
            yield shares[first - start : last - start, column : column + len(delta.a)]
            column += len(delta.a)
