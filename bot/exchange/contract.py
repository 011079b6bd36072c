"""What the venue says that its documents do not have: told as an event, and a reason to open nothing more."""

from collections.abc import Callable

from bot.clock import HOUR_MS, Clock
from bot.errors import VenueDisagrees
from bot.messages import BotEvent, Severity, StandingOrder, TradingState

REASON = "contract_surprise"
AGAIN_MS = HOUR_MS  # before the same surprise is told again
MOST_TOLD = 1_000

Surprise = Callable[[str, str], None]  # (where, what came there)


def unheard(where: str, found: str) -> None:
    """Of a client that nobody watches: a test's, a tool's."""


class ContractWatch:
    """Hears of surprises from all clients of one venue. `report` and `stand` never block."""

    def __init__(
        self, clock: Clock, report: Callable[[BotEvent], None], stand: Callable[[StandingOrder], None]
    ) -> None:
        self._clock = clock
        self._report = report
        self._stand = stand
        self._told: dict[tuple[str, str], int] = {}

    def surprised(self, where: str, found: str) -> None:
        now = self._clock.now()
        if now - self._told.get((where, found), -AGAIN_MS) < AGAIN_MS:
            return
        if len(self._told) >= MOST_TOLD:
            self._told.clear()
        self._told[where, found] = now
        detail = {"endpoint": where, "found": found}
        self._report(BotEvent(at=now, name=REASON, severity=Severity.ERROR, detail={**detail}))
        self._stand(StandingOrder(state=TradingState.REDUCING, reason=REASON, by="venue", detail=f"{where}: {found}"))


def hear(surprised: Surprise, where: str, unreadable: VenueDisagrees) -> None:
    """Tell of an answer that was read and is new to us; text that is no JSON came from somewhere on the way."""
    if unreadable.legible:
        surprised(where, str(unreadable))
