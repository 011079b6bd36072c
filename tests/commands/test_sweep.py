"""`sweep` by its command line: ranked with its doubts, resumed, verified by the exact backtest."""

import datetime
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from benchmarks.made_market import hours_of, write_bars
from bot.__main__ import main
from bot.clock import HOUR_MS
from bot.history.bars import BarFiles
from bot.history.forecasts import StoreManifest, make_store, window_crc32
from bot.messages import Bars
from tests.history.made import START, bars

HOURS = 192 + 24 * 24
GRID = """
[sweep]
variant = "variant.toml"
start = "2025-03-09"
end = "2025-04-01"
out_of_sample_from = "2025-03-24"
folds = 2
min_trades = 5

[variant]
threshold_pct = [0.2, 0.4]

[filter.sides]
allow = ["both", "long"]

[entry.market]

[entry.atr05]
atr_multiple = [0.25, 0.5]

[exits]
stop_pct = [0.5, 1.0]
target_pct = [0.5, 1.0]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two symbols' bars of an hour and of five minutes, and made-up forecasts of them."""
    root = tmp_path_factory.mktemp("sweep")
    files = BarFiles(root / "bars")
    manifest = StoreManifest(
        checkpoint="made@0", base="made", base_sha256="0", adapter=None, adapter_sha256=None, context=192, horizon=4,
        interval_ms=HOUR_MS, options={}, dtype="float32", trained_to_at=START,
    )  # fmt: skip
    store = make_store(root / "forecasts", manifest)
    for seed, symbol in enumerate(("AAAUSDT", "BBBUSDT")):
        fine = bars(HOURS * 12, HOUR_MS // 12, symbol, seed)
        hours = hours_of(fine)
        for some in (fine, hours):
            write_bars(files, some)
        store.add(symbol, forecasts(hours, store.schema, seed))
    (root / "variant.toml").write_text(
        '[variant]\nname = "V"\ntier = "t1"\nsymbols = ["AAAUSDT", "BBBUSDT", "CCCUSDT"]\nfilters = ["rsi"]\n'
    )
    (root / "grid.toml").write_text(GRID)
    return root


def forecasts(hours: Bars, schema: Any, seed: int) -> pl.DataFrame:
    rows = np.arange(191, len(hours))
    said = np.random.default_rng(seed).normal(0, 0.004, len(rows))
    columns: dict[str, Any] = dict.fromkeys([name for name, kind in schema.items() if kind == pl.Float64()], said)
    columns |= {
        "bar_close_at": hours.open_time[rows] + HOUR_MS,
        "last_close": hours.close[rows],
        "refused": [""] * len(rows),
        "window_crc32": [window_crc32(hours.close[row - 191 : row + 1]) for row in rows],
    }
    return pl.DataFrame({name: columns[name] for name in schema}, schema=schema)


def words(folder: Path, state: Path, *more: object) -> list[str]:
    given = ("--bars", folder / "bars", "--store", folder / "forecasts", "--state", state)
    return ["sweep", str(folder / "grid.toml"), *map(str, given), *map(str, more)]


def test_a_sweep_is_ranked_with_its_doubts_and_equals_the_backtest_trade_for_trade(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    some = [one for number in (0, 13, 30, 47) for one in ("--verify", number)]
    assert main(words(folder, tmp_path, *some, "--json")) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["symbols"], told["without_bars"]) == (["AAAUSDT", "BBBUSDT"], ["CCCUSDT"])
    for one in told["verified"]:
        assert one["trades"] == one["same"] > 20
        assert one["differences"] == []
    ranking = told["ranking"]
    assert (ranking["configurations"], ranking["trials"], len(ranking["rows"])) == (48, 48, 10)
    plateaus = [row["plateau"] for row in ranking["rows"]]
    assert plateaus == sorted(plateaus, reverse=True)
    for row in ranking["rows"]:
        assert row["neighbours"] >= 2
        assert 0 <= row["deflated_sharpe"] <= 1
        assert 0 < row["p_value"] <= 1
        assert row["lower"] < row["sharpe"]
        assert row["out_of_sample_trades"] > 0
        assert row["folds"] == 2
    assert [one["fold"] for one in ranking["walk_forward"]] == [1, 2]
    made = Path(told["folder"])
    table = pl.read_parquet(made / "table.parquet")
    assert len(table) == 48
    assert set(table["variant.entry"]) == {"market", "atr05 atr_multiple 0.25", "atr05 atr_multiple 0.5"}
    page = (made / "report.html").read_text(encoding="utf-8")
    assert "parcoords" in page
    assert "heatmap" in page


def test_what_is_there_is_not_computed_again(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words(folder, tmp_path, "--json")) == 0
    first = json.loads(capsys.readouterr().out)
    parts = sorted(Path(first["folder"]).glob("part-*.parquet"))
    assert len(parts) == 3, "one for each entry"
    parts[1].unlink()
    assert main(words(folder, tmp_path, "--json")) == 0
    again = json.loads(capsys.readouterr().out)
    assert (first["computed"], again["computed"]) == (48, 16)
    assert again["ranking"] == first["ranking"]


def test_other_costs_are_another_sweep(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bot.toml").write_text("[costs]\ntaker_fee_pct = 0.06\n")
    assert main(words(folder, tmp_path, "--json")) == 0
    first = json.loads(capsys.readouterr().out)
    assert main(words(folder, tmp_path, "--config", tmp_path / "bot.toml", "--json")) == 0
    dearer = json.loads(capsys.readouterr().out)
    assert dearer["folder"] != first["folder"]
    assert dearer["computed"] == 48


def test_the_ranking_is_a_table_for_people(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words(folder, tmp_path, "--top", 3, "--verify", 5)) == 0
    said = capsys.readouterr().out
    for word in ("Plateau", "DSR", "trials without any skill", "Walk-forward", "equal the exact backtest's"):
        assert word in said


def test_at_80_columns_every_doubt_is_printed_and_the_settings_below(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(words(folder, tmp_path, "--top", 3)) == 0
    lines = capsys.readouterr().out.splitlines()
    [header] = [line.split() for line in lines if "Plateau" in line and "DSR" in line and "#" in line]
    assert {"Plateau", "Sharpe", "OOS", "DSR", "p", "Net"} <= set(header)
    assert "Settings" not in header
    settings = [line for line in lines if line.startswith(("1. No. ", "2. No. ", "3. No. "))]
    assert len(settings) == 3
    assert all("threshold_pct 0." in line and "stop_pct" in line for line in settings)


def test_winners_whose_stop_moves_are_an_upper_bound_and_others_are_not(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "variant.toml").write_bytes((folder / "variant.toml").read_bytes())
    given = ("--bars", folder / "bars", "--store", folder / "forecasts", "--state", tmp_path, "--top", 24)
    for trail, moves in (("[0.5, 0.6]", True), ("[0.0]", False)):
        (tmp_path / "grid.toml").write_text(GRID.split("[exits]")[0] + f"[exits]\ntrail_pct = {trail}\n")
        assert main(["sweep", str(tmp_path / "grid.toml"), *map(str, given)]) == 0
        said = capsys.readouterr().out
        assert ("rows: inside a bar prices run straight" in said) == moves
        assert ("take their gain as an upper bound" in said) == moves
        [page] = (tmp_path / "sweeps").glob("grid-*/report.html")
        assert ("take their gain as an upper bound" in page.read_text(encoding="utf-8")) == moves
        page.unlink()


def test_a_row_whose_stop_moves_along_hourly_bars_is_doubted(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "variant.toml").write_bytes((folder / "variant.toml").read_bytes())
    (tmp_path / "grid.toml").write_text(GRID.split("[exits]")[0] + "[exits]\ntrail_pct = [0.0, 0.5]\n")
    shutil.copytree(folder / "bars", tmp_path / "hours", ignore=shutil.ignore_patterns("5m"))
    for place, doubted in ((folder / "bars", {False}), (tmp_path / "hours", {False, True})):
        given = ("--bars", place, "--store", folder / "forecasts", "--state", tmp_path, "--top", 24, "--json")
        assert main(["sweep", str(tmp_path / "grid.toml"), *map(str, given)]) == 0
        told = json.loads(capsys.readouterr().out)
        assert {row["flattered"] for row in told["ranking"]["rows"]} == doubted
        page = (Path(told["folder"]) / "report.html").read_text(encoding="utf-8")
        assert ("DOUBT: its stop moves along 1h bars" in page) == (True in doubted)


def spanning(folder: Path, tmp_path: Path, **days: str) -> Path:
    """The grid with other days."""
    text = GRID.replace('"variant.toml"', f'"{folder / "variant.toml"}"')
    for key, day in days.items():
        text = re.sub(f"^{key} = .*$", f'{key} = "{day}"', text, flags=re.MULTILINE)
    path = tmp_path / "grid.toml"
    path.write_text(text)
    return path


def test_a_span_beyond_what_is_there_is_cut_and_changes_no_figure(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = []
    for start, end in (("2025-03-09", "2025-04-02"), ("2024-01-01", "2030-01-01")):
        given = words(folder, tmp_path, "--json")
        given[1] = str(spanning(folder, tmp_path, start=start, end=end))
        assert main(given) == 0
        told.append(json.loads(capsys.readouterr().out))
    whole, wide = told
    assert (whole["notes"], wide["from_at"], wide["to_at"]) == ([], whole["from_at"], whole["to_at"])
    assert wide["ranking"] == whole["ranking"]
    assert wide["notes"] == [
        "asked for 2024-01-01 to 2030-01-01; bars and forecasts lie from 2025-03-09T00:00Z to 2025-04-02T00:00Z: "
        "that is what was run"
    ]
    given.remove("--json")
    assert main(given) == 0
    assert "asked for 2024-01-01 to 2030-01-01" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("days", "fault"),
    [
        ({"start": "2026-01-01", "end": "2026-04-01", "out_of_sample_from": "2026-03-01"},
         "key sweep.start: there is nothing from 2026-01-01 to 2026-04-01; bars and forecasts lie from 2025-03-09 to"),
        ({"end": "2026-04-01", "out_of_sample_from": "2026-03-01"},
         "key sweep.out_of_sample_from: 2026-03-01 leaves nothing on one side of it; bars and forecasts lie from"),
    ],
)  # fmt: skip
def test_a_span_that_leaves_nothing_is_refused_by_key(
    folder: Path, tmp_path: Path, days: dict[str, str], fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = words(folder, tmp_path)
    given[1] = str(spanning(folder, tmp_path, **days))
    assert main(given) == 2
    assert fault in capsys.readouterr().err


def test_a_span_without_forecasts_is_told_from_a_threshold_that_is_too_high(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folder / "forecasts", tmp_path / "forecasts")
    given = words(folder, tmp_path, "--store", tmp_path / "forecasts")
    given[1] = str(spanning(folder, tmp_path, start="2025-03-12", end="2025-03-20", out_of_sample_from="2025-03-17"))

    def keep(symbol: str, row: pl.Expr) -> None:
        for path in (tmp_path / "forecasts").rglob(f"{symbol}/*.parquet"):
            pl.read_parquet(path).filter(row).write_parquet(path)

    at = pl.from_epoch("bar_close_at", time_unit="ms").dt.date()
    outside = ~at.is_between(datetime.date(2025, 3, 11), datetime.date(2025, 3, 20))
    keep("BBBUSDT", outside)
    assert main(given) == 0
    assert "No forecasts in this span: BBBUSDT; see `python -m bot forecast make`." in capsys.readouterr().out
    keep("AAAUSDT", outside)
    assert main(given) == 2
    assert "no forecasts of V's symbols in this span; see `python -m bot forecast make`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        (["--verify", 48], "--verify 48: expected the number of a configuration, 0 to 47"),
        (["--sort", "luck"], "--sort luck: expected one of plateau, lower, sharpe, net"),
        (["--checkpoint", "none@1"], "no forecasts of none@1"),
    ],
)
def test_a_wrong_option_is_told_by_name(
    folder: Path, tmp_path: Path, more: list[object], fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(folder, tmp_path, *more)) == 2
    assert fault in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (("stop_pct = [0.5, 1.0]", "stop_pct = [0.5, 20.0]"), "key exits.stop_pct: 20.0 is not allowed"),
        (("[filter.sides]\nallow", "[filter.sides]\nallows"), "key filter.sides.allows: is unknown"),
        (("[filter.sides]\nallow", "[filter.none]\nallow"), "there is no filter plugin 'none'"),
        (("[filter.sides]\nallow = [\"both\", \"long\"]", "[filter.cooldown]\nafter_loss_minutes = [60]"),
         "filter 'cooldown' looks at the variant's own past and cannot be swept"),
        (("threshold_pct = [0.2, 0.4]", "threshold_pct = [50.0]"), "no forecast reaches the lowest threshold"),
    ],
)  # fmt: skip
def test_a_grid_that_cannot_be_is_told_by_key(
    folder: Path, tmp_path: Path, change: tuple[str, str], fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / f"{tmp_path.name}.toml"
    path.write_text(GRID.replace(*change))
    arguments = words(folder, tmp_path)
    arguments[1] = str(path)
    assert main(arguments) == 2
    assert fault in capsys.readouterr().err


def test_a_sweep_loads_no_torch() -> None:
    found = "import sys, bot.commands.sweep; print(sorted({'torch', 'timesfm'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", found], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
