"""Pauses between attempts to reach the venue, in real time."""

import random

import anyio

from bot.clock import Clock


class BackOff:
    """Doubling, capped, with jitter; short again after a connection that lasted, in domain time."""

    FIRST_SECONDS = 0.5
    LONGEST_SECONDS = 60.0
    LASTED_MS = 60_000

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures = 0
        self._since = clock.now()

    async def wait(self) -> None:
        if self._clock.now() - self._since > self.LASTED_MS:
            self._failures = 0
        longest = min(self.LONGEST_SECONDS, self.FIRST_SECONDS * 2**self._failures)
        self._failures = min(self._failures + 1, 16)
        await anyio.sleep(longest * random.uniform(0.5, 1))
        self._since = self._clock.now()
