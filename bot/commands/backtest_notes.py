"""What to hold against a backtest's result, in sentences; the gravest begin with DOUBT."""

from collections.abc import Mapping, Sequence

from bot.clock import HOUR_MS
from bot.commands.output import day, few
from bot.history.forecasts import ForecastStore
from bot.history.layout import stamp
from bot.messages import Position
from bot.research.backtest.engine import Outcome, Setup
from bot.research.backtest.market import SymbolMarket
from bot.research.backtest.signals import SignalSource, StoredSaid, made_on_others, silent
from bot.strategy.exits import moves_stop
from bot.strategy.guards import GuardRules, rules_of
from bot.strategy.variant import Variant

GUARD = "guard_"  # how the reasons of the account guards begin


def doubts(
    variants: Sequence[Variant],
    markets: Mapping[str, SymbolMarket],
    source: SignalSource,
    stores: Mapping[str, ForecastStore],
    setup: Setup,
    outcome: Outcome,
    refusals: Mapping[str, int],
    closed: Sequence[Position],
) -> list[str]:
    """Everything below, of one run."""
    return [
        *unforecast(variants, markets, source, stores, setup.start),
        *stale(variants, markets, source, setup.start),
        *in_sample(stores, setup.start),
        *flattered(closed),
        *coarse(variants, markets),
        *guarded(outcome, refusals, rules_of(setup.guards)),
    ]


def in_sample(stores: Mapping[str, ForecastStore], start: int) -> list[str]:
    seen = {store.manifest.checkpoint: store.manifest.trained_to_at for store in stores.values()}
    return [
        f"{checkpoint} was trained on bars up to {stamp(until)}: what lies before is in-sample"
        for checkpoint, until in seen.items()
        if until is not None and until > start
    ]


def flattered(closed: Sequence[Position]) -> list[str]:
    trailed = sum(one.exit_reason in ("trailing_stop", "profit_floor") for one in closed)
    if not trailed:
        return []
    return [
        f"{trailed:,} of {len(closed):,} trades were ended by a stop that had moved: inside a bar prices run straight, "
        "so that such a stop misses the zigzag that would have met it; take their gain as an upper bound"
    ]


def coarse(variants: Sequence[Variant], markets: Mapping[str, SymbolMarket]) -> list[str]:
    """A line for each variant whose stop moves where no finer bars than 1h tell how the price went."""
    lines = []
    for variant in variants:
        spans = [markets[symbol].path.span for symbol in variant.symbols if symbol in markets]
        walked = sum(int(span.sum()) for span in spans)
        hourly = sum(int(span[span >= HOUR_MS].sum()) for span in spans)
        if hourly and moves_stop(variant.exits):
            share = f"{hourly / walked:.0%} of its days have no bars finer than 1h"
            lines.append(
                f"DOUBT {variant.name}: its stop moves, and {share}, which flatters it: do not trust its result"
            )
    return lines


def guarded(outcome: Outcome, refusals: Mapping[str, int], rules: GuardRules) -> list[str]:
    """A line for each account guard that refused signals: what came after it was not traded."""
    releases = {f"{GUARD}{guard.name}": guard.release for guard in rules.guards}
    lines = []
    for reason, since in outcome.first_refused_at.items():
        if reason.startswith(GUARD):
            by_hand = ", and is released by hand alone" if releases.get(reason) == "manual" else ""
            share = f"{refusals[reason]:,} of {outcome.candidates:,} signals past the threshold"
            lines.append(
                f"DOUBT {reason} refused {share}, the first at {stamp(since)}{by_hand}: the result is of the rest; "
                "--no-guards trades without"
            )
    return lines


def stale(
    variants: Sequence[Variant], markets: Mapping[str, SymbolMarket], source: SignalSource, start: int
) -> list[str]:
    """A line for each checkpoint whose stored forecasts were made on other bars than those that are traded."""
    others: dict[str, dict[str, int]] = {}
    for variant in variants:
        for symbol in [symbol for symbol in variant.symbols if symbol in markets]:
            said = source.said(variant, symbol)
            if isinstance(said, StoredSaid):
                counts = others.setdefault(said.forecasts.checkpoint, {})
                counts[symbol] = made_on_others(said.forecasts, markets[symbol].bars)
    return [
        f"DOUBT {sum(counts.values()):,} forecasts of {checkpoint} were made on other bars than these, of "
        f"{few([symbol for symbol, count in counts.items() if count])}; `python -m bot forecast make VARIANTS "
        f"--from {day(start)}` makes them anew"
        for checkpoint, counts in others.items()
        if sum(counts.values())
    ]


def unforecast(
    variants: Sequence[Variant],
    markets: Mapping[str, SymbolMarket],
    source: SignalSource,
    stores: Mapping[str, ForecastStore],
    start: int,
) -> list[str]:
    """A line for each checkpoint that said nothing in this range of symbols that have bars."""
    missing: dict[str, dict[str, None]] = {}
    for variant in variants:
        if variant.tier in stores:
            those = silent(source, variant, [symbol for symbol in variant.symbols if symbol in markets], start)
            missing.setdefault(stores[variant.tier].manifest.checkpoint, {}).update(dict.fromkeys(those))
    return [
        f"{checkpoint} has no forecast in this range, and nothing was traded, of {few(list(those))}; "
        f"`python -m bot forecast make VARIANTS --from {day(start)}` makes them"
        for checkpoint, those in missing.items()
        if those
    ]
