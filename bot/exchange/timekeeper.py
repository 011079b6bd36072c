"""Our clock held to the venue's: measured every few minutes, and at once when the venue refuses a timestamp."""

from collections.abc import Callable

import anyio

from bot.clock import SECOND_MS, SystemClock
from bot.errors import VenueError, VenueUnavailable
from bot.exchange.port import MarketPort
from bot.messages import BotEvent, Severity

PROBES = 5
KEEP_TIME_SECONDS = 300
JUMP_MS = SECOND_MS  # a larger change of the offset is told: somebody has set a clock


class Timekeeper:
    """Owns the clock's offset. `measured` is told of each offset and of the moment by our clock, both in ms."""

    def __init__(
        self,
        market: MarketPort,
        clock: SystemClock,
        report: Callable[[BotEvent], None],
        measured: Callable[[int, int], None],
    ) -> None:
        self._market = market
        self._clock = clock
        self._report = report
        self._measured = measured

    async def begin(self) -> None:
        """Set the clock for the first time. Raises VenueUnavailable where the venue does not tell its time."""
        self._clock.offset_ms = await self._offset(PROBES)
        self._measured(self._clock.offset_ms, self._clock.now())

    async def run(self) -> None:
        while True:
            await anyio.sleep(KEEP_TIME_SECONDS)
            await self._measure(PROBES)

    async def resync(self) -> bool:
        """Set the clock at once, because the venue has refused a timestamp; whether it could be set."""
        return await self._measure(1)

    async def _measure(self, probes: int) -> bool:
        before = self._clock.offset_ms
        try:
            offset = await self._offset(probes)
        except VenueError as error:
            self._tell("clock_unmeasured", error=str(error))
            return False
        self._clock.offset_ms = offset
        self._measured(offset, self._clock.now())
        if abs(offset - before) > JUMP_MS:
            self._tell("clock_jumped", before_ms=before, offset_ms=offset)
        return True

    async def _offset(self, probes: int) -> int:
        """Milliseconds to add to the machine's clock; the probe with the shortest way there and back counts."""
        best: tuple[int, int] | None = None
        for probe in range(probes):
            if probe:
                await anyio.sleep(0.05)
            offset_ms = self._clock.offset_ms
            before = self._clock.now()
            there = await self._market.server_time()
            trip = self._clock.now() - before
            if offset_ms == self._clock.offset_ms and (best is None or trip < best[0]):
                best = (trip, there - before - trip // 2 + offset_ms)
        if best is None:
            raise VenueUnavailable("the venue does not tell its time")
        return best[1]

    def _tell(self, name: str, **detail: object) -> None:
        self._report(BotEvent(at=self._clock.now(), name=name, severity=Severity.WARNING, detail=detail))
