"""The signal log held against itself: tallied rows in, findings out, pure. docs/audit.md lists the rules."""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from bot.clock import DAY_MS, HOUR_MS
from bot.messages import Severity
from bot.strategy.tally import CATEGORIES, ColumnTally, Tally, VariantTally
from bot.strategy.verdicts import CHECKS

CATEGORY_DAYS = 3  # days in a row on which a category may not stand still
ENOUGH_CANDIDATES = 30  # candidates from which on a filter is judged
MANY_CANDIDATES = 200
ENOUGH_TRIED = 40  # rows, or forecasts, from which on a variant or its threshold is judged
SURE_DAYS, SURE_MARGIN = 3, 2.0  # of forecasts, or times the largest of them, until a threshold is out of reach
SILENCE_MS = 2 * HOUR_MS  # every variant has a cycle in an hour
MANY_MISSING = 0.05  # share of the returns
EXAMPLES = 5
SEVERITIES = (Severity.ERROR, Severity.WARNING, Severity.INFO)  # the gravest first


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    rule: str
    severity: Severity
    subject: str  # the variant, and what of it
    words: str
    detail: Mapping[str, Any] = {}


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What the rows are held against."""

    symbols: Mapping[str, int]  # how many each variant has
    since: int  # what is told of single days, cycles and rows is told of those after this
    until: int
    up_since: int = 0  # nobody could have written rows before


class Expectations(msgspec.Struct, frozen=True, kw_only=True):
    """What a run leaves behind, so that it can be audited without its files."""

    symbols: Mapping[str, int]
    context: int  # bars of a window
    horizon_ms: int
    up_since: int
    audited_until: int | None = None

    @property
    def audit_from(self) -> int:
        """Where the next audit begins: at the last one's end, else at the first day's begin."""
        return self.up_since - self.up_since % DAY_MS if self.audited_until is None else self.audited_until


class Returns(msgspec.Struct, frozen=True):
    """Rows of a variant whose horizon has passed, and how many of them lack their return."""

    variant: str
    missing: int
    rows: int


def findings(tally: Tally, expected: Expected, returns: Sequence[Returns] = ()) -> list[Finding]:
    """The gravest first, then by rule and subject."""
    return ordered(
        [
            *_dishonest(tally, expected),
            *_silent(tally, expected),
            *_cycles(tally, expected),
            *_thresholds(tally),
            *_standing(tally, expected),
            *_categories(tally, expected),
            *_judges(tally),
            *_returns(returns),
        ]
    )


def ordered(found: Sequence[Finding]) -> list[Finding]:
    return sorted(found, key=lambda one: (SEVERITIES.index(one.severity), one.rule, one.subject))


def _dishonest(tally: Tally, expected: Expected) -> Iterator[Finding]:
    for name, variant in tally.variants.items():
        wrong = [one for one in variant.dishonest if one.at >= expected.since]
        if wrong:
            yield Finding(
                rule="row_disagrees",
                severity=Severity.ERROR,
                subject=name,
                words=f"{len(wrong)} rows do not follow from themselves; {wrong[0].signal_id}: {wrong[0].words}",
                detail={"rows": len(wrong), "signal_ids": [one.signal_id for one in wrong[:EXAMPLES]]},
            )


def _silent(tally: Tally, expected: Expected) -> Iterator[Finding]:
    since = max(expected.since, expected.up_since)
    if expected.until - since < SILENCE_MS:
        return
    for name in expected.symbols:
        cycles = tally.variants[name].cycles if name in tally.variants else {}
        times = sorted({since, expected.until, *(at for at in cycles if since <= at < expected.until)})
        silence, begin = max((later - earlier, earlier) for earlier, later in itertools.pairwise(times))
        if silence >= SILENCE_MS:
            yield Finding(
                rule="no_signal",
                severity=Severity.ERROR,
                subject=name,
                words=f"not one row in {silence / HOUR_MS:.0f} hours: the variant did not run",
                detail={"since_at": begin},
            )


def _cycles(tally: Tally, expected: Expected) -> Iterator[Finding]:
    for name, symbols in expected.symbols.items():
        cycles = tally.variants[name].cycles if name in tally.variants else {}
        wrong = {at: rows for at, rows in cycles.items() if rows != symbols and at >= expected.since}
        if wrong:
            first = min(wrong)
            yield Finding(
                rule="rows_per_cycle",
                severity=Severity.ERROR,
                subject=name,
                words=f"{len(wrong)} cycles have another number of rows than the variant has symbols ({symbols}); "
                f"the first has {wrong[first]}",
                detail={"first_at": first, "rows": wrong[first], "symbols": symbols, "cycles": len(wrong)},
            )


def _thresholds(tally: Tally) -> Iterator[Finding]:
    for name, variant in tally.variants.items():
        if variant.entered or variant.rows < ENOUGH_TRIED:
            continue
        numbers = {"threshold": variant.threshold, "largest": variant.largest, "forecasts": variant.forecasts}
        time = "a day" if len(variant.days) == 1 else f"{len(variant.days)} days"
        if variant.forecasts >= ENOUGH_TRIED and variant.largest < variant.threshold:
            yield Finding(
                rule="threshold_out_of_reach",
                severity=Severity.ERROR if _out_of_reach(variant) else Severity.WARNING,
                subject=name,
                words=f"nothing passed in {time}: the threshold is {variant.threshold:.3%}, and the largest of "
                f"{variant.forecasts} forecasts was {variant.largest:.3%}",
                detail=numbers,
            )
            continue
        reason, count = variant.reasons.most_common(1)[0]
        yield Finding(
            rule="no_pass",
            severity=Severity.WARNING if variant.forecasts else Severity.ERROR,
            subject=name,
            words=f"nothing passed in {time}; mostly for {reason} ({count} of {variant.rows} rows)",
            detail={**numbers, "reason": reason, "count": count},
        )


def _out_of_reach(variant: VariantTally) -> bool:
    """A threshold just above what a day's forecasts said may be reached tomorrow."""
    return len(variant.days) >= SURE_DAYS or variant.threshold >= SURE_MARGIN * variant.largest


