"""A grid and the market to what is computed: entries, plans, masks and the spans of days they are judged over."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from bot.clock import DAY_MS
from bot.config import VariantFile, decode
from bot.errors import OperatorError
from bot.messages import Floats
from bot.research.backtest.market import SymbolMarket
from bot.research.backtest.signals import SignalSource, silent
from bot.research.backtest.trade import Terms
from bot.research.significance import walk_forward
from bot.research.sweep.columns import Flags
from bot.research.sweep.grid import SESSION_END, Axis, Choice, Grid, applied, day_ms
from bot.research.sweep.parts import Work
from bot.research.sweep.signals import Extracted, Told, days_of, dealing_of, extract, setup_of
from bot.strategy.exits import scalars
from bot.strategy.variant import FilterPlugin, Plugins, Variant, resolve

IN_SAMPLE, OUT_OF_SAMPLE = "in_sample", "out_of_sample"
THRESHOLD = "variant.threshold_pct"
SESSION_KEYS = ("skip_weekdays", "skip_hours")


class Span(msgspec.Struct, frozen=True):
    """Days that exits fall on, half-open, counted from the sweep's first."""

    name: str
    begin: int
    end: int


class Recipe:
    """What a configuration makes of its variant's file."""

    def __init__(self, grid: Grid, raw: Mapping[str, Any], plugins: Plugins, account_max_positions: int) -> None:
        self.grid = grid
        self._raw = raw
        self._plugins = plugins
        self._account_max_positions = account_max_positions
        self.base = self.variant(())

    def variant(self, choices: Sequence[Choice]) -> Variant:
        """OperatorError where the choices do not go together."""
        raw = applied(self._raw, choices)
        file = decode(raw, VariantFile, self.grid.source)
        made = resolve(self.grid.source, file, self._plugins, self._account_max_positions)
        symbols = self.grid.sweep.symbols
        return msgspec.structs.replace(made, symbols=symbols) if symbols else made

    def of(self, number: int) -> Variant:
        return self.variant(self.grid.choices(number))


class _Filters:
    """Every setting that a filter is tried with, once."""

    def __init__(self, recipe: Recipe) -> None:
        self.settings: list[FilterPlugin] = []
        self._places: dict[tuple[str, tuple[str, ...]], int] = {}  # by name and labels
        axes = recipe.grid.axes_of("choice")
        first = recipe.variant([axis.choices[0] for axis in axes])
        self._names = tuple(one.name for one in first.filters)
        self._axes = {name: [axis for axis in axes if axis.name.startswith(f"filter.{name}.")] for name in self._names}
        for name, own in self._axes.items():
            for choices in itertools.product(*(axis.choices for axis in own)):
                self._places[name, tuple(choice.label for choice in choices)] = len(self.settings)
                filters = recipe.variant(choices).filters
                self.settings += [one for one in filters if one.name == name]

    def asked(self, chosen: Mapping[str, Choice]) -> list[int]:
        """The settings whose word counts under these choices, by axis."""
        found = []
        for name, own in self._axes.items():
            place = self._places[name, tuple(chosen[axis.name].label for axis in own)]
            if not self.settings[place].shadow:
                found.append(place)
        return found


