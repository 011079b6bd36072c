"""The commands `data import`, `data list` and `data check`: what is recorded, and whether it is sound."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import msgspec
import polars as pl
from rich.text import Text

from bot.clock import HOUR_MS, Stopwatch
from bot.commands.output import Grid, configure_logs, console, moment, print_json, print_table
from bot.commands.progress import progress
from bot.errors import OperatorError
from bot.history.bars import BarFiles
from bot.history.faults import Fault, Limits, disagreements, faults, holes_between
from bot.history.foreign import Origin, Part, What, files_below, origin_of, read
from bot.history.funding import FundingFiles
from bot.history.intake import Intake, Taken
from bot.history.layout import FUNDING, Kind, interval_of, parse_series, series_name

STYLES = {"error": "bold red", "warning": "yellow"}


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """One series on disk."""

    symbol: str
    series: str  # 1h, mark-1h, funding
    from_at: int
    to_at: int
    rows: int
    gaps: int
    missing: int
    bytes: int
    path: str


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A file that could not be used."""

    path: str
    why: str


def import_files(
    sources: Sequence[Path],
    directory: Path,
    *,
    what: What | None,
    symbol: str | None,
    interval: str | None,
    as_json: bool,
) -> int:
    """Store the files' bars and rates; the exit status: 1 where something was left out or contradicts itself.

    A file of several that cannot be used is told, and the others are stored. OperatorError where it is the only one.
    """
    configure_logs()
    interval_ms = None if interval is None else interval_of("--interval", interval)
    paths = [path for source in sources for path in files_below(source)]
    origins = [origin_of(path, what=what, symbol=symbol, interval_ms=interval_ms) for path in paths]
    took, told = Stopwatch(), []
    refused: list[Refused] = []
    intake = Intake(BarFiles(directory), FundingFiles(directory))
    with progress("import", "files") as show:
        done = 0
        for group in _together(origins):
            parts = [part for origin in group for part in _read(origin, refused, alone=len(origins) == 1)]
            told += _take(intake, parts)
            done += len(group)
            show(done, len(origins))
    if as_json:
        print_json({"files": len(origins), "seconds": round(took.seconds, 1), "series": told, "refused": refused})
    else:
        _show_taken(told, refused, len(origins), took.seconds, directory)
    return int(bool(refused) or any(fault.level == "error" for one in told for fault in one.faults))


def _read(origin: Origin, refused: list[Refused], *, alone: bool) -> list[Part]:
    """Nothing of a file that cannot be used, which is added to `refused`."""
    try:
        return read(origin)
    except OperatorError as error:
        if alone:
            raise
        path = str(origin.path)
        refused.append(Refused(path=path, why=str(error).removeprefix(f"{path}: ")))
        return []


def _together(origins: Sequence[Origin]) -> list[list[Origin]]:
    """The files of one series side by side, so that each month is written once."""
    groups: defaultdict[tuple[object, ...], list[Origin]] = defaultdict(list)
    for origin in origins:
        alone = origin.path if origin.symbol is None else None
        groups[origin.what, origin.symbol, origin.interval_ms, alone].append(origin)
    return list(groups.values())


def _take(intake: Intake, parts: Sequence[Part]) -> list[Taken]:
    by_symbol: defaultdict[str, list[Part]] = defaultdict(list)
    for part in parts:
        by_symbol[part.symbol].append(part)
    return [
        intake.take(symbol, those[0].origin.what, those[0].origin.interval_ms, [part.table for part in those])
        for symbol, those in by_symbol.items()
    ]


def print_list(directory: Path, symbol: str | None, as_json: bool) -> None:
    configure_logs()
    found = _recorded(_existing(directory), symbol)
    if as_json:
        print_json(found)
        return
    if not found:
        print_table(Text(f"nothing is recorded in {directory}: see `python -m bot data fetch` and `data import`"))
        return
    shown = Grid("Symbol", "Series", "From", "To", "Rows", "Gaps", "Missing", "MB", right="Rows Gaps Missing MB")
    for one in found:
        holes = ("", "") if one.series == "funding" else (f"{one.gaps:,}", f"{one.missing:,}")
        times = (moment(one.from_at)[:16], moment(one.to_at)[:16])
        shown.add_row(one.symbol, one.series, *times, f"{one.rows:,}", *holes, f"{one.bytes / 1e6:.2f}")
    print_table(shown)
    megabytes = sum(one.bytes for one in found) / 1e6
    words = f"{len(found)} series, {sum(one.rows for one in found):,} rows, {megabytes:,.1f} MB in {directory}"
    console().print(words, style="dim")


