"""Virtual time and a seeded scheduler: everything that makes a run of the real actors repeatable, in one place."""

import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from typing import Any, TypeVar
from unittest.mock import patch

import anyio
import anyio.to_thread
import structlog
import trio
import trio.testing
from anyio.lowlevel import checkpoint

from bot.clock import Turn

T = TypeVar("T")


class VirtualClock:
    """The one time of a simulation: domain time and the pauses of anyio.sleep move together, as they do live."""

    def __init__(self, start: int) -> None:
        self._start = start

    def now(self) -> int:
        return self._start + round(trio.current_time() * 1_000)

    async def sleep_until(self, at: int, turn: Turn = Turn.MARKET) -> None:
        await checkpoint()
        while (left := at - self.now()) > 0:  # noqa: ASYNC110  # it is the clock, and floats may end short of `at`
            await anyio.sleep(left / 1_000)


def run(seed: int, function: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Run on trio: time stands still while anybody works and jumps when all sleep; who goes first follows the seed.

    trio has these switches for its users' tests and gives them no public name. Its coin decides between equals, and
    the jitter of back-offs comes from the module `random`.
    """
    trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING = True
    trio._core._run._r.seed(seed)
    random.seed(seed)
    clock = trio.testing.MockClock(autojump_threshold=0)
    with _threads_inline(), _without_logs():
        return anyio.run(function, *args, backend="trio", backend_options={"clock": clock})


@contextmanager
def _threads_inline() -> Any:
    """A worker thread lives in real time, and virtual time would pass it by: its work is done in place."""

    async def run_sync(function: Callable[..., T], *args: object, **_: object) -> T:
        await checkpoint()
        return function(*args)

    with patch.object(anyio.to_thread, "run_sync", run_sync):
        yield


@contextmanager
def _without_logs() -> Any:
    """Log lines of a thousand days are of no use; the trace has what happened."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)
