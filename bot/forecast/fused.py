"""The layers by matrix products with one compiled kernel after each, on a CPU.

The kernels are told addresses. What they do is written down for all layers before the first product: between two
products, which leave little of anything else in the caches, the same takes several times as long.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from bot.forecast import kernels, threads
from bot.forecast.adapters import COLUMNS, Adapter, Delta
from bot.forecast.kernels import (
    QUERIES,
    QUERIES_STRIDE,
    ROWS,
    SERIES,
    SOURCE,
    SOURCE_STRIDE,
    Span,
    Stage,
    job_of,
)
from bot.forecast.layers import Batch, Layer
from bot.forecast.network import ModelSpec
from bot.forecast.threads import Job

Target = tuple[int, str]  # layer, and which of its matrices

_LINE = 16  # numbers of a line of the cache


def runs(spec: ModelSpec, device: torch.device) -> bool:
    """Can the kernels run here, and over rows of this network?"""
    fits = not spec.model_dims % COLUMNS and not spec.hidden_dims % COLUMNS
    return fits and device.type == "cpu" and threads.reachable()


def make_ready(dtype: torch.dtype) -> None:
    """Compile the kernels: some seconds once on a machine, later they are read from numba's cache."""
    kernels.kernels(dtype)


def room_size(dims: int, inner: int, patches: int) -> int:
    """Numbers of float32 that a thread needs to itself: rows of a block, or some series' queries, keys and values."""
    size = max(ROWS * max(dims, inner), SERIES * 3 * patches * dims + max(2 * dims, patches))
    return size + -size % _LINE


def run(layers: Sequence[Layer], hidden: Tensor, batch: Batch) -> Tensor:
    """The last patch's hidden state after all layers; (series * patches, model_dims) -> (series, model_dims).

    `hidden` is written over. Nobody reads the other patches' outputs of the last layer, so they are not computed.
    """
    return _Pass(layers, hidden, batch).run()


class _Jobs(NamedTuple):
    """What is to be done after each of a layer's products."""

    qkv_proj: Job
    out: Job
    ff0: Job
    ff1: Job


