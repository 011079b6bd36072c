"""Pauses between attempts to reach the venue, in real time."""

import random

import anyio

from bot.clock import Clock


class BackOff:
    """Doubling, capped, with jitter; short again after a connection that lasted, in domain time."""

    FIRST_SECONDS = 0.5
    LONGEST_SECONDS = 60.0
    LASTED_MS = 60_000

    def __init__(self, clock: Clock, longest_seconds: float = LONGEST_SECONDS) -> None:
        self._clock = clock
        self._longest_seconds = longest_seconds
        self._failures = 0
        self._since = clock.now()

    async def wait(self) -> float:
        """Seconds that were waited for."""
        if self._clock.now() - self._since > self.LASTED_MS:
            self._failures = 0
        longest: float = min(self._longest_seconds, self.FIRST_SECONDS * 2**self._failures)
        self._failures = min(self._failures + 1, 16)
        seconds = longest * random.uniform(0.5, 1)
        await anyio.sleep(seconds)
        self._since = self._clock.now()
        return seconds
