"""Whether a variant's decisions use what they could not know: decided again in other worlds, they must stay the same.

Each bar is decided on its window, which in the first world is a piece of a longer series, as it is recorded. Then the
bars come in the reverse order, without files, without what came before, with another future, at another date. Forecasts
are made up past the threshold, long and short in turn, so that every plugin is asked on every bar.
"""

import contextlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal

import msgspec
import numpy as np

from bot.clock import DAY_MS, HOUR_MS, MINUTE_MS
from bot.exchange.simulator.instruments import instrument_of
from bot.hookspecs import TierTemplate
from bot.messages import Bars, FilterVerdict, Forecast, Signal, TradingState
from bot.research.watched import Calls, Watched, sealed
from bot.strategy.cycle import Seen, decide
from bot.strategy.risk import Exposure
from bot.strategy.rounding import decimal_of
from bot.strategy.variant import Variant
from bot.strategy.window import FIELDS, PRICES, refusals

INDICATORS = "indicators"
DECISION = "decision"
MEASURED = ("rsi", "atr", "cat_trend", "cat_momentum", "cat_strength", "cat_volume", "cat_volatility")
DECIDED = ("side", "decision", "decision_reason", "entry_price", "quantity")
SHIFT_MS = 400 * 7 * DAY_MS  # whole weeks, so that weekdays and hours stay
FUTURE_BARS = 48
OPEN = contextlib.nullcontext()
TOLERANCE = 1e-9  # relative: the same sum over other memory may round otherwise
WORDS = {
    "fault": "breaks",
    "changed": "changes the bars that it is shown",
    "clock": "asks the clock",
    "loading": "opens a file while it is loaded",
    "order": "keeps something between calls, or draws at random",
    "sealed": "reads a file or a socket",
    "past": "depends on bars before its window",
    "future": "depends on bars after the decision",
    "date": "depends on the date itself, as what looks a bar up elsewhere does",
    "template": "gives another template when it is asked again",
}


class Caught(msgspec.Struct, frozen=True, kw_only=True):
    """A plugin (or `indicators`, `decision`: the bot's own) that uses what it may not; where that was seen first."""

    plugin: str
    kind: str  # filter | entry | tier | core
    probe: str  # a key of WORDS
    words: str
    symbol: str | None
    bar_close_at: int | None
    before: str  # what it said
    after: str


class _Case(msgspec.Struct, frozen=True, eq=False):
    """One bar to decide on: its window is [begin, end) of the symbol's bars."""

    bars: Bars
    begin: int
    end: int


class _Said(msgspec.Struct, frozen=True):
    """What came of one decision: by plugin, and in the row."""

    answers: dict[str, object]
    row: dict[str, object]


World = Callable[[_Case], tuple[Bars, int, int]]  # a series of its own, and where in it the window lies
Tell = Callable[[int, int], None]


def cases(bars: Bars, context: int, count: int) -> list[_Case]:
    """At most `count` whole windows, spread evenly."""
    whole = np.ones(len(bars), dtype=np.bool_)
    for mask in refusals(bars, context, bars.interval_ms).values():
        whole &= ~mask
    ends = np.flatnonzero(whole) + 1
    chosen = ends[np.unique(np.linspace(0, len(ends) - 1, count).round().astype(int))] if len(ends) else ends
    return [_Case(bars, int(end) - context, int(end)) for end in chosen]


