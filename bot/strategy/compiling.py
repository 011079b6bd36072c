"""Functions that numba compiles, kept on disk until they, or anything that they call, say something else."""

import functools
import hashlib
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any, TypeVar, cast

from numba import njit
from numba.core.caching import FunctionCache
from numba.core.dispatcher import Dispatcher

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def compiled(function: FunctionT) -> FunctionT:
    """`numba.njit`, typed as the function it compiles, and kept on disk where numba may write."""
    return cast(FunctionT, _kept(njit(function)))


def free(function: FunctionT) -> FunctionT:
    """The same, letting other threads run meanwhile."""
    return cast(FunctionT, _kept(njit(nogil=True)(function)))


def _kept(dispatcher: Any) -> Any:
    try:
        dispatcher._cache = _Cache(dispatcher.py_func)  # type: ignore[no-untyped-call]  # numba tells no types
    except RuntimeError:  # there is no folder that numba may write to: a read-only installation without a home
        return dispatcher
    return dispatcher


class _Cache(FunctionCache):
    """numba's own sees changes in the function's file alone, and would go on with old rules of other files."""

    def _index_key(self, signature: Any, codegen: Any) -> tuple[Any, ...]:
        key = super()._index_key(signature, codegen)  # type: ignore[no-untyped-call]  # numba tells no types
        return (*key, fingerprint(self._py_func))


@functools.cache
def fingerprint(function: FunctionType) -> str:
    """Differs where the code or a constant of the function does, or of any compiled function that it calls."""
    digest = hashlib.blake2b(digest_size=16)
    for part in _parts(function, set()):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()


def _parts(function: FunctionType, seen: set[FunctionType]) -> Iterator[str]:
    seen.add(function)
    yield f"{function.__qualname__} {function.__defaults__!r}"
    for code in _codes(function.__code__):
        yield code.co_code.hex()
        yield repr([one for one in code.co_consts if not isinstance(one, CodeType)])
        for name in code.co_names:
            value = function.__globals__.get(name)
            yield name
            if not isinstance(value, Dispatcher):
                yield _said(value)
            elif value.py_func not in seen:
                yield from _parts(value.py_func, seen)


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A function's code, and that of the comprehensions in it."""
    yield code
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield from _codes(one)


def _said(value: object) -> str:
    """A constant by its value, a tuple's class by its fields, all else by its name."""
    if isinstance(value, bool | int | float | str | tuple | None):
        return repr(value)
    return f"{getattr(value, '__name__', '')} {getattr(value, '_fields', '')}"
