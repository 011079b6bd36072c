"""The command `forecast`: every whole window of history to a stored forecast, and what is stored."""

from collections import Counter
from pathlib import Path

import msgspec
import polars as pl
from rich.text import Text

from bot.clock import HOUR_MS
from bot.commands.output import Grid, configure_logs, console, moment, parse_day, print_json, print_table
from bot.commands.progress import progress
from bot.config import BotFile, ModelTable, read_toml
from bot.errors import OperatorError
from bot.forecast.backfill import BackfillProgress, Missing, Workers, backfill, survey
from bot.forecast.bulk import Choice, Setup, choose
from bot.forecast.checkpoints import CHECKPOINTS, identify, locate
from bot.forecast.registry import BASE
from bot.forecast.workers import fitting, workers
from bot.history.bars import BarFiles
from bot.history.forecasts import make_store, stores
from bot.history.layout import month_files
from bot.plugin_host import PluginHost
from bot.variants.files import load_variants

INTERVAL_MS = HOUR_MS


class ForecastOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The command line of `forecast`."""

    variants: tuple[Path, ...]
    config: Path
    plugins: tuple[Path, ...]
    bars: Path
    store: Path
    checkpoints: Path | None
    checkpoint: str | None
    start: str
    end: str | None
    batch: int
    processes: int
    ray: str | None


class SymbolTold(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one symbol's windows."""

    symbol: str
    stored: int  # before
    made: int
    refused: dict[str, int]  # windows that the bot would not show the model, by reason


class CheckpointTold(msgspec.Struct, frozen=True, kw_only=True):
    checkpoint: str
    folder: str
    made: int
    seconds: float
    forecasts_per_second: float
    answers_refused: dict[str, int]  # what the model said and the bot would not take
    no_bars: tuple[str, ...]  # symbols without 1h bars
    symbols: list[SymbolTold]


class StoredTold(msgspec.Struct, frozen=True, kw_only=True):
    """One symbol of one store."""

    checkpoint: str
    symbol: str
    context: int
    horizon: int
    dtype: str
    from_at: int
    to_at: int
    forecasts: int
    refused: int
    bytes: int


def make_forecasts(options: ForecastOptions, as_json: bool) -> None:
    """Forecast what is missing, then tell what there was, what is new and what was refused."""
    configure_logs()
    settings = read_toml(options.config, BotFile) if options.config.exists() else BotFile()
    symbols, choices = _choices(options, settings)
    files = BarFiles(options.bars)
    start, end = _range(options, files, {symbol for those in symbols.values() for symbol in those})
    told = [
        _of_checkpoint(options, settings.model, files, choices[name], symbols[name], start, end) for name in choices
    ]
    if as_json:
        print_json({"from_at": start, "to_at": end, "checkpoints": told})
    else:
        _show(told)


def _choices(options: ForecastOptions, settings: BotFile) -> tuple[dict[str, tuple[str, ...]], dict[str, Choice]]:
    """By checkpoint id: the symbols that it is to forecast, and how it is found."""
    plugins = PluginHost.load(options.plugins).plugins
    variants = load_variants(options.variants, plugins, settings.account.max_positions)
    wanted = {variant.tier: variant.checkpoint for variant in variants}
    forced: str | None = None
    if options.checkpoint is not None:
        forced, slash, name = options.checkpoint.rpartition("/")
        if bool(slash) == (name == BASE):
            raise OperatorError(f"--checkpoint {options.checkpoint}: expected base, or TIER/ID of a checkpoint")
        forced = forced or next(iter(wanted))
        wanted = {forced: name}
    found = choose(
        settings.model.base,
        options.checkpoints or CHECKPOINTS,
        wanted,
        context=settings.model.context,
        horizon=settings.model.horizon,
        interval_ms=INTERVAL_MS,
        dtype=settings.model.dtype,
    )
    symbols: dict[str, dict[str, None]] = {}
    for variant in variants:
        choice = found[forced or variant.tier]
        symbols.setdefault(choice.checkpoint, {}).update(dict.fromkeys(variant.symbols))
    by_checkpoint = {choice.checkpoint: choice for choice in reversed(found.values())}
    return {name: tuple(those) for name, those in symbols.items()}, {name: by_checkpoint[name] for name in symbols}


def _range(options: ForecastOptions, files: BarFiles, symbols: set[str]) -> tuple[int, int]:
    start = parse_day("--from", options.start)
    spans = [span for symbol in symbols if (span := files.span(symbol, INTERVAL_MS)) is not None]
    if not spans:
        raise OperatorError(f"--bars {options.bars}: no 1h bars of the variants' symbols; see `python -m bot data`")
    end = max(last for _, last in spans) + 1 if options.end is None else parse_day("--to", options.end)
    if end <= start:
        raise OperatorError(f"--from {options.start}: there is nothing between it and --to, or the last bar")
    return start, end