class _Pass:
    def __init__(self, layers: Sequence[Layer], hidden: Tensor, batch: Batch) -> None:
        self._layers, self._batch = layers, batch
        rows, dims = hidden.shape
        inner = layers[0].ff0.outputs
        room = torch.empty(rows * max(dims, inner), dtype=batch.dtype)
        self._operand, self._inner = room[: rows * dims].view(rows, dims), room[: rows * inner].view(rows, inner)
        self._hidden, self._ended = hidden, torch.empty(batch.series, dims)
        ranks = (delta.place.rank for _, _, own in batch.groups for layer in own.layers for delta in layer.values())
        self._lows = torch.empty(2, rows, max(ranks, default=0))  # in turn that of the product made, and of the next
        self._room_size = room_size(dims, inner, batch.patches)
        self._room = torch.empty(torch.get_num_threads(), self._room_size)
        self._kernels = kernels.kernels(batch.dtype)
        first = self._stage(dims, batch.patches, 1, hidden=hidden.data_ptr(), before=layers[0].pre_attn.data_ptr())
        self._begin = job_of(first, self._spans(None, (0, "qkv_proj")))
        self._jobs = [self._jobs_of(index) for index in range(len(layers))]

    def run(self) -> Tensor:
        threads.run(self._kernels.residual, self._begin)
        for layer, jobs in zip(self._layers[:-1], self._jobs, strict=False):
            product = layer.qkv_proj[0].times(self._operand)
            self._attend(jobs, product, product[:, self._operand.shape[1] :])
            self._rest(layer, jobs, self._operand, self._inner)
        layer, jobs, series = self._layers[-1], self._jobs[-1], self._batch.series
        asking = self._operand.view(series, self._batch.patches, -1)[:, -1]
        self._attend(jobs, layer.qkv_proj[0].times(asking), layer.qkv_proj[1].times(self._operand))
        self._ended.copy_(self._hidden.view(series, self._batch.patches, -1)[:, -1])
        self._rest(layer, jobs, self._operand[:series], self._inner[:series])
        return self._ended

    def _attend(self, jobs: _Jobs, queries: Tensor, rest: Tensor) -> None:
        job = jobs.qkv_proj
        job[QUERIES], job[QUERIES_STRIDE] = queries.data_ptr(), queries.stride(0)
        job[SOURCE], job[SOURCE_STRIDE] = rest.data_ptr(), rest.stride(0)
        threads.run(self._kernels.attention, job)

    def _rest(self, layer: Layer, jobs: _Jobs, operand: Tensor, inner: Tensor) -> None:
        _run(self._kernels.residual, jobs.out, layer.out.times(operand))
        _run(self._kernels.activation, jobs.ff0, layer.ff0.times(operand))
        _run(self._kernels.residual, jobs.ff1, layer.ff1.times(inner))

    def _jobs_of(self, index: int) -> _Jobs:
        layer, last = self._layers[index], index == len(self._layers) - 1
        dims, inner = self._operand.shape[1], self._inner.shape[1]
        hidden = (self._ended if last else self._hidden).data_ptr()
        units = 1 if last else self._batch.patches
        before = 0 if last else self._layers[index + 1].pre_attn.data_ptr()
        attention = self._stage(
            dims, 1, 0, block=SERIES, patches=self._batch.patches, asking=units, heads=self._batch.heads,
            cos=layer.cos.data_ptr(), sin=layer.sin.data_ptr(),
        )  # fmt: skip
        out = self._stage(
            dims, units, 1, hidden=hidden, after=layer.post_attn.data_ptr(), before=layer.pre_ff.data_ptr()
        )
        ff0 = self._stage(inner, units, 0)
        ff1 = self._stage(dims, units, 1, hidden=hidden, after=layer.post_ff.data_ptr(), before=before)
        if last:
            ff1 = ff1._replace(operand=0)
        coming = None if last else (index + 1, "qkv_proj")
        return _Jobs(
            job_of(attention, self._spans((index, "qkv_proj"), (index, "out"))),
            job_of(out, self._spans((index, "out"), (index, "ff0"))),
            job_of(ff0, self._spans((index, "ff0"), (index, "ff1"))),
            job_of(ff1, self._spans((index, "ff1"), coming)),
        )

    def _stage(self, width: int, units: int, low: int, *, block: int = ROWS, **others: int) -> Stage:
        """Of `width` numbers a row, after a product of which A x is in the `low`th of the two."""
        return Stage(
            units=units,
            block=block,
            room=self._room.data_ptr(),
            room_size=self._room_size,
            low=self._lows[low].data_ptr(),
            next_low=self._lows[1 - low].data_ptr(),
            low_stride=self._lows.shape[2],
            source_stride=width,
            width=width,
            operand=self._operand.data_ptr(),
            **others,
        )

    def _spans(self, made: Target | None, coming: Target | None) -> list[int]:
        """The fields of one kernels.Span after another, for every series."""
        done, numbers = 0, list[int]()
        for first, last, adapter in self._batch.groups:
            if first > done:
                numbers += Span(done, first)
            ours, next_ones = _delta(adapter, made), _delta(adapter, coming)
            numbers += first, last
            numbers += (ours.place.rank, ours.place.b, ours.place.gain) if ours else (0, 0, 0)
            numbers += (next_ones.place.rank, next_ones.place.a) if next_ones else (0, 0)
            done = last
        return numbers if done == self._batch.series else [*numbers, *Span(done, self._batch.series)]


def _run(kernel: int, job: Job, product: Tensor) -> None:
    job[SOURCE] = product.data_ptr()
    threads.run(kernel, job)


def _delta(adapter: Adapter, target: Target | None) -> Delta | None:
    return adapter.layers[target[0]].get(target[1]) if target else None