class Lookahead:
    """The probes of one variant over its cases; ends with at most one word on each plugin."""

    def __init__(self, variant: Variant, fresh: Variant, calls: Calls, horizon: int) -> None:
        """`fresh`: the same variant of plugins that were loaded a second time, while `calls` were noticed."""
        self._watched, self._fresh = Watched(variant, calls), Watched(fresh, calls)
        self._calls = calls
        self._kinds = {plugin.name: "filter" for plugin in variant.filters} | {variant.entry.name: "entry"}
        self._horizon = horizon
        self._caught: dict[str, Caught] = {}
        mine = {*self._kinds, variant.tier}
        for probe, called in (("clock", calls.asked_clock), ("loading", calls.opened)):
            for plugin in mine & called.keys():
                self._catch(plugin, probe, None, "", called[plugin])

    @property
    def caught(self) -> list[Caught]:
        return list(self._caught.values())

    def templates(self, before: TierTemplate, after: TierTemplate) -> None:
        """What the tier gave when it was loaded first and again."""
        if not same(before, after, 0):
            self._catch(before.name, "template", None, repr(before), repr(after))

    def run(self, chosen: Sequence[_Case], tell: Tell) -> None:
        first: list[_Said] = []
        passes: list[tuple[str, World, Sequence[int]]] = [
            ("fault", as_recorded, range(len(chosen))),
            ("order", as_recorded, range(len(chosen))[::-1]),
            ("sealed", as_recorded, range(len(chosen))),
            ("future", with_other_future, range(len(chosen))),
            ("past", window_alone, range(len(chosen))),
            ("date", at_another_date, range(len(chosen))),
        ]
        for number, (probe, world, order) in enumerate(passes):
            for done, index in enumerate(order):
                case = chosen[index]
                said = self._decide(case, world, probe)
                if probe == "fault":
                    first.append(said)
                else:
                    self._compare(probe, case, first[index], said)
                tell(number * len(chosen) + done + 1, len(passes) * len(chosen))

    def _decide(self, case: _Case, world: World, probe: str) -> _Said:
        series, begin, end = world(case)
        watched = self._fresh if probe == "order" else self._watched
        watched.begin()
        guard = self._calls.noticed() if probe == "order" else sealed() if probe == "sealed" else OPEN
        with guard:
            signal, _ = decide(watched.variant, self._seen(case, _part(series, begin, end)), Exposure())
        faults = watched.faults if probe == "fault" else {}
        for plugin, fault in faults.items():
            self._catch(plugin, probe, case, "", fault)
        for plugin in watched.changed:
            self._catch(plugin, "changed", case, "", "")
        for plugin, called in self._calls.asked_clock.items():
            if plugin in watched.answers:
                self._catch(plugin, "clock", case, "", called)
        return _Said(dict(watched.answers), _row(signal))

    def _seen(self, case: _Case, window: Bars) -> Seen:
        variant, last = self._watched.variant, float(window.close[-1])
        sign = 1 if case.end % 2 else -1
        predicted = sign * variant.threshold * (1.5 + case.end % 7 / 7)
        at = window.close_at + variant.minutes[0] * MINUTE_MS
        return Seen(
            symbol=window.symbol,
            cycle_at=at,
            now=at,
            bars=window,
            forecast=Forecast(
                symbol=window.symbol,
                checkpoint="made-up",
                bar_close_at=window.close_at,
                horizon=self._horizon,
                predicted_return=predicted,
                predicted_q10=predicted - variant.threshold,
                predicted_q90=predicted + variant.threshold,
            ),
            mark_price=decimal_of(last),
            instrument=instrument_of(window.symbol, last),
            state=TradingState.ACTIVE,
            funding_rate=Decimal(0),
            next_funding_at=at + HOUR_MS,
        )

    def _compare(self, probe: str, case: _Case, before: _Said, after: _Said) -> None:
        shift = SHIFT_MS if probe == "date" else 0
        differing = [name for name in before.answers if not same(before.answers[name], after.answers.get(name), shift)]
        for name in differing:
            self._catch(name, probe, case, *_told(before.answers[name], after.answers.get(name), shift))
        measured, decided = (
            [name for name in names if not same(before.row[name], after.row[name], shift)]
            for names in (MEASURED, DECIDED)
        )
        blamed = self._caught.keys() & before.answers.keys()
        for plugin, names in ((INDICATORS, measured), (DECISION, [] if measured or differing or blamed else decided)):
            if names:
                values = (", ".join(f"{name} {row[name]}" for name in names) for row in (before.row, after.row))
                self._catch(plugin, probe, case, *values)

    def _catch(self, plugin: str, probe: str, case: _Case | None, before: str, after: str) -> None:
        kind = self._kinds.get(plugin, "core" if plugin in (INDICATORS, DECISION) else "tier")
        found = Caught(
            plugin=plugin,
            kind=kind,
            probe=probe,
            words=WORDS[probe],
            symbol=None if case is None else case.bars.symbol,
            bar_close_at=None if case is None else int(case.bars.open_time[case.end - 1]) + case.bars.interval_ms,
            before=before,
            after=after,
        )
        self._caught.setdefault(plugin, found)


