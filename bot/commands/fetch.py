"""The command `data fetch`: public history of a venue into the folder of recordings."""

from collections.abc import Sequence
from pathlib import Path

import aiohttp
import anyio
import msgspec
from rich.text import Text

from bot.clock import HOUR_MS, SystemClock
from bot.commands.data import show_faults
from bot.commands.output import Grid, configure_logs, console, parse_day, print_json, print_table
from bot.commands.progress import Show, progress
from bot.config import BotFile, read_toml
from bot.errors import OperatorError
from bot.exchange.budget import RequestBudget
from bot.exchange.public import PublicHistory
from bot.exchange.rest import DEMO, MAINNET
from bot.history.bars import BarFiles
from bot.history.foreign import What
from bot.history.funding import FundingFiles
from bot.history.layout import interval_of
from bot.market.fetch import Fetched, Fetcher, Pace, Wanted
from bot.messages import BotEvent
from bot.plugin_host import PluginHost
from bot.variants.files import load_variants

ADDRESSES = {"live": MAINNET, "demo": DEMO}
FUNDING_MS = 8 * HOUR_MS
LATEST = 4_102_444_800_000  # 2100: "until now"


class FetchOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The command line of `data fetch`."""

    symbols: tuple[str, ...]
    variants: tuple[Path, ...]
    plugins: tuple[Path, ...]
    config: Path
    bars: Path
    venue: str
    kinds: tuple[str, ...]
    intervals: tuple[str, ...]
    start: str
    end: str | None
    share_pct: float


class _Result(msgspec.Struct, frozen=True, kw_only=True):
    series: list[Fetched]
    unlisted: tuple[str, ...]  # symbols that the venue does not list


def fetch_history(options: FetchOptions, as_json: bool) -> int:
    """Fetch what is missing; the exit status: 1 where a symbol is not listed or a bar was left out."""
    configure_logs()
    settings = read_toml(options.config, BotFile) if options.config.exists() else BotFile()
    symbols = _symbols(options, settings)
    _wanted(options, symbols)  # what is wrong with the command line is told before the venue is asked
    with progress("fetch", "rows") as show:
        result = anyio.run(_fetch, options, settings, symbols, show)
    faults = [fault for one in result.series for fault in one.faults]
    if as_json:
        print_json(result)
    else:
        _show(result, options.bars)
        show_faults(faults, len(result.series))
    return int(bool(result.unlisted or faults))


async def _fetch(options: FetchOptions, settings: BotFile, symbols: Sequence[str], show: Show) -> _Result:
    if options.venue not in ADDRESSES:
        raise OperatorError(f"--venue {options.venue}: expected one of {', '.join(ADDRESSES)}")
    clock = SystemClock()
    timeout = aiohttp.ClientTimeout(total=settings.exchange.timeout_ms / 1_000)
    url = settings.exchange.rest_url or ADDRESSES[options.venue].rest
    async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
        port = PublicHistory(session, url, clock, RequestBudget(), _unheard)
        files, rates = BarFiles(options.bars), FundingFiles(options.bars)
        fetcher = Fetcher(port, clock, files, rates, Pace(options.share_pct / 100), show)
        listed = await fetcher.listed()
        unlisted = tuple(symbol for symbol in symbols if symbol not in listed)
        known = [symbol for symbol in symbols if symbol in listed]
        return _Result(series=await fetcher.run(_wanted(options, known)), unlisted=unlisted)


def _symbols(options: FetchOptions, settings: BotFile) -> tuple[str, ...]:
    """Those that were named, and those of the variants that were."""
    found = dict.fromkeys(options.symbols)
    if options.variants:
        plugins = PluginHost.load(options.plugins).plugins
        for variant in load_variants(options.variants, plugins, settings.account.max_positions):
            found |= dict.fromkeys(variant.symbols)
    return tuple(found)


def _wanted(options: FetchOptions, symbols: Sequence[str]) -> list[Wanted]:
    start = parse_day("--from", options.start)
    end = LATEST if options.end is None else parse_day("--to", options.end)
    if end <= start:
        raise OperatorError(f"--to {options.end}: expected a day after --from {options.start}")
    intervals = [interval_of("--interval", name) for name in options.intervals]
    lengths: dict[What, list[int]] = {"bars": intervals, "mark": [HOUR_MS], "funding": [FUNDING_MS]}
    unknown = [kind for kind in options.kinds if kind not in lengths]
    if unknown:
        raise OperatorError(f"--kind {unknown[0]}: expected one of {', '.join(lengths)}")
    return [
        Wanted(symbol=symbol, what=what, interval_ms=length, start=start, end=end)
        for symbol in symbols
        for what, those in lengths.items()
        if what in options.kinds
        for length in those
    ]


def _unheard(event: BotEvent) -> None:
    """Symbols that cannot be read are not among those listed, and told as such."""


def _show(result: _Result, directory: Path) -> None:
    shown = Grid("Symbol", "Series", "Holes before", "New rows", right="Holes before New rows")
    for one in result.series:
        shown.add_row(one.symbol, one.series, f"{one.holes:,}", f"{one.stored:,}")
    for symbol in result.unlisted:
        shown.add_row(symbol, Text("not listed by the venue", style="yellow"), "", "")
    print_table(shown)
    rows = sum(one.stored for one in result.series)
    console().print(f"{rows:,} new rows in {directory}", style="dim", soft_wrap=True)
