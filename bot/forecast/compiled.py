"""The kernel of a mixed-adapter product: gains and low-rank sums in one pass over its outputs, compiled by numba."""

import functools
from array import array
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numba import cfunc, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from bot.forecast.adapters import RANKS
from bot.forecast.threads import Job

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

ROWS = 8  # of one block of work, which a thread claims
COLUMNS = 256  # of B, so many at a time stay in the first-level cache while they meet a block's rows

_pointer_to: Any = types.CPointer  # its types would be half a declaration


class Product(NamedTuple):
    """Where a product's operand and result stand, and where it goes. Addresses; strides are in numbers."""

    is_bfloat16: int  # or float32: the inputs, the outputs
    each: int  # rows of a series
    inputs: int
    inputs_stride: int
    inputs_width: int
    source: int  # the outputs; rows without gaps
    target: int  # float32; the same place for outputs in float32
    width: int
    skipped: int  # outputs of the adapters' targets before the first one of the product
    low: int  # room for A x of every row, float32
    low_stride: int


class Span(NamedTuple):
    """Neighbouring series, [first, last): target = gain * source + B (A x). Addresses of float32."""

    first: int
    last: int
    rank: int = 0  # a multiple of RANKS; 0: target = source
    a: int = 0  # (rank, inputs)
    b: int = 0  # (rank, outputs)
    b_stride: int = 0
    gain: int = 0


# A job is one array: the next block to do, how many spans there are, the product, the spans.
NEXT, COUNT, PRODUCT = range(3)
SPANS = PRODUCT + len(Product._fields)
SPAN = len(Span._fields)
IS_BFLOAT16, EACH, INPUTS, INPUTS_STRIDE, INPUTS_WIDTH, SOURCE, TARGET, WIDTH, SKIPPED, LOW, LOW_STRIDE = range(
    PRODUCT, SPANS
)
FIRST, LAST, RANK, A, B, B_STRIDE, GAIN = range(SPAN)