def _of_checkpoint(
    options: ForecastOptions,
    model: ModelTable,
    files: BarFiles,
    choice: Choice,
    symbols: tuple[str, ...],
    start: int,
    end: int,
) -> CheckpointTold:
    store = make_store(options.store, choice.manifest)
    absent = tuple(symbol for symbol in symbols if files.place(symbol, INTERVAL_MS) is None)
    wanted = survey(files, [symbol for symbol in symbols if symbol not in absent], store, start, end)
    last = BackfillProgress(0, 0, 0.0)
    with progress(choice.checkpoint, "forecasts") as show:

        def tell(now: BackfillProgress) -> None:
            nonlocal last
            last = now
            show(now.done, now.total)

        refused = backfill(store, choice, wanted, _workers(options, model, choice), options.batch, tell)
    return CheckpointTold(
        checkpoint=choice.checkpoint,
        folder=str(store.folder),
        made=last.done,
        seconds=round(last.seconds, 1),
        forecasts_per_second=round(last.done / last.seconds, 1) if last.seconds else 0.0,
        answers_refused=dict(refused),
        no_bars=absent,
        symbols=[_told(one) for one in wanted],
    )


def _workers(options: ForecastOptions, model: ModelTable, choice: Choice) -> Workers:
    directory = options.checkpoints or CHECKPOINTS
    setup = Setup(
        base=model.base,
        directory=str(directory.resolve()),
        context=model.context,
        horizon=model.horizon,
        dtype=model.dtype,
        threads=model.threads,
        choices={choice.tier: choice.name},
    )
    if options.ray is not None:
        try:
            from bot.forecast.ray_workers import RayWorkers
        except ModuleNotFoundError:
            raise OperatorError('--ray: needs the extra: pip install "tsfm-bot[ray]"') from None
        return RayWorkers(setup, options.ray, options.processes)
    spec = identify(locate(model.base, directory)).spec
    return workers(setup, fitting(spec, options.processes, model.threads))


def _told(one: Missing) -> SymbolTold:
    return SymbolTold(
        symbol=one.symbol,
        stored=one.stored,
        made=len(one.bar_close_at),
        refused={str(reason): count for reason, count in one.refused.items()},
    )


def print_stored(root: Path, as_json: bool) -> None:
    configure_logs()
    rows = []
    for store in stores(root):
        for symbol in store.symbols():
            paths = month_files(store.folder / symbol)
            table = pl.read_parquet(paths, columns=["bar_close_at", "refused"])
            rows.append(
                StoredTold(
                    checkpoint=store.manifest.checkpoint,
                    symbol=symbol,
                    context=store.manifest.context,
                    horizon=store.manifest.horizon,
                    dtype=store.manifest.dtype,
                    from_at=int(table["bar_close_at"].to_numpy()[0]),
                    to_at=int(table["bar_close_at"].to_numpy()[-1]),
                    forecasts=len(table),
                    refused=int((table["refused"] != "").sum()),
                    bytes=sum(path.stat().st_size for path in paths),
                )
            )
    if as_json:
        print_json(rows)
        return
    if not rows:
        print_table(Text(f"no forecasts below {root}: see `python -m bot forecast --help`"))
        return
    shown = Grid("Checkpoint", "Symbol", "From", "To", "Forecasts", "Refused", "MB", right="Forecasts Refused MB")
    for row in rows:
        times = (moment(row.from_at)[:16], moment(row.to_at)[:16])
        shown.add_row(
            row.checkpoint, row.symbol, *times, f"{row.forecasts:,}", f"{row.refused:,}", f"{row.bytes / 1e6:.2f}"
        )
    print_table(shown)


def _show(told: list[CheckpointTold]) -> None:
    shown = Grid("Checkpoint", "Symbol", "Stored before", "New", "Refused windows", right="Stored before New")
    for one in told:
        for row in one.symbols:
            why = ", ".join(f"{reason} {count:,}" for reason, count in sorted(row.refused.items()))
            shown.add_row(one.checkpoint, row.symbol, f"{row.stored:,}", f"{row.made:,}", why)
        for symbol in one.no_bars:
            shown.add_row(one.checkpoint, symbol, "", "", Text("no 1h bars", style="yellow"))
    print_table(shown)
    for one in told:
        words = f"{one.checkpoint}: {one.made:,} forecasts in {one.seconds:,.1f} s, {one.forecasts_per_second:,.0f}/s"
        for reason, count in sorted(Counter(one.answers_refused).items()):
            words += f"; {count:,} answers refused: {reason}"
        console().print(f"{words}; in {one.folder}", style="dim", soft_wrap=True)
