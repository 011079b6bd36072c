"""What the audit asks of the journal: rows by day, refused signals to follow, positions, missing returns."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import asyncpg
import msgspec

from bot.journal.connection import values_of
from bot.journal.store import Store
from bot.messages import Position, Signal
from bot.strategy.audit import Expectations, Returns

PAGE = 200  # rows at a time: decoding them holds up whoever else uses the loop

_SIGNALS = """
SELECT * FROM bot.signal_log WHERE cycle_at >= $1 AND cycle_at < $2 AND (cycle_at, signal_id) > ($3, $4)
ORDER BY cycle_at, signal_id LIMIT $5
"""
_TO_FOLLOW = """
SELECT * FROM bot.signal_log WHERE decision = 'refuse' AND quantity IS NOT NULL AND fill_status IS NULL
    AND cycle_at >= $1 AND cycle_at < $2 AND (cycle_at, signal_id) > ($3, $4)
ORDER BY cycle_at, signal_id LIMIT $5
"""
_RETURNS = """
SELECT variant, count(*) FILTER (WHERE actual_return IS NULL) AS missing, count(*) AS rows FROM bot.signal_log
WHERE bar_close_at >= $1 AND bar_close_at < $2 GROUP BY variant ORDER BY variant
"""
_HELD = """
SELECT * FROM bot.positions
WHERE filled > 0 AND opened_at < $2 AND (status <> 'closed' OR (closed_at >= $1 AND closed_at < $2))
ORDER BY opened_at, position_id
"""
_ALIVE = """
SELECT * FROM bot.positions WHERE created_at < $2 AND (status <> 'closed' OR closed_at >= $1)
ORDER BY created_at, position_id
"""
_FIRED = """
SELECT variant, exit_reason, count(*) AS count FROM bot.positions
WHERE status = 'closed' AND filled > 0 AND closed_at >= $1 AND closed_at < $2 AND exit_reason IS NOT NULL
GROUP BY variant, exit_reason
"""
EXPECTATIONS = "audit"  # fact


class AuditRows:
    """Times are ms UTC; from the first on, before the second."""

    def __init__(self, pool: "asyncpg.Pool") -> None:
        self._pool = pool
        self._facts = Store(pool)

    async def signals(self, since: int, until: int) -> AsyncIterator[list[Signal]]:
        """All rows by cycle and id, in pages."""
        async for page in self._pages(_SIGNALS, since, until):
            yield page

    async def to_follow(self, since: int, until: int) -> AsyncIterator[list[Signal]]:
        """Refused signals with a quantity that nobody has followed yet, in pages."""
        async for page in self._pages(_TO_FOLLOW, since, until):
            yield page

    async def _pages(self, query: str, since: int, until: int) -> AsyncIterator[list[Signal]]:
        after, after_id = since, ""
        while True:
            rows = await self._pool.fetch(query, since, until, after, after_id, PAGE)
            page = [msgspec.convert(values_of(row), Signal) for row in rows]
            if page:
                yield page
                after, after_id = page[-1].cycle_at, page[-1].signal_id
            if len(page) < PAGE:
                return

    async def returns(self, since: int, until: int) -> Sequence[Returns]:
        """Rows of bars that closed in that time, and how many of them lack their return, by variant."""
        return [Returns(**row) for row in await self._pool.fetch(_RETURNS, since, until)]

    async def held_positions(self, since: int, until: int) -> Sequence[Position]:
        """Those that closed in that time, and those that are open still."""
        rows = await self._pool.fetch(_HELD, since, until)
        return [msgspec.convert(values_of(row), Position) for row in rows]

    async def alive(self, since: int, until: int) -> Sequence[Position]:
        """Positions and resting entries that were there at any moment of that time."""
        rows = await self._pool.fetch(_ALIVE, since, until)
        return [msgspec.convert(values_of(row), Position) for row in rows]

    async def fired(self, since: int, until: int) -> Mapping[tuple[str, str], int]:
        """How many positions each (variant, exit reason) ended."""
        rows = await self._pool.fetch(_FIRED, since, until)
        return {(row["variant"], row["exit_reason"]): row["count"] for row in rows}

    async def newest(self) -> int:
        """The cycle of the newest row; 0 where there is none."""
        return int(await self._pool.fetchval("SELECT max(cycle_at) FROM bot.signal_log") or 0)

    async def expectations(self) -> Expectations | None:
        """None where no run has left any."""
        found: Any = await self._facts.get_fact(EXPECTATIONS)
        return None if found is None else msgspec.convert(found, Expectations)

    async def expect(self, expectations: Expectations) -> None:
        await self._facts.set_fact(EXPECTATIONS, msgspec.to_builtins(expectations))
