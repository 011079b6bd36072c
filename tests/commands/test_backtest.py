"""`backtest` by its command line: by stored forecasts and by a rule; what it writes, refuses and imports."""

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from bot.__main__ import main
from bot.clock import HOUR_MS
from bot.history.bars import SCHEMA
from tests.commands.test_ic import BASE, COUNT, HORIZON, SYMBOLS, forecasts
from tests.flow.processes import CHECKOUT
from tests.history.made import START, bars

PROMISED = {
    *("venue", "started_at", "ended_at", "simulated_days", "symbols", "variants", "signals", "orders"),
    *("entries_filled", "exits", "fees", "funding", "net_pnl", "max_drawdown", "naked_seconds", "ledger_equal"),
    *("restarts", "wall_seconds"),
}
VARIANT = """[variant]
name = "V"
tier = "t1"
symbols = ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
threshold_pct = 0.1
entry = "market"

[sizing]
margin_usdt = 20
volume_share_pct = 0
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "bars").mkdir()
    for symbol, seed in SYMBOLS.items():
        made = bars(COUNT + HORIZON, symbol=symbol, seed=seed)
        table = pl.DataFrame({name: getattr(made, name) for name in SCHEMA})
        table.write_parquet(tmp_path / "bars" / f"{symbol}-1h.parquet")
    forecasts(BASE, tmp_path / "forecasts", 0.3)
    (tmp_path / "variant.toml").write_text(VARIANT)
    (tmp_path / "bot.toml").write_text("[model]\ncontext = 64\n")
    return tmp_path


def words(folder: Path, *more: object) -> list[str]:
    given = (
        folder / "variant.toml", "--bars", folder / "bars", "--store", folder / "forecasts",
        "--state", folder / "state", "--config", folder / "bot.toml",
    )  # fmt: skip
    return ["backtest", *map(str, given), *map(str, more)]


def told(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> Any:
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_run_leaves_its_report(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, words(folder))
    assert found.keys() >= PROMISED
    assert found["venue"] == "backtest"
    assert found["signals"]["enter"] > 50
    assert sum(found["exits"].values()) == found["figures"]["trades"] > 50
    assert found["predictions"]["hits"] > 0.5, "three tenths of what comes is in the forecasts"
    assert len(found["hit_rate_by_decile"]) == 10
    assert found["by_variant"]["V"]["trades"] == found["figures"]["trades"]
    assert any(note.startswith("tiny@00000000 was trained on bars up to") for note in found["notes"])
    assert "1 of 3 symbols have no bars in this range: SOLUSDT" in found["notes"]
    written = json.loads((folder / "state" / "report" / "report.json").read_bytes())
    assert written["net_pnl"] == found["net_pnl"]
    page = (folder / "state" / "report" / "report.html").read_text(encoding="utf-8")
    headings = ("Equity and drawdown", "Months", "Trades on candles", "Prediction against outcome", "Hours (UTC)")
    assert all(heading in page for heading in headings)


def test_every_filled_trade_is_told_and_they_add_up_to_the_result(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told(capsys, words(folder))
    closed = [one for one in found["trades"] if one["closed_at"] is not None]
    assert len(found["trades"]) == found["entries_filled"]
    assert len(closed) == found["figures"]["trades"] > 50
    assert sum(Decimal(one["net_pnl"]) for one in closed) == Decimal(found["net_pnl"])
    first = closed[0]
    net = Decimal(first["gross_pnl"]) - Decimal(first["fees"]) + Decimal(first["funding"])
    assert Decimal(first["net_pnl"]) == net
    assert (first["variant"], first["tier"], first["maker"]) == ("V", "t1", False)
    assert first["side"] == ("LONG" if first["predicted_return"] > 0 else "SHORT")
    assert first["created_at"] <= first["opened_at"] <= first["closed_at"]
    assert first["opened_at"].endswith("Z"), "as all times of --json"
    written = json.loads((folder / "state" / "report" / "report.json").read_bytes())["trades"]
    assert [one["position_id"] for one in written] == [one["position_id"] for one in found["trades"]]
    assert type(written[0]["opened_at"]) is int, "as all times of report.json"


def test_a_stop_that_moves_along_hourly_bars_is_doubted_beside_the_result(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unguarded = words(folder, "--no-guards")
    [doubt] = [note for note in told(capsys, unguarded)["notes"] if note.startswith("DOUBT")]
    assert doubt.startswith("DOUBT V: its stop moves, and 100% of its days have no bars finer than 1h")
    assert doubt in (folder / "state" / "report" / "report.html").read_text(encoding="utf-8")
    (folder / "variant.toml").write_text(f"{VARIANT}\n[exits]\ntrail_pct = 0\nfloor_keep_pct = 0\n")
    assert not [note for note in told(capsys, unguarded)["notes"] if note.startswith("DOUBT")]


def test_a_guard_that_ended_the_trading_is_doubted_and_its_refusals_are_counted(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "bot.toml").write_text("[model]\ncontext = 64\n[guards]\ndrawdown_pct = 0.01\n")
    found = told(capsys, words(folder))
    [doubt] = [note for note in found["notes"] if note.startswith("DOUBT guard_")]
    refused, signals = found["refusals"]["guard_drawdown"], found["candidates"]
    assert 0 < found["signals"]["enter"] < refused < signals
    assert f"guard_drawdown refused {refused:,} of {signals:,} signals past the threshold, the first at 2025" in doubt
    assert "is released by hand alone" in doubt
    page = (folder / "state" / "report" / "report.html").read_text(encoding="utf-8")
    assert doubt in page
    assert '<table id="refusals">' in page
    assert main(words(folder)) == 0
    said = capsys.readouterr().out
    assert doubt in said
    lines = [line.split() for line in said.splitlines()]
    assert ["Refused", "Signals"] in lines
    assert ["guard_drawdown", f"{refused:,}"] in lines
    unguarded = told(capsys, words(folder, "--no-guards"))
    assert not [note for note in unguarded["notes"] if note.startswith("DOUBT guard_")]
    assert "guard_drawdown" not in unguarded["refusals"]


def thin_out(folder: Path, symbol: str, since: int, until: int) -> None:
    """Take the forecasts of these hours away."""
    for path in (folder / "forecasts").rglob(f"{symbol}/*.parquet"):
        at = START + HOUR_MS * pl.Series([since, until])
        pl.read_parquet(path).filter(~pl.col("bar_close_at").is_between(*at)).write_parquet(path)


def test_forecasts_that_were_made_on_other_bars_are_doubted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    span = ("--from", "2025-03-10", "--to", "2025-03-20")
    assert not [note for note in told(capsys, words(folder, *span))["notes"] if "other bars" in note]
    [path] = (folder / "bars").rglob("ETHUSDT*1h*")
    for month in [path] if path.is_file() else path.glob("*.parquet"):
        prices = [pl.col(name) * 1.02 for name in ("open", "high", "low", "close")]
        pl.read_parquet(month).with_columns(prices).write_parquet(month)
    [note] = [note for note in told(capsys, words(folder, *span))["notes"] if "other bars" in note]
    assert note.startswith("DOUBT 24")  # of each hour of ten days, one before them too
    assert "of tiny@00000000 were made on other bars than these, of ETHUSDT; " in note


def test_symbols_without_forecasts_are_named_and_their_rows_are_told_apart(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = told(capsys, words(folder, "--from", "2025-03-10", "--to", "2025-03-20"))
    assert whole["without_forecast"] == 0
    assert not [note for note in whole["notes"] if "no forecast" in note]
    thin_out(folder, "ETHUSDT", 9 * 24, 20 * 24)
    span = ("--from", "2025-03-10", "--to", "2025-03-20")
    found = told(capsys, words(folder, *span))
    assert found["without_forecast"] == found["refusals"]["forecast_missing"] == 10 * 48
    assert 0 < found["candidates"] < whole["candidates"]
    no_candidates = sum(found["refusals"][one] for one in ("below_threshold", "forecast_missing", "instrument_missing"))
    assert found["candidates"] + no_candidates == sum(found["signals"].values()) == 10 * 48 * 3
    [note] = [note for note in found["notes"] if "no forecast" in note]
    assert note.startswith("tiny@00000000 has no forecast in this range, and nothing was traded, of ETHUSDT; ")
    assert "`python -m bot forecast make VARIANTS --from 2025-03-10`" in note
    thin_out(folder, "BTCUSDT", 9 * 24, 20 * 24)
    assert main(words(folder, *span)) == 0
    said = capsys.readouterr().out
    assert "1,440 signals, of which 960 without a forecast, 0 past the threshold; 0 entries" in said
    assert "of BTCUSDT, ETHUSDT; " in said


def test_a_range_beyond_what_is_there_is_cut_and_changes_no_figure(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = told(capsys, words(folder))
    assert (whole["started_at"], whole["ended_at"]) == ("2025-03-03T16:00:00.000Z", "2025-03-30T05:00:00.000Z")
    assert not [note for note in whole["notes"] if note.startswith("asked for")]
    wide = told(capsys, words(folder, "--from", "2024-01-01", "--to", "2030-01-01"))
    assert wide["figures"] == whole["figures"]
    assert wide["notes"][0] == (
        "asked for 2024-01-01 to 2030-01-01; bars and forecasts lie from 2025-03-03T16:00Z to 2025-03-30T05:00Z: "
        "that is what was run"
    )
    assert wide["notes"][1:] == whole["notes"]
    within = told(capsys, words(folder, "--from", "2025-03-05", "--to", "2025-03-20"))
    assert within["started_at"].startswith("2025-03-05T00:00")
    assert not [note for note in within["notes"] if note.startswith("asked for")]


def test_of_a_rule_the_bars_alone_bound_the_range(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, words(folder, "--rule", "rsi_dip", "--from", "2025-02-01", "--to", "2030-01-01"))
    assert (found["started_at"], found["ended_at"]) == ("2025-03-01T00:00:00.000Z", "2025-03-30T08:00:00.000Z")
    assert found["notes"][0].startswith("asked for 2025-02-01 to 2030-01-01; bars lie from 2025-03-01T00:00Z to ")


def test_a_played_path_trades_at_other_prices(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    worse, played = (told(capsys, words(folder, "--path", path)) for path in ("pessimistic", "played"))
    assert worse["signals"].keys() == played["signals"].keys()
    assert worse["net_pnl"] != played["net_pnl"]


def test_a_rule_trades_instead_of_forecasts(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, words(folder, "--rule", "rsi_dip", "--interval", "1h"))
    assert found["model"] == "rule rsi_dip"
    assert found["predictions"] is None
    assert 0 < found["candidates"] < 100


@pytest.mark.parametrize(
    ("more", "words_of_it"),
    [
        (("--path", "kind"), "--path kind: expected one of pessimistic, played"),
        (("--detail", "3m"), "--detail 3m: expected one of 1m, 5m, 1h"),
        (("--rule", "none"), "--rule none: there is no such rule plugin; expected one of: rsi_dip"),
        (("--interval", "5m"), "--interval 5m: goes with --rule"),
        (("--rule", "rsi_dip", "--interval", "5m"), "no 5m bars of these variants' symbols"),
        (("--checkpoint", "other@1"), "no forecasts of other@1; stored are: tiny@00000000"),
        (("--from", "2030-01-01"), "there is nothing between it and --to"),
        (("--to", "2025-03-03"), "bars and forecasts lie from 2025-03-03T16:00Z to 2025-03-30T05:00Z"),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], words_of_it: str
) -> None:
    assert main(words(folder, *more)) == 2
    assert words_of_it in capsys.readouterr().err


def test_no_torch_is_imported_on_this_path(folder: Path) -> None:
    code = (
        "import sys; from bot.__main__ import main; status = main(sys.argv[1:]); "
        "print(status, [name for name in ('torch', 'timesfm', 'anyio', 'aiohttp') if name in sys.modules])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, *words(folder)], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    assert "torch" not in ended.stdout.splitlines()[-1], ended.stdout
    assert ended.stdout.splitlines()[-1].startswith("0 ")
