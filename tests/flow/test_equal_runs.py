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
    "account": "key",
}
GUARDED = """
[guards]
drawdown_pct = 0.3
drawdown_release = 120
losing_streak = 4
losing_streak_release = 60
"""


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Left, Left]]:
    folder = tmp_path_factory.mktemp("twins")
    files = {name: text for name, text in busy().items() if name in ("market", "patient", "holder")}
    variants = write(folder / "variants", files)
    config = folder / "bot.toml"
    config.write_text(GUARDED, encoding="utf-8")
    states = [folder / name for name in ("one", "two")]
    options = ("--days", 1, "--seed", 3, "--profile", "stress", "--config", config)
    first, second = [Bot(state, variants, *options) for state in states]
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


def test_a_tripped_guard_refuses_entries_and_leaves_the_exits_alone(twins: tuple[Left, Left]) -> None:
    left, _ = twins
    events = left.rows("SELECT detail, at FROM bot.bot_events WHERE name = 'guard_tripped' ORDER BY at")
    signals = left.rows("SELECT decision, decision_reason, cycle_at FROM bot.signal_log")
    closed = left.rows("SELECT closed_at FROM bot.positions WHERE status = 'closed' AND filled > 0")
    assert {event["detail"]["guard"] for event in events} == {"drawdown", "losing_streak"}
    shut = [(event["at"], event["detail"]["until_at"]) for event in events]
    meanwhile = [row for row in signals if any(begin < row["cycle_at"] < end for begin, end in shut)]
    assert {row["decision"] for row in meanwhile} == {"refuse"}
    assert {"guard_drawdown", "guard_losing_streak"} <= {row["decision_reason"] for row in meanwhile}
    assert any(begin < row["closed_at"] < end for row in closed for begin, end in shut)


def test_the_bars_on_disk_are_equal(twins: tuple[Left, Left]) -> None:
    def kept(state: Path) -> dict[str, bytes]:
        bars = state / "bars"
        return {str(path.relative_to(bars)): path.read_bytes() for path in bars.rglob("*.parquet")}

    first, second = (kept(left.state) for left in twins)
    assert first == second
    assert len({path.split("/")[1] for path in first}) == 3
