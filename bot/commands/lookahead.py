"""The command `lookahead`: a variant decided again in other worlds; who answers differently uses what it may not."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from rich.text import Text

from bot.clock import HOUR_MS
from bot.commands.output import Grid, configure_logs, console, day, moment, print_json, print_table
from bot.commands.progress import progress
from bot.config import BotFile, read_toml
from bot.errors import OperatorError
from bot.exchange.simulator.generator import GeneratedMarket
from bot.exchange.simulator.server import market_of
from bot.history.bars import BarFiles, absent
from bot.messages import Bars
from bot.plugin_host import PluginHost
from bot.replay import MarketOptions
from bot.research.lookahead import Caught, Lookahead, cases
from bot.research.watched import Calls
from bot.strategy.variant import Variant
from bot.variants.files import load_variants


class LookaheadOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The command line of `lookahead`."""

    variants: tuple[Path, ...]
    config: Path
    plugins: tuple[Path, ...]
    bars: Path | None  # None: a generated market
    days: int
    seed: int
    count: int  # bars of each symbol


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one variant."""

    variant: str
    proved_on: str  # the market
    plugins: list[str]  # that were asked
    bars: dict[str, int]  # decided, by symbol
    caught: list[Caught]


def look(options: LookaheadOptions, as_json: bool) -> int:
    """Print who was caught; the exit status: 1 where anybody was."""
    configure_logs()
    settings = read_toml(options.config, BotFile) if options.config.exists() else BotFile()
    host = PluginHost.load(options.plugins)
    calls = Calls({row.source: row.name for row in host.describe()})
    with calls.noticed():
        again = PluginHost.load(options.plugins)
    variants, fresh = (
        load_variants(options.variants, one.plugins, settings.account.max_positions) for one in (host, again)
    )
    names = list(dict.fromkeys(symbol for variant in variants for symbol in variant.symbols))
    recorded = _recorded(options.bars, names) if options.bars is not None else _generated(options, names)
    proved_on = _proved_on(options, recorded)
    looked = []
    for variant, other in zip(variants, fresh, strict=True):
        harness = Lookahead(variant, other, calls, settings.model.horizon)
        harness.templates(*(one.plugins.tiers[variant.tier] for one in (host, again)))
        looked.append(_looked(harness, variant, recorded, settings.model.context, options.count, proved_on))
    if not any(sum(one.bars.values()) for one in looked):
        raise OperatorError(f"no symbol has {settings.model.context} hours in a row to decide on")
    if as_json:
        print_json(looked)
    else:
        _show(looked)
    return int(any(one.caught for one in looked))


def _looked(
    harness: Lookahead, variant: Variant, recorded: Mapping[str, Bars], context: int, count: int, proved_on: str
) -> Looked:
    chosen = {symbol: cases(recorded[symbol], context, count) for symbol in variant.symbols if symbol in recorded}
    with progress(variant.name, "decisions") as show:
        harness.run([case for part in chosen.values() for case in part], show)
    return Looked(
        variant=variant.name,
        proved_on=proved_on,
        plugins=[*(plugin.name for plugin in variant.filters), variant.entry.name],
        bars={symbol: len(part) for symbol, part in chosen.items()},
        caught=harness.caught,
    )


def _recorded(folder: Path, symbols: Sequence[str]) -> Mapping[str, Bars]:
    files = BarFiles(folder)
    found = {symbol: files.load(symbol, HOUR_MS) for symbol in symbols if files.place(symbol, HOUR_MS) is not None}
    if not found:
        raise absent(files, symbols[0], HOUR_MS)
    return found


def _generated(options: LookaheadOptions, symbols: Sequence[str]) -> Mapping[str, Bars]:
    wanted = MarketOptions(days=options.days, seed=options.seed)
    market = market_of(wanted.options(tuple(symbols), "10000", 0, until_stdin_closes=False))
    assert isinstance(market, GeneratedMarket)  # no recordings were asked for
    return {symbol: market.bars[symbol, HOUR_MS] for symbol in symbols}


def _proved_on(options: LookaheadOptions, recorded: Mapping[str, Bars]) -> str:
    """What the word `clean` is worth."""
    if options.bars is None:
        return (
            "a generated market; a plugin that knows a real one by heart is found only on recordings of it: --bars DIR"
        )
    some = [bars for bars in recorded.values() if len(bars)]
    span = f", {day(min(int(one.open_time[0]) for one in some))} to {day(max(one.close_at for one in some))}"
    return f"recordings of {options.bars}" + (span if some else "")


def _show(looked: Sequence[Looked]) -> None:
    caught = Grid("Variant", "Plugin", "Kind", "Symbol", "Bar closed", "What it does", "Seen", "Then", fold="Seen Then")
    for one in looked:
        for found in one.caught:
            caught.add_row(
                one.variant,
                Text(found.plugin, "bold red"),
                found.kind,
                found.symbol or "",
                moment(found.bar_close_at)[:16],
                found.words,
                found.before,
                found.after,
            )
    if any(one.caught for one in looked):
        print_table(caught)
    for one in looked:
        decided = sum(one.bars.values())
        words = f"{one.variant}: {decided:,} bars of {len(one.bars)} symbols in 6 worlds; "
        verdict = Text("clean", "green") if decided else Text("not looked at, there are no bars", "yellow")
        verdict = Text("caught", "bold red") if one.caught else verdict
        console().print(Text(words) + verdict + Text(f"; asked: {', '.join(one.plugins)}"), soft_wrap=True)
    console().print(Text(f"on {looked[0].proved_on}", "dim"), soft_wrap=True)
