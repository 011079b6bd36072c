"""The command `sweep`: thousands of configurations over stored forecasts, ranked, doubted and verified."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import typer
from rich.text import Text

from bot.clock import DAY_MS, HOUR_MS, Stopwatch
from bot.commands.backtest import PATHS
from bot.commands.output import Grid as Printed
from bot.commands.output import configure_logs, console, day, few, moment, print_json, print_table, signed
from bot.commands.progress import progress
from bot.commands.span import Range, cut_words, known_range
from bot.commands.stored import store_of
from bot.config import BotFile, parse_toml, read_toml
from bot.errors import OperatorError
from bot.history.bars import BarFiles
from bot.history.forecasts import ForecastStore, require
from bot.history.layout import INTERVALS, write_frame
from bot.plugin_host import PluginHost
from bot.research.backtest.market import SymbolMarket, load_symbol
from bot.research.backtest.signals import StoredForecasts, silent
from bot.research.backtest.trade import Terms, terms_of
from bot.research.sweep.assemble import Recipe, Span, assemble
from bot.research.sweep.grid import Grid, read_grid
from bot.research.sweep.page import sweep_page
from bot.research.sweep.parts import Work, key_of, load, run, trials
from bot.research.sweep.ranking import SORTS, Ranking, Winner, rank, scored, settings_of, with_bounds
from bot.research.sweep.verify import Verified, verify

WARMUP_BARS = 100  # before the first window
MOST_DIFFERENCES = 10  # printed of one row


class SweepOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The command line of `sweep`."""

    grid: Path
    config: Path
    plugins: tuple[Path, ...]
    bars: Path
    store: Path
    state: Path
    checkpoint: str | None
    sort: str
    top: int
    verify: tuple[int, ...]


