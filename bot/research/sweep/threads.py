"""Compiled work on every core: plain threads, because what they call lets go of the GIL."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

PIECES = 4  # a thread's share is cut into so many, so that none waits long for another


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share_out(pool: ThreadPoolExecutor, threads: int, count: int, work: Callable[[int, int], None]) -> None:
    """Call `work(begin, end)` for pieces that make up 0 ... count; returns when all are done."""
    pieces = max(1, min(count, threads * PIECES))
    bounds = [count * number // pieces for number in range(pieces + 1)]
    for done in [pool.submit(work, bounds[n], bounds[n + 1]) for n in range(pieces)]:
        done.result()