def as_recorded(case: _Case) -> tuple[Bars, int, int]:
    """A copy with as many bars before the window as it holds, and some after it."""
    context = case.end - case.begin
    start = max(0, case.begin - context)
    series = _copied(_part(case.bars, start, case.end + FUTURE_BARS))
    return series, case.begin - start, case.end - start


def window_alone(case: _Case) -> tuple[Bars, int, int]:
    return _copied(_part(case.bars, case.begin, case.end)), 0, case.end - case.begin


def with_other_future(case: _Case) -> tuple[Bars, int, int]:
    """Every bar after the window is another one, of prices up to a tenth away."""
    series, begin, end = as_recorded(case)
    chance = np.random.default_rng(case.end)
    factors = 1 + chance.uniform(-0.1, 0.1, len(series) - end)
    for name in PRICES:
        getattr(series, name)[end:] *= factors
    series.volume[end:] *= chance.uniform(0.1, 10, len(series) - end)
    return series, begin, end


def at_another_date(case: _Case) -> tuple[Bars, int, int]:
    series, begin, end = as_recorded(case)
    return msgspec.structs.replace(series, open_time=series.open_time + SHIFT_MS), begin, end


def _part(bars: Bars, begin: int, end: int) -> Bars:
    return msgspec.structs.replace(bars, **{name: getattr(bars, name)[begin:end] for name in ("open_time", *FIELDS)})


def _copied(bars: Bars) -> Bars:
    return msgspec.structs.replace(bars, **{name: getattr(bars, name).copy() for name in ("open_time", *FIELDS)})


def _row(signal: Signal) -> dict[str, object]:
    return {name: getattr(signal, name) for name in (*MEASURED, *DECIDED)}


def same(before: object, after: object, shift: int) -> bool:
    """Equal but for rounding; whole numbers may be `shift` apart, which times are."""
    if isinstance(before, msgspec.Struct) and isinstance(after, msgspec.Struct):
        before, after = msgspec.structs.asdict(before), msgspec.structs.asdict(after)
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return before.keys() == after.keys() and all(same(before[key], after[key], shift) for key in before)
    if isinstance(before, bool) or isinstance(after, bool):
        return before is after
    if isinstance(before, int) and isinstance(after, int):
        return after - before in (0, shift)
    if isinstance(before, float | Decimal) and isinstance(after, float | Decimal):
        one, other = float(before), float(after)
        return math.isclose(one, other, rel_tol=TOLERANCE) or (math.isnan(one) and math.isnan(other))
    return before == after


def _told(before: object, after: object, shift: int) -> tuple[str, str]:
    """Two answers in a few words: what differs, and of verdicts whether they allow and why."""
    if not isinstance(before, msgspec.Struct) or not isinstance(after, msgspec.Struct):
        return _whole(before), _whole(after)  # an entry that gives a price here and a refusal there
    one, other = msgspec.structs.asdict(before), msgspec.structs.asdict(after)
    always = ("allow", "reason") if isinstance(before, FilterVerdict) else ()
    names = [name for name in one if name in always or not same(one[name], other[name], shift)]
    return _fields(one, names), _fields(other, names)


def _whole(answer: object) -> str:
    """All that an answer says."""
    if isinstance(answer, msgspec.Struct):
        fields = msgspec.structs.asdict(answer)
        return _fields(fields, [name for name, value in fields.items() if value not in (None, "", {})])
    return "nothing" if answer is None else str(answer)


def _fields(fields: Mapping[str, object], names: Iterable[str]) -> str:
    return " ".join(f"{name}={_plain(fields[name])}" for name in names)


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_plain(one)}" for key, one in value.items()) + "}"
    return f"{value:.10g}" if isinstance(value, float) else str(value)