class SweepTold(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to tell of a sweep."""

    grid: str
    folder: str
    variant: str
    checkpoint: str
    from_at: int
    to_at: int
    notes: list[str]  # where the grid's span is more than there is
    trained_to_at: int | None  # what the model had seen: results before it are in-sample for the model
    symbols: list[str]
    without_bars: list[str]
    without_forecasts: list[str]  # of those that have bars
    days_by_detail: dict[str, float]  # of all symbols together, by the interval of the bars that were walked
    signals: int
    computed: int  # configurations, in this run; the others were there
    seconds: float
    per_second: float
    ranking: Ranking
    verified: list[Verified]


class _Inputs(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """Everything that was read."""

    recipe: Recipe
    markets: Mapping[str, SymbolMarket]
    store: ForecastStore
    source: StoredForecasts
    context: int
    terms: Terms
    notes: list[str]


def sweep(options: SweepOptions, as_json: bool) -> None:
    """OperatorError for what is wrong with the grid; exit status 1 where a verified row differs from the backtest."""
    configure_logs()
    inputs = _read(options)
    recipe, markets, grid = inputs.recipe, inputs.markets, inputs.recipe.grid
    with progress("signals", "asked") as show:
        work, spans = assemble(recipe, markets, inputs.source, inputs.context, inputs.terms, show)
    folder = options.state / "sweeps" / f"{options.grid.stem}-{key_of(work)}"
    took = Stopwatch()
    with progress("sweep", "configurations") as show:
        computed = run(work, folder, [span.name for span in spans], show)
    seconds = took.seconds
    table, ranking = _ranked(options, grid, work, spans, folder)
    start, end = grid.span()
    told = SweepTold(
        grid=str(options.grid),
        folder=str(folder),
        variant=recipe.base.name,
        checkpoint=inputs.store.manifest.checkpoint,
        from_at=start,
        to_at=end,
        notes=inputs.notes,
        trained_to_at=inputs.store.manifest.trained_to_at,
        symbols=sorted(markets),
        without_bars=sorted(set(recipe.base.symbols) - markets.keys()),
        without_forecasts=silent(inputs.source, recipe.base, sorted(markets), start),
        days_by_detail=_days_by_detail(markets.values()),
        signals=len(work.extracted),
        computed=computed,
        seconds=round(seconds, 2),
        per_second=round(computed / seconds, 1) if computed else 0.0,
        ranking=ranking,
        verified=[
            verify(recipe, work, number, markets, inputs.source, inputs.context, inputs.terms)
            for number in options.verify
        ],
    )
    (folder / "report.html").write_text(sweep_page(grid, table, ranking, _about(told), _doubts(told)), encoding="utf-8")
    if as_json:
        print_json(told)
    else:
        _show(told, grid)
    if any(one.differences for one in told.verified):
        raise typer.Exit(1)


def _read(options: SweepOptions) -> _Inputs:
    if options.sort not in SORTS:
        raise OperatorError(f"--sort {options.sort}: expected one of {', '.join(SORTS)}")
    settings = read_toml(options.config, BotFile) if options.config.exists() else BotFile()
    grid = read_grid(options.grid)
    for number in options.verify:
        if not 0 <= number < len(grid):
            raise OperatorError(f"--verify {number}: expected the number of a configuration, 0 to {len(grid) - 1}")
    plugins = PluginHost.load(options.plugins).plugins
    recipe = Recipe(grid, parse_toml(grid.variant), plugins, settings.account.max_positions)
    tier, context = recipe.base.tier, settings.model.context
    store = store_of(options.store, tier, options.checkpoint)
    require(store, context=context, horizon=settings.model.horizon, interval_ms=HOUR_MS)
    files, those = BarFiles(options.bars), [(symbol, store) for symbol in recipe.base.symbols]
    known = known_range(files, HOUR_MS, those)
    if known is None:
        wanted = f"no forecasts of bars of {recipe.base.name}'s symbols"
        raise OperatorError(f"{options.store}: {wanted} in {options.bars}; see `python -m bot forecast make`")
    recipe = Recipe(grid.within(*known), parse_toml(grid.variant), plugins, settings.account.max_positions)
    terms = terms_of(settings.costs, PATHS[grid.sweep.path], 0, arms=settings.orders.prearm_stops)
    return _Inputs(
        recipe=recipe,
        markets=_markets(options, recipe, context),
        store=store,
        source=StoredForecasts({tier: store}, *recipe.grid.span(), HOUR_MS, settings.model.max_input_distance),
        context=context,
        terms=msgspec.structs.replace(terms, liquidates=False),
        notes=cut_words(grid.span(), _whole_days(known), "bars and forecasts"),
    )


def _whole_days(known: Range) -> Range:
    return known[0] // DAY_MS * DAY_MS, -(-known[1] // DAY_MS) * DAY_MS


def _markets(options: SweepOptions, recipe: Recipe, context: int) -> Mapping[str, SymbolMarket]:
    """Those of the variant's symbols that have bars in the span."""
    files, (start, end) = BarFiles(options.bars), recipe.grid.span()
    finest = INTERVALS[recipe.grid.sweep.detail]
    found = {
        symbol: load_symbol(files, symbol, start, end, finest_ms=finest, warmup=context + WARMUP_BARS)
        for symbol in recipe.base.symbols
        if files.place(symbol, HOUR_MS) is not None
    }
    markets = {symbol: market for symbol, market in found.items() if market is not None}
    if not markets:
        raise OperatorError(f"--bars {options.bars}: no 1h bars of {recipe.base.name}'s symbols in this span")
    return markets


def _days_by_detail(markets: Iterable[SymbolMarket]) -> dict[str, float]:
    days: Counter[str] = Counter()
    for market in markets:
        days.update(market.days_by_interval())
    return dict(days)


def _ranked(
    options: SweepOptions, grid: Grid, work: Work, spans: Sequence[Span], folder: Path
) -> tuple[pl.DataFrame, Ranking]:
    """The whole table, kept beside its parts with the settings in words, and what is best of it."""
    table = load(work, folder, [span.name for span in spans])
    same = trials(work)
    table = with_bounds(scored(grid, table, same), spans[0].end - spans[0].begin)
    write_frame(folder / "table.parquet", _with_settings(grid, table))
    ranking = rank(grid, work, spans, table, same, options.sort, options.top)
    (folder / "ranking.json").write_bytes(msgspec.json.format(msgspec.json.encode(ranking), indent=2) + b"\n")
    return table, ranking


def _with_settings(grid: Grid, table: pl.DataFrame) -> pl.DataFrame:
    left, columns = table["number"].to_numpy(), []
    for axis in reversed(grid.axes):
        labels = np.array([choice.label for choice in axis.choices])
        columns.append(pl.Series(axis.name, labels[left % len(axis)]))
        left = left // len(axis)
    return table.with_columns(reversed(columns))


def _about(told: SweepTold) -> str:
    span = f"{day(told.from_at)} to {day(told.to_at)}"
    return (
        f"{told.variant}, {len(told.symbols)} symbols, {told.signals:,} signals, {span}, forecasts of {told.checkpoint}"
    )


def _show(told: SweepTold, grid: Grid) -> None:
    ranking = told.ranking
    print_table(Text(_about(told), style="bold"))
    print_table(_winners(ranking.rows))
    for row in ranking.rows:
        console().print(f"{row.rank}. No. {row.number}: {settings_of(row, grid)}", soft_wrap=True, markup=False)
    for line in (*_reading(told), *_doubts(told)):
        console().print(line, style="dim", soft_wrap=True)
    for one in told.verified:
        _show_verified(one)


def _winners(rows: Sequence[Winner]) -> Printed:
    """Figures alone, so that what makes them doubtful has room at 80 columns; settings are printed below it."""
    numbers = ("Plateau", "Sharpe", "Lower", "OOS", "Folds", "DSR", "p", "Trades", "Net", "DD", "PF", "Won")
    shown = Printed(
        *("#", "No.", *numbers),
        right=" ".join(("#", "No.", *numbers)),
        first_to_go=("Won", "PF", "DD", "Lower", "Folds", "Trades", "Net"),
    )
    for row in rows:
        shown.add_row(
            str(row.rank),
            str(row.number),
            signed(row.plateau),
            signed(row.sharpe),
            signed(row.lower),
            signed(row.out_of_sample_sharpe),
            f"{row.folds_won}/{row.folds}",
            _plain(row.deflated_sharpe),
            _plain(row.p_value),
            f"{row.trades:,}",
            Text("%").join([signed(row.net_pct, 1), Text("")]),
            f"{row.drawdown_pct:,.1f}%",
            _plain(row.profit_factor),
            f"{row.won_pct:.0f}%",
        )
    return shown


def _plain(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"


def _reading(told: SweepTold) -> list[str]:
    """How the table is read, in words."""
    ranking = told.ranking
    lines = [
        f"{ranking.configurations:,} configurations, {ranking.trials:,} of them different; "
        f"{ranking.ranked:,} have enough trades; computed now {told.computed:,} in {told.seconds:,.1f} s, "
        f"{told.per_second:,.0f}/s; in {told.folder}",
        f"Sharpe ratios are annualised, of daily results, in-sample. The best of {ranking.trials:,} trials without any "
        f"skill would show about {ranking.expected_best_by_luck:.2f}; DSR: the probability of skill in spite of that.",
        "Plateau: the median of the row and of those one step beside it. OOS: out-of-sample. Folds: test spans won. "
        "p: block bootstrap of the row alone.",
    ]
    picks = [one for one in ranking.walk_forward if one.number is not None]
    if picks:
        tests = ", ".join(f"{one.test_sharpe:+.2f}" for one in picks)
        net = sum(one.test_net_pct for one in picks)
        lines.append(f"Walk-forward, the best of each training span on its test: Sharpe {tests}; net {net:+.1f} %.")
    return lines


def _doubts(told: SweepTold) -> list[str]:
    """What makes the winners doubtful, in words."""
    ranking, lines = told.ranking, list(told.notes)
    if told.trained_to_at is not None and told.trained_to_at > told.from_at:
        lines.append(
            f"The model had seen bars up to {moment(told.trained_to_at)}: what lies before is in-sample for it."
        )
    if told.days_by_detail.get("1h"):
        whole = sum(told.days_by_detail.values())
        lines.append(
            f"{told.days_by_detail['1h'] / whole:.0%} of the days have no finer bars and are walked along 1h bars, "
            "where trailing stops look better than they are."
        )
    moving = sum(row.stop_moves for row in ranking.rows)
    if moving:
        lines.append(
            f"The stop moves (trailing stop, profit floor) in {moving:,} of these {len(ranking.rows):,} rows: inside a "
            "bar prices run straight, so that such a stop misses the zigzag that would have met it; take their gain as "
            "an upper bound."
        )
    if told.without_bars:
        lines.append(f"Left out, no bars: {', '.join(told.without_bars)}.")
    if told.without_forecasts:
        lines.append(f"No forecasts in this span: {few(told.without_forecasts)}; see `python -m bot forecast make`.")
    if not ranking.rows:
        lines.append("No configuration has enough trades in-sample; see sweep.min_trades.")
    return lines


def _show_verified(one: Verified) -> None:
    words = f"configuration {one.number}: {one.same:,} of {one.trades:,} trades equal the exact backtest's"
    style = "red" if one.differences else "green"
    print_table(Text(f"{words}, {len(one.differences):,} differences", style=style))
    for found in one.differences[:MOST_DIFFERENCES]:
        print_table(f"  {found.symbol} {moment(found.at)} {found.what}: {found.sweep}, backtest {found.backtest}")
