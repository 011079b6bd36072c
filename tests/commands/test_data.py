"""`data` by its command line: import, list, check and fetch, with what they print and how they end."""

import json
import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from bot.__main__ import main
from bot.clock import HOUR_MS, MINUTE_MS
from bot.history.bars import SCHEMA, BarFiles
from tests.flow.processes import simulator
from tests.history.made import START, bars


def told(capsys: pytest.CaptureFixture[str], *words: object, status: int = 0) -> Any:
    assert main([*map(str, words), "--json"]) == status
    return json.loads(capsys.readouterr().out)


def frame(count: int, interval_ms: int = HOUR_MS) -> pl.DataFrame:
    made = bars(count, interval_ms)
    return pl.DataFrame({name: getattr(made, name) for name in SCHEMA})


def test_what_is_imported_is_listed_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, into = tmp_path / "source", tmp_path / "bars"
    source.mkdir()
    frame(48).write_parquet(source / "BTCUSDT-1h.parquet")
    frame(48 * 12, 5 * MINUTE_MS).write_csv(source / "BTCUSDT-5m.csv")
    with zipfile.ZipFile(source / "ETHUSDT-1h-2025-03.zip", "w") as archive:
        archive.writestr("x.csv", frame(24).write_csv(include_header=False))
    rates = {"symbol": ["BTCUSDT"], "funding_time": [START], "rate": [0.0001]}
    pl.DataFrame(rates).write_parquet(source / "funding_um.parquet")
    found = told(capsys, "data", "import", source, "--bars", into)
    assert found["files"] == 4
    assert {(one["symbol"], one["series"]): one["stored"] for one in found["series"]} == {
        ("BTCUSDT", "1h"): 48,
        ("BTCUSDT", "5m"): 576,
        ("ETHUSDT", "1h"): 24,
        ("BTCUSDT", "funding"): 1,
    }
    listed = told(capsys, "data", "list", "--bars", into)
    assert [(one["symbol"], one["series"], one["rows"], one["gaps"]) for one in listed] == [
        ("BTCUSDT", "5m", 576, 0),
        ("BTCUSDT", "1h", 48, 0),
        ("BTCUSDT", "funding", 1, 0),
        ("ETHUSDT", "1h", 24, 0),
    ]
    assert (listed[1]["from_at"], listed[1]["to_at"]) == ("2025-03-01T00:00:00.000Z", "2025-03-03T00:00:00.000Z")
    checked = told(capsys, "data", "check", "--bars", into)
    assert [fault["rule"] for fault in checked["faults"]] == ["detail"]  # two walks that know nothing of each other
    assert main(["data", "list", "--bars", str(into), "--symbol", "ETHUSDT"]) == 0
    assert "BTCUSDT" not in capsys.readouterr().out


def test_a_bar_that_was_left_out_and_a_gap_end_with_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = frame(48).with_columns(high=pl.when(pl.int_range(pl.len()) == 9).then(1.0).otherwise(pl.col("high")))
    broken.write_parquet(tmp_path / "BTCUSDT-1h.parquet")
    found = told(capsys, "data", "import", tmp_path / "BTCUSDT-1h.parquet", "--bars", tmp_path / "bars", status=1)
    (fault,) = found["series"][0]["faults"]
    assert (fault["rule"], fault["first_at"], fault["count"]) == ("absurd", "2025-03-01T09:00:00.000Z", 1)
    checked = told(capsys, "data", "check", "--bars", tmp_path / "bars", status=1)
    assert [(one["rule"], one["level"], one["count"]) for one in checked["faults"]] == [("gap", "error", 1)]
    assert main(["data", "check", "--bars", str(tmp_path / "bars")]) == 1
    assert "1 gaps; the longest from 2025-03-01T09:00Z" in capsys.readouterr().out


