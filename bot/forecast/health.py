"""Signal rows in, the health of the models out: what they said in 7 days, what was refused, who is dead. Pure."""

from array import array
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterable

import msgspec
import numpy as np

from bot.clock import DAY_MS, HOUR_MS
from bot.messages import Floats, Signal

KEPT_MS = 7 * DAY_MS
JUDGED_MS = 20 * HOUR_MS  # of bars: nearly all of a day's hours, and the word still comes within the day
JUDGED_COUNT = 16  # where bars are missing
FEW = 100  # forecasts, below which the largest stands in for the 99th percentile
FEW_MARGIN = 2.0  # and the threshold must lie this many times above it: one more day may say a larger one
SAME_SIGN_MS = 3 * DAY_MS  # coins move together, so a day of one sign alone is no fault
SAME_VALUE = 1e-9  # predicted returns that differ by less are one value

NONE: Floats = np.empty(0)

Group = tuple[str, str]  # tier, checkpoint id


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """The distribution of |predicted return|; None where there is no forecast."""

    forecasts: int  # one for each symbol and bar, however often it was asked
    p50: float | None
    p90: float | None
    p99: float | None


class TierHealth(msgspec.Struct, frozen=True, kw_only=True):
    """What one checkpoint did for one tier."""

    tier: str
    checkpoint: str
    serving: bool  # the newest row is its
    rows: int
    refused_share: float  # of the rows: those without a forecast
    refused: dict[str, int]  # the same, counted by reason, most frequent first
    spread: Spread
    positive: float | None  # share of the forecasts that say up
    constant: str | None  # "same_value" or "same_sign": it says the same whatever it sees


class VariantHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One variant's threshold beside what its tier's checkpoint says of the variant's symbols."""

    variant: str
    tier: str
    checkpoint: str
    threshold: float
    spread: Spread
    above: float | None  # share of the forecasts at or above the threshold
    dead: bool | None  # the threshold is out of reach; None: too little was said yet


class _Variant(msgspec.Struct):
    tier: str
    threshold: float
    symbols: dict[str, int]  # and the time of the newest row


class _Said(msgspec.Struct):
    """What was said of one symbol, oldest first."""

    bars: "array[float]"  # close times
    values: "array[float]"  # predicted returns


class _Day(msgspec.Struct):
    day: int
    rows: int
    refused: Counter[str]


