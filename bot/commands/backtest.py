"""The command `backtest`: files to a run, a run to tables, `report.json` and `report.html`."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from rich.text import Text

from bot.clock import HOUR_MS, Stopwatch
from bot.commands.backtest_notes import doubts
from bot.commands.output import Grid, configure_logs, console, day, few, print_json, print_table, signed
from bot.commands.progress import progress
from bot.commands.span import asked_range, known_range
from bot.commands.stored import store_of
from bot.config import GUARDS_OFF, BotFile, money, read_toml
from bot.errors import OperatorError
from bot.history.bars import BarFiles
from bot.history.forecasts import ForecastStore, require
from bot.history.layout import INTERVALS, interval_of, stamp
from bot.messages import Position, PositionStatus
from bot.plugin_host import PluginHost
from bot.research.backtest.engine import Outcome, Setup, run
from bot.research.backtest.market import SymbolMarket, load_symbol
from bot.research.backtest.page import backtest_page
from bot.research.backtest.results import Results, predictions_of, results_of, trade_rows
from bot.research.backtest.rules import RuleSource
from bot.research.backtest.signals import SignalSource, StoredForecasts
from bot.research.backtest.trade import terms_of
from bot.research.report import write_files
from bot.research.run_facts import Group, RunFacts, max_drawdown
from bot.research.run_facts import as_json as report_keys
from bot.strategy.follow import Path as Order
from bot.strategy.variant import Plugins, RulePlugin, Variant
from bot.variants.files import load_variants

PATHS = {"pessimistic": Order.PESSIMISTIC, "played": Order.PLAYED}
DETAIL = ("1m", "5m", "1h")
NOTE = (
    "Fills along recorded bars prove no edge: there is no queue, no spread but the slippage, and no market impact. "
    "What the model was trained on is in-sample."
)


class BacktestOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The command line of `backtest`."""

    variants: tuple[Path, ...]
    config: Path
    state: Path
    plugins: tuple[Path, ...]
    bars: Path
    store: Path
    checkpoint: str | None
    rule: str | None
    interval: str
    start: str | None
    end: str | None
    detail: str
    path: str
    latency_ms: int
    guards: bool


