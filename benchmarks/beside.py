"""Other backtesters on the same bars in the same run, where an interpreter has them; else what was once measured."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.report import Cell, Table
from bot.messages import Bars

PROGRAMS = Path(__file__).parent / "rivals"
PUBLISHED = "published: 2 shared cores of an AMD EPYC, November 2026"


class Rival(msgspec.Struct, frozen=True):
    package: str  # as it is imported
    work: str
    version: str  # what was published of it
    seconds: float
    trades: int | None

    @property
    def program(self) -> Path:
        return PROGRAMS / f"{self.package.split('_')[0]}_rule.py"


FREQTRADE = Rival("freqtrade", "the rule once, whole process", "2026.9", 28.8, 7_494)
NAUTILUS = Rival("nautilus_trader", "the rule once, engine alone", "1.221", 25.0, 7_479)
VECTORBT = Rival("vectorbt", "500 configurations in one process, compiled before", "1.2", 81.9, None)
RIVALS = (FREQTRADE, NAUTILUS, VECTORBT)


class Said(msgspec.Struct, frozen=True):
    """What a program of `benchmarks/rivals` prints."""

    version: str
    seconds: float
    trades: int | None  # at a bound of 30, 29 in the sweep; each package's rule differs by what it can say


class Beside(msgspec.Struct, frozen=True):
    """Seconds of each package on the common rule, and where they are from."""

    measured: dict[str, Said]

    def seconds(self, rival: Rival) -> float:
        found = self.measured.get(rival.package)
        return found.seconds if found is not None else rival.seconds

    def origin(self, rival: Rival) -> str:
        return "in this run" if rival.package in self.measured else PUBLISHED

    def table(self) -> Table:
        rows: list[tuple[Cell, ...]] = []
        for rival in RIVALS:
            found = self.measured.get(rival.package) or Said(rival.version, rival.seconds, rival.trades)
            package, seconds = f"{rival.package} {found.version}", round(found.seconds, 2)
            rows.append((package, seconds, rival.work, found.trades, self.origin(rival)))
        rows.append(("plain Python loop", 0.8, "the rule once, over its signals alone", 7_487, PUBLISHED))
        note = "Published figures are of 1,000,000 recorded bars on another machine; their quotients say little."
        return Table(
            title="What the quotients are taken of",
            columns=("package", "seconds", "what", "trades", "measured"),
            rows=tuple(rows),
            notes=(note, "Measured beside ours: --rivals PYTHON, an interpreter that has the package."),
        )


def measure(market: Sequence[Bars], folder: Path, pythons: Sequence[Path]) -> Beside:
    """Run every rival that one of the interpreters has, one after another. RuntimeError where one fails."""
    found = {rival: python for rival in RIVALS for python in [Path(sys.executable), *pythons] if has(python, rival)}
    if found:
        folder.mkdir()
        for bars in market:
            columns = (bars.open_time, bars.open, bars.high, bars.low, bars.close, bars.volume)
            np.save(folder / f"{bars.symbol}.npy", np.column_stack(columns).astype(np.float64))
    return Beside({rival.package: run(python, rival, folder) for rival, python in found.items()})


def has(python: Path, rival: Rival) -> bool:
    asked = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({rival.package!r}) is None)"
    return subprocess.run([python, "-c", asked], check=False).returncode == 0


def run(python: Path, rival: Rival, folder: Path) -> Said:
    sys.stderr.write(f"{rival.package}: {rival.work} ...\n")
    done = subprocess.run([python, rival.program, folder], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{rival.program.name}: exit status {done.returncode}\n{done.stderr[-2000:]}")
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Said)
