"""How fast research is, beside what other backtesters take for the same rule: `python -m benchmarks.research`."""

import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.beside import FREQTRADE, NAUTILUS, VECTORBT, Beside, Rival, measure
from benchmarks.children import Finished, run_bot
from benchmarks.common_rule import BOUNDS, STOPS, TARGETS, joined, plain_loop, rules_of, sweep, work_of
from benchmarks.made_market import FIVE_MS, five_minutes, write_bars, write_book
from benchmarks.report import Report, Row, describe_machine, show, utc_now, write
from bot.clock import MINUTE_MS, Stopwatch
from bot.commands.backtest import PATHS
from bot.config import GUARDS_OFF, CostsTable, money
from bot.history.bars import BarFiles
from bot.messages import Bars, Floats
from bot.plugin_host import PluginHost
from bot.research.backtest.engine import Setup
from bot.research.backtest.engine import run as run_exactly
from bot.research.backtest.market import load_symbol
from bot.research.backtest.rules import RuleSource
from bot.research.backtest.trade import terms_of
from bot.research.sweep.parts import Work, run
from bot.variants.files import load_variants

SYMBOLS = tuple(f"MADE{letter}USDT" for letter in "ABCDEFGHIJ")
BARS = 100_000  # of each symbol
SIGNALS = 20_000
BOOK_DAYS = 365
ROUNDS = 3

VARIANT = f"""[variant]
name = "RULE"
tier = "t1"
symbols = [{", ".join(f'"{symbol}"' for symbol in SYMBOLS)}]
threshold_pct = 0.5

[sizing]
margin_usdt = 100
leverage = 2
max_positions_per_symbol = 1
volume_share_pct = 0
funding_share_pct = 0

[exits]
stop_pct = 2.0
target_pct = 3.0
trail_pct = 0
red_after_minutes = 0
max_hold_minutes = 240
"""
COSTS = CostsTable(maker_fee_pct=0.05, taker_fee_pct=0.05, slippage_bps=0.0)
CONFIG = "[costs]\nmaker_fee_pct = 0.05\ntaker_fee_pct = 0.05\nslippage_bps = 0\n"


