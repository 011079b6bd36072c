"""Other backtesters beside ours: measured where an interpreter has them, else as published, and which is said."""

import sys
from pathlib import Path

import pytest

from benchmarks import beside
from benchmarks.beside import FREQTRADE, NAUTILUS, PUBLISHED, RIVALS, VECTORBT, Beside, measure
from benchmarks.made_market import five_minutes

MARKET = [five_minutes("MADEAUSDT", 100, 1)]


@pytest.fixture
def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An interpreter that has a package of vectorbt's name, and a program that tells how many bars it was given."""
    (tmp_path / "packages" / "vectorbt").mkdir(parents=True)
    (tmp_path / "packages" / "vectorbt" / "__init__.py").touch()
    program = """import json, sys, numpy
rows = len(numpy.load(f"{sys.argv[1]}/MADEAUSDT.npy"))
json.dump({"version": "9", "seconds": rows / 10, "trades": None}, sys.stdout)"""
    (tmp_path / "vectorbt_rule.py").write_text(program)
    monkeypatch.setattr(beside, "PROGRAMS", tmp_path)
    wrapper = tmp_path / "python"
    wrapper.write_text(f'#!/bin/sh\nPYTHONPATH="{tmp_path / "packages"}" exec "{sys.executable}" "$@"\n')
    wrapper.chmod(0o755)
    return wrapper


def test_a_package_that_an_interpreter_has_is_measured_on_the_same_bars_and_the_others_are_as_published(
    python: Path, tmp_path: Path
) -> None:
    found = measure(MARKET, tmp_path / "bars", [python])
    assert (found.seconds(VECTORBT), found.origin(VECTORBT)) == (10.0, "in this run")
    assert (found.seconds(NAUTILUS), found.origin(NAUTILUS)) == (NAUTILUS.seconds, PUBLISHED)
    table = found.table()
    assert [row[0] for row in table.rows[:3]] == ["freqtrade 2026.9", "nautilus_trader 1.221", "vectorbt 9"]


def test_a_program_that_fails_ends_the_benchmark_with_its_words(python: Path, tmp_path: Path) -> None:
    (tmp_path / "vectorbt_rule.py").write_text("raise SystemExit('no such strategy')")
    with pytest.raises(RuntimeError, match="no such strategy"):
        measure(MARKET, tmp_path / "bars", [python])


def test_without_any_nothing_is_written_and_all_is_as_published(tmp_path: Path) -> None:
    assert measure(MARKET, tmp_path / "bars", []) == Beside({})
    assert not (tmp_path / "bars").exists()
    assert {Beside({}).origin(rival) for rival in RIVALS} == {PUBLISHED}


def test_each_has_its_program() -> None:
    assert all(rival.program.is_file() for rival in RIVALS)
    assert FREQTRADE.program.name == "freqtrade_rule.py"
