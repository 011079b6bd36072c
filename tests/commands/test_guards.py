"""The command `guards` on a journal with tripped guards: what a person reads, and what a release leaves behind."""

import json
from pathlib import Path

import anyio
import pytest

from bot.commands.guards import ask_release, print_guards
from bot.config import JournalTable
from bot.errors import OperatorError
from bot.journal.connection import open_journal
from bot.journal.guards import GuardRows
from tests.journal.test_guard_rows import TRACK


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("state")

    async def make() -> None:
        async with open_journal(folder, JournalTable(), {}) as pool:
            await GuardRows(pool).save(TRACK)

    anyio.run(make)
    return folder


@pytest.fixture
def config(state: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("BOT_DSN", raising=False)
    file = state / "bot.toml"
    file.write_text("[guards]\nday_drawdown_pct = 0\nlosing_streak = 5\n")
    return file


def test_a_table_tells_what_each_guard_measures_and_which_are_tripped(
    state: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    print_guards(state, config, as_json=False)
    lines = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines()}
    assert lines["day_drawdown"][-1] == "off"
    assert lines["drawdown"][-5:] == ["2025-03-01", "00:03:00", "release", "by", "hand"]
    assert lines["daily_loss"][5:7] == ["tripped", "2025-03-01"]
    assert lines["losing_streak"][1:] == ["4", "5", "ok"]


def test_json_tells_the_same(state: Path, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_guards(state, config, as_json=True)
    told = {row["guard"]: row for row in json.loads(capsys.readouterr().out)["guards"]}
    assert told["drawdown"]["tripped_at"] is not None
    assert (told["drawdown"]["until_at"], told["drawdown"]["limit"]) == (None, 20.0)
    assert told["daily_loss"]["until_at"] is not None
    assert (told["losing_streak"]["on"], told["losing_streak"]["measure"]) == (True, 4.0)


@pytest.mark.parametrize(
    ("name", "words"),
    [("losing_streak", "tripped now: drawdown, daily_loss"), ("moon", "expected one of day_drawdown")],
)
def test_what_is_not_tripped_cannot_be_released(state: Path, config: Path, name: str, words: str) -> None:
    with pytest.raises(OperatorError, match=words):
        ask_release(state, config, name, as_json=False)


def test_a_release_is_left_for_the_bot_to_take(state: Path, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ask_release(state, config, "drawdown", as_json=True)
    assert json.loads(capsys.readouterr().out) == {"guard": "drawdown", "asked": True}

    async def left() -> list[str]:
        async with open_journal(state, JournalTable(), {}) as pool:
            return [guard for _, guard in await GuardRows(pool).releases()]

    assert anyio.run(left) == ["drawdown"]