def assemble(
    recipe: Recipe,
    markets: Mapping[str, SymbolMarket],
    source: SignalSource,
    context: int,
    terms: Terms,
    told: Told | None = None,
) -> tuple[Work, list[Span]]:
    """Extract the signals once, and lay out what is to be walked and added up."""
    grid = recipe.grid
    entries = [recipe.variant(choices) for choices in grid.combinations("entry")]
    _refuse_moving_sessions(grid, entries)
    plans = [recipe.variant(choices).exits for choices in grid.combinations("exit")]
    rules = np.array([(plan.stop_pct, _off(plan.target_pct), *scalars(plan)[:6]) for plan in plans], dtype=np.float64)
    filters = _Filters(recipe)
    start, end = grid.span()
    thresholds = _thresholds(recipe)
    variant = msgspec.structs.replace(recipe.base, threshold=min(thresholds.values()))
    extracted = extract(variant, filters.settings, entries, markets, source, setup_of(start, end, context, terms), told)
    if not len(extracted):
        if len(silent(source, variant, markets, start)) == len(markets):
            wanted = f"no forecasts of {variant.name}'s symbols in this span"
            raise OperatorError(f"{grid.source}: {wanted}; see `python -m bot forecast make`")
        raise OperatorError(f"{grid.source}: no forecast reaches the lowest threshold in this span")
    first_day, days = days_of(start, end)
    spans = spans_of(grid, _longest(rules, entries))
    return Work(
        extracted=extracted,
        rules=rules,
        masks=_masks(recipe, extracted, filters, thresholds),
        dealing=dealing_of(terms),
        path=int(terms.path),
        cap=recipe.base.caps.symbol,
        first_day=first_day,
        days=days,
        spans=np.array([(span.begin, span.end) for span in spans], dtype=np.int64),
    ), spans


def _off(value: float | None) -> float:
    return math.inf if value is None else value


def _refuse_moving_sessions(grid: Grid, entries: Sequence[Variant]) -> None:
    for axis in grid.axes:
        hours = axis.name.startswith("filter.") and axis.name.endswith(SESSION_KEYS)
        if hours and any(variant.exits.close_at_session_end for variant in entries):
            raise OperatorError(
                f"{grid.source}: key {axis.name}: cannot be swept while {SESSION_END} is on, because it moves the exits"
            )


def _threshold_axis(grid: Grid) -> Axis | None:
    return next((axis for axis in grid.axes_of("choice") if axis.name == THRESHOLD), None)


def _thresholds(recipe: Recipe) -> dict[str, float]:
    """By label."""
    axis = _threshold_axis(recipe.grid)
    if axis is None:
        return {"": recipe.base.threshold}
    return {choice.label: recipe.variant([choice]).threshold for choice in axis.choices}


def _masks(recipe: Recipe, extracted: Extracted, filters: _Filters, thresholds: Mapping[str, float]) -> Flags:
    axes = recipe.grid.axes_of("choice")
    masks = np.ones((math.prod(len(axis) for axis in axes), len(extracted)), dtype=np.bool_)
    size = np.abs(extracted.predicted)
    for mask, choices in zip(masks, recipe.grid.combinations("choice"), strict=True):
        chosen = {axis.name: choice for axis, choice in zip(axes, choices, strict=True)}
        mask &= size >= thresholds[chosen[THRESHOLD].label if THRESHOLD in chosen else ""]
        for place in filters.asked(chosen):
            mask &= extracted.allowed[place]
    return masks


def _longest(rules: Floats, entries: Sequence[Variant]) -> int:
    """Days within which what was decided has ended; one where nothing bounds it."""
    held = rules[:, 6].max()
    waits = max(variant.entry_ttl_ms for variant in entries)
    return 1 if math.isinf(held) else max(1, math.ceil((held + waits) / DAY_MS))


def spans_of(grid: Grid, embargo: int) -> list[Span]:
    """In-sample, out-of-sample where it is held back, then train and test of each fold; `embargo` days between."""
    start, end = grid.span()
    days = math.ceil((end - start) / DAY_MS)
    held_back = grid.sweep.out_of_sample_from
    limit = days if held_back is None else (day_ms(held_back) - start) // DAY_MS
    known = limit if held_back is None else limit - embargo
    spans = [Span(IN_SAMPLE, 0, max(known, 1))]
    if held_back is not None:
        spans.append(Span(OUT_OF_SAMPLE, limit, days))
    test = known // (grid.sweep.folds + 2)
    if grid.sweep.folds and test > embargo:
        train = known - grid.sweep.folds * test - embargo
        for number, split in enumerate(walk_forward(0, known, train=train, test=test, embargo=embargo), 1):
            spans.append(Span(f"fold_{number}_train", split.train_from, split.train_to))
            spans.append(Span(f"fold_{number}_test", split.test_from, split.test_to))
    return spans
