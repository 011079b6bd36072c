"""What a person asked of the bot by a command: left in the database, taken from there by the bot that runs."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import anyio
import msgspec

from bot.journal.connection import values_of
from bot.messages import PERSON, Flatten, StandingOrder, StandingReleased, TradingState

if TYPE_CHECKING:
    import asyncpg

LOOK_SECONDS = 2.0  # real time, between two looks
REASON = "person"  # of a standing order that a person gave

Word = Literal["reduce", "halt", "activate", "flatten"]
Order = StandingOrder | StandingReleased | Flatten


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """A row of bot.words."""

    id: int
    word: Word
    reason: str
    by: str
    asked_at: int
    taken_at: int | None = None


def orders_of(said: Said) -> list[Order]:
    """What it means for the desk. Who has everything closed does not want it opened again at the next cycle."""
    by = f"{PERSON}{said.by}"
    match said.word:
        case "activate":
            return [StandingReleased(reason=None, by=by)]
        case "halt":
            return [StandingOrder(state=TradingState.HALTED, reason=REASON, by=by, detail=said.reason)]
        case "reduce":
            return [StandingOrder(state=TradingState.REDUCING, reason=REASON, by=by, detail=said.reason)]
        case "flatten":
            order = StandingOrder(state=TradingState.REDUCING, reason=REASON, by=by, detail=said.reason or "flatten")
            return [order, Flatten(by=by)]


class Words:
    """The rows. `pool` is the commands' own, or one that waits for a database that is away."""

    def __init__(self, pool: "asyncpg.Pool") -> None:
        self._pool = pool

    async def leave(self, word: Word, reason: str, by: str) -> int:
        query = "INSERT INTO bot.words (word, reason, by) VALUES ($1, $2, $3) RETURNING id"
        return int(await self._pool.fetchval(query, word, reason, by))

    async def waiting(self) -> list[Said]:
        """Those that no bot has taken, oldest first."""
        rows = await self._pool.fetch("SELECT * FROM bot.words WHERE taken_at IS NULL ORDER BY id")
        return [msgspec.convert(values_of(row), Said) for row in rows]

    async def take(self, ids: Sequence[int]) -> None:
        await self._pool.execute("UPDATE bot.words SET taken_at = now() WHERE id = ANY($1)", list(ids))

    async def follow(self, send: Callable[[Order], None]) -> None:
        """Send on what is said. Marked as taken one look later, when the desk has committed what came of it."""
        sent: set[int] = set()
        while True:
            waiting = await self.waiting()
            if sent:
                await self.take(sorted(sent))
            for said in waiting:
                if said.id not in sent:
                    for order in orders_of(said):
                        send(order)
            sent = {said.id for said in waiting} - sent
            await anyio.sleep(LOOK_SECONDS)
