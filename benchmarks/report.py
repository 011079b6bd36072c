"""A benchmark's figures, as `bench/NAME.json` and as a table that says which of them miss what is required."""

import datetime
import importlib.metadata
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec
from rich.text import Text

from bot.commands.output import print_json, print_table, table

CPU_FLAGS = frozenset(
    {"avx2", "fma", "avx512f", "avx512_bf16", "avx512_vnni", "avx_vnni", "amx_tile", "amx_bf16", "amx_int8"}
    | {"asimd", "bf16", "i8mm", "sve"}  # aarch64
)

Cell = str | int | float | None


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One figure. `required` and `aim` are None where nothing is promised; a `value` of None was not measured."""

    figure: str
    value: float | None
    unit: str
    required: float | None = None
    aim: float | None = None
    better: Literal["higher", "lower"]

    def reaches(self, limit: float) -> bool:
        if self.value is None:
            return False
        return self.value >= limit if self.better == "higher" else self.value <= limit

    @property
    def verdict(self) -> Literal["", "missed", "met", "aim"]:
        if self.required is None:
            return ""
        if not self.reaches(self.required):
            return "missed"
        return "aim" if self.aim is not None and self.reaches(self.aim) else "met"


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Measurements without a limit: accuracies, what was tried and did not pay."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    cpu: str
    cores: int  # that this process may use
    memory_gb: float
    flags: tuple[str, ...]  # of the processor, those that matter to matrix products
    load: float  # processes that wanted to run in the minute before: other work makes figures worthless
    python: str
    torch: str
    threads: int | None  # torch's
    dtype: str | None
    gpu: str | None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    command: str
    measured_at: str  # ISO 8601, UTC
    machine: Machine
    rows: tuple[Row, ...]
    tables: Mapping[str, Table] = {}
    notes: tuple[str, ...] = ()


def describe_machine(*, dtype: str | None = None, threads: int | None = None, gpu: str | None = None) -> Machine:
    """This machine. What only torch knows is told, so that a benchmark without torch need not import it."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    cpuinfo = _cpuinfo()
    return Machine(
        cpu=cpuinfo.get("model name") or platform.processor() or platform.machine(),
        cores=_cores(),
        memory_gb=round(pages / 1e9, 1),
        flags=tuple(sorted(CPU_FLAGS.intersection((cpuinfo.get("flags") or cpuinfo.get("Features", "")).split()))),
        load=round(os.getloadavg()[0], 2),
        python=platform.python_version(),
        torch=importlib.metadata.version("torch"),
        threads=threads,
        dtype=dtype,
        gpu=gpu,
    )


def utc_now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def write(report: Report, state: Path) -> Path:
    """`STATE/bench/NAME.json`, replaced whole."""
    path = state / "bench" / f"{report.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".json.new")
    fresh.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    fresh.replace(path)
    return path


def show(report: Report, *, as_json: bool = False) -> None:
    """On stdout: the JSON that `write` wrote, or tables for a person."""
    if as_json:
        print_json(report)
        return
    machine = report.machine
    print_table(f"{report.command}  ·  {report.measured_at}")
    print_table(f"{machine.cpu}, {machine.cores} cores, {machine.memory_gb} GB, {' '.join(machine.flags)}")
    told = {"dtype": machine.dtype, "threads": machine.threads, "GPU": machine.gpu}
    software = " · ".join(f"{name} {value}" for name, value in told.items() if value is not None)
    print_table(f"python {machine.python} · torch {machine.torch} · {software} · load {machine.load}\n")
    _show_rows(report.rows)
    for extra in report.tables.values():
        _show_table(extra)
    for note in report.notes:
        print_table(Text(note, style="dim"))


def number(value: Cell) -> str:
    """Three significant digits, or as many as the whole part has."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    if isinstance(value, int) or abs(value) >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _show_rows(rows: tuple[Row, ...]) -> None:
    made = table("figure", "value", "unit", "required", "aim", "", right="value required aim", fold="figure")
    styles = {"missed": "bold red", "met": "", "aim": "green", "": "dim"}
    for row in rows:
        sign = "≥" if row.better == "higher" else "≤"
        limits = [f"{sign} {number(limit)}" if limit is not None else "" for limit in (row.required, row.aim)]
        verdict = "aim reached" if row.verdict == "aim" else row.verdict
        made.add_row(row.figure, number(row.value), row.unit, *limits, Text(verdict, style=styles[row.verdict]))
    print_table(made)
    missed = [row.figure for row in rows if row.verdict == "missed"]
    if any(row.required is not None for row in rows):
        print_table(f"\n{len(missed)} missed: {'; '.join(missed)}" if missed else "\nevery required figure is met")


def _show_table(extra: Table) -> None:
    made = table(*extra.columns, fold=" ".join(extra.columns[-1:]))
    for place, column in enumerate(made.columns):
        if not all(isinstance(row[place], str) for row in extra.rows):
            column.justify = "right"
    for row in extra.rows:
        made.add_row(*(number(cell) for cell in row))
    print_table(Text(f"\n{extra.title}", style="bold"))
    print_table(made)
    for note in extra.notes:
        print_table(Text(note, style="dim"))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpuinfo() -> dict[str, str]:
    """The first processor's lines of Linux's /proc/cpuinfo; empty elsewhere."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    first = path.read_text(encoding="utf-8").split("\n\n", 1)[0]
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, value in pairs}
