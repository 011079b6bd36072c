"""One signal with everything that the journal knows of it."""

import asyncpg
import msgspec

from bot.journal.connection import values_of
from bot.journal.queries import BookedFill, Queries
from bot.journal.store import Store
from bot.messages import Position, Signal
from bot.venue import OrderRow

MOST = 20  # signals that a prefix may stand for, to list


class Story(msgspec.Struct, frozen=True, kw_only=True):
    signal: Signal
    position: Position | None  # None: nothing was asked of the desk, or the desk denied it
    orders: list[OrderRow]  # oldest first
    fills: list[BookedFill]  # oldest first


class Stories:
    def __init__(self, pool: "asyncpg.Pool") -> None:
        self._pool = pool

    async def find(self, prefix: str) -> list[Signal]:
        """Signals whose id begins with `prefix`, newest first, at most MOST."""
        query = """SELECT * FROM bot.signal_log WHERE starts_with(signal_id, $1)
                   ORDER BY cycle_at DESC, signal_id LIMIT $2"""
        return [msgspec.convert(values_of(row), Signal) for row in await self._pool.fetch(query, prefix, MOST)]

    async def story(self, signal: Signal) -> Story:
        store = Store(self._pool)
        return Story(
            signal=signal,
            position=await store.load_position(signal.signal_id),
            orders=await store.load_orders([signal.signal_id]),
            fills=(await Queries(self._pool).fills(limit=1_000, position_id=signal.signal_id))[::-1],
        )
