"""A market of recordings plays the same from months as from a flat folder."""

from pathlib import Path

import polars as pl

from bot.clock import HOUR_MS, MINUTE_MS
from bot.exchange.simulator.recordings import LEAST_WARMUP_HOURS, RecordedMarket, recorded_range, recorded_symbols
from bot.history.bars import SCHEMA, BarFiles
from bot.history.faults import whole_hours
from bot.history.funding import FundingFiles
from tests.history.made import START, bars

HOURS = LEAST_WARMUP_HOURS + 600
BEGIN = START + LEAST_WARMUP_HOURS * HOUR_MS


def played(directory: Path) -> RecordedMarket:
    return RecordedMarket(directory, ["BTCUSDT"], BEGIN, BEGIN + 500 * HOUR_MS, warmup_hours=LEAST_WARMUP_HOURS)


def test_months_are_played_as_a_flat_folder_is(tmp_path: Path) -> None:
    detail = bars(HOURS * 12, 5 * MINUTE_MS)
    flat, months = tmp_path / "flat", tmp_path / "months"
    flat.mkdir()
    times = [BEGIN + 8 * hour * HOUR_MS for hour in range(60)]
    rates = pl.DataFrame({"funding_time": times, "rate": [0.0001 * (1 + at % 3) for at in range(60)]})
    rates.with_columns(symbol=pl.lit("BTCUSDT")).write_parquet(flat / "funding_um.parquet")
    FundingFiles(months).add("BTCUSDT", rates)
    for name, part in (("5m", detail), ("1h", whole_hours(detail))):
        table = pl.DataFrame({column: getattr(part, column) for column in SCHEMA})
        table.write_parquet(flat / f"BTCUSDT-{name}.parquet")
        BarFiles(months).add("BTCUSDT", part.interval_ms, table)
    assert len(list((months / "BTCUSDT" / "5m").iterdir())) == 2
    one, other = played(flat), played(months)
    assert list(one.steps()) == list(other.steps())
    assert one.notes == other.notes
    assert recorded_symbols(months) == recorded_symbols(flat) == ("BTCUSDT",)
    assert recorded_range(months, ["BTCUSDT"]) == recorded_range(flat, ["BTCUSDT"])
