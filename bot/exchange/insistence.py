"""Reads without which the bot cannot begin: asked for again, with growing pauses, while the venue does not answer."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from bot.clock import SECOND_MS, Clock
from bot.errors import OutcomeUnknown, VenueUnavailable
from bot.exchange.back_off import BackOff
from bot.messages import BotEvent, Severity

T = TypeVar("T")

LONGEST_SECONDS = 8.0  # what is held at the venue waits for the answer too
PATIENCE_SECONDS = 120.0  # of pauses for one answer; then the process ends, and whoever supervises it starts it again


class Insistence:
    """For reads alone: what is asked may be asked twice. `report` never blocks."""

    def __init__(self, clock: Clock, report: Callable[[BotEvent], None]) -> None:
        self._clock = clock
        self._report = report

    async def read(self, what: str, ask: Callable[[], Awaitable[T]]) -> T:
        """The answer; the last error goes through when patience ends, or would before the venue wants to be asked."""
        pause, failures, left = BackOff(self._clock, LONGEST_SECONDS), 0, PATIENCE_SECONDS
        while True:
            try:
                answer = await ask()
            except (VenueUnavailable, OutcomeUnknown) as error:
                if left <= 0 or self._closed_seconds(error) > left:
                    raise
                failures += 1
                if failures == 1:
                    self._tell("start_waits", for_what=what, error=str(error))
            else:
                if failures:
                    self._tell("start_goes_on", after=what, failures=failures)
                return answer
            left -= await pause.wait()

    def _closed_seconds(self, error: VenueUnavailable | OutcomeUnknown) -> float:
        retry_at = error.retry_at if isinstance(error, VenueUnavailable) else None
        return 0.0 if retry_at is None else (retry_at - self._clock.now()) / SECOND_MS

    def _tell(self, name: str, **detail: object) -> None:
        self._report(BotEvent(at=self._clock.now(), name=name, severity=Severity.WARNING, detail=detail))
