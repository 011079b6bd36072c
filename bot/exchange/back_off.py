"""Pauses between attempts to reach the venue, in real time."""

import random

import anyio


class BackOff:
    """Doubling, capped, with jitter; short again after a connection that lasted."""

    FIRST_SECONDS = 0.5
    LONGEST_SECONDS = 60.0
    LASTED_SECONDS = 60.0

    def __init__(self) -> None:
        self._failures = 0
        self._since = anyio.current_time()

    async def wait(self) -> None:
        if anyio.current_time() - self._since > self.LASTED_SECONDS:
            self._failures = 0
        longest = min(self.LONGEST_SECONDS, self.FIRST_SECONDS * 2**self._failures)
        self._failures = min(self._failures + 1, 16)
        await anyio.sleep(longest * random.uniform(0.5, 1))
        self._since = anyio.current_time()
