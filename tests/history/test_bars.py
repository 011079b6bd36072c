"""Bars on disk: what is appended is what is loaded, whatever the order and however it was cut."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.clock import HOUR_MS
from bot.errors import OperatorError
from bot.history.bars import SCHEMA, BarFiles
from bot.history.faults import gaps
from bot.messages import Bar


def bar(at: int, symbol: str = "BTCUSDT", close: float = 2.0) -> Bar:
    return Bar(symbol, HOUR_MS, at * HOUR_MS, 1.0, 3.0, 1.0, close, 5.0)


def hours(files: BarFiles, symbol: str = "BTCUSDT") -> list[int]:
    return [int(at) // HOUR_MS for at in files.load(symbol, HOUR_MS).open_time]


@given(batches=st.lists(st.lists(st.integers(0, 40), max_size=12), max_size=5))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bars_load_sorted_and_once_however_they_were_appended(batches: list[list[int]], tmp_path: Path) -> None:
    files = BarFiles(tmp_path / str(len(list(tmp_path.iterdir()))))
    for batch in batches:
        files.append([bar(at) for at in batch])
    assert hours(files) == sorted({at for batch in batches for at in batch})


def test_the_newer_word_on_a_bar_stays(tmp_path: Path) -> None:
    files = BarFiles(tmp_path)
    files.append([bar(1), bar(2)])
    files.append([bar(2, close=2.5)])
    assert list(files.load("BTCUSDT", HOUR_MS).close) == [2.0, 2.5]


def test_holes_are_told_by_their_first_missing_and_next_present_bar(tmp_path: Path) -> None:
    files = BarFiles(tmp_path)
    files.append([bar(at) for at in (1, 2, 5, 6, 8)])
    found = gaps(files.load("BTCUSDT", HOUR_MS))
    assert found == [(3 * HOUR_MS, 5 * HOUR_MS), (7 * HOUR_MS, 8 * HOUR_MS)]
    assert gaps(files.load("NOUSDT", HOUR_MS)) == []


def test_a_month_is_a_file_and_only_the_months_asked_for_are_read(tmp_path: Path) -> None:
    files = BarFiles(tmp_path)
    files.append([bar(at) for at in range(0, 24 * 90, 6)])
    folder = tmp_path / "BTCUSDT" / "1h"
    assert sorted(path.name for path in folder.iterdir()) == [
        "1970-01.parquet",
        "1970-02.parquet",
        "1970-03.parquet",
    ]
    (folder / "1970-03.parquet").write_bytes(b"broken")
    assert len(files.load("BTCUSDT", HOUR_MS, start=24 * HOUR_MS, end=24 * 40 * HOUR_MS)) == 39 * 4
    with pytest.raises(OperatorError, match=r"1970-03\.parquet"):
        files.load("BTCUSDT", HOUR_MS)


def test_an_interrupted_write_leaves_nothing_that_is_read(tmp_path: Path) -> None:
    files = BarFiles(tmp_path)
    files.append([bar(1)])
    (tmp_path / "BTCUSDT" / "1h" / "1970-01.draft").write_bytes(b"half a file")
    assert hours(files) == [1]
    assert files.series() == [("BTCUSDT", "bars", HOUR_MS)]


def test_a_flat_folder_is_read_and_its_bars_are_taken_over_by_the_first_append(tmp_path: Path) -> None:
    flat = tmp_path / "BTCUSDT-1h.parquet"
    table = {name: [3 * HOUR_MS, 4 * HOUR_MS] if name == "open_time" else [2.0, 2.0] for name in SCHEMA}
    pl.DataFrame(table).write_parquet(flat)
    files = BarFiles(tmp_path)
    assert files.place("BTCUSDT", HOUR_MS) == flat
    assert (files.symbols(HOUR_MS), files.span("BTCUSDT", HOUR_MS)) == (("BTCUSDT",), (3 * HOUR_MS, 5 * HOUR_MS))
    files.append([bar(5)])
    assert files.place("BTCUSDT", HOUR_MS) == tmp_path / "BTCUSDT" / "1h"
    assert hours(files) == [3, 4, 5]
    assert flat.exists()


def test_marks_are_kept_beside_the_bars_without_volume(tmp_path: Path) -> None:
    files = BarFiles(tmp_path)
    files.append([bar(1)])
    prices = {name: [7.0] for name in ("open", "high", "low", "close")}
    files.add("BTCUSDT", HOUR_MS, pl.DataFrame({"open_time": [HOUR_MS], **prices}), "mark")
    assert files.load("BTCUSDT", HOUR_MS, "mark").close.tolist() == [7.0]
    assert files.load("BTCUSDT", HOUR_MS).close.tolist() == [2.0]
    assert files.series() == [("BTCUSDT", "bars", HOUR_MS), ("BTCUSDT", "mark", HOUR_MS)]


def test_what_is_replaced_is_counted_and_what_is_equal_is_not(tmp_path: Path) -> None:
    files = BarFiles(tmp_path)
    files.append([bar(at) for at in range(5)])
    again = files.load("BTCUSDT", HOUR_MS)
    same = pl.DataFrame({name: getattr(again, name) for name in SCHEMA})
    assert files.add("BTCUSDT", HOUR_MS, same) == 0
    other = same.with_columns(close=pl.Series(np.where(again.open_time < 2 * HOUR_MS, 2.5, 2.0)))
    assert files.add("BTCUSDT", HOUR_MS, other) == 2
    assert files.load("BTCUSDT", HOUR_MS).close.tolist() == [2.5, 2.5, 2.0, 2.0, 2.0]


def test_writers_in_two_processes_lose_nothing_of_each_other(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from bot.history.bars import BarFiles
from bot.messages import Bar
for at in range(int(sys.argv[1]), 40, 2):
    BarFiles(Path(sys.argv[2])).append([Bar("BTCUSDT", 3_600_000, at * 3_600_000, 1.0, 3.0, 1.0, 2.0, 5.0)])
"""
    writers = [subprocess.Popen([sys.executable, "-c", program, first, str(tmp_path)]) for first in "01"]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert hours(BarFiles(tmp_path)) == list(range(40))


def test_a_file_of_something_else_is_the_operators_to_move(tmp_path: Path) -> None:
    (tmp_path / "BTCUSDT-1h.parquet").write_bytes(b"not parquet")
    with pytest.raises(OperatorError, match=r"BTCUSDT-1h\.parquet"):
        BarFiles(tmp_path).load("BTCUSDT", HOUR_MS)
    pl.DataFrame({"x": [1]}).write_parquet(tmp_path / "ETHUSDT-1h.parquet")
    with pytest.raises(OperatorError, match=r"ETHUSDT-1h\.parquet"):
        BarFiles(tmp_path).append([bar(1, "ETHUSDT")])
