"""A day of real bars through the whole process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flow.processes import Left, remove, run
from tests.flow.variants import busy, write

pytestmark = [pytest.mark.flow, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def left(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Left]:
    folder = tmp_path_factory.mktemp("recordings")
    state = folder / "state"
    bars = ("--bars", shared_data / "ohlcv" / "um", "--from", "2025-03-03", "--days", 1)
    yield run(state, write(folder / "variants", busy()), *bars)
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
