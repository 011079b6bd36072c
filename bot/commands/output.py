"""How every command prints: a table for people or JSON for tools, on stdout alone; logs go to stderr."""

import datetime
import os
import sys
from collections.abc import Sequence
from typing import Any

import msgspec
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from bot import logs
from bot.errors import OperatorError

WIDE = 200  # columns where stdout is no terminal: a file has no edge to cut at


def configure_logs() -> None:
    """Only what an operator must know, and never on stdout."""
    logs.configure(level="warning")


def print_json(value: object) -> None:
    """Money as text, times (keys `at` and `..._at`) as ISO 8601 in UTC."""
    plain = with_times(msgspec.to_builtins(value))
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(plain), indent=2).decode() + "\n")


def console() -> Console:
    """For stdout: as wide as the terminal; wide where there is none and COLUMNS does not say otherwise."""
    found = Console(highlight=False)
    if not found.is_terminal and "COLUMNS" not in os.environ:
        found.width = WIDE
    return found


def print_table(table: RenderableType) -> None:
    console().print(table)


def table(*columns: str, right: str = "", fold: str = "") -> Table:
    """An empty table without lines. Columns named in `right`, split at blanks, are numbers; those in `fold` wrap."""
    made = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in columns:
        justify: JustifyMethod = "right" if name in right.split() else "left"
        made.add_column(name, justify=justify, no_wrap=name not in fold.split(), overflow="fold")
    return made


class Grid:
    """A table that leaves out columns, those of `first_to_go` in order, where the console has no room for all."""

    def __init__(self, *columns: str, right: str = "", fold: str = "", first_to_go: Sequence[str] = ()) -> None:
        self._columns = columns
        self._right, self._fold = right, fold
        self._first_to_go = first_to_go
        self._rows: list[tuple[RenderableType, ...]] = []

    def add_row(self, *cells: RenderableType) -> None:
        self._rows.append(cells)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        gone: list[str] = []
        roomy = options.update(width=10_000)  # what it would like to have, not what there is
        for name in (*self._first_to_go, ""):
            drawn = self._without(gone)
            if not name or Measurement.get(console, roomy, drawn).maximum <= options.max_width:
                break
            gone.append(name)
        yield drawn
        if gone:
            yield Text(f"left out for want of room, --json has all: {', '.join(gone)}", style="dim")

    def _without(self, gone: Sequence[str]) -> Table:
        kept = [index for index, name in enumerate(self._columns) if name not in gone]
        made = table(*(self._columns[index] for index in kept), right=self._right, fold=self._fold)
        for cells in self._rows:
            made.add_row(*(cells[index] for index in kept))
        return made


def few(names: Sequence[str], most: int = 5) -> str:
    """The first of them, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def moment(at: int | None) -> str:
    return "" if at is None else _moment(at).strftime("%Y-%m-%d %H:%M:%S")


def day(at: int) -> str:
    return _moment(at).strftime("%Y-%m-%d")


def parse_day(option: str, text: str) -> int:
    """A day of the command line as ms UTC. OperatorError where it is none."""
    try:
        return int(datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC).timestamp()) * 1_000
    except ValueError:
        raise OperatorError(f"{option} {text}: expected a day, as 2025-03-01") from None


def signed(value: Any, places: int = 2) -> Text:
    """A number with its sign and the colour of its sign; empty for None."""
    if value is None:
        return Text("")
    return Text(f"{value:+,.{places}f}", style="green" if value > 0 else "red" if value < 0 else "")


def with_times(value: Any) -> Any:
    """Plain data with every time in ISO 8601: what is named `at` or `..._at`."""
    if isinstance(value, dict):
        return {key: _iso(entry) if _is_time(key, entry) else with_times(entry) for key, entry in value.items()}
    return [with_times(entry) for entry in value] if isinstance(value, list | tuple) else value


def _moment(at: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(at / 1_000, datetime.UTC)


def _is_time(key: object, value: object) -> bool:
    return isinstance(key, str) and (key == "at" or key.endswith("_at")) and type(value) is int


def _iso(at: int) -> str:
    return _moment(at).isoformat(timespec="milliseconds").replace("+00:00", "Z")
