"""The pool as everybody uses it: an answer within a time, or DatabaseAway; and who was given up on is fenced off.

A statement that was given up on may still be waiting at the server, and would be executed late, over newer rows. So its
session is ended at the server before anything is written after an outage.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import anyio
import asyncpg

from bot.errors import DatabaseAway

T = TypeVar("T")

FENCE_MS = 5_000  # for a session to end
LOST = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shut down, crashed, still starting, cancelled
    asyncpg.InsufficientResourcesError,  # disk full, too many connections
    asyncpg.PostgresSystemError,
    asyncpg.ReadOnlySQLTransactionError,  # a standby took over the address
    asyncpg.InternalClientError,
)
_FENCE = """
SELECT count(*) FILTER (WHERE NOT pg_terminate_backend(pid, $2)) FROM pg_stat_activity
WHERE pid = ANY($1::int[]) AND pid <> pg_backend_pid() AND usename = current_user AND starts_with(application_name, $3)
"""
APPLICATION = "tsfm-bot"


class Database:
    """`fetch`, `fetchrow`, `fetchval`, `execute` and `acquire` of a pool; each raises DatabaseAway in time."""

    def __init__(self, pool: "asyncpg.Pool", answer_seconds: float) -> None:
        self._pool = pool
        self._answer_seconds = answer_seconds
        self._given_up: set[int] = set()  # the servers' own ids of sessions
        self._back = anyio.Event()
        self._gone = anyio.Event()
        self._back.set()
        self.away_because = ""

    @property
    def away(self) -> bool:
        return not self._back.is_set()

    async def wait_gone(self) -> None:
        await self._gone.wait()

    async def wait_back(self) -> None:
        await self._back.wait()

    def lose(self, why: str) -> None:
        """Something else than a question has shown that it is away."""
        self.away_because = why
        if not self.away:
            self._back = anyio.Event()
            self._gone.set()

    def came_back(self) -> None:
        self._back.set()
        self._gone = anyio.Event()

    @contextlib.asynccontextmanager
    async def acquire(self) -> AsyncIterator["asyncpg.Connection"]:
        connection: asyncpg.Connection | None = None
        try:
            with anyio.fail_after(self._answer_seconds):
                connection = await self._pool.acquire()
                yield connection
        except LOST as error:
            raise self._lose(connection, error) from None
        except asyncpg.InterfaceError as error:
            if connection is not None and not connection.is_closed():
                raise
            raise self._lose(connection, error) from None
        except anyio.get_cancelled_exc_class():
            self._give_up(connection)
            raise
        finally:
            if connection is not None:
                with anyio.CancelScope(shield=True):
                    await self._pool.release(connection)

    async def fetch(self, query: str, *arguments: object) -> list["asyncpg.Record"]:
        return await self._with(lambda connection: connection.fetch(query, *arguments))

    async def fetchrow(self, query: str, *arguments: object) -> "asyncpg.Record | None":
        return await self._with(lambda connection: connection.fetchrow(query, *arguments))

    async def fetchval(self, query: str, *arguments: object) -> Any:
        return await self._with(lambda connection: connection.fetchval(query, *arguments))

    async def execute(self, query: str, *arguments: object) -> str:
        return await self._with(lambda connection: connection.execute(query, *arguments))

    async def fence(self) -> None:
        """End the sessions that were given up on; DatabaseAway where one will not go."""
        query = [sorted(self._given_up), FENCE_MS, APPLICATION]
        if self._given_up and await self.fetchval(_FENCE, *query):
            raise DatabaseAway("a session of before does not end")
        self._given_up.clear()

    async def _with(self, work: Callable[["asyncpg.Connection"], Awaitable[T]]) -> T:
        async with self.acquire() as connection:
            return await work(connection)
        raise AssertionError("acquire swallows nothing")

    def _lose(self, connection: "asyncpg.Connection | None", error: Exception) -> DatabaseAway:
        self._give_up(connection)
        self.lose(f"{type(error).__name__}: {error}".rstrip(": "))
        return DatabaseAway(self.away_because)

    def _give_up(self, connection: "asyncpg.Connection | None") -> None:
        if connection is not None and not connection.is_closed():
            self._given_up.add(connection.get_server_pid())
            connection.terminate()


class Patient:
    """The same of those who can wait: while the database is away they do. What they ask for may be asked twice."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def fetch(self, query: str, *arguments: object) -> list["asyncpg.Record"]:
        return await self._until_answered(lambda: self._database.fetch(query, *arguments))

    async def fetchrow(self, query: str, *arguments: object) -> "asyncpg.Record | None":
        return await self._until_answered(lambda: self._database.fetchrow(query, *arguments))

    async def fetchval(self, query: str, *arguments: object) -> Any:
        return await self._until_answered(lambda: self._database.fetchval(query, *arguments))

    async def execute(self, query: str, *arguments: object) -> str:
        return await self._until_answered(lambda: self._database.execute(query, *arguments))

    async def _until_answered(self, ask: Callable[[], Awaitable[T]]) -> T:
        while True:
            await self._database.wait_back()
            with contextlib.suppress(DatabaseAway):
                return await ask()
