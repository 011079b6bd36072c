"""How every command prints: a table for people or JSON for tools, on stdout alone; logs go to stderr."""

import datetime
import os
import sys
from typing import Any

import msgspec
from rich.console import Console, RenderableType
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
    plain = _with_times(msgspec.to_builtins(value))
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(plain), indent=2).decode() + "\n")


def console() -> Console:
    """For stdout: as wide as the terminal; wide where there is none and COLUMNS does not say otherwise."""
    found = Console(highlight=False)
    if not found.is_terminal and "COLUMNS" not in os.environ:
        found.width = WIDE
    return found


def print_table(table: RenderableType) -> None:
    console().print(table)


def table(*columns: str, right: str = "", title: str | None = None) -> Table:
    """An empty table without lines; the columns named in `right`, split at blanks, are numbers."""
    made = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", title=title, title_justify="left")
    for name in columns:
        made.add_column(name, justify="right" if name in right.split() else "left", no_wrap=True)
    return made


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


def _moment(at: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(at / 1_000, datetime.UTC)


def _with_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _iso(entry) if _is_time(key, entry) else _with_times(entry) for key, entry in value.items()}
    return [_with_times(entry) for entry in value] if isinstance(value, list | tuple) else value


def _is_time(key: object, value: object) -> bool:
    return isinstance(key, str) and (key == "at" or key.endswith("_at")) and type(value) is int


def _iso(at: int) -> str:
    return _moment(at).isoformat(timespec="milliseconds").replace("+00:00", "Z")
