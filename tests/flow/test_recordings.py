"""A day of real bars through the whole process."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flow.processes import CHECKOUT, Left, remove, run
from tests.flow.variants import WHOLE_FILLS, busy, write

pytestmark = [pytest.mark.flow, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def left(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Left]:
    folder = tmp_path_factory.mktemp("recordings")
    state = folder / "state"
    scenario = folder / "whole.toml"
    scenario.write_text(WHOLE_FILLS, encoding="utf-8")
    bars = ("--bars", shared_data / "ohlcv" / "um", "--from", "2025-03-03", "--days", 1)
    yield run(state, write(folder / "variants", busy()), *bars, "--scenario", scenario)
    remove(state)


def test_a_day_of_real_bars_is_traded(left: Left) -> None:
    report = left.report
    assert (report["simulated_days"], report["ledger_equal"], report["naked_seconds"]) == (1.0, True, 0.0)
    assert report["entries_filled"] > 20
    assert len(report["exits"]) >= 3
    assert report["ledger_checks"] > 50


def test_the_bars_are_kept_as_they_were_recorded(left: Left, shared_data: Path) -> None:
    import polars as pl

    recorded = pl.read_parquet(shared_data / "ohlcv" / "um" / "BTCUSDT-1h.parquet").select("open_time", "close")
    kept = next((left.state / "bars").rglob("BTCUSDT/1h"))
    ours = pl.read_parquet(kept / "*.parquet").select("open_time", "close")
    both = ours.join(recorded, on="open_time", suffix="_recorded")
    assert len(both) == len(ours) > 24
    assert (both["close"] == both["close_recorded"]).all()


def test_each_decision_and_each_trade_is_that_of_the_backtest(left: Left, shared_data: Path) -> None:
    command = [
        sys.executable, "-m", "bot", "parity", "--state", left.state, "--day", "2025-03-03", "--json",
        "--bars", shared_data / "ohlcv" / "um", "--variants", left.state.parent / "variants",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert (told["found"]["differences"], told["found"]["rows"]) == ([], sum(left.report["signals"].values()))
    assert told["found"]["trades"] > 40
