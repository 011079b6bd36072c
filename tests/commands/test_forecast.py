"""`forecast` by its command line: made once, listed, refused by name."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from bot.__main__ import main
from bot.clock import HOUR_MS
from bot.history.bars import SCHEMA
from bot.history.forecasts import stores
from tests.history.made import START, bars

COUNT = 240
WHOLE = COUNT - 192 + 1  # windows of nano's context
FROM = "2025-03-01"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Bars of two symbols of a variant of three, in a flat folder."""
    for symbol, seed in (("BTCUSDT", 1), ("ETHUSDT", 2)):
        made = bars(COUNT, symbol=symbol, seed=seed)
        (tmp_path / "bars").mkdir(exist_ok=True)
        table = pl.DataFrame({name: getattr(made, name) for name in SCHEMA})
        table.write_parquet(tmp_path / "bars" / f"{symbol}-1h.parquet")
    (tmp_path / "variant.toml").write_text(
        '[variant]\nname = "V"\ntier = "t1"\nsymbols = ["BTCUSDT", "ETHUSDT", "SOLUSDT"]\n'
    )
    return tmp_path


def words(folder: Path, *more: object) -> list[str]:
    given = (folder / "variant.toml", "--from", FROM, "--bars", folder / "bars", "--store", folder / "forecasts")
    return ["forecast", *map(str, given), "--processes", "1", "--batch", "32", *map(str, more)]


def told(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> Any:
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_every_whole_window_is_forecast_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (first,) = told(capsys, words(folder))["checkpoints"]
    assert first["checkpoint"].startswith("nano@")
    assert (first["made"], first["no_bars"]) == (2 * WHOLE, ["SOLUSDT"])
    assert first["symbols"][0] == {
        "symbol": "BTCUSDT",
        "stored": 0,
        "made": WHOLE,
        "refused": {"window_short": 191},
    }
    (again,) = told(capsys, words(folder, "--checkpoint", "base"))["checkpoints"]
    assert (again["made"], [one["stored"] for one in again["symbols"]]) == (0, [WHOLE, WHOLE])
    listed = told(capsys, ["forecast", "list", "--store", str(folder / "forecasts")])
    assert [(one["symbol"], one["forecasts"], one["horizon"]) for one in listed] == [
        ("BTCUSDT", WHOLE, 4),
        ("ETHUSDT", WHOLE, 4),
    ]
    (store,) = stores(folder / "forecasts")
    found = store.load("BTCUSDT")
    assert ((found.bar_close_at[0] - START) // HOUR_MS, found.path.shape) == (192, (WHOLE, 4))
    assert store.manifest.trained_to_at is not None


def test_what_is_made_and_stored_is_told_as_tables(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words(folder)) == 0
    said = capsys.readouterr()
    assert "window_short 191" in said.out
    assert "no 1h bars" in said.out
    assert f"of {2 * WHOLE} forecasts" in said.err
    assert main(["forecast", "list", "--store", str(folder / "forecasts")]) == 0
    assert "nano@" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ("--checkpoint t1/absent", "there is no checkpoint 'absent'"),
        ("--checkpoint absent", "--checkpoint absent: expected base, or TIER/ID"),
        ("--to 2025-02-01", "there is nothing between it and --to"),
        ("--bars {0}/empty", "no 1h bars of the variants' symbols"),
    ],
)
def test_what_cannot_be_forecast_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], more: str, fault: str
) -> None:
    assert main(words(folder, *more.format(folder).split())) == 2
    assert fault in capsys.readouterr().err.strip().splitlines()[-1]


def test_forecasts_of_another_horizon_are_not_mixed_in(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words(folder)) == 0
    config = folder / "bot.toml"
    config.write_text("[model]\nhorizon = 8\n")
    assert main(words(folder, "--config", config)) == 2
    assert "made with horizon 4, not 8" in capsys.readouterr().err


def test_the_help_says_where_the_options_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["forecast", "--help"]) == 0
    assert "its options are in `forecast make --help`" in " ".join(capsys.readouterr().out.split())