def job_of(product: Product, spans: Sequence[int]) -> Job:
    """What the kernel does; `spans` are one Span's fields after another's, and every series is in one of them."""
    return array("q", (0, len(spans) // SPAN, *product, *spans))


@functools.cache
def kernel() -> int:
    """Address of the C function that does a job, alone or together with others that are called with the same one."""
    signature = types.void(_pointer_to(types.int64))
    try:
        compiled: Any = cfunc(signature, cache=True)(_do)
    except RuntimeError:  # numba has no folder to write to: a read-only installation without a home
        compiled = cfunc(signature)(_do)
    return int(compiled.address)


def _inlined(function: FunctionT) -> FunctionT:
    return cast(FunctionT, njit(fastmath={"contract"})(function))


def _summing(function: FunctionT) -> FunctionT:
    """Sums may be taken in any order: several numbers at a time."""
    return cast(FunctionT, njit(fastmath={"contract", "reassoc", "nsz"})(function))


def _instruction(function: Callable[..., Any]) -> Any:
    """What numba has no word for, as LLVM writes it. `function` is given types and tells the signature and the code."""
    return intrinsic(function)


@_instruction
def _claim(_: Any, numbers: Any) -> Any:
    """The first of `numbers`, and add one to it: no two threads get the same."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.atomic_rmw("add", arguments[0], context.get_constant(types.int64, 1), "monotonic")

    return types.int64(_pointer_to(types.int64)), code


def _as_pointer(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))


@_instruction
def _floats(_: Any, address: Any) -> Any:
    return _pointer_to(types.float32)(types.int64), _as_pointer


@_instruction
def _halves(_: Any, address: Any) -> Any:
    return _pointer_to(types.uint16)(types.int64), _as_pointer


@_instruction
def _widened(_: Any, number: Any) -> Any:
    """A float32 as it is; a bfloat16, given as its bits, as float32."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if number is types.float32:
            return arguments[0]
        wide = builder.zext(arguments[0], cgutils.int32_t)
        return builder.bitcast(builder.shl(wide, wide.type(16)), context.get_value_type(types.float32))

    return types.float32(number), code


@_instruction
def _prefer_wide_vectors(_: Any) -> Any:
    """For the function that calls it: LLVM would use half of what the widest registers hold."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), code


def _do(job: Any) -> None:
    while True:
        block, span = _claim(job), SPANS
        for _ in range(job[COUNT]):
            first, last = job[EACH] * job[span + FIRST], job[EACH] * job[span + LAST]
            blocks = (last - first + ROWS - 1) // ROWS
            if block < blocks:
                break
            block -= blocks
            span += SPAN
        else:
            return
        first += block * ROWS
        _do_block(job, span, first, min(first + ROWS, last))


@_inlined
def _do_block(job: Any, span: int, first: int, last: int) -> None:
    for rank in range(0, job[span + RANK], RANKS):
        for row in range(first, last, 2):
            pair = min(row + 1, last - 1)  # of an odd row out itself
            if job[IS_BFLOAT16]:
                _lower_two(job, span, rank, row, pair, _half_inputs(job, row), _half_inputs(job, pair))
            else:
                _lower_two(job, span, rank, row, pair, _float_inputs(job, row), _float_inputs(job, pair))
    for left in range(0, job[WIDTH], COLUMNS):
        right = min(left + COLUMNS, job[WIDTH])
        for row in range(first, last, 2):
            pair = min(row + 1, last - 1)
            if not job[span + RANK]:
                _copy(job, row, left, right)
                _copy(job, pair, left, right)
            elif job[IS_BFLOAT16]:
                _raise_two(job, span, row, pair, _half_source(job, row), _half_source(job, pair), left, right)
            else:
                _raise_two(job, span, row, pair, _target(job, row), _target(job, pair), left, right)


@_inlined
def _half_inputs(job: Any, row: int) -> Any:
    return _halves(job[INPUTS] + 2 * row * job[INPUTS_STRIDE])


@_inlined
def _float_inputs(job: Any, row: int) -> Any:
    return _floats(job[INPUTS] + 4 * row * job[INPUTS_STRIDE])


@_inlined
def _half_source(job: Any, row: int) -> Any:
    return _halves(job[SOURCE] + 2 * row * job[WIDTH])


@_inlined
def _low(job: Any, row: int) -> Any:
    """A x of `row`."""
    return _floats(job[LOW] + 4 * row * job[LOW_STRIDE])


@_inlined
def _target(job: Any, row: int) -> Any:
    return _floats(job[TARGET] + 4 * row * job[WIDTH])


@_inlined
def _b(job: Any, span: int) -> Any:
    return _floats(job[span + B] + 4 * job[SKIPPED])


@_inlined
def _gain(job: Any, span: int) -> Any:
    return _floats(job[span + GAIN] + 4 * job[SKIPPED])


@_summing
def _lower_two(job: Any, span: int, k: int, row: int, pair: int, upper: Any, lower: Any) -> None:
    """Two rows at a time, so that what is read of A and B serves twice; four ranks, so that the rows' numbers do."""
    _prefer_wide_vectors()
    above, below, width, zero = _low(job, row), _low(job, pair), job[INPUTS_WIDTH], np.float32(0.0)
    a, at0, at1, at2, at3 = _floats(job[span + A]), k * width, (k + 1) * width, (k + 2) * width, (k + 3) * width
    u0, u1, u2, u3, l0, l1, l2, l3 = zero, zero, zero, zero, zero, zero, zero, zero
    for j in range(width):
        x, y, a0, a1, a2, a3 = _widened(upper[j]), _widened(lower[j]), a[at0 + j], a[at1 + j], a[at2 + j], a[at3 + j]
        u0, u1, u2, u3 = u0 + a0 * x, u1 + a1 * x, u2 + a2 * x, u3 + a3 * x
        l0, l1, l2, l3 = l0 + a0 * y, l1 + a1 * y, l2 + a2 * y, l3 + a3 * y
    above[k], above[k + 1], above[k + 2], above[k + 3] = u0, u1, u2, u3
    below[k], below[k + 1], below[k + 2], below[k + 3] = l0, l1, l2, l3


@_inlined
def _copy(job: Any, row: int, left: int, right: int) -> None:
    _prefer_wide_vectors()
    if job[IS_BFLOAT16]:
        target, source = _target(job, row), _half_source(job, row)
        for j in range(left, right):
            target[j] = _widened(source[j])


@_inlined
def _raise_two(job: Any, span: int, row: int, pair: int, over: Any, under: Any, left: int, right: int) -> None:
    """Both rows' numbers are read before either is written: an odd row out is its own pair."""
    _prefer_wide_vectors()
    upper, lower, above, below = _target(job, row), _target(job, pair), _low(job, row), _low(job, pair)
    b, gain, stride = _b(job, span), _gain(job, span), job[span + B_STRIDE]
    for k in range(0, job[span + RANK], RANKS):
        u0, u1, u2, u3 = above[k], above[k + 1], above[k + 2], above[k + 3]
        l0, l1, l2, l3 = below[k], below[k + 1], below[k + 2], below[k + 3]
        at0, at1, at2, at3 = k * stride, (k + 1) * stride, (k + 2) * stride, (k + 3) * stride
        if k == 0:
            for j in range(left, right):
                b0, b1, b2, b3, g = b[at0 + j], b[at1 + j], b[at2 + j], b[at3 + j], gain[j]
                x = g * _widened(over[j]) + u0 * b0 + u1 * b1 + u2 * b2 + u3 * b3
                y = g * _widened(under[j]) + l0 * b0 + l1 * b1 + l2 * b2 + l3 * b3
                upper[j], lower[j] = x, y
        else:
            for j in range(left, right):
                b0, b1, b2, b3 = b[at0 + j], b[at1 + j], b[at2 + j], b[at3 + j]
                x = upper[j] + u0 * b0 + u1 * b1 + u2 * b2 + u3 * b3
                y = lower[j] + l0 * b0 + l1 * b1 + l2 * b2 + l3 * b3
                upper[j], lower[j] = x, y
