"""The kernel of a mixed-adapter product: gains and low-rank sums in one pass over its outputs, compiled by numba."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numba import cfunc, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from bot.forecast.threads import Job

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

ROWS = 8  # of one block of work, which a thread claims
COLUMNS = 512  # of B, so many at a time stay in the first-level cache while they meet a block's rows


class Outputs(NamedTuple):
    """Where a product stands, and where it goes: the same place for float32. Addresses; rows without gaps."""

    source: int
    is_bfloat16: int
    target: int  # float32
    width: int  # columns


class Span(NamedTuple):
    """Neighbouring rows, [first, last): target = gain * source + low b. Addresses of float32; strides in numbers."""

    first: int
    last: int
    rank: int = 0  # columns of `low`, rows of `b`
    low: int = 0  # the first row's
    low_stride: int = 0
    b: int = 0
    b_stride: int = 0
    gain: int = 0  # 0: one


# A job is one array: the next block to do, how many spans there are, the outputs, the spans.
NEXT, COUNT, OUTPUTS = range(3)
SPANS = OUTPUTS + len(Outputs._fields)
SPAN = len(Span._fields)
SOURCE, IS_BFLOAT16, TARGET, WIDTH = range(OUTPUTS, SPANS)
FIRST, LAST, RANK, LOW, LOW_STRIDE, B, B_STRIDE, GAIN = range(SPAN)


def job_of(outputs: Outputs, spans: Sequence[Span]) -> Job:
    """What the kernel does; every row of the product is in one of `spans`."""
    numbers = [0, len(spans), *outputs]
    for span in spans:
        numbers += span
    return np.array(numbers, dtype=np.int64)


@functools.cache
def kernel() -> int:
    """Address of the C function that does a job, alone or together with others that are called with the same one."""
    signature = types.void(types.CPointer(types.int64))
    try:
        compiled = cfunc(signature, cache=True)(_do)
    except RuntimeError:  # numba has no folder to write to: a read-only installation without a home
        compiled = cfunc(signature)(_do)
    return int(compiled.address)


def _inlined(function: FunctionT) -> FunctionT:
    return cast(FunctionT, njit(fastmath={"contract"})(function))


@intrinsic  # type: ignore[untyped-decorator]  # numba has no types
def _claim(_: Any, numbers: Any) -> Any:
    """The first of `numbers`, and add one to it: no two threads get the same."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.atomic_rmw("add", arguments[0], context.get_constant(types.int64, 1), "monotonic")

    return types.int64(types.CPointer(types.int64)), code


@intrinsic  # type: ignore[untyped-decorator]  # numba has no types
def _floats(_: Any, address: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.float32)(types.int64), code


@intrinsic  # type: ignore[untyped-decorator]  # numba has no types
def _halves(_: Any, address: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.uint16)(types.int64), code


@intrinsic  # type: ignore[untyped-decorator]  # numba has no types
def _widened(_: Any, half: Any) -> Any:
    """A bfloat16, given as its bits, as float32."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide = builder.zext(arguments[0], cgutils.int32_t)
        return builder.bitcast(builder.shl(wide, wide.type(16)), context.get_value_type(types.float32))

    return types.float32(types.uint16), code


def _do(job: Any) -> None:
    while True:
        block, span = _claim(job), SPANS
        for _ in range(job[COUNT]):
            blocks = (job[span + LAST] - job[span + FIRST] + ROWS - 1) // ROWS
            if block < blocks:
                break
            block -= blocks
            span += SPAN
        else:
            return
        first = job[span + FIRST] + block * ROWS
        last = min(first + ROWS, job[span + LAST])
        for left in range(0, job[WIDTH], COLUMNS):
            right = min(left + COLUMNS, job[WIDTH])
            for row in range(first, last):
                _scale(job, span, row, left, right)
            for row in range(first, last - 1, 2):
                _add_to_two(job, span, row, left, right)
            if (last - first) % 2:
                _add_to_one(job, span, last - 1, left, right)


@_inlined
def _scale(job: Any, span: int, row: int, left: int, right: int) -> None:
    target, gain = _floats(job[TARGET] + 4 * row * job[WIDTH]), _floats(job[span + GAIN])
    halves = _halves(job[SOURCE] + 2 * row * job[WIDTH])
    if job[IS_BFLOAT16] and job[span + GAIN]:
        for j in range(left, right):
            target[j] = gain[j] * _widened(halves[j])
    elif job[IS_BFLOAT16]:
        for j in range(left, right):
            target[j] = _widened(halves[j])
    elif job[span + GAIN]:
        for j in range(left, right):
            target[j] *= gain[j]


@_inlined
def _add_to_two(job: Any, span: int, row: int, left: int, right: int) -> None:
    """Two rows at a time, so that what is read of B serves twice; four ranks, so that the sum is stored less often."""
    upper, lower = _floats(job[TARGET] + 4 * row * job[WIDTH]), _floats(job[TARGET] + 4 * (row + 1) * job[WIDTH])
    first = job[span + LOW] + 4 * (row - job[span + FIRST]) * job[span + LOW_STRIDE]
    above, below = _floats(first), _floats(first + 4 * job[span + LOW_STRIDE])
    b, stride, rank, k = _floats(job[span + B]), job[span + B_STRIDE], job[span + RANK], 0
    while k + 4 <= rank:
        a0, a1, a2, a3 = above[k], above[k + 1], above[k + 2], above[k + 3]
        b0, b1, b2, b3 = below[k], below[k + 1], below[k + 2], below[k + 3]
        at0, at1, at2, at3 = k * stride, (k + 1) * stride, (k + 2) * stride, (k + 3) * stride
        for j in range(left, right):
            x0, x1, x2, x3 = b[at0 + j], b[at1 + j], b[at2 + j], b[at3 + j]
            upper[j] = upper[j] + a0 * x0 + a1 * x1 + a2 * x2 + a3 * x3
            lower[j] = lower[j] + b0 * x0 + b1 * x1 + b2 * x2 + b3 * x3
        k += 4
    for rest in range(k, rank):
        a0, b0, at0 = above[rest], below[rest], rest * stride
        for j in range(left, right):
            upper[j] += a0 * b[at0 + j]
            lower[j] += b0 * b[at0 + j]


@_inlined
def _add_to_one(job: Any, span: int, row: int, left: int, right: int) -> None:
    target = _floats(job[TARGET] + 4 * row * job[WIDTH])
    low = _floats(job[span + LOW] + 4 * (row - job[span + FIRST]) * job[span + LOW_STRIDE])
    b, stride = _floats(job[span + B]), job[span + B_STRIDE]
    for k in range(job[span + RANK]):
        share, at = low[k], k * stride
        for j in range(left, right):
            target[j] += share * b[at + j]
