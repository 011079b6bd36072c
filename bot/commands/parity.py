"""The command `parity`: a day of the running bot, from its journal, held against the backtest on the kept bars."""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
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
from bot.research.backtest.parity import Difference, Parity, check, market_of
from bot.research.backtest.trade import simulators_terms, terms_of
from bot.strategy.follow import Path as Order
from bot.strategy.walk import PricePath, bar_at
from bot.variants.files import load_variants
from bot.venue import REPLAY

MOST = 50  # differences in the table
NOT_PLAYED = "bars_not_played"  # a trade that is left out: the bars at hand are not those that the replay walked
TIMES = ("opened_at", "closed_at")


class ParityOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The command line of `parity`."""

    variants: tuple[Path, ...]
    config: Path
    state: Path
    plugins: tuple[Path, ...]
    bars: Path | None
    day: str
    days: int


class Journalled(msgspec.Struct, frozen=True):
    """The days as the journal has them."""

    rows: list[Signal]
    positions: list[Position]
    venue: str


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What is printed."""

    since_at: int
    until_at: int
    venue: str
    without_bars: list[str]  # symbols
    not_played: list[str]  # symbols whose bars at hand are not those that the replay walked
    unknown_variants: list[str]  # in the journal, and not among --variants
    found: Parity


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
    unknown = unknown_variants(journal, facing, options.variants)
    markets = _markets(options, journal, settings.model.context, since, until)
    told = held_against(journal, facing, markets, since, until, given=options.bars is not None, unknown=unknown)
    if as_json:
        print_json(told)
    else:
        _show(told, options.variants)
    return int(bool(told.found.differences))


def unknown_variants(journal: Journalled, facing: Facing, files: Sequence[Path]) -> list[str]:
    """Those of the journal that are not among the files. OperatorError where no other are."""
    ran = {row.variant for row in journal.rows}
    unknown = sorted(ran - {variant.name for variant in facing.variants})
    if len(unknown) == len(ran):
        raise OperatorError(_not_among(unknown, files))
    return unknown


def held_against(
    journal: Journalled,
    facing: Facing,
    markets: Mapping[str, SymbolMarket],
    since: int,
    until: int,
    *,
    given: bool,
    unknown: Sequence[str] = (),
) -> Told:
    """The days compared, but for rows of variants that are `unknown`, and for trades along bars that were not played.

    `given`: the operator named the bars, and is believed where no mark tells.
    """
    rows = [row for row in journal.rows if row.symbol in markets]
    found = check(rows, journal.positions, facing.compared(markets), since, until)
    unplayed = sorted(
        symbol
        for symbol, market in markets.items()
        if facing.exact and not played((row for row in rows if row.symbol == symbol), market, otherwise=given)
    )
    if unplayed:
        pathless = {symbol: _pathless(market) if symbol in unplayed else market for symbol, market in markets.items()}
        those = check(rows, journal.positions, facing.compared(pathless), since, until)
        left_out = found.trades - those.trades
        excluded = found.excluded | ({NOT_PLAYED: left_out} if left_out else {})
        found = msgspec.structs.replace(those, excluded=excluded)
    known = sum(row.cycle_at >= since and row.variant not in unknown for row in rows)
    differences = [one for one in found.differences if one.variant not in unknown]
    return Told(
        since_at=since,
        until_at=until,
        venue=journal.venue,
        without_bars=sorted({row.symbol for row in journal.rows} - set(markets)),
        not_played=unplayed,
        unknown_variants=list(unknown),
        found=msgspec.structs.replace(found, rows=known, differences=differences),
    )


def played(rows: Iterable[Signal], market: SymbolMarket, *, otherwise: bool) -> bool:
    """Whether the replay walked the path of `market`: the marks that it told inside of bars are on it then, but for
    what a scenario made late. `otherwise`: where it told none there."""
    inside = equal = 0
    for row in rows:
        index = None if row.mark_price is None else bar_at(market.path, row.cycle_at)
        if index is None or market.path.at[index] == row.cycle_at:
            continue  # a bar that opens says nothing of its length
        inside += 1
        equal += int(market.ticks_in(index, row.cycle_at)) * market.instrument.tick_size == row.mark_price
    return 2 * equal > inside if inside else otherwise


def _pathless(market: SymbolMarket) -> SymbolMarket:
    path = market.path
    return msgspec.structs.replace(market, path=PricePath(path.symbol, path.at[:0], path.span[:0], path.ticks[:0]))


def _not_among(unknown: Sequence[str], files: Sequence[Path]) -> str:
    names = " ".join(map(str, files))
    stand = "stands" if len(unknown) == 1 else "stand"
    return f"{', '.join(unknown)} {stand} in the journal and not among --variants {names}: give the files the bot ran"


async def _read(options: ParityOptions, settings: BotFile, since: int, until: int) -> Journalled:
    async with read_journal(options.state, settings.journal, os.environ) as pool:
        rows = AuditRows(pool)
        found = await rows_of_day(rows, since, until)
        if not any(row.cycle_at >= since for row in found):
            raise OperatorError(f"--day {options.day}: {options.state}: the journal has no signal of that day")
        return Journalled(found, list(await rows.alive(since - MEMORY_MS, until)), await Store(pool).get_fact(VENUE))


def _markets(
    options: ParityOptions, journal: Journalled, context: int, since: int, until: int
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


def _show(told: Told, files: Sequence[Path]) -> None:
    found = told.found
    if found.differences:
        shown = Grid("Cycle", "Variant", "Symbol", "Signal", "What", "Live", "Backtest")
        for one in found.differences[:MOST]:
            values = (_value(one, text) for text in (one.live, one.backtest))
            shown.add_row(moment(one.cycle_at)[:16], one.variant, one.symbol, one.signal_id, one.what, *values)
        print_table(shown)
        if len(found.differences) > MOST:
            console().print(f"and {len(found.differences) - MOST} more: --json has all", style="dim")
    if told.unknown_variants:
        console().print(_not_among(told.unknown_variants, files), style="yellow", soft_wrap=True)
    if NOT_PLAYED in found.excluded:
        console().print(
            f"trades of {', '.join(told.not_played)} are not compared: the replay played other bars than these, most"
            " likely finer ones; give those that it played: --bars DIR",
            style="yellow",
            soft_wrap=True,
        )
    console().print(_result(told), style="dim", soft_wrap=True)


def _result(told: Told) -> str:
    found = told.found
    days = " to ".join(dict.fromkeys((day(told.since_at), day(told.until_at - DAY_MS))))
    measure = "to the digit" if told.venue == REPLAY else "as near as bars tell"
    left_out = ", ".join(f"{reason} {count}" for reason, count in sorted(found.excluded.items())) or "none"
    return (
        f"{days}: {found.rows:,} decisions and {found.trades:,} trades ({measure}), "
        f"{len(found.differences)} differences; trades left out: {left_out}"
        + (f"; no bars of {', '.join(told.without_bars)}" if told.without_bars else "")
    )


def _value(one: Difference, text: str) -> str:
    if one.what not in TIMES or not text.isdigit():
        return text
    return f"{moment(int(text))}.{int(text) % 1_000:03}"
