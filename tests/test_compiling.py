"""What is kept of compiled functions is never older than the rules that they call."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numba import njit

import bot
from bot.compiling import compiled, fingerprint
from bot.forecast import instructions, kernels
from bot.forecast.arithmetic import _exp
from bot.forecast.instructions import rounded

ASK = "from bot.strategy.walk import first_stop; print(first_stop(1000.0, 1, 2.0), len(first_stop.stats.cache_hits))"


def copied(folder: Path) -> Path:
    """The package's sources, in whose folders numba keeps what it compiled."""
    package = Path(bot.__file__).parent
    shutil.copytree(package, folder / "bot", ignore=shutil.ignore_patterns("__pycache__"))
    return folder / "bot" / "strategy" / "exits.py"


def asked(folder: Path) -> tuple[float, int]:
    """(the level of a stop 2 % from 1000, how often it came from the disk)."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    words = [sys.executable, "-c", ASK]
    done = subprocess.run(
        words, cwd=folder, env=kept | {"PYTHONPATH": str(folder)}, capture_output=True, text=True, check=True
    )
    level, hits = done.stdout.split()
    return float(level), int(hits)


def test_a_rule_that_changed_in_another_file_is_compiled_again(tmp_path: Path) -> None:
    exits = copied(tmp_path)
    assert asked(tmp_path) == (980.0, 0)
    assert asked(tmp_path) == (980.0, 1)
    text = exits.read_text(encoding="utf-8")
    assert text.count("entry * (1.0 + sign * gain / 100.0)") == 1
    exits.write_text(text.replace("sign * gain / 100.0", "sign * gain / 200.0"), encoding="utf-8")
    assert asked(tmp_path) == (990.0, 0)
    exits.write_text(text, encoding="utf-8")
    assert asked(tmp_path) == (980.0, 1)


def test_what_two_processes_need_at_once_one_of_them_compiles(tmp_path: Path) -> None:
    copied(tmp_path)
    with ThreadPoolExecutor() as both:
        answers = list(both.map(asked, [tmp_path] * 3))
    assert sorted(answers) == [(980.0, 0), (980.0, 1), (980.0, 1)]


LIMIT = 2.0


@compiled
def deep(value: float) -> float:
    return value + LIMIT


@compiled
def high(value: float) -> float:
    return deep(value) * 3.0


def test_a_fingerprint_reaches_constants_of_what_is_called() -> None:
    before = fingerprint.__wrapped__(high.py_func)  # type: ignore[attr-defined]
    assert before == fingerprint.__wrapped__(high.py_func)  # type: ignore[attr-defined]
    space = dict(globals())
    changed = type(deep.py_func)(deep.py_func.__code__, space | {"LIMIT": 3.0}, "deep")  # type: ignore[attr-defined]
    space["deep"] = compiled(changed)
    other = type(high.py_func)(high.py_func.__code__, space, "high")  # type: ignore[attr-defined]
    assert fingerprint.__wrapped__(other) != before


def test_a_fingerprint_reaches_instructions_and_numbers_of_numpys() -> None:
    before = fingerprint.__wrapped__(_exp.py_func)  # type: ignore[attr-defined]
    for name, other in (("_LN2_LOW", np.float32(2e-4)), ("power_of_two", rounded)):
        space = dict(_exp.py_func.__globals__) | {name: other}  # type: ignore[attr-defined]
        changed = type(_exp.py_func)(_exp.py_func.__code__, space, "_exp")  # type: ignore[attr-defined]
        assert fingerprint.__wrapped__(changed) != before


def test_a_fingerprint_reaches_what_an_instruction_calls_and_how_a_function_is_compiled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def _place(builder: object, element: object, pointer: object, index: object) -> object:
        return pointer

    _place.__module__ = instructions.__name__
    raising, adding = kernels._raise.py_func, kernels._add.py_func  # type: ignore[attr-defined]
    before = [fingerprint.__wrapped__(one) for one in (raising, adding)]  # type: ignore[attr-defined]
    monkeypatch.setattr(instructions, "_place", _place)
    hasty = njit(fastmath=True)(kernels.inverse_rms.py_func)  # type: ignore[attr-defined]
    monkeypatch.setattr(kernels, "inverse_rms", hasty)
    after = [fingerprint.__wrapped__(one) for one in (raising, adding)]  # type: ignore[attr-defined]
    assert before[0] != after[0]
    assert before[1] != after[1]


def test_a_lock_that_cannot_be_had_keeps_nobody_from_compiling(tmp_path: Path) -> None:
    copied(tmp_path)
    assert asked(tmp_path) == (980.0, 0)
    kept = list((tmp_path / "bot" / "strategy" / "__pycache__").glob("*.py3*.*"))
    assert any(path.suffix == ".lock" for path in kept)
    for path in kept:
        path.unlink()
        if path.suffix == ".lock":
            path.mkdir()  # nobody can open it for writing
    assert asked(tmp_path) == (980.0, 0)
