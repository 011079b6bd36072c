"""Compiled functions on the threads that torch computes with: those of a second pool would wait for the same cores."""

import ctypes
import functools
import os
from array import array
from typing import TypeAlias

import torch

Job: TypeAlias = "array[int]"  # of 64 bits each


def reachable() -> bool:
    """Can `run` reach torch's threads? They are GNU OpenMP's where torch is a wheel for Linux."""
    return _openmp() is not None


def run(function: int, job: Job) -> None:
    """Call the C function at address `function` with `job` on all of torch's threads at once, without the GIL.

    The calls share out the work among themselves; this returns when the last of them has.
    """
    openmp = _openmp()
    assert openmp is not None  # the caller asked `reachable`
    openmp.GOMP_parallel(function, job.buffer_info()[0], torch.get_num_threads(), 0)


@functools.cache
def thread_number() -> int:
    """Address of a C function that tells a thread of `run` its number, from 0."""
    openmp = _openmp()
    assert openmp is not None
    return ctypes.cast(openmp.omp_get_thread_num, ctypes.c_void_p).value or 0


@functools.cache
def _openmp() -> ctypes.CDLL | None:
    """The library that torch has loaded already; None where it uses another one."""
    if "backend: OpenMP" not in torch.__config__.parallel_info() or not hasattr(os, "RTLD_NOLOAD"):
        return None
    try:
        library = ctypes.CDLL("libgomp.so.1", mode=os.RTLD_NOLOAD | os.RTLD_NOW)
        library.GOMP_parallel.argtypes = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint
        library.GOMP_parallel.restype = None
    except (OSError, AttributeError):
        return None
    return library
