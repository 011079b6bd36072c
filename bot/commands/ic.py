"""The command `ic`: what the forecasts knew, from stored ones or from what a running bot said."""

import math
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import anyio
import msgspec
import numpy as np
from rich.text import Text

from bot.clock import HOUR_MS
from bot.commands.output import Grid, configure_logs, console, day, parse_day, print_json, print_table
from bot.commands.span import asked_range, known_range
from bot.commands.stored import base_store, dropped, store_of
from bot.config import BotFile, read_toml
from bot.errors import OperatorError
from bot.history.bars import BarFiles
from bot.history.forecasts import ForecastStore
from bot.journal.audit import AuditRows
from bot.journal.connection import read_journal
from bot.journal.queries import Predicted, Queries
from bot.journal.store import VENUE, Store
from bot.messages import Floats
from bot.plugin_host import PluginHost
from bot.research.information import Score, Study, study
from bot.research.information_page import information_page
from bot.research.panel import Ints, Panel, joined, panel_of
from bot.variants.files import load_variants

Others = Mapping[str, ForecastStore]
SURE = 2.0  # |t| from which a value is printed in colour


class IcOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The command line of `ic`."""

    variants: tuple[Path, ...]
    config: Path
    plugins: tuple[Path, ...]
    bars: Path | None
    state: Path
    store: Path
    checkpoint: str | None
    against: str | None
    journal: bool
    start: str | None
    end: str | None
    tiers: tuple[str, ...]
    symbols: tuple[str, ...]
    in_sample: bool
    by: str | None
    html: Path | None


class _Source(msgspec.Struct, frozen=True, eq=False):
    """One tier's rows, and what made them."""

    tier: str
    checkpoint: str
    horizon: int
    trained_to: int | None
    symbols: tuple[str, ...]  # that were asked for
    panel: Panel | None  # None: there is no row
    notes: tuple[str, ...] = ()  # where more was asked for than there is

    @property
    def missing(self) -> list[str]:
        there = () if self.panel is None else set(self.panel.symbol.tolist())
        return [symbol for symbol in self.symbols if symbol not in there]


def print_ic(options: IcOptions, as_json: bool) -> None:
    configure_logs()
    settings = read_toml(options.config, BotFile) if options.config.exists() else BotFile()
    sources = _from_journal(options, settings) if options.journal else _from_stores(options, settings)
    seen = [_counted(source, options.in_sample) for source in sources]
    studies = [_studied(one, one.panel, in_sample, options) for one, in_sample in seen if one.panel is not None]
    if not studies:
        raise OperatorError("no bar with a forecast is left in this range; --in-sample takes those of training too")
    if options.html is not None:
        options.html.write_text(information_page(studies), encoding="utf-8")
    if as_json:
        print_json(studies)
    else:
        _show(studies, options, {source.tier: source.missing for source, _ in seen if source.missing})


def _counted(source: _Source, with_in_sample: bool) -> tuple[_Source, int]:
    """What counts of it, and how many rows training may have seen."""
    panel = source.panel
    if panel is None:
        return source, 0
    seen = panel.at <= (source.trained_to or 0)
    if not with_in_sample:
        panel = panel.where(~seen)
    return msgspec.structs.replace(source, panel=panel if len(panel) else None), int(seen.sum())


def _studied(source: _Source, panel: Panel, in_sample: int, options: IcOptions) -> Study:
    left_out = not options.in_sample
    found = study(panel, source.tier, source.checkpoint, source.horizon, in_sample, left_out=left_out)
    return msgspec.structs.replace(found, without_forecasts=source.missing, notes=list(source.notes))


def _range(options: IcOptions) -> tuple[int | None, int | None]:
    start = None if options.start is None else parse_day("--from", options.start)
    end = None if options.end is None else parse_day("--to", options.end)
    if start is not None and end is not None and end <= start:
        raise OperatorError(f"--to {options.end}: expected a day after --from {options.start}")
    return start, end


def _wanted(options: IcOptions, tier: str, symbol: str) -> bool:
    return (not options.tiers or tier in options.tiers) and (not options.symbols or symbol in options.symbols)


def _from_stores(options: IcOptions, settings: BotFile) -> Iterator[_Source]:
    files = BarFiles(options.bars or options.state / "bars" / "live")
    plugins = PluginHost.load(options.plugins).plugins
    by_tier: dict[str, dict[str, None]] = {}
    for variant in load_variants(options.variants, plugins, settings.account.max_positions):
        those = [symbol for symbol in variant.symbols if _wanted(options, variant.tier, symbol)]
        by_tier.setdefault(variant.tier, {}).update(dict.fromkeys(those))
    if not any(by_tier.values()):
        raise OperatorError("--tier, --symbol: no variant has such a symbol in such a tier")
    start, end = _range(options)
    stores = {tier: store_of(options.store, tier, options.checkpoint) for tier, those in by_tier.items() if those}
    series = [(symbol, store) for tier, store in stores.items() for symbol in by_tier[tier]]
    known = known_range(files, HOUR_MS, series)
    notes = [] if known is None else asked_range(options.start, options.end, known, "bars and forecasts")[1]
    for tier, store in stores.items():
        symbols = by_tier[tier]
        made = store.manifest
        others = _others(options, store, tier)
        parts = [_stored(files, store, others, symbol, start, end) for symbol in symbols]
        parts = [part for part in parts if len(part)]
        panel = joined(parts) if parts else None
        yield _Source(tier, made.checkpoint, made.horizon, made.trained_to_at, tuple(symbols), panel, tuple(notes))


