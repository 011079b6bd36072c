"""GRID.toml: a variant to start from, a span of days, and for some of the variant's keys the values to try."""

import datetime
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from bot.clock import DAY_MS
from bot.config import Count, Option, Symbol, Table, decode, parse_toml
from bot.errors import OperatorError

Day = Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d\d-\d\d\Z", description='a day such as "2025-03-01"')]
Fold = Annotated[int, msgspec.Meta(ge=0, le=50)]
ENTRY = "variant.entry"
SESSION_END = "exits.close_at_session_end"
ENTERED = (ENTRY, "variant.entry_ttl_minutes", "variant.post_only", SESSION_END)  # what changes the order that is sent
STOP = "exits.stop_pct"
VARIANT_KEYS = ("threshold_pct", "entry_ttl_minutes", "post_only")
MOST = 20_000_000  # configurations
MOST_VALUES = 1_000  # of one key


class SweepTable(Table, frozen=True):
    variant: str  # its file, relative to the grid's; every key that the grid does not name is its
    start: Day
    end: Day  # the day after the last one
    out_of_sample_from: Day | None = None  # what is ranked ends a day earlier; None: nothing is held back
    folds: Fold = 4  # test spans of the walk-forward, within what is ranked
    symbols: tuple[Symbol, ...] = ()  # empty: the variant's
    detail: Literal["1m", "5m"] = "5m"  # the finest bars that are walked along
    path: Literal["pessimistic", "played"] = "pessimistic"
    min_trades: Count = 30  # in-sample; what has fewer is not ranked


class GridFile(Table, frozen=True):
    """One `deploy/grids/*.toml`."""

    sweep: SweepTable
    variant: dict[str, Any] = {}
    exits: dict[str, Any] = {}
    filter: dict[str, dict[str, Any]] = {}
    entry: dict[str, dict[str, Any]] = {}


Kind = Literal["entry", "exit", "choice"]
KINDS: tuple[Kind, ...] = ("entry", "exit", "choice")


class Choice(msgspec.Struct, frozen=True):
    """One value of an axis: the keys of a variant's file that it sets."""

    label: str
    keys: tuple[tuple[str, Option], ...]


class Axis(msgspec.Struct, frozen=True):
    """What is tried of one key, or of the entry and its options. `beside`: for each choice those next to it."""

    name: str
    choices: tuple[Choice, ...]
    beside: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return len(self.choices)

    @property
    def kind(self) -> Kind:
        """What it changes: the order that is sent, the way out, or which signals are taken."""
        if self.name in ENTERED:
            return "entry"
        return "exit" if self.name.startswith("exits.") else "choice"


class Grid(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration is a number whose digits are places on the axes: those of entries first, then of exits, then
    those that choose signals."""

    source: str
    sweep: SweepTable
    variant: Path
    axes: tuple[Axis, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(axis) for axis in self.axes)

    def __len__(self) -> int:
        return math.prod(self.shape)

    def axes_of(self, kind: Kind) -> tuple[Axis, ...]:
        return tuple(axis for axis in self.axes if axis.kind == kind)

    def combinations(self, kind: Kind) -> list[tuple[Choice, ...]]:
        """All that the axes of one kind can say, in the order of the configurations' numbers."""
        return list(itertools.product(*(axis.choices for axis in self.axes_of(kind))))

    def choices(self, number: int) -> tuple[Choice, ...]:
        found = []
        for axis in reversed(self.axes):
            number, place = divmod(number, len(axis))
            found.append(axis.choices[place])
        return tuple(reversed(found))

    def span(self) -> tuple[int, int]:
        return day_ms(self.sweep.start), day_ms(self.sweep.end)

    def within(self, begin: int, end: int) -> "Grid":
        """The grid over those of its days of which bars and forecasts, from `begin` to `end`, tell at least a part.
        OperatorError where no day is left, or none on one side of what is held back."""
        start, stop = self.span()
        start, stop = max(start, begin - begin % DAY_MS), min(stop, end + -end % DAY_MS)
        table, there = self.sweep, f"bars and forecasts lie from {_day(begin)} to {_day(end)}"
        if stop <= start:
            raise _fault(self.source, "sweep.start", f"there is nothing from {table.start} to {table.end}; {there}")
        held_back = table.out_of_sample_from
        if held_back is not None and not start < day_ms(held_back) < stop:
            words = f"{held_back} leaves nothing on one side of it; {there}"
            raise _fault(self.source, "sweep.out_of_sample_from", words)
        return msgspec.structs.replace(self, sweep=msgspec.structs.replace(table, start=_day(start), end=_day(stop)))


def read_grid(path: Path) -> Grid:
    """OperatorError names the file, the key and what is allowed."""
    source = str(path)
    file = decode(parse_toml(path), GridFile, source)
    for key in file.variant:
        if key not in VARIANT_KEYS:
            raise _fault(source, f"variant.{key}", f"cannot be swept; expected one of: {', '.join(VARIANT_KEYS)}")
    axes = [_axis(source, f"variant.{key}", value) for key, value in file.variant.items()]
    axes += [_axis(source, f"exits.{key}", value) for key, value in file.exits.items()]
    axes += [
        _axis(source, f"filter.{name}.{key}", value)
        for name, table in file.filter.items()
        for key, value in table.items()
    ]
    if file.entry:
        axes.append(_entries(source, file.entry))
    if not axes:
        raise OperatorError(f"{source}: nothing to sweep; expected a table [variant], [exits], [filter.X] or [entry.X]")
    axes.sort(key=lambda axis: (KINDS.index(axis.kind), axis.name != STOP, axis.name))
    grid = Grid(source=source, sweep=file.sweep, variant=path.parent / file.sweep.variant, axes=tuple(axes))
    if len(grid) > MOST:
        raise OperatorError(f"{source}: {len(grid):,} configurations; expected at most {MOST:,}")
    _check_days(source, file.sweep)
    return grid


def day_ms(day: str) -> int:
    """OperatorError is raised by `read_grid` before anything else asks."""
    return int(datetime.datetime.fromisoformat(day).replace(tzinfo=datetime.UTC).timestamp()) * 1_000


def _day(at: int) -> str:
    return datetime.datetime.fromtimestamp(at / 1_000, datetime.UTC).strftime("%Y-%m-%d")


def _check_days(source: str, table: SweepTable) -> None:
    days = {"start": table.start, "end": table.end}
    if table.out_of_sample_from is not None:
        days = {"start": table.start, "out_of_sample_from": table.out_of_sample_from, "end": table.end}
    for key, day in days.items():
        try:
            day_ms(day)
        except ValueError:
            raise _fault(source, f"sweep.{key}", f'{day} is no day; expected one such as "2025-03-01"') from None
    for (first, before), (second, after) in itertools.pairwise(days.items()):
        if after <= before:
            raise _fault(source, f"sweep.{second}", f"{after} is not allowed; expected a day after {first} ({before})")


def _axis(source: str, key: str, given: object) -> Axis:
    values = _values(source, key, given)
    ordered = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    values = sorted(values) if ordered else values
    choices = tuple(Choice(_word(value), ((key, value),)) for value in values)
    return Axis(key, choices, _in_a_row(len(choices)) if ordered else ((),) * len(choices))


def _in_a_row(count: int) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(near for near in (place - 1, place + 1) if 0 <= near < count) for place in range(count))


