"""Two replays of one market are the same run, whatever else the machine does meanwhile."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.flow.processes import Bot, Left, remove
from tests.flow.variants import busy, write

pytestmark = [pytest.mark.flow, pytest.mark.timeout(400)]

TABLES = {
    "signal_log": "cycle_at, variant, symbol",
    "orders": "client_id",
    "fills": "symbol, trade_id",
    "positions": "position_id",
    "funding": "income_id",
    "bot_events": "id",
    "daily_log": "day",
}


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Left, Left]]:
    folder = tmp_path_factory.mktemp("twins")
    files = {name: text for name, text in busy().items() if name in ("market", "patient", "holder")}
    variants = write(folder / "variants", files)
    states = [folder / name for name in ("one", "two")]
    first, second = [Bot(state, variants, "--days", 1, "--seed", 3, "--profile", "stress") for state in states]
    yield first.end(), second.end()
    for state in states:
        remove(state)


def digest(left: Left, table: str) -> tuple[int, str]:
    rows = left.rows(f"SELECT * FROM bot.{table} ORDER BY {TABLES[table]}")
    return len(rows), hashlib.sha256(msgspec.json.encode(rows)).hexdigest()


@pytest.mark.parametrize("table", TABLES)
def test_equal_replays_leave_equal_rows(twins: tuple[Left, Left], table: str) -> None:
    first, second = (digest(left, table) for left in twins)
    assert first == second
    assert first[0] > 0


def test_the_bars_on_disk_are_equal(twins: tuple[Left, Left]) -> None:
    def kept(state: Path) -> dict[str, bytes]:
        bars = state / "bars"
        return {str(path.relative_to(bars)): path.read_bytes() for path in bars.rglob("*.parquet")}

    first, second = (kept(left.state) for left in twins)
    assert first == second
    assert len(first) == 3
