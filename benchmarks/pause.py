"""How long the event loop stands still while a worker thread computes a forecast."""

import sys
from collections.abc import Callable

import anyio
from anyio import CapacityLimiter, to_thread

from bot.clock import Stopwatch

TICK = 0.001  # seconds


def longest_pause(infer: Callable[[], object], passes: int) -> float:
    """Seconds beyond the tick that the longest of all 1 ms sleeps took while `infer` ran `passes` times.

    The loop and the worker thread are those of the bot: uvloop where there is one, and one inference at a time.
    """
    options = {"use_uvloop": sys.platform != "win32"}
    return anyio.run(_watch, infer, passes, backend="asyncio", backend_options=options)


async def _watch(infer: Callable[[], object], passes: int) -> float:
    limiter = CapacityLimiter(1)
    longest, done = 0.0, False

    async def tick() -> None:
        nonlocal longest
        while not done:
            slept = Stopwatch()
            await anyio.sleep(TICK)
            longest = max(longest, slept.seconds - TICK)

    async with anyio.create_task_group() as group:
        group.start_soon(tick)
        for _ in range(passes):
            await to_thread.run_sync(infer, limiter=limiter)
        done = True
    return longest