def main(
    state: Annotated[Path, typer.Option(help="Where bench/research.json is written.")] = Path("var"),
    book: Annotated[Path, typer.Option(help="The book's variants.")] = Path("deploy/variants"),
    book_days: Annotated[int, typer.Option(min=10, help="Days of the book's run.")] = BOOK_DAYS,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; medians are told.")] = ROUNDS,
    rivals: Annotated[
        list[Path] | None, typer.Option(help="A Python that has freqtrade, NautilusTrader or vectorbt.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    market = [five_minutes(symbol, BARS, seed) for seed, symbol in enumerate(SYMBOLS)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        beside = measure(market, folder / "rivals", rivals or [])
        rows = [*_sweeps(market, folder, rounds), *_common_sweep(market, beside, rounds)]
        rows += _exact(market, beside, folder / "rule", rounds)
        rows += _book(book, folder / "book", book_days)
    report = Report(
        name="research",
        command="python -m benchmarks.research",
        measured_at=utc_now(),
        machine=describe_machine(),
        rows=tuple(rows),
        tables={"rivals": beside.table()},
        notes=(
            f"Generated market: {len(SYMBOLS)} symbols, {BARS:,} five-minute bars each. Medians of {rounds} rounds, "
            "compiled before. A sweep's time is from its signals to its figures on disk.",
        ),
    )
    write(report, state)
    show(report, as_json=as_json)


def _median_seconds(work: Work, folder: Path, rounds: int) -> float:
    taken = []
    for number in range(-1, rounds):
        took = Stopwatch()
        run(work, folder / str(number), ["whole"])
        if number >= 0:
            taken.append(took.seconds)
    return statistics.median(taken)


def _sweeps(market: Sequence[Bars], folder: Path, rounds: int) -> list[Row]:
    """Configurations a second over 20,000 signals, up to 48 bars of path each."""
    random = np.random.default_rng(1)
    prices = joined(market)
    each = SIGNALS // len(market)
    places = np.concatenate(
        [number * BARS + np.sort(random.choice(BARS - 100, each, replace=False)) for number in range(len(market))]
    )
    symbol, sign = places // BARS, random.choice(np.array([-1, 1]), len(places))
    masks = np.array([random.random(len(places)) < share for share in np.linspace(0.1, 1.0, 10)])
    everything = np.ones((1, len(places)), dtype=np.bool_)
    fixed, trailing = rules_of(STOPS, TARGETS), _trailing(rules_of(STOPS, TARGETS))
    both = np.concatenate([fixed, trailing])
    cases = {
        "100 ways out, half of them trailing, x 10 choices of signals": (both, masks),
        "the same ways out x 1: no walk is shared": (both, everything),
        "50 fixed ways out x 1": (fixed, everything),
    }
    rows: list[Row] = []
    for words, (rules, chosen) in cases.items():
        work = work_of(prices, len(market), BARS, places, symbol, sign, rules, chosen)
        rate = work.configurations / _median_seconds(work, folder / str(len(rows)), rounds)
        limits = (500.0, 3_000.0) if not rows else (None, None)
        figure = f"sweep of {SIGNALS:,} signals, {words}"
        rows.append(_row(figure, rate, "configurations/s", *limits, better="higher"))
    return rows


def _trailing(rules: Floats) -> Floats:
    trailing = rules.copy()
    trailing[:, 2], trailing[:, 3] = 0.5, 0.5
    return trailing


def _common_sweep(market: Sequence[Bars], beside: Beside, rounds: int) -> list[Row]:
    bounds = [float(bound) for bound in BOUNDS]
    figures = sweep(market, bounds, STOPS, TARGETS)
    at = (STOPS.index(2.0) * len(TARGETS) + TARGETS.index(3.0)) * len(BOUNDS) + bounds.index(29.0)
    trades, net = plain_loop(market, 29.0, 2.0, 3.0)
    assert (figures[at, 0], round(figures[at, 1], 9)) == (trades, round(net, 9)), "the sweep is not the plain loop's"
    taken = []
    for _ in range(rounds):
        took = Stopwatch()
        sweep(market, bounds, STOPS, TARGETS)
        taken.append(took.seconds)
    seconds = statistics.median(taken)
    return [
        _quotient("common rule, 500 configurations", "vectorbt", beside, VECTORBT, seconds, 50, 300),
        _row("common rule, 500 configurations", seconds, "s", better="lower"),
    ]


def _exact(market: Sequence[Bars], beside: Beside, folder: Path, rounds: int) -> list[Row]:
    """The rule once through the exact backtest: as a whole process with its report, and the engine alone."""
    folder.mkdir()
    (folder / "rule.toml").write_text(VARIANT)
    (folder / "bot.toml").write_text(CONFIG)
    files = BarFiles(folder / "bars")
    for bars in market:
        write_bars(files, bars)
    words = [
        "backtest", folder / "rule.toml", "--rule", "rsi_dip", "--interval", "5m", "--bars", folder / "bars",
        "--state", folder / "state", "--config", folder / "bot.toml", "--latency-ms", 0, "--no-guards",
    ]  # fmt: skip
    whole = [run_bot(words) for _ in range(rounds + 1)][1:]
    process = statistics.median(one.seconds for one in whole)
    engine = statistics.median([_engine_seconds(folder, files) for _ in range(rounds + 1)][1:])
    bars_read = len(market) * BARS
    return [
        _quotient("common rule, one exact backtest with report", "freqtrade", beside, FREQTRADE, process, 8, 15),
        _row("common rule, one exact backtest with report", process, "s", better="lower"),
        _quotient("common rule, engine alone", "NautilusTrader", beside, NAUTILUS, engine, 20, 60),
        _row("exact engine", bars_read / engine, "bars/s", 500_000, 2_000_000, better="higher"),
    ]


def _engine_seconds(folder: Path, files: BarFiles) -> float:
    """Rule, decisions and walks, without reading bars and without the report."""
    plugins = PluginHost.load(installed=False).plugins
    variants = load_variants([folder / "rule.toml"], plugins, 44)
    start, end = files.span(SYMBOLS[0], FIVE_MS) or (0, 0)
    loaded = {
        symbol: load_symbol(files, symbol, start, end, interval_ms=FIVE_MS, finest_ms=5 * MINUTE_MS)
        for symbol in SYMBOLS
    }
    markets = {symbol: one for symbol, one in loaded.items() if one is not None}
    setup = Setup(
        start=start, end=end, context=192, wallet=money(10_000.0), guards=GUARDS_OFF,
        terms=terms_of(COSTS, PATHS["pessimistic"], 0, arms=True),
    )  # fmt: skip
    source = RuleSource(plugins.rules["rsi_dip"], markets, FIVE_MS)
    took = Stopwatch()
    run_exactly(variants, markets, source, setup)
    return took.seconds


def _book(variants: Path, folder: Path, days: int) -> list[Row]:
    """Every variant of the book over five-minute bars of every symbol and stored forecasts, as one process."""
    found = load_variants([variants], PluginHost.load(installed=False).plugins, 44)
    book = [variant for variant in found if variant.enabled]
    symbols = list(dict.fromkeys(symbol for variant in book for symbol in variant.symbols))
    bars, forecasts = write_book(folder, symbols, days)
    done: Finished = run_bot(["backtest", variants, "--bars", bars, "--store", forecasts, "--state", folder / "state"])
    words = f"whole book, {len(book)} variants, {len(symbols)} symbols, {days} days of 5m bars, stored forecasts"
    promised = days >= BOOK_DAYS
    return [
        _row(words, done.seconds, "s", *((60, 15) if promised else (None, None)), better="lower"),
        _row(
            "the same, peak memory", done.gigabytes, "GB", *((1.5, 0.8) if promised else (None, None)), better="lower"
        ),
    ]


def _quotient(work: str, name: str, beside: Beside, rival: Rival, ours: float, required: float, aim: float) -> Row:
    measured = "both in this run" if rival.package in beside.measured else "theirs as published"
    figure = f"{work}: {name} ÷ ours, {measured}"
    return _row(figure, beside.seconds(rival) / ours, "x", required, aim, better="higher")


def _row(
    figure: str, value: float, unit: str, required: float | None = None, aim: float | None = None, *, better: str
) -> Row:
    higher = better == "higher"
    return Row(
        figure=figure, value=value, unit=unit, required=required, aim=aim, better="higher" if higher else "lower"
    )


if __name__ == "__main__":
    typer.run(main)
