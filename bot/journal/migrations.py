"""Numbered SQL files in, a database of that version out."""

import hashlib
import importlib.resources
import re
from collections.abc import Sequence
from importlib.resources.abc import Traversable

import asyncpg
import msgspec
import structlog

from bot.errors import OperatorError, OurFault

LOCK = 0x74736662_00000001  # advisory; any constant that is ours
_is_migration = re.compile(r"\d{4}_[a-z0-9_]+\.sql").fullmatch

_BOOTSTRAP = """
CREATE SCHEMA IF NOT EXISTS bot;
CREATE TABLE IF NOT EXISTS bot.migrations (
    number      integer PRIMARY KEY,
    name        text NOT NULL,
    sha256      text NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE bot.migrations IS 'Which files of bot/journal/schema made this database.';
"""

log = structlog.get_logger(__name__)


class Migration(msgspec.Struct, frozen=True):
    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def shipped(folder: Traversable | None = None) -> list[Migration]:
    """The migrations of this version of the bot, first to last; numbered from 1 without a gap."""
    files = (folder or importlib.resources.files("bot.journal").joinpath("schema")).iterdir()
    found = [
        Migration(int(file.name[:4]), file.name, file.read_text("utf-8")) for file in files if _is_migration(file.name)
    ]
    found.sort(key=lambda migration: migration.number)
    if not found or [migration.number for migration in found] != list(range(1, len(found) + 1)):
        raise OurFault(f"migrations are not numbered from 1 without a gap: {[migration.name for migration in found]}")
    return found


async def migrate(connection: "asyncpg.Connection", migrations: Sequence[Migration] | None = None) -> int:
    """Bring the database to the last of `migrations` in one transaction; returns how many were applied.

    Raises OperatorError, and changes nothing, where the database is newer than the code or was made by other files.
    """
    wanted = shipped() if migrations is None else migrations
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        await connection.execute(_BOOTSTRAP)
        missing = await _missing(connection, wanted)
        for migration in missing:
            await connection.execute(migration.sql)
            await connection.execute(
                "INSERT INTO bot.migrations (number, name, sha256) VALUES ($1, $2, $3)",
                migration.number,
                migration.name,
                migration.sha256,
            )
    for migration in missing:
        log.info("database_migrated", migration=migration.name)
    return len(missing)


async def require_current(connection: "asyncpg.Connection") -> None:
    """Raise OperatorError unless every shipped migration, and no other, has been applied."""
    if not await connection.fetchval("SELECT to_regclass('bot.migrations') IS NOT NULL"):
        raise OperatorError("the database has no journal yet: start the bot on it first")
    if await _missing(connection, shipped()):
        raise OperatorError("the database was made by an older version of the bot: start this version on it first")


async def _missing(connection: "asyncpg.Connection", wanted: Sequence[Migration]) -> Sequence[Migration]:
    applied = await connection.fetch("SELECT number, name, sha256 FROM bot.migrations ORDER BY number")
    if len(applied) > len(wanted):
        raise OperatorError(
            f"the database is newer than this version of the bot: it has {applied[-1]['name']}, "
            f"this version ends with {wanted[-1].name}; install the newer version"
        )
    for row, migration in zip(applied, wanted, strict=False):
        if (row["number"], row["sha256"]) != (migration.number, migration.sha256):
            raise OperatorError(
                f"the database was made by another {row['name']} than this version's {migration.name}; "
                "use another database or the version of the bot that made it"
            )
    return wanted[len(applied) :]
