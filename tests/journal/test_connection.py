import os
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import asyncpg
import pytest

from bot import logs
from bot.config import JournalTable
from bot.errors import DatabaseAway, OperatorError
from bot.journal import embedded
from bot.journal.connection import open_journal, read_journal, whereabouts
from bot.journal.queries import Queries
from bot.journal.store import Store
from tests.journal.conftest import CHECKOUT, remove
from tests.journal.rows import position

pytestmark = pytest.mark.anyio


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    if embedded.exists(tmp_path):
        remove(embedded.locate(tmp_path))


async def test_one_state_directory_serves_one_bot_and_any_number_of_readers(state: Path) -> None:
    async with open_journal(state, JournalTable(), {}) as pool:
        await Store(pool).save(positions=[position()])
        with pytest.raises(OperatorError, match="another bot .* is running"):
            async with open_journal(state, JournalTable(), {}):
                pass
        async with read_journal(state, JournalTable(), {}) as reader, read_journal(state, JournalTable(), {}) as other:
            assert await Queries(reader).positions() == await Queries(other).positions() == [position()]
        assert await Store(pool).load_open_positions() == [position()]
    assert whereabouts(state, JournalTable(), {}).startswith(str(embedded.locate(state).data))
    async with open_journal(state, JournalTable(), {}) as pool:
        assert await Store(pool).load_open_positions() == [position()]


async def test_a_second_process_is_refused_and_a_killed_one_gives_way_at_once(dsn: str, tmp_path: Path) -> None:
    script = f"""
import anyio, pathlib, sys
from bot.config import JournalTable
from bot.journal.connection import open_journal
async def main():
    async with open_journal(pathlib.Path({str(tmp_path)!r}), JournalTable(), {{"BOT_DSN": {dsn!r}}}):
        print("open", flush=True)
        await anyio.sleep_forever()
anyio.run(main)
"""
    async with await anyio.open_process([sys.executable, "-c", script], cwd=CHECKOUT, stderr=None) as other:
        assert other.stdout is not None
        while b"open" not in await other.stdout.receive():
            pass
        with pytest.raises(OperatorError, match="another bot .* is running"):
            async with open_journal(tmp_path, JournalTable(), {"BOT_DSN": dsn}):
                pass
        other.kill()
        async with open_journal(tmp_path, JournalTable(), {"BOT_DSN": dsn}) as pool:
            assert await Store(pool).load_open_positions() == []


async def test_a_reader_cannot_write(dsn: str, tmp_path: Path) -> None:
    async with open_journal(tmp_path, JournalTable(), {"BOT_DSN": dsn}):
        pass
    async with read_journal(tmp_path, JournalTable(), {"BOT_DSN": dsn}) as pool:
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await Store(pool).set_fact("a", 1)


async def test_a_reader_of_a_state_directory_without_a_journal_is_told_so_and_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="no journal here yet"):
        async with read_journal(tmp_path / "none", JournalTable(), {}):
            pass
    assert os.listdir(tmp_path) == []


async def test_a_server_that_cannot_be_reached_is_one_line_without_its_password(tmp_path: Path) -> None:
    for dsn, kind in (
        ("postgresql://bot:hunter2-secret@127.0.0.1:1/x", DatabaseAway),
        ("postgresql://bot:hunter2-secret@no-such-host.invalid/x?target_session_attrs=hunter2", OperatorError),
        ("mysql://bot:hunter2-secret@h/x", OperatorError),
    ):
        with pytest.raises(kind) as caught:
            async with open_journal(tmp_path, JournalTable(dsn_env="MY_DSN"), {"MY_DSN": dsn}):
                pass
        assert str(caught.value).startswith("MY_DSN: ")
        assert "hunter2" not in str(caught.value)
        assert "\n" not in str(caught.value)
        assert "hunter2" not in logs.scrub("about hunter2-secret")


async def test_the_environment_variable_that_the_file_names_is_the_one_that_counts(dsn: str, tmp_path: Path) -> None:
    async with open_journal(tmp_path, JournalTable(dsn_env="OTHER"), {"OTHER": dsn, "BOT_DSN": "nonsense"}) as pool:
        assert await pool.fetchval("SELECT current_database()") in dsn
    assert os.listdir(tmp_path) == []
