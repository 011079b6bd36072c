"""What goes wrong when conditional orders trigger, and those whose trigger is late."""

import heapq
from decimal import Decimal

import msgspec


class Fate(msgspec.Struct, frozen=True, kw_only=True):
    """Without any of it the order is sent and filled as it should be."""

    stuck: bool = False  # it stays TRIGGERING for ever
    reject_reason: str = ""  # it is REJECTED
    late_ms: int = 0  # it stays TRIGGERING for so long
    share: Decimal | None = None  # of the child order only this share is filled, and the rest expires


FAIR = Fate()


class LateTriggers:
    """Conditional orders that stay TRIGGERING until their time."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, int, Fate]] = []  # each algo id once, so fates are never compared

    @property
    def next_at(self) -> int | None:
        return self._waiting[0][0] if self._waiting else None

    def put(self, at: int, algo_id: int, fate: Fate) -> None:
        heapq.heappush(self._waiting, (at, algo_id, fate))

    def take(self, now: int) -> list[tuple[int, Fate]]:
        """Ids and fates of those whose time has come, oldest first."""
        taken = []
        while self._waiting and self._waiting[0][0] <= now:
            _, algo_id, fate = heapq.heappop(self._waiting)
            taken.append((algo_id, fate))
        return taken
