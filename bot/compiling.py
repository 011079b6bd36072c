"""Functions that numba compiles, kept on disk until they, or anything that they call, say something else."""

import contextlib
import functools
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import IO, Any, TypeVar, cast

import numpy as np
from numba import njit
from numba.core.caching import FunctionCache
from numba.core.ccallback import CFunc
from numba.core.dispatcher import Dispatcher
from numba.core.extending import _Intrinsic

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def compiled(function: FunctionT) -> FunctionT:
    """`numba.njit`, typed as the function it compiles, and kept on disk where numba may write."""
    return cast(FunctionT, _kept(njit(function), function))


def free(function: FunctionT) -> FunctionT:
    """The same, letting other threads run meanwhile."""
    return cast(FunctionT, _kept(njit(nogil=True)(function), function))


def c_function(signature: Any, function: Callable[..., Any]) -> int:
    """Address of `function` as C calls it, kept on disk where numba may write."""
    made = _kept(CFunc(function, (signature.args, signature.return_type), {}, {}), function)
    try:
        made.compile()
    finally:
        if isinstance(made._cache, _Cache):
            made._cache.end_turn()
    return int(made.address)


def _kept(made: Any, function: Callable[..., Any]) -> Any:
    """`made` of `function`, with what was compiled kept; as it is where there is no folder that numba may write to."""
    with contextlib.suppress(RuntimeError):  # a read-only installation without a home
        made._cache = _cache_of(function)
    return made


class _Cache(FunctionCache):
    """numba's own sees changes in the function's file alone, and would go on with old rules of other files.

    What several processes need at the same time one of them compiles, and the others wait for it: numba's own lets each
    compile it, and two that write at the same moment could file one's code under the other's signature.
    """

    _turn: IO[bytes] | None = None

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        above: Any = super()
        found = above.load_overload(sig, target_context)
        if found is None and self._turn is None:
            self._turn = self._wait_for_turn()
            found = above.load_overload(sig, target_context)
            if found is not None:
                self.end_turn()
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        above: Any = super()
        try:
            above.save_overload(sig, data)
        finally:
            self.end_turn()

    def _wait_for_turn(self) -> IO[bytes] | None:
        """The lock of this function, which ends with the file or the process; None where there is none to be had."""
        if fcntl is None:
            return None
        folder = Path(self._cache_path)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = (folder / f"{self._impl.filename_base}.lock").open("wb")
        except OSError:  # another user's, or a full disk: without a lock it is compiled all the same
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:  # a filesystem without locks
            file.close()
            return None
        return file

    def end_turn(self) -> None:
        if self._turn is not None:
            fcntl.flock(self._turn, fcntl.LOCK_UN)  # closing alone would leave it to a child that was forked meanwhile
            self._turn.close()
            self._turn = None

    def _index_key(self, signature: Any, codegen: Any) -> tuple[Any, ...]:
        above: Any = super()
        return (*above._index_key(signature, codegen), fingerprint(self._py_func))


_cache_of: Any = _Cache  # numba tells no types


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
            called = _called(value)
            yield _options(value)
            if called is None:
                yield _said(value)
            elif called not in seen:
                yield from _parts(called, seen)


def _options(value: object) -> str:
    """What a function was compiled with, fast arithmetic for one."""
    if not isinstance(value, Dispatcher):
        return ""
    found = {
        name: sorted(option) if isinstance(option, set) else option for name, option in value.targetoptions.items()
    }
    return repr(sorted(found.items(), key=lambda pair: pair[0]))


def _called(value: object) -> FunctionType | None:
    """The source of a compiled function, of an instruction that LLVM is told, or of ours that it calls."""
    if isinstance(value, Dispatcher):
        return cast(FunctionType, value.py_func)
    if isinstance(value, FunctionType):
        return value if value.__module__.startswith("bot.") else None
    return cast(FunctionType, value._defn) if isinstance(value, _Intrinsic) else None


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A function's code, and that of the comprehensions in it."""
    yield code
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield from _codes(one)


def _said(value: object) -> str:
    """A constant by its value, a tuple's class by its fields, all else by its name."""
    if isinstance(value, bool | int | float | str | tuple | np.generic | None):
        return repr(value)
    return f"{getattr(value, '__name__', '')} {getattr(value, '_fields', '')}"