def test_a_file_that_cannot_be_used_is_named_and_the_rest_of_the_folder_is_imported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    frame(48).write_csv(source / "BTCUSDT-1h.csv")
    frame(1)[:0].write_csv(source / "ETHUSDT-1h.csv")
    with zipfile.ZipFile(source / "SOLUSDT-1h-2025-03.zip", "w") as archive:
        archive.writestr("x.csv", frame(24).write_csv(include_header=False))
    (source / "SOLUSDT-1h-2025-03.zip.CHECKSUM").write_text(f"{'0' * 64}  SOLUSDT-1h-2025-03.zip\n")
    holed = frame(48).with_columns(open=pl.when(pl.int_range(pl.len()) == 33).then(None).otherwise(pl.col("open")))
    holed.write_csv(source / "XRPUSDT-1h.csv")
    found = told(capsys, "data", "import", source, "--bars", tmp_path / "bars", status=1)
    assert [(Path(one["path"]).name, one["why"].split(" ")[0]) for one in found["refused"]] == [
        ("ETHUSDT-1h.csv", "holds"),
        ("SOLUSDT-1h-2025-03.zip", "sha256"),
    ]
    assert {one["symbol"]: one["stored"] for one in found["series"]} == {"BTCUSDT": 48, "XRPUSDT": 47}
    assert [fault["rule"] for one in found["series"] for fault in one["faults"]] == ["not_a_number"]
    assert main(["data", "import", str(source), "--bars", str(tmp_path / "bars")]) == 1
    words = capsys.readouterr().out
    assert f"not used {source / 'ETHUSDT-1h.csv'}: holds no row" in words
    assert "95 rows of 2 of 4 files" in words
    assert main(["data", "import", str(source / "ETHUSDT-1h.csv"), "--bars", str(tmp_path / "bars")]) == 2
    assert "ETHUSDT-1h.csv: holds no row" in capsys.readouterr().err


def test_a_flat_folder_is_listed_and_checked_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pl.concat([frame(10), frame(5)]).write_parquet(tmp_path / "BTCUSDT-1h.parquet")
    assert told(capsys, "data", "list", "--bars", tmp_path)[0]["rows"] == 15
    checked = told(capsys, "data", "check", "--bars", tmp_path, status=1)
    assert [fault["words"] for fault in checked["faults"]] == ["unsorted, the bar before it is later"]


def test_history_is_fetched_from_a_venue_and_not_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with simulator(("BTCUSDT",), "--days", 1, "--from", "2025-03-01", "--pace", 1) as venue:
        config = tmp_path / "bot.toml"
        config.write_text(f'[exchange]\nrest_url = "{venue.url}"\n')
        words = ("data", "fetch", "--symbol", "BTCUSDT", "--from", "2025-02-20", "--bars", tmp_path / "bars")
        words = (*words, "--config", config)
        first = told(capsys, *words, "--kind", "bars", "--kind", "mark")
        assert [(one["series"], one["stored"]) for one in first["series"]] == [("1h", 9 * 24), ("mark-1h", 9 * 24)]
        again = told(capsys, *words, "--symbol", "NOUSDT", "--kind", "bars", status=1)
        assert [(one["symbol"], one["stored"]) for one in again["series"]] == [("BTCUSDT", 0)]
        assert again["unlisted"] == ["NOUSDT"]
    assert BarFiles(tmp_path / "bars").span("BTCUSDT", HOUR_MS) == (START - 9 * 24 * HOUR_MS, START)


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("data list --bars {0}/absent", "absent: no such folder"),
        ("data check --bars {0}", "nothing is recorded here"),
        ("data import {0}/absent", "no such file or folder"),
        ("data import {0} --interval 7m", "--interval 7m: expected one of 1m, 3m"),
        ("data fetch --symbol BTCUSDT --from 2025-03-02 --to 2025-03-01", "expected a day after --from"),
        ("data fetch --symbol BTCUSDT --from soon", "--from soon: expected a day"),
        ("data fetch --symbol BTCUSDT --from 2025-03-01 --kind tick", "--kind tick: expected one of bars, mark"),
        ("data fetch --symbol BTCUSDT --from 2025-03-01 --interval 7m", "--interval 7m: expected one of"),
        ("data fetch --symbol BTCUSDT --from 2025-03-01 --venue moon", "--venue moon: expected one of live, demo"),
    ],
)
def test_what_is_wrong_with_the_command_line_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, fault: str
) -> None:
    assert main(words.format(tmp_path).split()) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert fault in said[-1]
