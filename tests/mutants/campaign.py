"""Plants one fault at a time into a copy of the checkout and runs the tests that have to notice it."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

CHECKOUT = Path(__file__).resolve().parents[2]
COPIED = ("bot", "plugins", "tests", "deploy", "pyproject.toml")
LINKED = ("checkpoints",)
TIMEOUT_SECONDS = 900
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


class Mutant(msgspec.Struct, frozen=True, kw_only=True):
    """`old`, which stands once in the file `path`, becomes `new`."""

    name: str
    fault: str  # what the mutated code does, in words
    path: str
    old: str
    new: str
    caught_by: tuple[str, ...]  # pytest's arguments: the tests that have to fail


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    mutant: str
    fault: str
    caught: bool
    by: str  # the first test that failed; of a survivor what was run
    seconds: float


class Unusable(Exception):
    """A mutant that cannot be judged: its place has changed, or its tests fail without it."""


def place(mutant: Mutant, root: Path) -> str:
    """The mutated text of the file. Raises Unusable where `old` does not stand there exactly once."""
    text = (root / mutant.path).read_text(encoding="utf-8")
    found = text.count(mutant.old)
    if found != 1:
        raise Unusable(f"{mutant.name}: its line stands {found} times in {mutant.path}; expected once")
    return text.replace(mutant.old, mutant.new)


def run(mutants: Sequence[Mutant], jobs: int, told: Callable[[Verdict], None]) -> list[Verdict]:
    """Judge every mutant, `jobs` at a time; `told` is called with each verdict as it comes."""
    _refuse_broken_tests(mutants)

    def judged(mutant: Mutant) -> Verdict:
        verdict = _judge(mutant)
        told(verdict)
        return verdict

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(judged, mutants))


def _refuse_broken_tests(mutants: Iterable[Mutant]) -> None:
    """Tests that fail anyway catch nothing."""
    wanted = sorted({argument for mutant in mutants for argument in mutant.caught_by})
    status, output = _pytest(CHECKOUT, wanted)
    if status != 0:
        failed = ", ".join(FAILED.findall(output)) or output[-500:]
        raise Unusable(f"the tests fail without any fault planted: {failed}")


def _judge(mutant: Mutant) -> Verdict:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        root = Path(folder)
        for name in COPIED:
            source = CHECKOUT / name
            if source.is_dir():
                shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, root / name)
        for name in LINKED:
            (root / name).symlink_to(CHECKOUT / name)
        (root / mutant.path).write_text(place(mutant, CHECKOUT), encoding="utf-8")
        status, output = _pytest(root, mutant.caught_by)
    failed = FAILED.search(output)
    if status not in (0, 1) or (status == 1 and failed is None):
        raise Unusable(f"{mutant.name}: pytest ended with {status}: {output[-500:]}")
    by = failed[1].rpartition("::")[2] if failed is not None else " ".join(mutant.caught_by)
    return Verdict(
        mutant=mutant.name,
        fault=mutant.fault,
        caught=status == 1,
        by=by,
        seconds=round(time.monotonic() - began, 1),
    )


def _pytest(root: Path, arguments: Sequence[str]) -> tuple[int, str]:
    """A hang is a catch as well: pytest's own time limit makes a failure of it."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--timeout=120", *arguments]
    try:
        finished = subprocess.run(
            command,
            cwd=root,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Unusable(f"pytest did not end within {TIMEOUT_SECONDS} s: {' '.join(arguments)[:200]}") from None
    return finished.returncode, finished.stdout + finished.stderr
