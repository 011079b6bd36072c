"""The range that a study is run over: what was asked for, as far as there is something to run it on."""

from collections.abc import Iterable

from bot.commands.output import day, parse_day
from bot.errors import OperatorError
from bot.history.bars import BarFiles
from bot.history.forecasts import ForecastStore
from bot.history.layout import stamp

Range = tuple[int, int]  # ms UTC, half-open


def known_range(files: BarFiles, interval_ms: int, series: Iterable[tuple[str, ForecastStore | None]]) -> Range | None:
    """From the first moment to the last at which any symbol has bars and, where it has a store, forecasts of them."""
    found = []
    for symbol, store in dict.fromkeys(series):
        bars = files.span(symbol, interval_ms)
        said = bars if store is None else store.span(symbol)
        if bars is None or said is None:
            continue
        begin, end = max(bars[0], said[0]), bars[1] if store is None else min(bars[1], said[1] + interval_ms)
        if begin < end:
            found.append((begin, end))
    return (min(begin for begin, _ in found), max(end for _, end in found)) if found else None


def asked_range(start: str | None, end: str | None, known: Range, what: str) -> tuple[Range, list[str]]:
    """What `--from` and `--to` ask for, as far as it is known, and a line where that is less. OperatorError where it
    is nothing."""
    asked = (
        known[0] if start is None else parse_day("--from", start),
        known[1] if end is None else parse_day("--to", end),
    )
    within = max(asked[0], known[0]), min(asked[1], known[1])
    if within[1] <= within[0]:
        there = f"{what} lie from {stamp(known[0])} to {stamp(known[1])}"
        raise OperatorError(f"--from {stamp(asked[0])}: there is nothing between it and --to, or the last bar; {there}")
    return within, cut_words(asked, known, what)


def cut_words(asked: Range, known: Range, what: str) -> list[str]:
    """A line where more was asked for than there is."""
    if known[0] <= asked[0] and asked[1] <= known[1]:
        return []
    return [
        f"asked for {day(asked[0])} to {day(asked[1])}; {what} lie from {stamp(known[0])} to {stamp(known[1])}: "
        "that is what was run"
    ]
