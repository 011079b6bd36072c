"""What stands between a layer's matrix products, each in one sweep over rows that stay in the cache; by numba.

A kernel takes what a product made, adds each group's own adapter, does the layer's arithmetic, and leaves the next
product's operand, and of it A x for that product's adapters.
"""

import functools
from array import array
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from numba import types

from bot.compiling import c_function
from bot.forecast.adapters import COLUMNS, RANKS
from bot.forecast.arithmetic import (
    add_scaled,
    attend,
    inlined,
    inverse_rms,
    lower_four,
    rotate,
    round_row,
    set_scaled,
    silu,
)
from bot.forecast.instructions import (
    BFLOAT16,
    FLOAT32,
    LANES,
    beyond,
    call,
    claim,
    load,
    load_two,
    numbers,
    plus,
    pointer_to,
    store,
    times,
)
from bot.forecast.threads import Job, thread_number

ROWS = 16  # of one block of work, which a thread claims
SERIES = 2  # of one block of attention's


class Stage(NamedTuple):
    """What a kernel is told. Addresses; strides and widths are in numbers; what a kernel has no use for is 0."""

    units: int  # rows of a series, or 1 where the series is what is worked on
    block: int  # so many units at a time
    room: int  # `room_size` numbers for each thread
    room_size: int
    low: int  # A x of every row of the product that was made
    next_low: int  # and of the one that comes
    low_stride: int
    source: int = 0  # the product that was made, rows without gaps; of attention the keys' first row
    source_stride: int = 0
    width: int = 0  # of an operand's row
    operand: int = 0  # of the next product, rows without gaps; 0: there is none
    hidden: int = 0  # the stream that the layers add to
    after: int = 0  # scale of the norm before adding
    before: int = 0  # scale of the norm before the next product
    # Of attention alone:
    queries: int = 0
    queries_stride: int = 0
    patches: int = 0
    asking: int = 0  # the last so many patches
    heads: int = 0
    cos: int = 0  # (patches, 2 heads, head_dims), as sin
    sin: int = 0


class Span(NamedTuple):
    """Neighbouring series, [first, last), with one adapter: gain * product + B low, and low = A operand.

    Ranks are multiples of RANKS; 0: the adapter has nothing to add. The rest are addresses.
    """

    first: int
    last: int
    rank: int = 0
    b: int = 0  # (outputs / COLUMNS, rank, COLUMNS), so that a kernel reads on and on
    gain: int = 0
    next_rank: int = 0
    next_a: int = 0  # (inputs / COLUMNS, rank, COLUMNS)


# A job is one array: what tells a thread its number, how many there are, how many spans, the stage, the spans, and for
# each thread how many blocks of its share have been taken.
THREAD, THREADS, COUNT, STAGE = range(4)
SPANS = STAGE + len(Stage._fields)
SPAN = len(Span._fields)
(UNITS, BLOCK, ROOM, ROOM_SIZE, LOW, NEXT_LOW, LOW_STRIDE, SOURCE, SOURCE_STRIDE, WIDTH, OPERAND, HIDDEN, AFTER,
 BEFORE, QUERIES, QUERIES_STRIDE, PATCHES, ASKING, HEADS, COS, SIN) = range(STAGE, SPANS)  # fmt: skip
FIRST, LAST, RANK, B, GAIN, NEXT_RANK, NEXT_A = range(SPAN)


