"""How long a position stood with less live stop than open quantity, pure."""

from collections.abc import Iterable
from decimal import Decimal

from bot.clock import SECOND_MS
from bot.messages import Position
from bot.venue import OrderRow, OrderState

ZERO = Decimal(0)


class NakedMeter:
    """Looks at a position whenever something changed; the time in between counts as it was found before."""

    def __init__(self) -> None:
        self._since: dict[str, int] = {}  # by position

    def measure(self, position: Position, stops: Iterable[OrderRow], now: int) -> None:
        """A stop counts once the venue has confirmed it, and no more once it has triggered."""
        covered = sum((s.request.quantity - s.filled for s in stops if s.state is OrderState.WORKING), ZERO)
        since = self._since.pop(position.position_id, None)
        if since is not None:
            now = max(now, since)
            position.naked_seconds += Decimal(now - since) / SECOND_MS
        if position.open_quantity > covered:
            self._since[position.position_id] = now
