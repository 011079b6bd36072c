"""A product's outputs with each group's own adapter added, on torch's operations or in one compiled pass."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from bot.forecast import compiled, threads
from bot.forecast.adapters import Adapter

Target = tuple[int, str]  # layer, and which of its matrices


class Group(NamedTuple):
    """Neighbouring series of a batch, [first, last), that run with one adapter."""

    first: int
    last: int
    adapter: Adapter


def is_compiled(device: torch.device) -> bool:
    """Does the compiled pass run here?"""
    return device.type == "cpu" and threads.reachable()


def make_ready(device: torch.device) -> None:
    """Compile what runs adapters: a few seconds once on a machine, later it is read from numba's cache."""
    if is_compiled(device):
        compiled.kernel()


class Mixed:
    """What the groups of one pass add to its products. `groups` ascend and do not overlap; the rest is nobody's.

    The compiled pass is told addresses. They are looked up here, all at once: between two products, which leave little
    of anything else in the caches, the same takes several times as long.
    """

    def __init__(self, groups: Sequence[Group], series: int, patches: int, device: torch.device) -> None:
        """For products of up to `patches` rows a series."""
        self._groups = groups
        self._series = series
        self._spans: dict[Target, list[int]] = {}
        self._low = torch.empty(0)
        if groups and is_compiled(device):
            targets = {(i, name) for _, _, own in groups for i, layer in enumerate(own.layers) for name in layer}
            self._spans = {target: _spans(groups, series, target) for target in targets}
            ranks = (delta.place.rank for _, _, own in groups for layer in own.layers for delta in layer.values())
            self._low = torch.empty(series * patches, max(ranks, default=0))

    def adapted(self, product: Tensor, inputs: Tensor, target: Target, rows: slice) -> Tensor:
        """gain * `product` + b (a x), float32; `product` is (rows, out) of `rows` of the target's outputs.

        Rows of nobody are left as they are. `product` may be written over.
        """
        if not self._groups:
            return product.float()
        return (self.by_kernel if is_compiled(product.device) else self.by_torch)(product, inputs, target, rows)

    def by_torch(self, product: Tensor, inputs: Tensor, target: Target, rows: slice) -> Tensor:
        result, each, (index, name) = product.float(), len(product) // self._series, target
        for first, last, adapter in self._groups:
            delta = adapter.layers[index].get(name)
            if delta is not None:
                own = slice(first * each, last * each)
                low = functional.linear(inputs[own], delta.a.to(inputs.dtype)).float()
                result[own].mul_(delta.gain[rows]).addmm_(low, delta.b[rows].t())
        return result

    def by_kernel(self, product: Tensor, inputs: Tensor, target: Target, rows: slice) -> Tensor:
        assert product.is_contiguous()
        assert inputs.stride(1) == 1
        spans = self._spans.get(target)
        if spans is None:
            return product.float()
        result = product if product.dtype is torch.float32 else torch.empty(product.shape)
        outputs = compiled.Product(
            is_bfloat16=int(product.dtype is torch.bfloat16),
            each=len(product) // self._series,
            inputs=inputs.data_ptr(),
            inputs_stride=inputs.stride(0),
            inputs_width=inputs.shape[1],
            source=product.data_ptr(),
            target=result.data_ptr(),
            width=product.shape[1],
            skipped=rows.start or 0,
            low=self._low.data_ptr(),
            low_stride=self._low.shape[1],
        )
        threads.run(compiled.kernel(), compiled.job_of(outputs, spans))
        return result


def _spans(groups: Sequence[Group], series: int, target: Target) -> list[int]:
    """The fields of one compiled.Span after another, for every series."""
    (index, name), done, numbers = target, 0, list[int]()
    for first, last, adapter in groups:
        delta = adapter.layers[index].get(name)
        if delta is not None:
            numbers += *compiled.Span(done, first), *compiled.Span(first, last, *delta.place)
            done = last
    return [*numbers, *compiled.Span(done, series)]