class Made(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """A run and what it was made of."""

    variants: Sequence[Variant]
    markets: dict[str, SymbolMarket]
    outcome: Outcome
    results: Results
    closed: list[Position]
    model: str
    notes: tuple[str, ...]
    start: int
    end: int
    wallet: Decimal
    seconds: float


def run_backtest(options: BacktestOptions, as_json: bool) -> None:
    configure_logs()
    made = make(options)
    facts, extra = facts_of(options, made), _extra(made)
    about = f"{', '.join(facts.variants)} on {len(made.markets)} symbols; {made.model}; {options.path} path"
    title = f"{day(made.start)} to {day(made.end)}"
    folder = options.state / "report"
    write_files(
        folder,
        report_keys(facts) | extra,
        backtest_page(title, about, made.results, made.closed, made.markets, made.notes),
    )
    if as_json:
        print_json(report_keys(facts) | extra)
        return
    _show(made)
    console().print(f"written to {folder / 'report.html'}", style="dim", soft_wrap=True)


def make(options: BacktestOptions) -> Made:
    """Read everything, run it, measure it. OperatorError for what an operator can mend."""
    took = Stopwatch()
    settings = read_toml(options.config, BotFile) if options.config.exists() else BotFile()
    _refuse_words(options)
    plugins = PluginHost.load(options.plugins).plugins
    variants = load_variants(options.variants, plugins, settings.account.max_positions)
    enabled = [variant for variant in variants if variant.enabled]
    if not enabled:
        raise OperatorError(f"{options.variants[0]}: no variant is enabled")
    interval_ms = interval_of("--interval", options.interval)
    stores = {} if options.rule is not None else _stores(options, settings, enabled)
    start, end, cut = _range(options, stores, interval_ms, enabled)
    markets, notes = _markets(options, enabled, interval_ms, start, end, settings.model.context)
    source: SignalSource = StoredForecasts(stores, start, end, interval_ms, settings.model.max_input_distance)
    if options.rule is not None:
        source = RuleSource(_rule(options.rule, plugins), markets, interval_ms)
    setup = Setup(
        start=start,
        end=end,
        context=settings.model.context,
        wallet=money(settings.account.starting_balance),
        guards=settings.guards if options.guards else GUARDS_OFF,
        terms=terms_of(settings.costs, PATHS[options.path], options.latency_ms, arms=settings.orders.prearm_stops),
    )
    with progress("backtest", "decisions") as show:
        outcome = run(enabled, markets, source, setup, show)
    results, closed = results_of(outcome, markets, start, end, setup.wallet)
    horizon = settings.model.horizon
    said = None if options.rule is not None else predictions_of(enabled, markets, source, horizon)
    return Made(
        variants=enabled,
        markets=markets,
        outcome=outcome,
        results=msgspec.structs.replace(results, predictions=said),
        closed=closed,
        model=f"rule {options.rule}" if options.rule is not None else _checkpoints(stores),
        notes=(*cut, *notes, *doubts(enabled, markets, source, stores, setup, outcome, results.refusals, closed)),
        start=start,
        end=end,
        wallet=setup.wallet,
        seconds=took.seconds,
    )


def _refuse_words(options: BacktestOptions) -> None:
    for option, word, allowed in (("--path", options.path, PATHS), ("--detail", options.detail, DETAIL)):
        if word not in allowed:
            raise OperatorError(f"{option} {word}: expected one of {', '.join(allowed)}")


def _rule(name: str, plugins: Plugins) -> RulePlugin:
    if name not in plugins.rules:
        known = ", ".join(sorted(plugins.rules)) or "none"
        raise OperatorError(f"--rule {name}: there is no such rule plugin; expected one of: {known}")
    return plugins.rules[name]


def _checkpoints(stores: Mapping[str, ForecastStore]) -> str:
    return ", ".join(dict.fromkeys(store.manifest.checkpoint for store in stores.values()))


def _stores(options: BacktestOptions, settings: BotFile, variants: Sequence[Variant]) -> dict[str, ForecastStore]:
    """By tier."""
    found = {}
    for tier in dict.fromkeys(variant.tier for variant in variants):
        found[tier] = store_of(options.store, tier, options.checkpoint)
        require(found[tier], context=settings.model.context, horizon=settings.model.horizon, interval_ms=HOUR_MS)
    return found


def _range(
    options: BacktestOptions, stores: Mapping[str, ForecastStore], interval_ms: int, variants: Sequence[Variant]
) -> tuple[int, int, list[str]]:
    """What was asked for, as far as there are bars, and forecasts but for a rule; a note where that is less."""
    files = BarFiles(options.bars)
    series = [(symbol, stores.get(variant.tier)) for variant in variants for symbol in variant.symbols]
    if known_range(files, interval_ms, ((symbol, None) for symbol, _ in series)) is None:
        wanted = f"no {options.interval} bars of these variants' symbols"
        raise OperatorError(f"--bars {options.bars}: {wanted}; see `python -m bot data`")
    known = known_range(files, interval_ms, series)
    if known is None:
        raise OperatorError(f"{options.store}: no forecasts of these variants' symbols; see `python -m bot forecast`")
    (start, end), cut = asked_range(options.start, options.end, known, "bars and forecasts" if stores else "bars")
    return start, end, cut


def _markets(
    options: BacktestOptions, variants: Sequence[Variant], interval_ms: int, start: int, end: int, context: int
) -> tuple[dict[str, SymbolMarket], tuple[str, ...]]:
    files = BarFiles(options.bars)
    markets: dict[str, SymbolMarket] = {}
    without: list[str] = []
    assumed: list[str] = []
    days: Counter[str] = Counter()
    symbols = list(dict.fromkeys(symbol for variant in variants for symbol in variant.symbols))
    for symbol in symbols:
        found = None
        if files.place(symbol, interval_ms) is not None:
            found = load_symbol(
                files,
                symbol,
                start,
                end,
                interval_ms=interval_ms,
                finest_ms=INTERVALS[options.detail],
                warmup=context + 100,
            )
        if found is None:
            without.append(symbol)
            continue
        markets[symbol] = found
        days.update(found.days_by_interval())
        if found.assumed_funding:
            assumed.append(symbol)
    if not markets:
        raise OperatorError(
            f"--bars {options.bars}: no {options.interval} bars of these variants' symbols in this range"
        )
    notes = []
    if without:
        notes.append(f"{len(without):,} of {len(symbols):,} symbols have no bars in this range: {few(without)}")
    if assumed:
        notes.append(f"funding of 0.0001 every 8 hours is assumed where none is recorded: {', '.join(assumed)}")
    walked = ", ".join(f"{count:,.0f} days of {name} bars" for name, count in sorted(days.items()))
    return markets, (f"walked along {walked}", *notes)


def facts_of(options: BacktestOptions, made: Made) -> RunFacts:
    """The run as a report has it; `orders` counts entries and the market orders that closed them."""
    outcome, figures = made.outcome, made.results.figures
    signals: Counter[str] = Counter()
    for (_, decision, _reason), count in outcome.decisions.items():
        signals[decision] += count
    still_open = [trade.position for trade in outcome.trades if trade.position.status is not PositionStatus.CLOSED]
    equity = tuple((at, Decimal(str(value))) for at, value in made.results.equity)
    return RunFacts(
        venue="backtest",
        started_at=made.start,
        ended_at=made.end,
        symbols=tuple(made.markets),
        variants=tuple(variant.name for variant in made.variants),
        signals=dict(signals),
        refusals=made.results.refusals,
        orders=figures.entries + figures.trades,
        entries_filled=figures.filled,
        exits={reason: group.trades for reason, group in made.results.by_exit.items()},
        fees=figures.fees,
        funding=figures.funding,
        net_pnl=figures.net_pnl,
        max_drawdown=max_drawdown(equity),
        naked_seconds=None,
        ledger_equal=False,
        restarts=0,
        wall_seconds=round(made.seconds, 2),
        starting_balance=made.wallet,
        equity=equity,
        trades=tuple(made.closed),
        still_open=tuple(still_open),
        model=made.model,
        market=f"recorded bars of {options.bars.name}",
        note=NOTE,
    )


def _extra(made: Made) -> dict[str, Any]:
    results = made.results
    said = results.predictions
    return {
        "figures": _plain(msgspec.structs.asdict(results.figures)),
        "predictions": None if said is None else {"rows": said.rows, "brier": said.brier, "hits": said.hits},
        "hit_rate_by_decile": [] if said is None else msgspec.to_builtins(said.deciles),
        "by_hour": results.by_hour,
        "by_month": results.by_month,
        "decisions": [
            {"variant": variant, "decision": decision, "reason": reason, "count": count}
            for (variant, decision, reason), count in sorted(made.outcome.decisions.items())
            if count
        ],
        "candidates": made.outcome.candidates,
        "without_forecast": made.outcome.unforecast,
        "ruined_at": made.outcome.ruined_at,
        "notes": made.notes,
        "trades": trade_rows(made.outcome.trades),
    }


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in values.items()
    }


