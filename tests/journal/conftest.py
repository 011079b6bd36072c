"""One embedded server for all tests of the journal; each test gets it empty."""

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from anyio.from_thread import start_blocking_portal

from bot.config import JournalTable
from bot.journal import embedded
from bot.journal.connection import open_journal
from bot.journal.embedded import Place
from bot.journal.store import Store

CHECKOUT = Path(__file__).resolve().parents[2]


def remove(place: Place) -> None:
    """As root the database lies outside the state directory, where pytest does not clean."""
    if place.account:
        shutil.rmtree(place.folder)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    state = tmp_path_factory.mktemp("db")
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(embedded.running(state)) as place:
        yield place
    remove(place)


async def connect(place: Place) -> asyncpg.Connection:
    return await asyncpg.connect(host=str(place.sockets), user="postgres", database="postgres")


@pytest.fixture
async def dsn(server: Place) -> str:
    """A database without a journal."""
    connection = await connect(server)
    await connection.execute("DROP SCHEMA IF EXISTS bot CASCADE")
    await connection.close()
    return f"postgresql://postgres@/postgres?host={server.sockets}"


@pytest.fixture
async def pool(dsn: str, tmp_path: Path) -> AsyncIterator[asyncpg.Pool]:
    async with open_journal(tmp_path, JournalTable(), {"BOT_DSN": dsn}) as opened:
        yield opened


@pytest.fixture
def store(pool: asyncpg.Pool) -> Store:
    return Store(pool)
