"""`entries` by its command line, over stored forecasts and generated bars."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from bot.__main__ import main
from bot.clock import HOUR_MS
from bot.history.bars import SCHEMA
from bot.history.forecasts import StoreManifest, make_store
from tests.history.made import START, bars

COUNT, CONTEXT, HORIZON = 600, 64, 4
MANIFEST = StoreManifest(
    checkpoint="tiny@00000000",
    base="tiny",
    base_sha256="0" * 64,
    adapter=None,
    adapter_sha256=None,
    context=CONTEXT,
    horizon=HORIZON,
    interval_ms=HOUR_MS,
    options={},
    dtype="float32",
    trained_to_at=START + 200 * HOUR_MS,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("entries")
    (made / "bars").mkdir()
    whole = bars(COUNT)
    table = pl.DataFrame({name: getattr(whole, name) for name in SCHEMA}).with_columns(pl.col("volume") * 1e6)
    table.write_parquet(made / "bars" / "BTCUSDT-1h.parquet")
    (made / "v.toml").write_text(
        '[variant]\nname = "V"\ntier = "t1"\nsymbols = ["BTCUSDT"]\nentry = "atr05"\nfilters = ["rsi"]\n'
    )
    store = make_store(made / "forecasts", MANIFEST)
    index = np.arange(CONTEXT - 1, COUNT)
    path = np.random.default_rng(1).normal(0, 0.003, (len(index), HORIZON))
    rows = {
        "bar_close_at": START + (index + 1) * HOUR_MS,
        "last_close": whole.close[index],
        **{f"step_{number + 1}": path[:, number] for number in range(HORIZON)},
        **dict.fromkeys(("q10", "q90", "distance"), np.zeros(len(index))),
        "refused": [""] * len(index),
        "window_crc32": np.zeros(len(index), dtype=np.int64),
    }
    store.add("BTCUSDT", pl.DataFrame(rows, schema=store.schema))
    return made


def words(folder: Path, *more: str) -> list[str]:
    given = ("--variants", folder / "v.toml", "--bars", folder / "bars", "--store", folder / "forecasts")
    return ["entries", *map(str, given), *(() if "--coarsest" in more else ("--coarsest", "1h")), *more]


def test_all_six_methods_are_held_against_each_other(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    by_entry = {one["entry"]: one for one in found["entries"]}
    assert sorted(by_entry) == ["atr05", "ema20_touch", "fib", "hybrid", "market", "pivot_retrace"]
    assert len({one["signals"] for one in found["entries"]}) == 1
    assert [name for name, one in by_entry.items() if one["own"]] == ["atr05"]
    assert by_entry["market"]["fill_rate"] == 1.0
    assert 0 < by_entry["atr05"]["fill_rate"] < 1
    assert all(sum(one["outcomes"].values()) == one["signals"] for one in found["entries"])
    assert all(one["net"] == pytest.approx(one["gross"] - one["fees"] + one["funding"]) for one in found["entries"])
    assert found["from_at"] >= "2025-03-09T08"  # what training saw is left out


def test_a_symbol_without_forecasts_is_named(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "v.toml").write_text('[variant]\nname = "V"\ntier = "t1"\nsymbols = ["BTCUSDT", "SOLUSDT"]\n')
    given = words(folder)
    given[2] = str(tmp_path / "v.toml")
    assert main([*given, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["without_forecasts"] == {"t1": ["SOLUSDT"]}
    assert main(given) == 0
    assert "left out, no forecast in this range, or in-sample alone: t1 SOLUSDT; see" in capsys.readouterr().out


def test_where_only_hourly_bars_are_there_and_will_not_do_one_line_says_that_nothing_is_known(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for more in ([], ["--json"]):
        assert main(words(folder, "--coarsest", "5m", *more)) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert "bars of 1m to 5m tell the end of none of" in said.err
        assert "--coarsest 1h also follows" in said.err


def test_more_than_there_is_is_cut_and_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words(folder, "--from", "2025-03-20"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["notes"] == []
    beyond = words(folder, "--to", "2026-01-01")
    assert main([*beyond, "--json"]) == 0
    [note] = json.loads(capsys.readouterr().out)["notes"]
    assert note.startswith("asked for 2025-03-03 to 2026-01-01; bars and forecasts lie from 2025-03-03T16:00Z to ")
    assert main(beyond) == 0
    assert note in capsys.readouterr().out
    assert main(words(folder, "--from", "2026-01-01")) == 2
    assert "there is nothing between it and --to, or the last bar" in capsys.readouterr().err


def test_filters_and_training_s_bars_are_a_choice(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts = []
    for more in ([], ["--no-filters"], ["--no-filters", "--in-sample"]):
        assert main([*words(folder, *more), "--json"]) == 0
        counts.append(json.loads(capsys.readouterr().out)["entries"][0]["signals"])
    assert counts == sorted(counts)
    assert counts[0] < counts[1] < counts[2]


def test_the_table_names_the_own_method_s_group(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words(folder, "--by", "variant")) == 0
    said = capsys.readouterr().out
    assert "Factor" in said
    assert "pivot_retrace" in said


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        (["--symbol", "ETHUSDT"], "--symbol ETHUSDT: no variant trades it"),
        (["--by", "moon"], "--by moon: expected one of tier, variant, symbol"),
        (["--detail", "2m"], "--detail 2m: expected one of 1m, 5m, 1h"),
        (["--detail", "5m", "--coarsest", "1m"], "--coarsest 1m: expected 5m"),
        (["--to", "2025-03-05"], "no signal is left in this range"),
    ],
)
def test_what_cannot_be_told_is_said_in_one_line(
    folder: Path, more: list[str], fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(folder, *more)) == 2
    assert fault in capsys.readouterr().err
