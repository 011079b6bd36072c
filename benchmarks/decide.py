"""How long one cycle of the book takes to decide, forecasts given: `python -m benchmarks.decide`."""

import statistics
import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import typer

from benchmarks.report import Report, Row, Table, describe_machine, show, utc_now, write
from bot.clock import DAY_MS, HOUR_MS, MINUTE_MS
from bot.messages import Bars, Forecast, Side, TradingState
from bot.plugin_host import PluginHost
from bot.strategy.cycle import Seen, decide
from bot.strategy.exits import prepare
from bot.strategy.risk import Exposure, Held
from bot.strategy.sizing import VolatilityTarget
from bot.strategy.variant import EntryPlugin, FilterPlugin, Plugins, Variant
from bot.variants.files import load_variants
from bot.venue import Instrument, MarginBracket

SYMBOLS = 41
CONTEXT = 192
CLOSE_AT = 20_000 * DAY_MS + 12 * HOUR_MS
HELD = 30  # positions that the caps look at
REQUIRED_MS, AIM_MS = 15.0, 8.0
BRACKETS = tuple(
    MarginBracket(notional_cap=Decimal(cap), maintenance_rate=Decimal(rate), amount=Decimal(amount), max_leverage=most)
    for cap, rate, amount, most in (
        (50_000, "0.01", 0, 50),
        (500_000, "0.025", 750, 20),
        (5_000_000, "0.05", 13_250, 10),
    )
)

Work = Sequence[tuple[Variant, Seen]]


def walk(symbol: str, seed: int) -> Bars:
    """A random walk of hourly bars, its newest closed at `CLOSE_AT`."""
    random = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(random.standard_t(4, CONTEXT) * 0.006))
    open_ = np.r_[close[0], close[:-1]]
    reach = np.abs(random.normal(0, 0.003, (2, CONTEXT)))
    return Bars(
        symbol=symbol,
        interval_ms=HOUR_MS,
        open_time=CLOSE_AT - HOUR_MS * np.arange(CONTEXT, 0, -1),
        open=open_,
        high=np.maximum(open_, close) * (1 + reach[0]),
        low=np.minimum(open_, close) * (1 - reach[1]),
        close=close,
        volume=random.uniform(1e5, 1e6, CONTEXT),
    )


def look(symbol: str, seed: int) -> Seen:
    """A symbol whose forecast passes every threshold, so that every filter and check is asked."""
    bars = walk(symbol, seed)
    predicted = 0.02 if seed % 2 else -0.02
    last = Decimal(f"{bars.close[-1]:.4f}")
    instrument = Instrument(
        symbol=symbol,
        tick_size=Decimal("0.0001"),
        step_size=Decimal("0.01"),
        min_quantity=Decimal("0.01"),
        max_quantity=Decimal(1_000_000),
        max_market_quantity=Decimal(1_000_000),
        min_notional=Decimal(5),
        brackets=BRACKETS,
    )
    return Seen(
        symbol=symbol,
        cycle_at=CLOSE_AT + 3 * MINUTE_MS,
        now=CLOSE_AT + 3 * MINUTE_MS,
        bars=bars,
        forecast=Forecast(symbol, "bench", CLOSE_AT, 4, predicted, predicted - 0.01, predicted + 0.01),
        mark_price=last,
        instrument=instrument,
        state=TradingState.ACTIVE,
        funding_rate=Decimal("0.0001"),
        next_funding_at=CLOSE_AT + 4 * HOUR_MS,
    )


def book(plugins: Plugins, folder: Path) -> Work:
    """The first 41 symbols of the enabled variants, each with the volatility target too."""
    variants = [variant for variant in load_variants([folder], plugins, 44) if variant.enabled]
    places = [(variant, symbol) for variant in variants for symbol in variant.symbols][:SYMBOLS]
    assert len(places) == SYMBOLS, f"{folder} names {len(places)} symbols"
    target = VolatilityTarget(target=0.5, bars=24, least=0.25, most=1.0)
    return [
        (msgspec.structs.replace(variant, volatility=target), look(symbol, seed))
        for seed, (variant, symbol) in enumerate(places)
    ]


def using(work: Work, filters: Sequence[FilterPlugin], entry: EntryPlugin) -> Work:
    return [(msgspec.structs.replace(variant, filters=tuple(filters), entry=entry), seen) for variant, seen in work]


def measure(work: Work, rounds: int) -> list[float]:
    """Milliseconds of one core that each of `rounds` cycles took, ascending: what others do beside it is left out."""
    held = [Held(variant.name, variant.tier, seen.symbol, Side.LONG) for variant, seen in work[:HELD]]
    exposure = Exposure(tuple(held))
    taken = []
    for number in range(-5, rounds):
        began = time.thread_time_ns()
        for variant, seen in work:
            decide(variant, seen, exposure)
        if number >= 0:
            taken.append((time.thread_time_ns() - began) / 1e6)
    return sorted(taken)


def main(
    state: Annotated[Path, typer.Option(help="Where bench/decide.json is written.")] = Path("var"),
    variants: Annotated[Path, typer.Option(help="The book.")] = Path("deploy/variants"),
    rounds: Annotated[int, typer.Option(min=20, help="Cycles measured of each case.")] = 200,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    plugins = PluginHost.load(installed=False).plugins
    prepare()
    work, filters = book(plugins, variants), list(plugins.filters.values())
    shipped = measure(work, rounds)
    entries = {name: measure(using(work, filters, entry), rounds) for name, entry in plugins.entries.items()}
    slowest = max(entries, key=lambda name: statistics.median(entries[name]))
    market = plugins.entries["market"]
    bare = statistics.median(measure(using(work, [], market), rounds))
    alone = {plugin.name: statistics.median(measure(using(work, [plugin], market), rounds)) for plugin in filters}
    report = Report(
        name="decide",
        command="python -m benchmarks.decide",
        measured_at=utc_now(),
        machine=describe_machine(),
        rows=(
            _row(
                f"a cycle of {SYMBOLS} symbols, all filters, entry {slowest}, median",
                statistics.median(entries[slowest]),
            ),
            _row(f"a cycle of {SYMBOLS} symbols, all filters, entry {slowest}, 95 % are below", _p95(entries[slowest])),
            _row(
                f"a cycle of {SYMBOLS} symbols, the book's own filters and entries, median", statistics.median(shipped)
            ),
        ),
        tables={
            "entries": Table(
                title="All filters, by entry",
                columns=("entry", "ms per cycle"),
                rows=tuple((name, statistics.median(taken)) for name, taken in sorted(entries.items())),
            ),
            "filters": Table(
                title="What one filter adds to a cycle of none, entry at market",
                columns=("filter", "ms per cycle"),
                rows=(("none", bare), *((name, taken - bare) for name, taken in sorted(alone.items()))),
            ),
        },
        notes=(
            f"{CONTEXT} hourly bars, every forecast above its threshold, {HELD} positions held, one core,"
            f" {rounds} cycles.",
        ),
    )
    write(report, state)
    show(report, as_json=as_json)


def _row(figure: str, value: float) -> Row:
    return Row(figure=figure, value=value, unit="ms", required=REQUIRED_MS, aim=AIM_MS, better="lower")


def _p95(ascending: Sequence[float]) -> float:
    return ascending[int(0.95 * len(ascending))]


if __name__ == "__main__":
    typer.run(main)
