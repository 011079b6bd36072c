"""Work that SIGINT and SIGTERM end."""

import signal
from collections.abc import Awaitable, Callable

import anyio


async def until_signal(work: Callable[[], Awaitable[None]]) -> bool:
    """Do `work` until it is done or SIGINT or SIGTERM comes; whether one came."""
    interrupted = False
    async with anyio.create_task_group() as group:

        async def wait_for_signal() -> None:
            nonlocal interrupted
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async for _ in signals:
                    interrupted = True
                    group.cancel_scope.cancel()
                    return

        group.start_soon(wait_for_signal)
        await work()
        group.cancel_scope.cancel()
    return interrupted
