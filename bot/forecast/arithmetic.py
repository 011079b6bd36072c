"""The arithmetic of the kernels, on rows of float32 that stand in the cache; compiled by numba."""

import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit

from bot.forecast.adapters import COLUMNS
from bot.forecast.instructions import (
    LANES,
    beyond,
    load,
    load_two,
    nothing,
    plus_product,
    power_of_two,
    prefer_wide_vectors,
    rounded,
    total,
    widened,
)
from bot.forecast.network import EPSILON

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

_EPSILON = np.float32(EPSILON)
_ZERO, _ONE, _LOWEST = np.float32(0.0), np.float32(1.0), np.float32(-np.inf)
_LARGEST, _LEAST, _LOG2_E = np.float32(88.0), np.float32(-87.0), np.float32(1.44269504)
_TO_WHOLE = np.float32(12582912.0)  # 1.5 * 2**23: what is added to it loses its fraction
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(2.12194440e-4)  # high - low
_P0, _P1, _P2 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519073e-3)
_P3, _P4, _P5 = np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)


def inlined(function: FunctionT) -> FunctionT:
    return cast(FunctionT, njit(fastmath={"contract"}, error_model="numpy")(function))


def summing(function: FunctionT) -> FunctionT:
    """Sums may be taken in any order: several numbers at a time."""
    return cast(FunctionT, njit(fastmath={"contract", "reassoc", "nsz"}, error_model="numpy")(function))


@inlined
def round_row(x: Any, operand: Any, width: int, kind: Any) -> None:
    """In the room too: A meets what the product meets."""
    prefer_wide_vectors()
    for j in range(width):
        number = rounded(x[j], kind)
        operand[j] = number
        x[j] = widened(number)


@inlined
def lower_four(
    a: Any, rank: int, x: Any, y: Any, z: Any, w: Any, width: int, low: Any, p: int, q: int, r: int, s: int
) -> None:
    """A x of four rows at a time, so that what is read of A serves four times; of four ranks, so that the rows do.

    `a` are the first of the four in blocks of (rank, COLUMNS); low[p : p + 4] is for x, and so on.
    """
    x0 = x1 = x2 = x3 = y0 = y1 = y2 = y3 = z0 = z1 = z2 = z3 = w0 = w1 = w2 = w3 = nothing()
    for left in range(0, width, COLUMNS):
        right, at = left + LANES, left * rank
        xl, xr, yl, yr = load(x, left), load(x, right), load(y, left), load(y, right)
        zl, zr, wl, wr = load(z, left), load(z, right), load(w, left), load(w, right)
        al, ar = load_two(a, at)
        x0, y0 = _sum(x0, al, xl, ar, xr), _sum(y0, al, yl, ar, yr)
        z0, w0 = _sum(z0, al, zl, ar, zr), _sum(w0, al, wl, ar, wr)
        al, ar = load_two(a, at + COLUMNS)
        x1, y1 = _sum(x1, al, xl, ar, xr), _sum(y1, al, yl, ar, yr)
        z1, w1 = _sum(z1, al, zl, ar, zr), _sum(w1, al, wl, ar, wr)
        al, ar = load_two(a, at + 2 * COLUMNS)
        x2, y2 = _sum(x2, al, xl, ar, xr), _sum(y2, al, yl, ar, yr)
        z2, w2 = _sum(z2, al, zl, ar, zr), _sum(w2, al, wl, ar, wr)
        al, ar = load_two(a, at + 3 * COLUMNS)
        x3, y3 = _sum(x3, al, xl, ar, xr), _sum(y3, al, yl, ar, yr)
        z3, w3 = _sum(z3, al, zl, ar, zr), _sum(w3, al, wl, ar, wr)
    low[p], low[p + 1], low[p + 2], low[p + 3] = total(x0), total(x1), total(x2), total(x3)
    low[q], low[q + 1], low[q + 2], low[q + 3] = total(y0), total(y1), total(y2), total(y3)
    low[r], low[r + 1], low[r + 2], low[r + 3] = total(z0), total(z1), total(z2), total(z3)
    low[s], low[s + 1], low[s + 2], low[s + 3] = total(w0), total(w1), total(w2), total(w3)


