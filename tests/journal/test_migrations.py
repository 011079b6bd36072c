from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import msgspec
import pytest

from bot.config import JournalTable
from bot.errors import OperatorError, OurFault
from bot.journal.connection import open_journal
from bot.journal.migrations import Migration, migrate, require_current, shipped
from tests.journal.conftest import CHECKOUT

pytestmark = pytest.mark.anyio

COLUMNS = """signal_id cycle_at variant tier symbol bar_close_at checkpoint mark_price predicted_return predicted_q10
predicted_q90 threshold side rsi atr cat_trend cat_momentum cat_strength cat_volume cat_volatility filter_verdicts
decision decision_reason entry_method entry_price quantity fill_status fill_price exit_price exit_reason
net_pnl actual_return"""


@pytest.fixture
async def connection(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    opened = await asyncpg.connect(dsn)
    yield opened
    await opened.close()


async def applied(connection: asyncpg.Connection) -> list[str]:
    return [row["name"] for row in await connection.fetch("SELECT name FROM bot.migrations ORDER BY number")]


async def test_a_new_database_gets_every_migration_once(connection: asyncpg.Connection) -> None:
    assert await migrate(connection) == len(shipped())
    assert await migrate(connection) == 0
    assert await applied(connection) == [migration.name for migration in shipped()]
    await require_current(connection)


async def test_signal_log_has_exactly_the_promised_columns_in_order(connection: asyncpg.Connection) -> None:
    await migrate(connection)
    rows = await connection.fetch(
        """SELECT column_name, data_type FROM information_schema.columns
           WHERE table_schema = 'bot' AND table_name = 'signal_log' ORDER BY ordinal_position"""
    )
    assert [row["column_name"] for row in rows] == COLUMNS.split()
    types = {row["column_name"]: row["data_type"] for row in rows}
    assert types["filter_verdicts"] == "jsonb"
    assert types["cycle_at"] == types["bar_close_at"] == "timestamp with time zone"
    assert types["net_pnl"] == types["quantity"] == "numeric"


async def test_every_table_says_what_it_holds(connection: asyncpg.Connection) -> None:
    await migrate(connection)
    silent = await connection.fetch(
        """SELECT relname FROM pg_class
           WHERE relnamespace = 'bot'::regnamespace AND relkind = 'r' AND obj_description(oid) IS NULL"""
    )
    assert silent == []


async def test_only_what_is_missing_is_applied(connection: asyncpg.Connection) -> None:
    await migrate(connection)
    later = Migration(len(shipped()) + 1, "0999_more.sql", "CREATE TABLE bot.more (n integer)")
    assert await migrate(connection, [*shipped(), later]) == 1
    assert (await applied(connection))[-1] == "0999_more.sql"


async def test_a_migration_that_fails_leaves_the_database_as_it_was(connection: asyncpg.Connection) -> None:
    good = Migration(len(shipped()) + 1, "0002_good.sql", "CREATE TABLE bot.good (n integer)")
    bad = Migration(len(shipped()) + 2, "0003_bad.sql", "CREATE TABLE bot.bad (n integer); SELECT 1 / 0")
    await migrate(connection)
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(connection, [*shipped(), good, bad])
    assert len(await applied(connection)) == len(shipped())
    assert await connection.fetchval("SELECT to_regclass('bot.good') IS NULL")


async def test_a_database_newer_than_the_code_is_refused(connection: asyncpg.Connection) -> None:
    later = Migration(len(shipped()) + 1, "0999_more.sql", "SELECT 1")
    await migrate(connection, [*shipped(), later])
    with pytest.raises(OperatorError, match=r"newer.*0999_more\.sql"):
        await migrate(connection)
    with pytest.raises(OperatorError, match="newer"):
        await require_current(connection)


async def test_a_database_made_by_an_edited_file_is_refused(connection: asyncpg.Connection) -> None:
    first = shipped()[0]
    await migrate(connection, [msgspec.structs.replace(first, sql=first.sql + "\n")])
    with pytest.raises(OperatorError, match=r"another 0001_journal\.sql"):
        await migrate(connection)


async def test_a_reader_is_told_to_start_the_bot_first(connection: asyncpg.Connection) -> None:
    with pytest.raises(OperatorError, match="no journal yet"):
        await require_current(connection)
    await migrate(connection)
    await connection.execute("DELETE FROM bot.migrations")
    with pytest.raises(OperatorError, match="older version"):
        await require_current(connection)


async def test_a_bot_does_not_start_on_a_newer_database(dsn: str, tmp_path: Path) -> None:
    connection = await asyncpg.connect(dsn)
    await migrate(connection, [*shipped(), Migration(len(shipped()) + 1, "0999_more.sql", "SELECT 1")])
    await connection.close()
    with pytest.raises(OperatorError, match="newer"):
        async with open_journal(tmp_path, JournalTable(), {"BOT_DSN": dsn}):
            pass


@pytest.mark.parametrize("names", [[], ["0002_b.sql"], ["0001_a.sql", "0003_c.sql"], ["0001_a.sql", "0001_b.sql"]])
def test_files_that_are_not_numbered_from_one_without_a_gap_are_our_fault(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_text("SELECT 1")
    with pytest.raises(OurFault, match="without a gap"):
        shipped(tmp_path)


async def test_the_manual_names_every_column_in_the_words_of_the_database(connection: asyncpg.Connection) -> None:
    await migrate(connection)
    rows = await connection.fetch(
        """SELECT relname, attname, col_description(pg_class.oid, attnum) AS words FROM pg_class
           JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0
           WHERE relnamespace = 'bot'::regnamespace AND relkind = 'r' ORDER BY relname, attnum"""
    )
    manual = (CHECKOUT / "docs" / "journal.md").read_text(encoding="utf-8").split("### bot.")
    sections = {section.split("\n", 1)[0]: section for section in manual[1:]}
    for table, column, words in rows:
        assert any(
            line.startswith(f"| `{column}` |") and line.endswith(f"| {words} |")
            for line in sections[table].splitlines()
        ), (table, column, words)
