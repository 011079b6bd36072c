"""Rows of some days counted: what each column held, what each filter said, what each variant came to. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable

import msgspec

from bot.clock import DAY_MS
from bot.messages import Signal
from bot.strategy.recheck import disagreements
from bot.strategy.verdicts import ENTRY

ENOUGH_ROWS = 12  # rows of a day from which on a column is judged
ENOUGH_BARS = 6  # and different bars among them

MEASURES = ("mark_price", "rsi", "atr")  # of every row with bars
CATEGORIES = ("cat_trend", "cat_momentum", "cat_strength", "cat_volume", "cat_volatility")  # the same
FORECASTS = ("predicted_return", "predicted_q10", "predicted_q90", "checkpoint")  # of every row with a forecast


class ColumnTally(msgspec.Struct):
    """What one column held on one day, in the rows in which it should hold something."""

    rows: int = 0
    nulls: int = 0
    bars: set[int] = msgspec.field(default_factory=set)
    values: set[object] = msgspec.field(default_factory=set)  # two at most: more are many

    def add(self, value: object, bar: int) -> None:
        self.rows += 1
        self.bars.add(bar)
        if value is None:
            self.nulls += 1
        elif len(self.values) < 2:
            self.values.add(value)

    @property
    def enough(self) -> bool:
        return self.rows >= ENOUGH_ROWS and len(self.bars) >= ENOUGH_BARS

    @property
    def null(self) -> bool:
        return self.nulls == self.rows

    @property
    def constant(self) -> bool:
        return not self.nulls and len(self.values) == 1


class FilterTally(msgspec.Struct):
    """What one filter or check of a variant said of the candidates."""

    asked: int = 0
    vetoes: int = 0
    shrank: int = 0
    shadow: bool = False

    def take(self, other: "FilterTally") -> None:
        self.asked += other.asked
        self.vetoes += other.vetoes
        self.shrank += other.shrank
        self.shadow = other.shadow


class Disagreement(msgspec.Struct, frozen=True):
    signal_id: str
    at: int
    words: str


class VariantTally(msgspec.Struct):
    rows: int = 0
    entered: int = 0
    forecasts: int = 0
    largest: float = 0.0  # |predicted return|
    threshold: float = 0.0  # of the newest row
    last_at: int = 0
    days: set[int] = msgspec.field(default_factory=set)
    reasons: Counter[str] = msgspec.field(default_factory=Counter)  # of the refused rows
    cycles: Counter[int] = msgspec.field(default_factory=Counter)  # rows by cycle
    dishonest: list[Disagreement] = msgspec.field(default_factory=list)

    def take(self, other: "VariantTally") -> None:
        if other.last_at >= self.last_at:
            self.last_at, self.threshold = other.last_at, other.threshold
        self.rows += other.rows
        self.entered += other.entered
        self.forecasts += other.forecasts
        self.largest = max(self.largest, other.largest)
        self.days |= other.days
        self.reasons += other.reasons
        self.cycles += other.cycles
        self.dishonest += other.dishonest


class Tally:
    """Takes rows in any order. Tallies of different days add up to one."""

    def __init__(self) -> None:
        self.columns: defaultdict[tuple[str, str, int, str], ColumnTally] = defaultdict(ColumnTally)
        self.filters: defaultdict[tuple[str, str], FilterTally] = defaultdict(FilterTally)
        self.variants: defaultdict[str, VariantTally] = defaultdict(VariantTally)
        self.newest: dict[tuple[str, str], Signal] = {}  # row with bars, by variant and symbol

    @classmethod
    def merged(cls, tallies: Iterable["Tally"]) -> "Tally":
        whole = cls()
        for tally in tallies:
            whole.columns |= tally.columns
            for signal in tally.newest.values():
                whole._keep_newest(signal)
            for key, found in tally.filters.items():
                whole.filters[key].take(found)
            for name, variant in tally.variants.items():
                whole.variants[name].take(variant)
        return whole

    def update(self, signals: Iterable[Signal]) -> None:
        for signal in signals:
            self._count(signal)
            self._look_at_columns(signal)
            self._look_at_filters(signal)
            self._keep_newest(signal)

    def _keep_newest(self, signal: Signal) -> None:
        kept = self.newest.get((signal.variant, signal.symbol))
        if signal.bar_close_at is not None and (kept is None or kept.cycle_at <= signal.cycle_at):
            self.newest[signal.variant, signal.symbol] = signal

    def _count(self, signal: Signal) -> None:
        variant = self.variants[signal.variant]
        variant.rows += 1
        if signal.cycle_at >= variant.last_at:
            variant.last_at, variant.threshold = signal.cycle_at, signal.threshold
        variant.days.add(signal.cycle_at // DAY_MS)
        variant.cycles[signal.cycle_at] += 1
        if signal.decision == "enter":
            variant.entered += 1
        else:
            variant.reasons[signal.decision_reason] += 1
        if signal.predicted_return is not None:
            variant.forecasts += 1
            variant.largest = max(variant.largest, abs(signal.predicted_return))
        wrong = disagreements(signal)
        if wrong:
            variant.dishonest.append(Disagreement(signal.signal_id, signal.cycle_at, wrong[0]))

    def _look_at_columns(self, signal: Signal) -> None:
        """A category has few values, so it is looked at over all symbols of the variant."""
        bar = signal.bar_close_at
        self._column(signal, signal.symbol, "bar_close_at", signal.cycle_at)
        if bar is None:
            return
        for name in MEASURES:
            self._column(signal, signal.symbol, name, bar)
        for name in CATEGORIES:
            self._column(signal, "", name, bar)
        if signal.predicted_return is not None:
            for name in FORECASTS:
                self._column(signal, signal.symbol, name, bar)

    def _column(self, signal: Signal, symbol: str, name: str, bar: int) -> None:
        self.columns[signal.variant, symbol, signal.cycle_at // DAY_MS, name].add(getattr(signal, name), bar)

    def _look_at_filters(self, signal: Signal) -> None:
        if all(verdict.filter != ENTRY for verdict in signal.filter_verdicts):
            return  # no candidate: nobody was asked
        for verdict in signal.filter_verdicts:
            found = self.filters[signal.variant, verdict.filter]
            found.asked += 1
            found.vetoes += not verdict.allow
            found.shrank += verdict.scale < 1
            found.shadow = verdict.shadow
