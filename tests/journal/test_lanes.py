"""A lane's records reach the database in their order, each until it was taken."""

from pathlib import Path

import asyncpg
import pytest

from bot.errors import DatabaseAway
from bot.journal.database import Database
from bot.journal.lanes import Lane
from bot.journal.spool import Spool

pytestmark = pytest.mark.anyio


class Table:
    """What was written; while `away` there is nobody to write to."""

    def __init__(self) -> None:
        self.rows: list[str] = []
        self.away = False

    async def write(self, record: str) -> None:
        if self.away:
            raise DatabaseAway("refused by the test")
        self.rows.append(record)


async def test_a_record_that_meets_the_next_outage_while_the_spool_is_written_is_not_lost(tmp_path: Path) -> None:
    spool, table = Spool(tmp_path / "desk", 1_000_000), Table()
    lane = Lane[str](spool, Database(asyncpg.create_pool("postgresql://"), 1.0), str, table.write)
    table.away = True
    for record in ("one", "two"):
        assert await lane.put(record) == (False, None)
    with pytest.raises(DatabaseAway):
        await lane.drain()
    assert lane.waiting == 2
    table.away = False
    assert await lane.drain() == 2
    assert (table.rows, lane.waiting) == (["one", "two"], 0)
    spool.close()


async def test_while_the_database_is_away_a_record_waits_behind_older_ones_though_it_could_be_written(
    tmp_path: Path,
) -> None:
    """Its server may answer again before what waits has been written."""
    spool, table = Spool(tmp_path / "desk", 1_000_000), Table()
    database = Database(asyncpg.create_pool("postgresql://"), 1.0)
    lane = Lane[str](spool, database, str, table.write)
    table.away = True
    assert await lane.put("one") == (False, None)
    database.lose("refused by the test")
    table.away = False
    assert await lane.put("two") == (False, None)
    assert (table.rows, lane.waiting) == ([], 2)
    assert await lane.drain() == 2
    assert table.rows == ["one", "two"]
    spool.close()