def job_of(stage: Stage, spans: Sequence[int]) -> Job:
    """What a kernel does; `spans` are one Span's fields after another's, and every series is in one of them."""
    count = torch.get_num_threads()
    return array("q", (thread_number(), count, len(spans) // SPAN, *stage, *spans, *(0,) * count))


class Kernels(NamedTuple):
    """Addresses of C functions that do a job, called by several threads at once with the same one."""

    residual: int  # hidden += norm(product); operand = norm(hidden). Without a product only the second
    activation: int  # operand = silu(product)
    attention: int  # operand = attention of the product's queries, keys and values


@functools.cache
def kernels(dtype: torch.dtype) -> Kernels:
    """For products, operands and adapters in `dtype`, bfloat16 or float32; all else is float32."""
    half = (_residual_bfloat16, _activation_bfloat16, _attention_bfloat16)
    single = (_residual_float32, _activation_float32, _attention_float32)
    signature = types.void(pointer_to(types.int64))
    return Kernels(*(c_function(signature, one) for one in (half if dtype is torch.bfloat16 else single)))


def _residual_bfloat16(job: Any) -> None:
    _residual(job, BFLOAT16)


def _residual_float32(job: Any) -> None:
    _residual(job, FLOAT32)


def _activation_bfloat16(job: Any) -> None:
    _activation(job, BFLOAT16)


def _activation_float32(job: Any) -> None:
    _activation(job, FLOAT32)


def _attention_bfloat16(job: Any) -> None:
    _attention(job, BFLOAT16)


def _attention_float32(job: Any) -> None:
    _attention(job, FLOAT32)


@inlined
def _residual(job: Any, kind: Any) -> None:
    thread, width = call(job[THREAD]), job[WIDTH]
    room = _own_room(job, thread)
    span, first, last = _next_block(job, thread)
    while span:
        if job[SOURCE]:
            _raise_rows(job, span, kind, first, last, room)
        for row in range(first, last):
            _add(job, row, beyond(room, (row - first) * width))
        if job[OPERAND]:
            _hand_over(job, span, kind, first, last, room, width)
        span, first, last = _next_block(job, thread)


@inlined
def _activation(job: Any, kind: Any) -> None:
    thread, width = call(job[THREAD]), job[WIDTH]
    room = _own_room(job, thread)
    span, first, last = _next_block(job, thread)
    while span:
        _raise_rows(job, span, kind, first, last, room)
        silu(room, (last - first) * width)
        _hand_over(job, span, kind, first, last, room, width)
        span, first, last = _next_block(job, thread)


@inlined
def _attention(job: Any, kind: Any) -> None:
    """In the room stand some series' patches, of each the queries, the keys, the values; behind them scratch."""
    thread, width, patches, asking = call(job[THREAD]), job[WIDTH], job[PATCHES], job[ASKING]
    room = _own_room(job, thread)
    scratch, heads = beyond(room, 3 * job[BLOCK] * patches * width), job[HEADS]
    cos, sin = numbers(job[COS], FLOAT32), numbers(job[SIN], FLOAT32)
    span, first, last = _next_block(job, thread)
    while span:
        source = beyond(numbers(job[SOURCE], kind), first * patches * job[SOURCE_STRIDE])
        low, count = _low(job, LOW, first * patches), (last - first) * patches
        keys = beyond(room, width)
        _raise(job, span, kind, source, job[SOURCE_STRIDE], low, count, width, 2 * width, keys, 3 * width)
        for series in range(first, last):
            own = beyond(room, 3 * (series - first) * patches * width)
            asked = beyond(own, 3 * (patches - asking) * width)
            source = beyond(numbers(job[QUERIES], kind), series * asking * job[QUERIES_STRIDE])
            low = _low(job, LOW, (series + 1) * patches - asking)
            _raise(job, span, kind, source, job[QUERIES_STRIDE], low, asking, 0, width, asked, 3 * width)
            for patch in range(patches):
                asks = patch >= patches - asking
                rotate(beyond(own, 3 * patch * width), heads, width, patch, asks, cos, sin, scratch)
            for patch in range(patches - asking, patches):
                attend(own, heads, width, patch, scratch)
            _hand_over(job, span, kind, series * asking, (series + 1) * asking, asked, 3 * width)
        span, first, last = _next_block(job, thread)


# Who does what


@inlined
def _own_room(job: Any, thread: int) -> Any:
    return beyond(numbers(job[ROOM], FLOAT32), thread * job[ROOM_SIZE])


@inlined
def _next_block(job: Any, thread: int) -> Any:
    """Where its span is told, or 0 where all is done; its units, [first, last).

    A thread takes the blocks of its own share first, always the same ones, which its caches know; then the others'.
    """
    end, count = SPANS + SPAN * job[COUNT], 0
    for at in range(SPANS, end, SPAN):
        count += _blocks(job, at)
    for turn in range(job[THREADS]):
        share = (thread + turn) % job[THREADS]
        block = share * count // job[THREADS] + claim(job, end + share)
        if block < (share + 1) * count // job[THREADS]:
            for at in range(SPANS, end, SPAN):
                blocks = _blocks(job, at)
                if block < blocks:
                    first = job[UNITS] * job[at + FIRST] + block * job[BLOCK]
                    return at, first, min(first + job[BLOCK], job[UNITS] * job[at + LAST])
                block -= blocks
    return 0, 0, 0


@inlined
def _blocks(job: Any, at: int) -> Any:
    return (job[UNITS] * (job[at + LAST] - job[at + FIRST]) + job[BLOCK] - 1) // job[BLOCK]


@inlined
def _low(job: Any, which: int, row: int) -> Any:
    return beyond(numbers(job[which], FLOAT32), row * job[LOW_STRIDE])


@inlined
def _four(row: int, last: int) -> Any:
    """Four rows from `row` on; the `last` stands in for one too few."""
    return row, min(row + 1, last), min(row + 2, last), min(row + 3, last)


# A product's outputs, with the adapter's


@inlined
def _raise_rows(job: Any, span: int, kind: Any, first: int, last: int, room: Any) -> None:
    width = job[WIDTH]
    source = beyond(numbers(job[SOURCE], kind), first * job[SOURCE_STRIDE])
    _raise(job, span, kind, source, job[SOURCE_STRIDE], _low(job, LOW, first), last - first, 0, width, room, width)


@inlined
def _raise(job: Any, span: int, kind: Any, source: Any, stride: int, low: Any, rows: int, skipped: int, width: int,
           target: Any, target_stride: int) -> None:  # fmt: skip
    """target = gain * source + B low; `skipped` are the adapter's outputs before the first of `width`.

    Four rows at a time, so that what is read of B serves four times.
    """
    rank, each = job[span + RANK], job[LOW_STRIDE]
    b, gain = beyond(numbers(job[span + B], kind), skipped * rank), beyond(numbers(job[span + GAIN], FLOAT32), skipped)
    for left in range(0, width, COLUMNS):
        right = left + LANES
        for row in range(0, rows, 4):
            p, q, r, s = _four(row, rows - 1)
            p0, p1 = load(source, p * stride + left), load(source, p * stride + right)
            q0, q1 = load(source, q * stride + left), load(source, q * stride + right)
            r0, r1 = load(source, r * stride + left), load(source, r * stride + right)
            s0, s1 = load(source, s * stride + left), load(source, s * stride + right)
            if rank:
                g0, g1 = load(gain, left), load(gain, right)
                p0, q0, r0, s0 = times(p0, g0), times(q0, g0), times(r0, g0), times(s0, g0)
                p1, q1, r1, s1 = times(p1, g1), times(q1, g1), times(r1, g1), times(s1, g1)
            for k in range(rank):
                b0, b1 = load_two(b, left * rank + k * COLUMNS)
                p0, p1 = plus(p0, low[p * each + k], b0), plus(p1, low[p * each + k], b1)
                q0, q1 = plus(q0, low[q * each + k], b0), plus(q1, low[q * each + k], b1)
                r0, r1 = plus(r0, low[r * each + k], b0), plus(r1, low[r * each + k], b1)
                s0, s1 = plus(s0, low[s * each + k], b0), plus(s1, low[s * each + k], b1)
            _store_two(p0, p1, target, p * target_stride + left)
            _store_two(q0, q1, target, q * target_stride + left)
            _store_two(r0, r1, target, r * target_stride + left)
            _store_two(s0, s1, target, s * target_stride + left)


@inlined
def _store_two(one: Any, other: Any, target: Any, left: int) -> None:
    store(one, target, left)
    store(other, target, left + LANES)


@inlined
def _add(job: Any, row: int, x: Any) -> None:
    """hidden += norm(x) where there is a product, which stands in x; then x = norm(hidden)."""
    width = job[WIDTH]
    hidden = beyond(numbers(job[HIDDEN], FLOAT32), row * width)
    if job[SOURCE]:
        add_scaled(x, inverse_rms(x, width), numbers(job[AFTER], FLOAT32), hidden, width)
    if job[OPERAND]:
        set_scaled(hidden, inverse_rms(hidden, width), numbers(job[BEFORE], FLOAT32), x, width)


# The next product's operand


@inlined
def _hand_over(job: Any, span: int, kind: Any, first: int, last: int, room: Any, stride: int) -> None:
    """The rows in the room become the operand's [first, last), and A x of them is left for the product's adapter."""
    width, each = job[WIDTH], job[LOW_STRIDE]
    operand = beyond(numbers(job[OPERAND], kind), first * width)
    for row in range(last - first):
        round_row(beyond(room, row * stride), beyond(operand, row * width), width, kind)
    low = _low(job, NEXT_LOW, first)
    a = numbers(job[span + NEXT_A], kind)
    for row in range(0, last - first, 4):
        p, q, r, s = _four(row, last - first - 1)
        x, y = beyond(room, p * stride), beyond(room, q * stride)
        z, w = beyond(room, r * stride), beyond(room, s * stride)
        for rank in range(0, job[span + NEXT_RANK], RANKS):
            own = beyond(a, rank * COLUMNS)
            at = p * each + rank, q * each + rank, r * each + rank, s * each + rank
            lower_four(own, job[span + NEXT_RANK], x, y, z, w, width, low, *at)
