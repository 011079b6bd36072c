"""What numba has no word for, as LLVM writes it: typed pointers, bfloat16, vectors of numbers, an atomic counter.

Each function is given the types of its arguments, and tells numba its signature and the code.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

LANES = 16  # numbers in a vector; on machines with narrower registers LLVM takes several for it
BFLOAT16, FLOAT32 = np.uint16(0), np.float32(0)  # kinds of numbers; a bfloat16 is given as its bits

_BITS, _FLOAT, _INDEX = ir.IntType(32), ir.FloatType(), ir.IntType(64)
_FLOATS, _WIDE = ir.VectorType(_FLOAT, LANES), ir.VectorType(_BITS, LANES)

pointer_to: Any = types.CPointer  # numba tells no types
_pair_of: Any = types.UniTuple
_functions: Any = cgutils


def _instruction(function: Callable[..., Any]) -> Any:
    return intrinsic(function)


@_instruction
def numbers(_: Any, address: Any, kind: Any) -> Any:
    """The numbers of `kind` at an address."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return pointer_to(kind)(types.int64, kind), code


@_instruction
def beyond(_: Any, pointer: Any, count: Any) -> Any:
    """The numbers from the `count`th on."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.gep(arguments[0], [arguments[1]])

    return pointer(pointer, types.int64), code


@_instruction
def claim(_: Any, counters: Any, index: Any) -> Any:
    """counters[index], and add one to it: no two threads get the same."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.atomic_rmw("add", builder.gep(arguments[0], [arguments[1]]), _INDEX(1), "monotonic")

    return types.int64(pointer_to(types.int64), types.int64), code


@_instruction
def call(_: Any, address: Any) -> Any:
    """What the C function there, which takes nothing, returns as an int."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        function = builder.inttoptr(arguments[0], ir.FunctionType(_BITS, []).as_pointer())
        return builder.sext(builder.call(function, []), _INDEX)

    return types.int64(types.int64), code


@_instruction
def widened(_: Any, number: Any) -> Any:
    """A number of any kind as float32."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if number is types.float32:
            return arguments[0]
        return builder.bitcast(builder.shl(builder.zext(arguments[0], _BITS), _BITS(16)), _FLOAT)

    return types.float32(number), code


@_instruction
def rounded(_: Any, number: Any, kind: Any) -> Any:
    """A float32 as the nearest number of `kind`; of two bfloat16 the even one."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if kind is types.float32:
            return arguments[0]
        bits = builder.bitcast(arguments[0], _BITS)
        half = builder.add(builder.and_(builder.lshr(bits, _BITS(16)), _BITS(1)), _BITS(0x7FFF))
        return builder.trunc(builder.lshr(builder.add(bits, half), _BITS(16)), ir.IntType(16))

    return kind(types.float32, kind), code


@_instruction
def power_of_two(_: Any, number: Any) -> Any:
    """2 to the power of a whole number between -127 and 128, which is given as 1.5 * 2**23 more than it is."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits = builder.shl(builder.bitcast(arguments[0], _BITS), _BITS(23))
        return builder.bitcast(builder.add(bits, _BITS(0x3F800000)), _FLOAT)

    return types.float32(types.float32), code


@_instruction
def prefer_wide_vectors(_: Any) -> Any:
    """For the function that calls it: LLVM would use half of what the widest registers hold."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), code


class _Vector(types.Type):
    """LANES numbers of float32 in registers."""

    def __init__(self) -> None:
        super().__init__("vector")


_vector = _Vector()


@register_model(_Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, numba_type: Any) -> None:
        above: Any = super()
        above.__init__(manager, numba_type, _FLOATS)


def _place(builder: Any, element: Any, pointer: Any, index: Any) -> Any:
    return builder.bitcast(builder.gep(pointer, [index]), ir.VectorType(element, LANES).as_pointer())


@_instruction
def load(_: Any, pointer: Any, index: Any) -> Any:
    """pointer[index : index + LANES], of any kind, as a vector."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if pointer.dtype is types.float32:
            return builder.load(_place(builder, _FLOAT, *arguments), align=4)
        bits = builder.zext(builder.load(_place(builder, ir.IntType(16), *arguments), align=2), _WIDE)
        return builder.bitcast(builder.shl(bits, ir.Constant(_WIDE, [16] * LANES)), _FLOATS)

    return _vector(pointer, types.int64), code


@_instruction
def load_two(_: Any, pointer: Any, index: Any) -> Any:
    """Two vectors: pointer[index : index + 2 LANES] of float32, or the same of bfloat16, the two taking turns.

    A bfloat16 is the upper half of a float32, so that one load and an operation for each vector are enough.
    """

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if pointer.dtype is types.float32:
            at, later = arguments[1], builder.add(arguments[1], _INDEX(LANES))
            parts = [builder.load(_place(builder, _FLOAT, arguments[0], one), align=4) for one in (at, later)]
        else:
            place = builder.bitcast(builder.gep(arguments[0], [arguments[1]]), _WIDE.as_pointer())
            bits = builder.load(place, align=2)
            lower = builder.shl(bits, ir.Constant(_WIDE, [16] * LANES))
            upper = builder.and_(bits, ir.Constant(_WIDE, [0xFFFF0000] * LANES))
            parts = [builder.bitcast(one, _FLOATS) for one in (lower, upper)]
        return context.make_tuple(builder, signature.return_type, parts)

    return _pair_of(_vector, 2)(pointer, types.int64), code


@_instruction
def nothing(_: Any) -> Any:
    """A vector of zeros."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(_FLOATS, [0.0] * LANES)

    return _vector(), code


@_instruction
def total(_: Any, vector: Any) -> Any:
    """The sum of a vector's numbers, in any order."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(_FLOAT, [_FLOAT, _FLOATS])
        name = f"llvm.vector.reduce.fadd.v{LANES}f32"
        function = _functions.get_or_insert_function(builder.module, kind, name)
        return builder.call(function, [_FLOAT(0.0), arguments[0]], fastmath=["reassoc"])

    return types.float32(_vector), code


@_instruction
def plus_product(_: Any, total: Any, one: Any, other: Any) -> Any:
    """total + one * other, number by number, rounded once where the machine can."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        total, one, other = arguments
        return builder.fadd(total, builder.fmul(one, other, flags=["contract"]), flags=["contract"])

    return _vector(_vector, _vector, _vector), code


@_instruction
def store(_: Any, vector: Any, pointer: Any, index: Any) -> Any:
    """pointer[index : index + LANES] = vector"""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[0], _place(builder, _FLOAT, *arguments[1:]), align=4)
        return context.get_dummy_value()

    return types.void(_vector, pointer_to(types.float32), types.int64), code


@_instruction
def times(_: Any, one: Any, other: Any) -> Any:
    """The product of two vectors, number by number."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fmul(*arguments)

    return _vector(_vector, _vector), code


@_instruction
def plus(_: Any, total: Any, factor: Any, vector: Any) -> Any:
    """total + factor * vector, rounded once where the machine can."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        total, factor, vector = arguments
        first = builder.insert_element(ir.Constant(_FLOATS, ir.Undefined), factor, _BITS(0))
        every = builder.shuffle_vector(first, first, ir.Constant(_WIDE, [0] * LANES))
        return builder.fadd(total, builder.fmul(every, vector, flags=["contract"]), flags=["contract"])

    return _vector(_vector, types.float32, _vector), code
