"""The command `parity`: a day of the running bot, from its journal, held against the backtest on the kept bars."""

import os
from collections import defaultdict
from functools import partial
from pathlib import Path

import anyio
import msgspec

from bot.clock import DAY_MS, HOUR_MS, MINUTE_MS
from bot.commands.output import Grid, configure_logs, console, day, moment, parse_day, print_json, print_table
from bot.config import BotFile, read_toml
from bot.errors import OperatorError
from bot.history.bars import BarFiles
from bot.journal.audit import AuditRows
from bot.journal.connection import read_journal
from bot.journal.store import VENUE, Store
from bot.messages import Position, Signal
from bot.plugin_host import PluginHost
from bot.research.backtest.daily import MEMORY_MS, Facing, rows_of_day
from bot.research.backtest.market import SymbolMarket, finest_path
from bot.research.backtest.parity import Parity, check, market_of
from bot.research.backtest.trade import simulators_terms, terms_of
from bot.strategy.follow import Path as Order
from bot.variants.files import load_variants
from bot.venues import REPLAY

MOST = 50  # differences in the table


class ParityOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The command line of `parity`."""

    variants: tuple[Path, ...]
    config: Path
    state: Path
    plugins: tuple[Path, ...]
    bars: Path | None
    day: str
    days: int


class _Journal(msgspec.Struct, frozen=True):
    rows: list[Signal]
    positions: list[Position]
    venue: str


def print_parity(options: ParityOptions, *, as_json: bool) -> int:
    """Print every difference; the exit status: 1 where there is one."""
    configure_logs()
    settings = read_toml(options.config, BotFile) if options.config.exists() else BotFile()
    since = parse_day("--day", options.day)
    until = since + options.days * DAY_MS
    plugins = PluginHost.load(options.plugins).plugins
    variants = load_variants(options.variants, plugins, settings.account.max_positions)
    journal = anyio.run(_read, options, settings, since, until)
    exact = journal.venue == REPLAY
    usual = terms_of(settings.costs, Order.PLAYED, 0, arms=settings.orders.prearm_stops)
    facing = Facing(
        variants=tuple(variants),
        context=settings.model.context,
        horizon=settings.model.horizon,
        terms=simulators_terms() if exact else usual,
        exact=exact,
    )
    markets = _markets(options, journal, settings.model.context, since, until)
    without = sorted({row.symbol for row in journal.rows} - set(markets))
    rows = [row for row in journal.rows if row.symbol in markets]
    found = check(rows, journal.positions, facing.compared(markets), since, until)
    if as_json:
        print_json(
            {"since_at": since, "until_at": until, "venue": journal.venue, "without_bars": without, "found": found}
        )
    else:
        _show(found, without, since, exact=exact)
    return int(bool(found.differences))


async def _read(options: ParityOptions, settings: BotFile, since: int, until: int) -> _Journal:
    async with read_journal(options.state, settings.journal, os.environ) as pool:
        rows = AuditRows(pool)
        found = await rows_of_day(rows, since, until)
        if not any(row.cycle_at >= since for row in found):
            raise OperatorError(f"--day {options.day}: {options.state}: the journal has no signal of that day")
        return _Journal(found, list(await rows.alive(since - MEMORY_MS, until)), await Store(pool).get_fact(VENUE))


def _markets(
    options: ParityOptions, journal: _Journal, context: int, since: int, until: int
) -> dict[str, SymbolMarket]:
    """The hours that the bot kept, and the finest path of `--bars`, or else of what it kept."""
    kept = BarFiles(options.state / "bars" / journal.venue)
    detail = kept if options.bars is None else BarFiles(options.bars)
    by_symbol: defaultdict[str, list[Signal]] = defaultdict(list)
    for row in journal.rows:
        by_symbol[row.symbol].append(row)
    markets: dict[str, SymbolMarket] = {}
    for symbol, rows in by_symbol.items():
        hours = kept.load(symbol, HOUR_MS, start=since - (context + 1) * HOUR_MS, end=until)
        if len(hours):
            path_on = partial(finest_path, detail, hours, start=since - DAY_MS, finest_ms=MINUTE_MS)
            found = market_of(symbol, rows, hours, path_on)
            if found is not None:
                markets[symbol] = found
    return markets


def _show(found: Parity, without: list[str], since: int, *, exact: bool) -> None:
    if found.differences:
        shown = Grid("Cycle", "Variant", "Symbol", "Signal", "What", "Live", "Backtest")
        for one in found.differences[:MOST]:
            shown.add_row(
                moment(one.cycle_at)[:16], one.variant, one.symbol, one.signal_id, one.what, one.live, one.backtest
            )
        print_table(shown)
        if len(found.differences) > MOST:
            console().print(f"and {len(found.differences) - MOST} more: --json has all", style="dim")
    measure = "to the digit" if exact else "as near as bars tell"
    left_out = ", ".join(f"{reason} {count}" for reason, count in sorted(found.excluded.items())) or "none"
    console().print(
        f"{day(since)}: {found.rows:,} decisions and {found.trades:,} trades ({measure}), "
        f"{len(found.differences)} differences; trades left out: {left_out}"
        + (f"; no bars of {', '.join(without)}" if without else ""),
        style="dim",
        soft_wrap=True,
    )
