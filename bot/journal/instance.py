"""One bot per state directory, per database and per account: locks that end with the process that holds them."""

import contextlib
import fcntl
import hashlib
import os
import platform
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import asyncpg
import structlog

from bot.errors import DatabaseAway, OperatorError
from bot.journal.database import APPLICATION, LOST, Database

if TYPE_CHECKING:
    from bot.journal.connection import Address

log = structlog.get_logger(__name__)

INSTANCE_LOCK = 0x74736662_00000002  # advisory; held by the bot for as long as it runs
BEAT_SECONDS = 2.0  # real time, between two looks at the connection that holds the locks
ANSWER_SECONDS = 5.0
PATIENCE_SECONDS = 60.0  # of pauses, for a database that does not answer at the start
FIRST_PAUSE_SECONDS = 0.5  # doubled each time
LONGEST_PAUSE_SECONDS = 8.0
FENCE_MS = 5_000

_HOLDER = """
SELECT application_name, client_addr::text AS address FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND classid::bigint = $1 AND objid::bigint = $2
AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
# Ours of before, that the server may not have missed yet.
_END_SESSION = """
SELECT pg_terminate_backend(pid, $2) FROM pg_stat_activity WHERE pid = $1 AND application_name = $3
"""


def account_lock(api_key: str, prefix: str) -> int:
    """The key of the lock of one account's bot with one client-id prefix; tells nobody the API key."""
    digest = hashlib.sha256(f"{api_key}:{prefix}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


class InstanceLock:
    """The advisory locks of the database and of the account, on a connection of their own."""

    def __init__(self, address: "Address", account: int | None = None) -> None:
        self._address = address
        self._keys = {INSTANCE_LOCK: "on this database; one state directory serves one bot"}
        if account is not None:
            self._keys[account] = "on this account with this client_prefix; one account serves one bot of a prefix"
        self._name = f"{APPLICATION} pid {os.getpid()} on {platform.node()}"[:63]
        self._connection: asyncpg.Connection | None = None
        self._last_session = 0

    @property
    def connection(self) -> "asyncpg.Connection":
        if self._connection is None:
            raise DatabaseAway("the instance lock is not held")
        return self._connection

    async def claim(self, patience_seconds: float = 0.0) -> None:
        """Take the locks.

        OperatorError where another bot has one or the database refuses us; DatabaseAway where it does not answer in all
        that time.
        """
        pause, left = FIRST_PAUSE_SECONDS, patience_seconds
        while True:
            try:
                await self._take_all(await self._connect())
                return
            except DatabaseAway as away:
                if left <= 0:
                    raise
                log.warning("database_does_not_answer", reason=str(away), seconds_left=left)
            await anyio.sleep(pause)
            left, pause = left - pause, min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def reclaim(self) -> None:
        """The same after the connection was lost; DatabaseAway where the database cannot be reached."""
        if self._connection is not None and not self._connection.is_closed():
            return
        try:
            connection = await self._connect()
        except OperatorError as error:  # it took us before
            raise DatabaseAway(str(error)) from None
        await self._take_all(connection)

    async def _connect(self) -> "asyncpg.Connection":
        return await self._address.connect(
            application_name=self._name,
            tcp_keepalives_idle="15",
            tcp_keepalives_interval="5",
            tcp_keepalives_count="3",
        )

    async def _take_all(self, connection: "asyncpg.Connection") -> None:
        try:
            with anyio.fail_after(ANSWER_SECONDS + FENCE_MS / 1_000):
                await connection.fetchval(_END_SESSION, self._last_session, FENCE_MS, self._name)
                for key, what in self._keys.items():
                    await self._take(connection, key, what)
            self._connection, self._last_session = connection, connection.get_server_pid()
        except (*LOST, asyncpg.InterfaceError) as error:
            raise DatabaseAway(f"{self._address.named}: {type(error).__name__}: {error}") from None
        finally:
            if self._connection is not connection:
                connection.terminate()

    async def watch(self, database: Database) -> None:
        """Tell `database` when the connection is lost: without the locks nothing may be written there."""
        while True:
            await anyio.sleep(BEAT_SECONDS)
            if self._connection is None or database.away:
                continue
            try:
                with anyio.fail_after(ANSWER_SECONDS):
                    await self._connection.fetchval("SELECT 1")
            except (*LOST, asyncpg.InterfaceError) as error:  # the latter of one that is closed already
                self.release()
                database.lose(f"the instance lock's connection: {type(error).__name__}")

    def release(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def _take(self, connection: "asyncpg.Connection", key: int, what: str) -> None:
        """The session of a killed bot lives on for a moment, so one refusal is none."""
        for _ in range(40):
            if await connection.fetchval("SELECT pg_try_advisory_lock($1)", key):
                return
            await anyio.sleep(0.05)
        holder = await connection.fetchrow(_HOLDER, *_halves(key))
        who = "" if holder is None else f" ({holder['application_name'] or 'unnamed'}, {holder['address'] or 'local'})"
        raise OperatorError(f"{self._address.named}: another bot{who} is running {what}")


async def is_held(pool: "asyncpg.Pool") -> bool:
    """Whether a bot runs on this database now."""
    return await pool.fetchrow(_HOLDER, *_halves(INSTANCE_LOCK)) is not None


def _halves(key: int) -> tuple[int, int]:
    """As pg_locks shows the key of an advisory lock."""
    unsigned = key % 2**64
    return unsigned >> 32, unsigned & 0xFFFFFFFF


@contextlib.contextmanager
def only_bot_of(state: Path) -> Iterator[None]:
    """Hold the state directory: its spool and its bars have one writer. OperatorError where another bot has it."""
    lock = state / "bot.lock"
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 100, 0).decode(errors="replace").strip() or "another process"
            raise OperatorError(f"--state {state}: in use by {holder}; one state directory serves one bot") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"bot, pid {os.getpid()} on {platform.node()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


@contextlib.asynccontextmanager
async def held(lock: InstanceLock, patience_seconds: float = 0.0) -> AsyncIterator[InstanceLock]:
    await lock.claim(patience_seconds)
    try:
        yield lock
    finally:
        lock.release()
