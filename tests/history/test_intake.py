"""Rows of other makers' files on their way to disk: nothing is mended, nothing is dropped in silence."""

from pathlib import Path

import polars as pl
import pytest

from bot.clock import HOUR_MS
from bot.errors import OperatorError
from bot.history.bars import SCHEMA, BarFiles
from bot.history.funding import FundingFiles, rates_of
from bot.history.intake import Intake
from tests.history.made import START, bars


def table(count: int = 48) -> pl.DataFrame:
    made = bars(count)
    return pl.DataFrame({name: getattr(made, name) for name in SCHEMA})


def into(folder: Path) -> tuple[Intake, BarFiles]:
    files = BarFiles(folder)
    return Intake(files, FundingFiles(folder)), files


def test_files_that_overlap_are_one_series(tmp_path: Path) -> None:
    intake, files = into(tmp_path)
    told = intake.take("BTCUSDT", "bars", HOUR_MS, [table()[:30], table()[20:]])
    assert (told.files, told.rows, told.repeated, told.stored, told.replaced) == (2, 58, 10, 48, 0)
    assert told.faults == ()
    assert len(files.load("BTCUSDT", HOUR_MS)) == 48


def test_an_absurd_bar_is_left_out_and_told(tmp_path: Path) -> None:
    intake, files = into(tmp_path)
    broken = table().with_columns(low=pl.when(pl.int_range(pl.len()) == 7).then(-1.0).otherwise(pl.col("low")))
    told = intake.take("BTCUSDT", "bars", HOUR_MS, [broken])
    assert [(one.rule, one.level, one.first_at, one.count) for one in told.faults] == [
        ("absurd", "error", START + 7 * HOUR_MS, 1)
    ]
    assert told.stored == len(files.load("BTCUSDT", HOUR_MS)) == 47


def test_a_row_without_a_number_is_left_out_and_told_and_takes_no_other_rows_place(tmp_path: Path) -> None:
    intake, files = into(tmp_path)
    empty = table()[7:9].with_columns(open=pl.lit(float("nan")))
    told = intake.take("BTCUSDT", "bars", HOUR_MS, [table()[:8], empty, table()[9:]])
    assert [(one.rule, one.level, one.first_at, one.count) for one in told.faults] == [
        ("not_a_number", "error", START + 7 * HOUR_MS, 2)
    ]
    assert (told.rows, told.stored) == (49, 47)
    assert files.load("BTCUSDT", HOUR_MS).open[7] == table()["open"][7]


def test_a_rate_that_is_no_number_is_left_out_and_told(tmp_path: Path) -> None:
    intake, _ = into(tmp_path)
    rates = pl.DataFrame({"funding_time": [START, START + 8 * HOUR_MS], "rate": [0.0001, float("nan")]})
    told = intake.take("BTCUSDT", "funding", None, [rates, rates[:1]])
    assert [(one.rule, one.series, one.count) for one in told.faults] == [("not_a_number", "funding", 1)]
    assert (told.rows, told.repeated, told.stored) == (3, 1, 1)
    found = FundingFiles(tmp_path).load("BTCUSDT")
    assert found is not None
    assert found.at.tolist() == [START]


def test_a_bar_told_in_two_ways_is_an_error_and_the_later_word_stays(tmp_path: Path) -> None:
    intake, files = into(tmp_path)
    told = intake.take("BTCUSDT", "bars", HOUR_MS, [table(), table()[3:4].with_columns(volume=pl.lit(9.0))])
    assert [(one.rule, one.first_at, one.count) for one in told.faults] == [("duplicate", START + 3 * HOUR_MS, 1)]
    assert files.load("BTCUSDT", HOUR_MS).volume[3] == 9.0


def test_stored_bars_that_get_other_values_are_counted(tmp_path: Path) -> None:
    intake, _ = into(tmp_path)
    intake.take("BTCUSDT", "bars", HOUR_MS, [table()])
    assert intake.take("BTCUSDT", "bars", HOUR_MS, [table()]).replaced == 0
    assert intake.take("BTCUSDT", "bars", HOUR_MS, [table()[:5].with_columns(volume=pl.lit(9.0))]).replaced == 5


def test_rates_are_kept_by_the_hour_that_they_were_due(tmp_path: Path) -> None:
    intake, _ = into(tmp_path)
    late = pl.DataFrame({"funding_time": [START + 3, START + 8 * HOUR_MS], "rate": [0.0001, 0.0002]})
    intake.take("BTCUSDT", "funding", None, [late])
    intake.take("BTCUSDT", "funding", None, [late.with_columns(funding_time=pl.col("funding_time") + 9)])
    found = FundingFiles(tmp_path).load("BTCUSDT")
    assert found is not None
    assert found.at.tolist() == [START, START + 8 * HOUR_MS]
    assert [str(rate) for rate in found.rate] == ["0.0001", "0.0002"]
    assert FundingFiles(tmp_path).symbols() == ("BTCUSDT",)


def test_rates_out_of_order_are_refused_by_file_and_time(tmp_path: Path) -> None:
    path = tmp_path / "funding_um.parquet"
    rows = {"symbol": ["BTCUSDT"] * 2, "funding_time": [START, START], "rate": [0.1, 0.1]}
    pl.DataFrame(rows).write_parquet(path)
    with pytest.raises(OperatorError, match=r"funding_um\.parquet: BTCUSDT: .* 2025-03-01T00:00Z"):
        rates_of(path, "BTCUSDT")


def test_the_intervals_are_the_venues() -> None:
    from bot.exchange.wire import INTERVAL_MS
    from bot.history.layout import INTERVALS

    assert INTERVALS == INTERVAL_MS