def _standing(tally: Tally, expected: Expected) -> Iterator[Finding]:
    for (variant, symbol, day, name), column in tally.columns.items():
        if name in CATEGORIES or not column.enough or (day + 1) * DAY_MS <= expected.since:
            continue
        if column.null or (column.constant and name != "checkpoint"):
            yield Finding(
                rule="column_null" if column.null else "column_constant",
                severity=Severity.ERROR,
                subject=f"{variant} {symbol} {name}",
                words=f"{name} {'is null' if column.null else 'is the same'} in all {column.rows} rows of a day",
                detail={"day_at": day * DAY_MS, "rows": column.rows},
            )


def _categories(tally: Tally, expected: Expected) -> Iterator[Finding]:
    """A category has few values and may stand still for a day, best not at 0; not for days, and it may not be null."""
    days: defaultdict[tuple[str, str], dict[int, ColumnTally]] = defaultdict(dict)
    for (variant, _, day, name), column in tally.columns.items():
        if name in CATEGORIES and column.enough:
            days[variant, name][day] = column
    for (variant, name), columns in days.items():
        last = max(columns)
        if (last + 1) * DAY_MS <= expected.since or not (columns[last].null or columns[last].constant):
            continue
        still = 1
        while last - still in columns and columns[last - still].values == columns[last].values:
            still += 1
        value = next(iter(columns[last].values), None)
        if value and still < CATEGORY_DAYS:
            continue
        grave = value is None or still >= CATEGORY_DAYS
        yield Finding(
            rule="column_null" if value is None else "column_constant",
            severity=Severity.ERROR if grave else Severity.WARNING,
            subject=f"{variant} {name}",
            words=f"{name} was {'null' if value is None else value} in every row of "
            f"{'a day' if still == 1 else f'{still} days in a row'}",
            detail={"value": value, "days": still},
        )


def _judges(tally: Tally) -> Iterator[Finding]:
    for (variant, name), found in tally.filters.items():
        own = name in CHECKS
        detail = {"candidates": found.asked, "shadow": found.shadow}
        if found.asked < ENOUGH_CANDIDATES:
            continue
        if found.vetoes == found.asked:
            yield Finding(
                rule="filter_always_vetoes",
                severity=Severity.WARNING if found.shadow or own else Severity.ERROR,
                subject=f"{variant} {name}",
                words=f"{name} refused every one of {found.asked} candidates",
                detail=detail,
            )
        elif not own and not found.vetoes and not found.shrank:
            yield Finding(
                rule="filter_never_vetoes",
                severity=Severity.WARNING if found.asked >= MANY_CANDIDATES else Severity.INFO,
                subject=f"{variant} {name}",
                words=f"{name} had nothing against any of {found.asked} candidates",
                detail=detail,
            )


def _returns(returns: Sequence[Returns]) -> Iterator[Finding]:
    for one in returns:
        if one.missing:
            yield Finding(
                rule="return_missing",
                severity=Severity.ERROR if one.missing >= MANY_MISSING * one.rows else Severity.WARNING,
                subject=one.variant,
                words=f"actual_return is missing in {one.missing} of {one.rows} rows whose horizon has passed",
                detail={"rows": one.missing, "of": one.rows},
            )
