"""What the variants hold by their own account: the desk's positions, and intents that the desk has not taken up yet."""

from bot.messages import EntryIntent, Position, PositionStatus
from bot.strategy.risk import Exposure, Held


class Exposed:
    """The desk's word counts as soon as it comes; until then a sent intent counts, at most for its time to live."""

    def __init__(self) -> None:
        self._positions: dict[str, Held] = {}
        self._sent: dict[str, EntryIntent] = {}

    def sent(self, intent: EntryIntent) -> None:
        self._sent[intent.signal_id] = intent

    def denied(self, signal_id: str) -> None:
        self._sent.pop(signal_id, None)

    def changed(self, position: Position) -> None:
        self._sent.pop(position.position_id, None)
        if position.status is PositionStatus.CLOSED:
            self._positions.pop(position.position_id, None)
        else:
            held = Held(position.variant, position.tier, position.symbol, position.side)
            self._positions[position.position_id] = held

    def at(self, now: int) -> Exposure:
        self._sent = {key: intent for key, intent in self._sent.items() if intent.expires_at > now}
        waiting = (Held(intent.variant, intent.tier, intent.symbol, intent.side) for intent in self._sent.values())
        return Exposure((*self._positions.values(), *waiting))
