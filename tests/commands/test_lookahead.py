"""`lookahead` by its command line: clean, caught, and what it says of either."""

import json
from pathlib import Path

import polars as pl
import pytest

from bot.__main__ import main
from bot.clock import HOUR_MS
from bot.history.bars import COLUMNS, SCHEMA, BarFiles
from tests.strategy.days import walk

CHEAT = '''"""Lets pass what will have been right."""

from bot.hookspecs import Candidate, Options, hookimpl
from bot.messages import FilterVerdict


@hookimpl
def judge(candidate: Candidate, options: Options) -> FilterVerdict:
    closes, times = candidate.bars.close, candidate.bars.open_time
    whole = closes if closes.base is None else closes.base
    index = int((times if times.base is None else times.base).searchsorted(times[-1]))
    later = whole[min(index + 4, len(whole) - 1)]
    return FilterVerdict("oracle", bool(candidate.side.sign * (later - closes[-1]) > 0), "foreseen")
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "oracle.py").write_text(CHEAT)
    for name, filters in (("honest", '"rsi"'), ("oracle", '"rsi", "oracle"')):
        text = f'[variant]\nname = "{name}"\ntier = "t1"\nsymbols = ["BTCUSDT"]\nfilters = [{filters}]\n'
        (tmp_path / f"{name}.toml").write_text(text)
    return tmp_path


def words(folder: Path, name: str, *more: str) -> list[str]:
    plugins = str(folder / "plugins")
    return ["lookahead", str(folder / f"{name}.toml"), "--plugins", plugins, "--days", "12", "--count", "30", *more]


def test_an_honest_variant_is_clean(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words(folder, "honest")) == 0
    said = capsys.readouterr()
    assert "honest: 30 bars of 1 symbols in 6 worlds; clean; asked: rsi, market" in said.out
    assert "of 180 decisions" in said.err
    assert "on a generated market; a plugin that knows a real one by heart is found only on recordings" in said.out
    assert "--bars DIR" in said.out


def test_a_cheat_is_named_and_the_exit_status_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words(folder, "oracle", "--json")) == 1
    [looked] = json.loads(capsys.readouterr().out)
    assert looked["plugins"] == ["rsi", "oracle", "market"]
    [caught] = looked["caught"]
    assert (caught["plugin"], caught["kind"], caught["probe"]) == ("oracle", "filter", "future")
    assert caught["bar_close_at"].endswith("Z")
    assert {caught["before"], caught["after"]} == {"allow=True reason=foreseen", "allow=False reason=foreseen"}
    assert looked["proved_on"].startswith("a generated market; ")
    assert main(words(folder, "oracle")) == 1
    assert "oracle" in capsys.readouterr().out


def test_a_folder_without_bars_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words(folder, "honest", "--bars", str(folder))) == 2
    assert "BTCUSDT-1h.parquet" in capsys.readouterr().err


def test_on_recordings_it_says_which_ones(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = walk(8)
    columns = {name: getattr(made, name) for name in COLUMNS}
    BarFiles(folder / "bars").add("BTCUSDT", HOUR_MS, pl.DataFrame(columns, schema=SCHEMA))
    assert main(words(folder, "honest", "--bars", str(folder / "bars"), "--config", str(context(folder)))) == 0
    assert f"on recordings of {folder / 'bars'}, 2025-03-07 to 2025-03-18" in capsys.readouterr().out


def context(folder: Path) -> Path:
    (folder / "bot.toml").write_text("[model]\ncontext = 64\n")
    return folder / "bot.toml"