def _show(made: Made) -> None:
    results, figures = made.results, made.results.figures
    outcome, rows = made.outcome, sum(made.outcome.decisions.values())
    said = results.predictions
    console().print(
        f"{day(made.start)} to {day(made.end)}: {rows:,} signals, of which {outcome.unforecast:,} without a forecast, "
        f"{outcome.candidates:,} past the threshold; "
        f"{figures.entries:,} entries, {figures.filled:,} filled, {figures.trades:,} closed; {made.seconds:.1f} s",
        soft_wrap=True,
    )
    told = Grid("Net", "Return %", "Sharpe", "Sortino", "Calmar", "Profit factor", "Drawdown %", "Exposure", "Turnover",
                "Fees of gross", "Brier", "Sign right", right="Net Return % Sharpe")  # fmt: skip
    told.add_row(
        signed(figures.net_pnl),
        signed(figures.return_pct),
        *map(_number, (figures.sharpe, figures.sortino, figures.calmar, figures.profit_factor)),
        *map(_number, (figures.max_drawdown_pct, figures.exposure, figures.turnover, figures.fees_of_gross)),
        _number(math.nan if said is None else said.brier, 4),
        "" if said is None else f"{said.hits:.1%}",
    )
    print_table(told)
    for title, groups in (("Variant", results.by_variant), ("Exit", results.by_exit), ("Symbol", results.by_symbol)):
        _show_groups(title, groups)
    _show_refusals(results.refusals)
    for note in made.notes:
        console().print(note, style="bold yellow" if note.startswith("DOUBT") else "dim", soft_wrap=True)
    if made.outcome.ruined_at is not None:
        console().print(f"the account was ruined at {stamp(made.outcome.ruined_at)}", style="bold red")


def _show_groups(title: str, groups: Mapping[str, Group]) -> None:
    if not groups:
        return
    shown = Grid(title, "Trades", "Won", "Gross", "Fees", "Funding", "Net", right="Trades Won Gross Fees Funding Net")
    for name, group in groups.items():
        money_columns = (group.gross_pnl, -group.fees, group.funding, group.net_pnl)
        shown.add_row(name, f"{group.trades:,}", f"{group.won / group.trades:.0%}", *map(signed, money_columns))
    print_table(shown)


def _show_refusals(refusals: Mapping[str, int]) -> None:
    if not refusals:
        return
    shown = Grid("Refused", "Signals", right="Signals")
    for reason, count in refusals.items():
        shown.add_row(reason, f"{count:,}")
    print_table(shown)


def _number(value: float, places: int = 2) -> Text:
    return Text("" if math.isnan(value) else f"{value:,.{places}f}")