def _recorded(directory: Path, symbol: str | None) -> list[Recorded]:
    files, rates = BarFiles(directory), FundingFiles(directory)
    found = []
    for name, kind, interval_ms in files.series():
        place = files.place(name, interval_ms, kind)
        if place is None or symbol not in (None, name):
            continue
        times = files.frame(name, interval_ms, kind, {"open_time": pl.Int64()})["open_time"].to_numpy()
        if not len(times):
            continue
        holes = holes_between(times, interval_ms)
        found.append(
            Recorded(
                symbol=name,
                series=series_name(interval_ms, kind),
                from_at=int(times.min()),
                to_at=int(times.max()) + interval_ms,
                rows=len(times),
                gaps=len(holes),
                missing=sum((end - start) // interval_ms for start, end in holes),
                bytes=files.bytes(name, interval_ms, kind),
                path=str(place),
            )
        )
    return sorted([*found, *_rates(rates, symbol)], key=lambda one: one.symbol)


def _rates(files: FundingFiles, symbol: str | None) -> list[Recorded]:
    found = []
    for name in files.symbols():
        rates = files.load(name)
        if rates is None or symbol not in (None, name) or not len(rates.at):
            continue
        path = files.path(name)
        found.append(
            Recorded(
                symbol=name,
                series=FUNDING.removesuffix(".parquet"),
                from_at=int(rates.at[0]),
                to_at=int(rates.at[-1]),
                rows=len(rates.at),
                gaps=0,
                missing=0,
                bytes=path.stat().st_size,
                path=str(path),
            )
        )
    return found


def check_history(directory: Path, symbol: str | None, limits: Limits, as_json: bool) -> int:
    """Report every fault of the recordings; the exit status: 1 where one is an error."""
    configure_logs()
    files = BarFiles(_existing(directory))
    series = [one for one in files.series() if symbol in (None, one[0])]
    if not series:
        whose = "nothing" if symbol is None else f"nothing of {symbol}"
        raise OperatorError(f"{directory}: {whose} is recorded here; see `python -m bot data list`")
    found: list[Fault] = []
    with progress("check", "series") as show:
        for done, (name, kind, interval_ms) in enumerate(series, 1):
            found += _faults_of(files, name, kind, interval_ms, limits)
            show(done, len(series))
    found.sort(key=lambda fault: (fault.level, fault.symbol, parse_series(fault.series) or ()))
    if as_json:
        print_json({"series": len(series), "limits": limits, "faults": found})
    else:
        show_faults(found, len(series))
    return int(any(fault.level == "error" for fault in found))


def _faults_of(files: BarFiles, symbol: str, kind: Kind, interval_ms: int, limits: Limits) -> list[Fault]:
    bars = files.load(symbol, interval_ms, kind)
    found = faults(bars, limits, kind)
    in_order = not any(fault.rule == "absurd" for fault in found)
    if kind == "bars" and interval_ms < HOUR_MS and in_order and files.place(symbol, HOUR_MS) is not None:
        found += disagreements(files.load(symbol, HOUR_MS), bars, limits)
    return found


def _existing(directory: Path) -> Path:
    if not directory.is_dir():
        raise OperatorError(f"--bars {directory}: no such folder; `data fetch` and `data import` make one")
    return directory


def _show_taken(told: Sequence[Taken], refused: Sequence[Refused], files: int, seconds: float, directory: Path) -> None:
    numbers = ("Files", "Rows", "Repeated", "Stored", "Replaced")
    shown = Grid("Symbol", "Series", *numbers, right=" ".join(numbers))
    for one in told:
        counts = (one.files, one.rows, one.repeated, one.stored, one.replaced)
        shown.add_row(one.symbol, one.series, *(f"{count:,}" for count in counts))
    print_table(shown)
    show_faults([fault for one in told for fault in one.faults], len(told))
    for file in refused:
        console().print(Text("not used ", STYLES["error"]) + Text(f"{file.path}: {file.why}", ""), soft_wrap=True)
    rows = sum(one.stored for one in told)
    used = f"{files - len(refused)} of {files} files" if refused else f"{files} files"
    console().print(f"{rows:,} rows of {used} in {seconds:,.1f} s, into {directory}", style="dim")


def show_faults(found: Sequence[Fault], series: int) -> None:
    if found:
        shown = Grid("Level", "Symbol", "Series", "Rule", "First", "Bars", "What", right="Bars", fold="What")
        for one in found:
            first = moment(one.first_at)[:16]
            level = Text(one.level, STYLES[one.level])
            shown.add_row(level, one.symbol, one.series, one.rule, first, f"{one.count:,}", one.words)
        print_table(shown)
    errors = sum(fault.level == "error" for fault in found)
    console().print(f"{series} series: {errors} errors, {len(found) - errors} warnings", style="dim")