def _entries(source: str, tables: Mapping[str, Mapping[str, Any]]) -> Axis:
    """All entries with all combinations of their options; beside one another are those that differ by one step."""
    choices: list[Choice] = []
    places: list[tuple[str, tuple[int, ...]]] = []
    for name, table in tables.items():
        axes = [_axis(source, f"entry.{name}.{key}", value) for key, value in table.items()]
        for at in itertools.product(*(range(len(axis)) for axis in axes)):
            chosen = [axis.choices[place] for axis, place in zip(axes, at, strict=True)]
            words = [f"{axis.name.rpartition('.')[2]} {one.label}" for axis, one in zip(axes, chosen, strict=True)]
            keys = ((ENTRY, name), *(pair for one in chosen for pair in one.keys))
            choices.append(Choice(" ".join([name, *words]), keys))
            places.append((name, at))
    beside = tuple(tuple(other for other, there in enumerate(places) if _one_step(here, there)) for here in places)
    return Axis(ENTRY, tuple(choices), beside)


def _one_step(here: tuple[str, tuple[int, ...]], there: tuple[str, tuple[int, ...]]) -> bool:
    return here[0] == there[0] and sum(abs(a - b) for a, b in zip(here[1], there[1], strict=True)) == 1


def _values(source: str, key: str, given: object) -> list[Any]:
    """A list, one value, or { from, to, step }: numbers from `from` up to `to`, both included."""
    if isinstance(given, dict):
        return _range(source, key, given)
    if not isinstance(given, list):
        return [given]
    if not given:
        raise _fault(source, key, "is empty; expected a list of values, or { from, to, step }")
    twice = [value for value in given if given.count(value) > 1]
    if twice:
        raise _fault(source, key, f"{twice[0]!r} stands there twice; expected each value once")
    return list(given)


def _range(source: str, key: str, given: Mapping[str, object]) -> list[float | int]:
    numbers = {name: value for name, value in given.items() if isinstance(value, int | float)}
    if set(given) != {"from", "to", "step"} or len(numbers) != 3:
        raise _fault(source, key, "expected a list of values, or { from = 1.0, to = 3.0, step = 0.5 }")
    begin, end, step = (Decimal(str(numbers[name])) for name in ("from", "to", "step"))
    if step <= 0 or end < begin:
        raise _fault(source, key, f"nothing lies between {begin} and {end}; expected from <= to and a step above 0")
    if (end - begin) / step >= MOST_VALUES:
        raise _fault(source, key, f"has more than {MOST_VALUES} values; expected a larger step")
    found = [begin + step * place for place in range(int((end - begin) / step) + 1)]
    whole = all(isinstance(value, int) for value in numbers.values())
    return [int(one) if whole else float(one) for one in found]


def _word(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _fault(source: str, key: str, words: str) -> OperatorError:
    return OperatorError(f"{source}: key {key}: {words}")


def overrides(choices: Sequence[Choice]) -> Iterator[tuple[str, Option]]:
    """The keys that a configuration sets in its variant's file."""
    for choice in choices:
        yield from choice.keys


def applied(raw: Mapping[str, Any], choices: Sequence[Choice]) -> dict[str, Any]:
    """A variant's file with a configuration's keys in it. Another entry than the file's drops the file's options; a
    filter that the file does not name comes after its own."""
    keys = dict(overrides(choices))
    made: dict[str, Any] = {name: dict(table) for name, table in raw.items()}
    made["filter"] = {name: dict(table) for name, table in raw.get("filter", {}).items()}
    made["entry"] = {name: dict(table) for name, table in raw.get("entry", {}).items()}
    if keys.get(ENTRY, made["variant"].get("entry", "market")) != made["variant"].get("entry", "market"):
        made["entry"] = {}
    filters = list(made["variant"].get("filters", ()))
    for key, value in keys.items():
        table, *path = key.split(".")
        if table == "filter" and path[0] not in filters:
            filters.append(path[0])
        place = made.setdefault(table, {})
        for step in path[:-1]:
            place = place.setdefault(step, {})
        place[path[-1]] = value
    made["variant"]["filters"] = filters
    return made
