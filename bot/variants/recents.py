"""When each variant last entered on each symbol and last lost there, by the desk's account."""

from collections.abc import Mapping

import msgspec

from bot.hookspecs import Recent
from bot.messages import EntryIntent, Position, PositionStatus

Place = tuple[str, str]  # variant, symbol


class Recents:
    """Begins with what an earlier process has left behind."""

    def __init__(self, known: Mapping[Place, Recent]) -> None:
        self._known = dict(known)
        self._resting: dict[str, tuple[Place, int]] = {}  # entries sent and without a fill, by position

    def sent(self, intent: EntryIntent) -> None:
        self._resting[intent.signal_id] = (intent.variant, intent.symbol), intent.created_at

    def denied(self, signal_id: str) -> None:
        self._resting.pop(signal_id, None)

    def changed(self, position: Position) -> None:
        place = position.variant, position.symbol
        self._resting.pop(position.position_id, None)
        closed = position.status is PositionStatus.CLOSED
        if position.opened_at is None:
            if not closed:
                self._resting[position.position_id] = place, position.created_at
            return
        known = self._known.get(place, Recent())
        lost_at = position.closed_at if closed and position.net_pnl < 0 else None
        self._known[place] = Recent(
            last_entry_at=_later(known.last_entry_at, position.opened_at),
            last_loss_at=_later(known.last_loss_at, lost_at),
        )

    def of(self, variant: str, symbol: str) -> Recent:
        known = self._known.get((variant, symbol), Recent())
        for place, at in self._resting.values():
            if place == (variant, symbol):
                known = msgspec.structs.replace(known, last_entry_at=_later(known.last_entry_at, at))
        return known


def _later(known: int | None, at: int | None) -> int | None:
    return max((one for one in (known, at) if one is not None), default=None)