def _stored(
    files: BarFiles, store: ForecastStore, others: Others, symbol: str, start: int | None, end: int | None
) -> Panel:
    found = store.load(symbol, start, end)
    answered = np.array([not reason for reason in found.refused], dtype=np.bool_)
    at = found.bar_close_at[answered]
    bars = files.load(symbol, store.manifest.interval_ms)
    beside = {name: _said_by(other, symbol, at) for name, other in others.items()}
    return panel_of(symbol, at, found.path[answered], bars, store.manifest.horizon, beside)


def _others(options: IcOptions, store: ForecastStore, tier: str) -> Others:
    """Whose forecasts stand beside those of `store`: those that were asked for, else its base's."""
    if options.against is None:
        base = base_store(options.store, store.manifest)
        return {} if base is None else {f"base {base.manifest.checkpoint}": base}
    other = store_of(options.store, tier, options.against)
    if other.manifest.horizon != store.manifest.horizon:
        raise OperatorError(
            f"--against {options.against}: looks {other.manifest.horizon} bars ahead, not {store.manifest.horizon}"
        )
    return {other.manifest.checkpoint: other}


def _said_by(store: ForecastStore, symbol: str, at: Ints) -> Floats:
    """Another model's predicted returns at its horizon, of the same bars."""
    found = store.load(symbol)
    said = {
        int(close): value
        for close, value, reason in zip(found.bar_close_at, found.path[:, -1], found.refused, strict=True)
        if not reason
    }
    return np.array([said.get(int(one), math.nan) for one in at])


def _from_journal(options: IcOptions, settings: BotFile) -> Iterator[_Source]:
    start, end = _range(options)

    async def read() -> tuple[list[Predicted], int, str]:
        async with read_journal(options.state, settings.journal, os.environ) as pool:
            rows, expected = await Queries(pool).predicted(start, end), await AuditRows(pool).expectations()
            if expected is None or not rows:
                raise OperatorError(f"{options.state}: no forecast stands in the journal here, in this range")
            return rows, expected.horizon_ms // HOUR_MS, await Store(pool).get_fact(VENUE)

    rows, horizon, venue = anyio.run(read)
    files = BarFiles(options.bars or options.state / "bars" / venue)
    grouped: defaultdict[tuple[str, str], defaultdict[str, list[Predicted]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if _wanted(options, row.tier, row.symbol):
            grouped[row.tier, row.checkpoint][row.symbol].append(row)
    for (tier, checkpoint), symbols in sorted(grouped.items()):
        parts = [_said(files, symbol, those, horizon) for symbol, those in symbols.items()]
        yield _Source(tier, checkpoint, horizon, None, tuple(symbols), joined(parts))


def _said(files: BarFiles, symbol: str, rows: Sequence[Predicted], horizon: int) -> Panel:
    """One symbol's rows; the return that the journal knows counts, and the bars where it knows none."""
    at = np.array([row.bar_close_at for row in rows], dtype=np.int64)
    path = np.array([[row.predicted_return] for row in rows])
    panel = panel_of(symbol, at, path, files.load(symbol, HOUR_MS), horizon)
    known = np.array([math.nan if row.actual_return is None else row.actual_return for row in rows])
    actual = dict(panel.actual)
    actual[horizon] = np.where(np.isfinite(known), known, actual[horizon])
    return msgspec.structs.replace(panel, actual=actual)


def _show(studies: Sequence[Study], options: IcOptions, missing: Mapping[str, Sequence[str]]) -> None:
    shown = Grid(
        "Tier", "Checkpoint", "What", "Rows", "IC", "t", "ICIR", "Periods", "Hits",
        right="Rows IC t ICIR Periods Hits", first_to_go=("Checkpoint", "Periods", "Rows"),
    )  # fmt: skip
    for one in studies:
        for name, score in _lines(one, options.by):
            shown.add_row(one.tier, one.checkpoint, name, *_cells(score))
    print_table(shown)
    for one in studies:
        console().print(_words(one), style="dim", soft_wrap=True)
    for note in dict.fromkeys(note for one in studies for note in one.notes):
        console().print(note, style="dim", soft_wrap=True)
    if missing:
        console().print(dropped(missing), style="dim", soft_wrap=True)
    if options.html is not None:
        console().print(f"pictures: {options.html}", style="dim", soft_wrap=True)


def _lines(study: Study, by: str | None) -> Iterator[tuple[str, Score]]:
    if by is not None:
        for score in {"symbol": study.by_symbol, "week": study.by_week, "hour": study.by_hour}[by]:
            yield score.name, score
        return
    yield "all", study.total
    yield "across symbols", study.across
    for score in study.by_strength:
        yield f"predicted {score.name}", score
    for one in study.decay:
        yield f"{one.bars} bars ahead", one.score
    for score in study.baselines:
        yield f"instead: {score.name}", score


def _cells(score: Score) -> tuple[str, Text, Text, Text, str, str]:
    tone = "" if not abs(score.t) >= SURE else "green" if score.t > 0 else "red"
    hits = "" if math.isnan(score.hits) else f"{score.hits:.1%}"
    values = (_number(score.ic, 4, tone), _number(score.t, 2, tone), _number(score.icir, 2, ""))
    return f"{score.rows:,}", *values, str(score.periods), hits


def _number(value: float, places: int, tone: str) -> Text:
    return Text("" if math.isnan(value) else f"{value:+.{places}f}", style=tone)


def _words(study: Study) -> str:
    quintiles = " ".join(f"{100 * group.mean:+.3f}" for group in study.quintiles)
    left = "left out" if study.in_sample_left_out else "counted"
    span = f"{day(study.from_at)} to {day(study.to_at)}, {study.symbols} symbols, {study.horizon} bars ahead"
    return (
        f"{study.tier}: {span}; "
        f"mean return by quintile of the prediction, %: {quintiles}; in-sample rows {left}: {study.in_sample:,}"
    )