@inlined
def _sum(before: Any, one: Any, other: Any, third: Any, fourth: Any) -> Any:
    """before + one * other + third * fourth"""
    return plus_product(plus_product(before, one, other), third, fourth)


@summing
def inverse_rms(x: Any, width: int) -> Any:
    prefer_wide_vectors()
    squares = _ZERO
    for j in range(width):
        squares += x[j] * x[j]
    return _ONE / math.sqrt(squares / np.float32(width) + _EPSILON)


@inlined
def add_scaled(x: Any, factor: Any, scale: Any, hidden: Any, width: int) -> None:
    prefer_wide_vectors()
    for j in range(width):
        hidden[j] += x[j] * factor * scale[j]


@inlined
def set_scaled(hidden: Any, factor: Any, scale: Any, x: Any, width: int) -> None:
    prefer_wide_vectors()
    for j in range(width):
        x[j] = hidden[j] * factor * scale[j]


@inlined
def silu(x: Any, count: int) -> None:
    prefer_wide_vectors()
    for j in range(count):
        x[j] = x[j] / (_ONE + _exp(-x[j]))


@inlined
def _exp(x: Any) -> Any:
    """To the last bits of a float32, between -87 and 88; the polynomial is that of Cephes' expf (netlib.org/cephes)."""
    if x > _LARGEST:  # asked so, what is no number stays none
        x = _LARGEST
    if x < _LEAST:
        x = _LEAST
    shifted = x * _LOG2_E + _TO_WHOLE
    whole = shifted - _TO_WHOLE
    x = x - whole * _LN2_HIGH + whole * _LN2_LOW
    p = _P0 * x + _P1
    p = p * x + _P2
    p = p * x + _P3
    p = p * x + _P4
    p = p * x + _P5
    return (p * x * x + x + _ONE) * power_of_two(shifted)


@inlined
def rotate(queries: Any, heads: int, width: int, patch: int, asks: bool, cos: Any, sin: Any, scratch: Any) -> None:
    """Normalise and rotate each head of a patch, in place: its keys, and its queries before them where it asks."""
    dims, first = width // heads, 0 if asks else heads
    for head in range(first, 2 * heads):
        x = beyond(queries, head * dims)
        _swap(x, inverse_rms(x, dims), beyond(scratch, head * dims), dims // 2)
    table, at = 2 * patch * width, first * dims
    cos, sin = beyond(cos, table + at), beyond(sin, table + at)
    _turn(beyond(queries, at), beyond(scratch, at), cos, sin, 2 * width - at)


@inlined
def _swap(x: Any, factor: Any, swapped: Any, half: int) -> None:
    prefer_wide_vectors()
    for j in range(half):
        lower, upper = x[j] * factor, x[half + j] * factor
        x[j], x[half + j] = lower, upper
        swapped[j], swapped[half + j] = upper, lower


@inlined
def _turn(x: Any, swapped: Any, cos: Any, sin: Any, width: int) -> None:
    prefer_wide_vectors()
    for j in range(width):
        x[j] = x[j] * cos[j] + swapped[j] * sin[j]


@inlined
def attend(series: Any, heads: int, width: int, patch: int, shares: Any) -> None:
    """The `patch` asks itself and those before it; the answer takes the place of its queries."""
    dims = width // heads
    for head in range(heads):
        keys, values = beyond(series, width + head * dims), beyond(series, 2 * width + head * dims)
        query, largest, whole = beyond(series, 3 * patch * width + head * dims), _LOWEST, _ZERO
        for key in range(patch + 1):
            shares[key] = _dot(query, beyond(keys, 3 * key * width), dims)
            largest = max(largest, shares[key])
        for key in range(patch + 1):
            shares[key] = _exp(shares[key] - largest)
            whole += shares[key]
        for key in range(patch + 1):
            _mix(query, shares[key] / whole, beyond(values, 3 * key * width), dims, key)


@summing
def _dot(x: Any, y: Any, width: int) -> Any:
    prefer_wide_vectors()
    product = _ZERO
    for j in range(width):
        product += x[j] * y[j]
    return product


@inlined
def _mix(answer: Any, share: Any, value: Any, width: int, key: int) -> None:
    prefer_wide_vectors()
    if key == 0:
        for j in range(width):
            answer[j] = share * value[j]
    else:
        for j in range(width):
            answer[j] += share * value[j]