class ForecastHealth:
    """Keeps one number for each tier, checkpoint, symbol and bar of the last 7 days, and counters for each day."""

    def __init__(self) -> None:
        self._said: dict[Group, dict[str, _Said]] = {}
        self._days: dict[Group, deque[_Day]] = {}
        self._serving: dict[str, str] = {}
        self._variants: dict[str, _Variant] = {}

    def add(self, row: Signal) -> None:
        """Take the next row; rows come in the order of their cycles. One without a checkpoint says nothing."""
        if row.checkpoint is None:
            return
        group = row.tier, row.checkpoint
        self._serving[row.tier] = row.checkpoint
        variant = self._variants.setdefault(row.variant, _Variant(row.tier, row.threshold, {}))
        variant.tier, variant.threshold = row.tier, row.threshold
        variant.symbols[row.symbol] = row.cycle_at
        counted = self._day(group, row.cycle_at // DAY_MS)
        counted.rows += 1
        if row.predicted_return is None:
            counted.refused[row.decision_reason] += 1
        elif row.bar_close_at is not None:
            said = self._said.setdefault(group, {}).setdefault(row.symbol, _Said(array("d"), array("d")))
            if not said.bars or said.bars[-1] < row.bar_close_at:
                said.bars.append(row.bar_close_at)
                said.values.append(row.predicted_return)

    def _day(self, group: Group, day: int) -> _Day:
        days = self._days.setdefault(group, deque())
        if not days or days[-1].day < day:
            days.append(_Day(day, 0, Counter()))
        return days[-1]

    def forget(self, now: int) -> None:
        """Drop what is older than 7 days."""
        since = now - KEPT_MS
        for symbols in self._said.values():
            for symbol, said in list(symbols.items()):
                old = bisect_left(said.bars, since)
                del said.bars[:old], said.values[:old]
                if not said.bars:
                    del symbols[symbol]
        for group, days in list(self._days.items()):
            while days and (days[0].day + 1) * DAY_MS <= since:
                days.popleft()
            if not days:
                del self._days[group]
                self._said.pop(group, None)
        for name, variant in list(self._variants.items()):
            variant.symbols = {symbol: at for symbol, at in variant.symbols.items() if at >= since}
            if not variant.symbols:
                del self._variants[name]

    def tiers(self) -> list[TierHealth]:
        """Every checkpoint of every tier that has a row, by name."""
        return [self._tier(group) for group in sorted(self._days)]

    def _tier(self, group: Group) -> TierHealth:
        tier, checkpoint = group
        days = self._days[group]
        refused = sum((day.refused for day in days), Counter())
        bars, values = self._values(group, self._said.get(group, {}))
        rows = sum(day.rows for day in days)
        return TierHealth(
            tier=tier,
            checkpoint=checkpoint,
            serving=self._serving.get(tier) == checkpoint,
            rows=rows,
            refused_share=refused.total() / rows,
            refused=dict(sorted(refused.items(), key=lambda item: (-item[1], item[0]))),
            spread=_spread(np.abs(values)),
            positive=float((values > 0).mean()) if len(values) else None,
            constant=_constant(bars, values),
        )

    def variants(self) -> list[VariantHealth]:
        """Every variant that has a row, by name, judged on what serves its tier now."""
        return [self._variant(name, self._variants[name]) for name in sorted(self._variants)]

    def _variant(self, name: str, variant: _Variant) -> VariantHealth:
        group = variant.tier, self._serving[variant.tier]
        bars, values = self._values(group, variant.symbols)
        sizes = np.abs(values)
        spread = _spread(sizes)
        return VariantHealth(
            variant=name,
            tier=variant.tier,
            checkpoint=group[1],
            threshold=variant.threshold,
            spread=spread,
            above=float((sizes >= variant.threshold).mean()) if len(sizes) else None,
            dead=_out_of_reach(spread, variant.threshold) if _suffices(bars, JUDGED_MS) else None,
        )

    def _values(self, group: Group, symbols: Iterable[str]) -> tuple[Floats, Floats]:
        """Close times and predicted returns of the symbols' bars."""
        said = self._said.get(group, {})
        found = [said[symbol] for symbol in symbols if symbol in said]
        bars = [np.array(one.bars) for one in found]
        return np.concatenate(bars or [NONE]), np.concatenate([np.array(one.values) for one in found] or [NONE])


def _spread(sizes: Floats) -> Spread:
    if not len(sizes):
        return Spread(forecasts=0, p50=None, p90=None, p99=None)
    # Values that were really said: with fewer than a hundred the 99th percentile is the largest.
    p50, p90, p99 = np.quantile(sizes, (0.5, 0.9, 0.99), method="higher").tolist()
    return Spread(forecasts=len(sizes), p50=p50, p90=p90, p99=p99)


def _out_of_reach(spread: Spread, threshold: float) -> bool:
    """Whether the threshold lies above the 99th percentile, however few forecasts there are to tell it from."""
    if spread.p99 is None:
        return False
    return threshold > spread.p99 * (FEW_MARGIN if spread.forecasts < FEW else 1.0)


def _suffices(bars: Floats, span_ms: int) -> bool:
    return len(bars) >= JUDGED_COUNT and float(np.ptp(bars)) >= span_ms


def _constant(bars: Floats, values: Floats) -> str | None:
    if not _suffices(bars, JUDGED_MS):
        return None
    if float(np.ptp(values)) < SAME_VALUE:
        return "same_value"
    one_sided = bool((values > 0).all() or (values < 0).all())
    return "same_sign" if one_sided and _suffices(bars, SAME_SIGN_MS) else None
