"""The account guards' memory as a fact of the journal, and the releases that people ask for."""

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from bot.strategy.guards import Track

if TYPE_CHECKING:
    import asyncpg

TRACK = "guards"  # the fact's key

_SAVE = """
WITH marked AS (UPDATE bot.guard_releases SET taken_at = now() WHERE id = ANY($3) AND taken_at IS NULL)
INSERT INTO bot.account VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value
"""
_RESULTS = """
SELECT net_pnl FROM bot.positions WHERE status = 'closed' AND filled > 0 AND closed_at > $1
ORDER BY closed_at DESC, position_id DESC LIMIT $2
"""


class GuardRows:
    """The guards' store over the journal's database."""

    def __init__(self, pool: "asyncpg.Pool") -> None:
        self._pool = pool

    async def load(self) -> Track | None:
        value = await self._pool.fetchval("SELECT value FROM bot.account WHERE key = $1", TRACK)
        return None if value is None else msgspec.convert(value, Track)

    async def save(self, track: Track, taken: Sequence[int] = ()) -> None:
        """Keep the track and mark the releases `taken` (ids) as done, in one transaction."""
        await self._pool.execute(_SAVE, TRACK, track, list(taken))

    async def releases(self) -> list[tuple[int, str]]:
        """(id, guard) of the releases that are not taken, oldest first."""
        query = "SELECT id, guard FROM bot.guard_releases WHERE taken_at IS NULL ORDER BY id"
        return [(row["id"], row["guard"]) for row in await self._pool.fetch(query)]

    async def results(self, since: int, limit: int) -> list[Decimal]:
        """Net results of the trades that closed after `since`, newest first."""
        return [row["net_pnl"] for row in await self._pool.fetch(_RESULTS, since, limit)]

    async def ask_release(self, guard: str) -> None:
        """Leave word for the bot that runs, or for the next one."""
        await self._pool.execute("INSERT INTO bot.guard_releases (guard) VALUES ($1)", guard)
