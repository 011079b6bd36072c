"""A bot beside a market that does not wait: a second one, a person's word, a database that dies, SIGTERM."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bot.journal import embedded
from tests.flow.processes import CHECKOUT, Bot, Left, remove
from tests.flow.variants import variant, write

pytestmark = [pytest.mark.flow, pytest.mark.timeout(400)]

PACE = 600  # 10 minutes a second
HOLDER = variant("holder", ("BTCUSDT", "ETHUSDT"), stop=8, target=30, hold=10_000)


def command(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bot", *map(str, words)], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )


def until(true: Callable[[], Any], seconds: float = 120) -> Any:
    ends = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < ends, "it did not come to pass"
        time.sleep(0.3)
    return found


class Trading:
    """One bot that holds positions by the time it is given out."""

    def __init__(self, folder: Path, *words: object) -> None:
        self.state = folder / "state"
        self.log = self.state / "logs" / "bot.jsonl"
        variants = write(folder / "variants", {"holder": HOLDER})
        self.bot = Bot(self.state, variants, "--days", 20, "--profile", "stress", "--pace", PACE, *words)
        until(lambda: self.open_positions())

    def told(self, name: str) -> list[dict[str, Any]]:
        if not self.log.exists():
            return []
        lines = (json.loads(line) for line in self.log.read_text().splitlines() if f'"{name}"' in line)
        return [line for line in lines if line["event"] == name]

    def open_positions(self) -> list[dict[str, Any]]:
        if not self.told("started"):
            return []
        listed = command("journal", "positions", "--state", self.state, "--json")
        rows = json.loads(listed.stdout) if listed.returncode == 0 else []
        return [row for row in rows if row["status"] == "open"]

    def newest_signal(self) -> str:
        listed = command("journal", "signals", "--limit", 1, "--state", self.state, "--json")
        return str(json.loads(listed.stdout)[0]["cycle_at"]) if listed.returncode == 0 else ""

    def stop(self) -> Left:
        os.kill(self.bot._process.pid, signal.SIGTERM)
        return self.bot.end()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    remove(tmp_path / "state")


def test_a_bot_that_is_stopped_says_what_it_leaves_and_a_second_one_beside_it_is_refused(folder: Path) -> None:
    trading = Trading(folder)
    second = command("run", folder / "variants", "--state", trading.state, "--no-view")
    assert second.returncode == 2
    assert f"in use by bot, pid {trading.bot._process.pid}" in second.stderr
    left = trading.stop()
    held = left.rows("SELECT position_id, stop_price FROM bot.positions WHERE status = 'open'")
    assert held
    (stopped,) = trading.told("stopped")
    assert len(stopped["detail"]["open_positions"]) == len(held)
    output = trading.bot.output.read_text()
    assert all(f"({row['position_id']})" in output for row in held)


def test_a_bot_that_is_stopped_with_flatten_leaves_nothing(folder: Path) -> None:
    trading = Trading(folder, "--flatten")
    left = trading.stop()
    assert left.rows("SELECT 1 FROM bot.positions WHERE status <> 'closed'") == []
    assert left.report["exits"]["flatten"] >= 1
    assert "left:" not in trading.bot.output.read_text()


def test_a_persons_word_is_taken_within_seconds_and_lasts_until_it_is_taken_back(folder: Path) -> None:
    trading = Trading(folder)
    assert command("flatten", "--state", trading.state, "--reason", "a test").returncode == 0
    until(lambda: trading.told("flat"), 20)
    shown = json.loads(command("state", "show", "--state", trading.state, "--json").stdout)
    assert shown["running"]
    assert [(held["state"], held["reason"], held["detail"]) for held in shown["held"]] == [
        ("reducing", "person", "a test")
    ]
    assert trading.open_positions() == []
    assert command("state", "activate", "--state", trading.state).returncode == 0
    until(lambda: trading.told("trading_released"), 20)
    until(lambda: trading.open_positions())
    trading.stop()


def test_a_database_that_dies_under_the_bot_comes_back_and_misses_nothing(folder: Path) -> None:
    trading = Trading(folder)
    place = embedded.locate(trading.state)
    embedded._run(place, "pg_ctl", "stop", "-D", str(place.data), "-m", "immediate", "-w")
    until(lambda: trading.told("database_back"), 60)
    newest = trading.newest_signal()
    until(lambda: trading.newest_signal() > newest)
    left = trading.stop()
    query = "SELECT name FROM bot.bot_events WHERE starts_with(name, 'database_') ORDER BY id"
    assert [row["name"] for row in left.rows(query)] == ["database_away", "database_back"]
