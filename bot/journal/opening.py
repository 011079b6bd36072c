"""The bot's own way into the journal: alone, with its spool emptied, and able to outlive the database for a while."""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import anyio
import msgspec

from bot.config import JournalTable
from bot.journal.connection import POOL_SIZE, server
from bot.journal.database import Database
from bot.journal.durable import Durable, Outage, open_durable
from bot.journal.instance import PATIENCE_SECONDS, InstanceLock, held, only_bot_of
from bot.journal.migrations import migrate


class Journal(msgspec.Struct, frozen=True):
    """What the bot has of an open journal."""

    database: Database
    durable: Durable
    lock: InstanceLock

    async def run(self, tell: Callable[[Outage], None]) -> None:
        """Watch the connection, and bring the database back each time it went away."""
        async with anyio.create_task_group() as group:
            group.start_soon(self.lock.watch, self.database)
            await self.durable.run(tell)


@contextlib.asynccontextmanager
async def open_for_bot(
    state: Path,
    settings: JournalTable,
    environment: Mapping[str, str],
    *,
    account: int | None = None,
    answer_seconds: float | None = None,
) -> AsyncIterator[Journal]:
    """The bot's way in: the state directory held, the server started, the locks taken, migrated, the spool emptied.

    Raises OperatorError where any of them is in use or not of this version, or refuses us; DatabaseAway where the
    database does not answer, which is waited for first.
    """
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(only_bot_of(state))
        address = await stack.enter_async_context(server(state, settings, environment))
        lock = await stack.enter_async_context(held(InstanceLock(address, account), PATIENCE_SECONDS))
        await migrate(lock.connection)
        pool = await stack.enter_async_context(address.pool(POOL_SIZE))
        database = Database(pool, answer_seconds or settings.answer_seconds)

        async def reach() -> None:
            await address.revive()
            await lock.reclaim()

        spools = open_durable(database, state / "spool", settings.spool_mb, reach)
        yield Journal(database, await stack.enter_async_context(spools), lock)
