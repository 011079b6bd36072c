"""The command `entries`: all entry methods on the same signals, from stored forecasts and recorded bars."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
from rich.text import Text

from bot.clock import HOUR_MS, MINUTE_MS
from bot.commands.output import Grid, configure_logs, console, day, parse_day, print_json, print_table, signed
from bot.commands.progress import progress
from bot.commands.span import asked_range, known_range
from bot.commands.stored import dropped, store_of
from bot.config import BotFile, read_toml
from bot.errors import OperatorError
from bot.exchange.simulator.instruments import instrument_of
from bot.history.bars import BarFiles, absent
from bot.history.forecasts import ForecastStore
from bot.history.funding import FundingFiles
from bot.plugin_host import PluginHost
from bot.research.entries import EntryScore, Ground, Tried, entries_tried, scores
from bot.strategy.counterfactual import costs_of
from bot.strategy.follow import FollowStatus
from bot.strategy.variant import EntryPlugin, Variant
from bot.variants.files import load_variants

DETAIL = {"1m": MINUTE_MS, "5m": 5 * MINUTE_MS, "1h": HOUR_MS}


class EntriesOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The command line of `entries`."""

    variants: tuple[Path, ...]
    config: Path
    plugins: tuple[Path, ...]
    bars: Path
    store: Path
    checkpoint: str | None
    start: str | None
    end: str | None
    symbols: tuple[str, ...]
    detail: str  # finest and coarsest bars to follow along
    coarsest: str
    by: str
    in_sample: bool
    filters: bool


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What the command prints."""

    from_at: int  # first and last signal
    to_at: int
    symbols: int
    in_sample_left_out: bool
    without_forecasts: dict[str, list[str]]  # symbols by tier that were left out for that
    notes: list[str]  # where more was asked for than there is
    entries: list[EntryScore]


def print_entries(options: EntriesOptions, as_json: bool) -> None:
    configure_logs()
    settings = read_toml(options.config, BotFile) if options.config.exists() else BotFile()
    plugins = PluginHost.load(options.plugins).plugins
    variants = load_variants(options.variants, plugins, settings.account.max_positions)
    if not options.filters:
        variants = [msgspec.structs.replace(variant, filters=()) for variant in variants]
    work = [
        (variant, symbol)
        for variant in variants
        for symbol in variant.symbols
        if not options.symbols or symbol in options.symbols
    ]
    if not work:
        raise OperatorError(f"--symbol {', '.join(options.symbols)}: no variant trades it")
    notes = _cut(options, work)
    tried: list[Tried] = []
    missing: dict[str, list[str]] = {}
    with progress("entries", "symbols") as show:
        for done, (variant, symbol) in enumerate(work):
            show(done, len(work))
            found = _tried(options, settings, plugins.entries, variant, symbol)
            if found is None:
                missing.setdefault(variant.tier, []).append(symbol)
            else:
                tried += found
        show(len(work), len(work))
    if not tried:
        raise OperatorError("no signal is left in this range; --in-sample takes the bars of training too")
    told = Told(
        from_at=min(one.at for one in tried),
        to_at=max(one.at for one in tried),
        symbols=len({one.symbol for one in tried}),
        in_sample_left_out=not options.in_sample,
        without_forecasts={tier: list(dict.fromkeys(symbols)) for tier, symbols in missing.items()},
        notes=notes,
        entries=scores(tried, lambda one: str(getattr(one, options.by))),
    )
    if not any(one.known > 0 for one in told.entries):
        lengths = " to ".join(dict.fromkeys((options.detail, options.coarsest)))
        raise OperatorError(
            f"--bars {options.bars}: its bars of {lengths} tell the end of none of "
            f"{len({(one.variant, one.symbol, one.at) for one in tried}):,} signals; get finer ones, or "
            "--coarsest 1h also follows what has hourly bars alone, along which trailing stops look too good"
        )
    if as_json:
        print_json(told)
    else:
        _show(told, options.by)


def _cut(options: EntriesOptions, work: Sequence[tuple[Variant, str]]) -> list[str]:
    """What there is to say of a range that reaches beyond bars and forecasts. OperatorError where it holds none."""
    tiers = dict.fromkeys(variant.tier for variant, _ in work)
    stores = {tier: store_of(options.store, tier, options.checkpoint) for tier in tiers}
    known = known_range(BarFiles(options.bars), HOUR_MS, ((symbol, stores[variant.tier]) for variant, symbol in work))
    return [] if known is None else asked_range(options.start, options.end, known, "bars and forecasts")[1]


def _tried(
    options: EntriesOptions, settings: BotFile, entries: Mapping[str, EntryPlugin], variant: Variant, symbol: str
) -> Iterator[Tried] | None:
    """None where there is no forecast that counts."""
    store = store_of(options.store, variant.tier, options.checkpoint)
    start, end = _range(options, store)
    found = store.load(symbol, start, end)
    if not len(found):
        return None
    ground = _ground(options, symbol)
    context = store.manifest.context
    return entries_tried(variant, symbol, entries, found, ground, costs_of(settings.costs), context)


def _range(options: EntriesOptions, store: ForecastStore) -> tuple[int | None, int | None]:
    start = None if options.start is None else parse_day("--from", options.start)
    end = None if options.end is None else parse_day("--to", options.end)
    if not options.in_sample and store.manifest.trained_to_at is not None:
        start = max(start or 0, store.manifest.trained_to_at + 1)
    return start, end


def _ground(options: EntriesOptions, symbol: str) -> Ground:
    files = BarFiles(options.bars)
    if files.place(symbol, HOUR_MS) is None:
        raise absent(files, symbol, HOUR_MS)
    hours = files.load(symbol, HOUR_MS)
    finest, coarsest = DETAIL[options.detail], DETAIL[options.coarsest]
    wanted = [length for length in DETAIL.values() if finest <= length <= coarsest]
    rates = FundingFiles(options.bars).load(symbol)
    payments = () if rates is None else tuple(zip(rates.at.tolist(), map(float, rates.rate), strict=True))
    return Ground(
        hours=hours,
        paths=[files.load(symbol, length) for length in wanted if files.place(symbol, length) is not None],
        funding=payments,
        instrument=instrument_of(symbol, float(hours.close[-1])),
    )


def _show(told: Told, by: str) -> None:
    shown = Grid(
        by.capitalize(),
        "Entry", "Signals", "Known", "Refused", "Filled", "Won", "Factor", "Net", "Bps", "t", "Hours", "Hourly",
        right="Signals Known Refused Filled Won Factor Net Bps t Hours Hourly", first_to_go=("Hours", "Refused"),
    )  # fmt: skip
    for one in told.entries:
        shown.add_row(
            one.group,
            Text(one.entry, "bold" if one.own else ""),
            f"{one.signals:,}",
            _share(one.known),
            f"{_refused(one):,}",
            _share(one.fill_rate),
            _share(one.win_rate),
            _number(one.profit_factor, 2),
            signed(one.net),
            signed(None if math.isnan(one.net_bps) else one.net_bps, 1),
            _number(one.t, 2),
            _number(one.mean_hours, 1),
            Text(_share(one.hourly), "yellow" if one.hourly > 0 else ""),
        )
    print_table(shown)
    console().print(
        f"{day(told.from_at)} to {day(told.to_at)}, {told.symbols} symbols; every signal alone, "
        "at the size of a market entry; bold: the variants' own method; Known: the share whose end the bars tell; "
        f"Net in USDT, Bps of the notional a trade{_hourly(told.entries)}",
        style="dim",
        soft_wrap=True,
    )
    for note in told.notes:
        console().print(note, style="dim", soft_wrap=True)
    if told.without_forecasts:
        console().print(dropped(told.without_forecasts), style="dim", soft_wrap=True)


def _hourly(entries: Sequence[EntryScore]) -> str:
    if not any(one.hourly > 0 for one in entries):
        return "; --coarsest 1h also follows what has hourly bars alone, along which trailing stops look too good"
    return "; Hourly: the share of trades that had hourly bars alone, along which trailing stops look too good"


def _refused(score: EntryScore) -> int:
    """The signals for which the method gave no order."""
    return score.signals - sum(score.outcomes.get(str(status), 0) for status in FollowStatus)


def _share(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.1%}"


def _number(value: float, places: int) -> str:
    return "" if math.isnan(value) else f"{value:.{places}f}"
