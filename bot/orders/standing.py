"""Why trading is held back, pure: the reasons that stand, the strictest state among them, and who may lift which."""

from collections.abc import Iterable

import msgspec

from bot.messages import PERSON, TradingState

AUTOMATIC = frozenset(
    {
        "starting",
        "reconciling",
        "not_reconciled",
        "user_stream_lost",
        "venue_disagrees",
        "database_away",
        "flattening",
        "stopping",
        "clock",
    }
)
_STRICTNESS = (TradingState.ACTIVE, TradingState.REDUCING, TradingState.HALTED)


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """One reason to trade less. Those that are not AUTOMATIC outlive the process and wait for a person."""

    state: TradingState
    reason: str
    by: str
    at: int
    detail: str = ""

    @property
    def waits_for_a_person(self) -> bool:
        return self.reason not in AUTOMATIC


class Standing:
    """At most one hold for each reason; with none trading is ACTIVE."""

    def __init__(self, holds: Iterable[Hold] = ()) -> None:
        self._holds = {hold.reason: hold for hold in holds}

    @property
    def state(self) -> TradingState:
        return max((hold.state for hold in self._holds.values()), key=_STRICTNESS.index, default=TradingState.ACTIVE)

    @property
    def reason(self) -> str:
        """The newest reason for the state; empty when trading is ACTIVE."""
        state = self.state
        return next((hold.reason for hold in reversed(self._holds.values()) if hold.state is state), "")

    @property
    def holds(self) -> tuple[Hold, ...]:
        return tuple(self._holds.values())

    @property
    def lasting(self) -> tuple[Hold, ...]:
        """Those that wait for a person."""
        return tuple(hold for hold in self._holds.values() if hold.waits_for_a_person)

    def order(self, hold: Hold) -> bool:
        """Take a hold; False where it says nothing new. Only a person softens one."""
        before = self._holds.get(hold.reason)
        if before is not None:
            softer = _STRICTNESS.index(before.state) > _STRICTNESS.index(hold.state)
            said = (before.state, before.detail) == (hold.state, hold.detail)
            if said or softer and not hold.by.startswith(PERSON):
                return False
        self._holds.pop(hold.reason, None)
        self._holds[hold.reason] = hold
        return True

    def release(self, reason: str, by: str) -> str:
        """Lift one reason; why not, where it stays. One that does not stand is none to refuse."""
        hold = self._holds.get(reason)
        if hold is None:
            return ""
        person = by.startswith(PERSON)
        if hold.waits_for_a_person and not person:
            return "waits for a person"
        if not hold.waits_for_a_person and person:
            return "is lifted by itself when its cause is gone"
        del self._holds[reason]
        return ""
