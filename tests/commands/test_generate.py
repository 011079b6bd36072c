from pathlib import Path

import polars as pl
import pytest

from bot.__main__ import main


def generate(out: Path, *words: str) -> int:
    return main(["generate", str(out), "--symbol", "BTCUSDT", "--symbol", "ETHUSDT", "--days", "1", *words])


def test_a_written_market_is_what_a_replay_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate(tmp_path / "market") == 0
    names = sorted(path.name for path in (tmp_path / "market").iterdir())
    assert names == [
        "BTCUSDT-1h.parquet",
        "BTCUSDT-5m.parquet",
        "ETHUSDT-1h.parquet",
        "ETHUSDT-5m.parquet",
        "funding_um.parquet",
    ]
    bars = pl.read_parquet(tmp_path / "market" / "BTCUSDT-1h.parquet")
    assert bars.columns == ["open_time", "open", "high", "low", "close", "volume"]
    assert len(bars) == 500 + 24
    told = capsys.readouterr()
    assert told.out == ""
    assert "--from 2026-01-05" in told.err


def test_a_seed_is_a_market(tmp_path: Path) -> None:
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        assert generate(tmp_path / name, "--seed", seed) == 0
    first, same, other = ((tmp_path / name / "ETHUSDT-5m.parquet").read_bytes() for name in "abc")
    assert first == same
    assert first != other


def test_a_folder_with_something_in_it_is_not_written_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.parquet").touch()
    assert generate(tmp_path) == 2
    assert capsys.readouterr().err == f"{tmp_path}: expected a folder that does not exist yet, or is empty\n"
