"""The command line of `data`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from bot.commands.options import DEFAULT_VARIANTS, Config, Json, PluginFolders, State, config_path

Kind = Literal["bars", "mark", "funding"]

app = typer.Typer(rich_markup_mode=None, help="Recorded bars, mark prices and funding: get, list, check.")

Bars = Annotated[Path | None, typer.Option("--bars", help="Folder of recordings.  [default: STATE/bars/live]")]
Symbol = Annotated[str | None, typer.Option(help="Only of this symbol.")]


def folder(bars: Path | None, state: Path) -> Path:
    """Where a bot at the live venue keeps its own bars too."""
    return bars or state / "bars" / "live"


@app.command()
def fetch(
    start: Annotated[str, typer.Option("--from", help="First day, UTC, as 2025-03-01.")],
    end: Annotated[str | None, typer.Option("--to", help="The day after the last one; by default until now.")] = None,
    variants: Annotated[
        list[Path] | None, typer.Option("--variants", help="Their symbols: a file, or a folder; may repeat.")
    ] = None,
    symbol: Annotated[list[str] | None, typer.Option("--symbol", help="A symbol; may repeat.")] = None,
    interval: Annotated[list[str] | None, typer.Option("--interval", help="Of bars, as 5m; may repeat.")] = None,
    kind: Annotated[list[str] | None, typer.Option("--kind", help="bars | mark | funding; may repeat.")] = None,
    bars: Bars = None,
    venue: Annotated[str, typer.Option(help="live | demo; no account is needed.")] = "live",
    share_pct: Annotated[
        float, typer.Option(min=1, max=100, help="Of the venue's request limits; a running bot needs the rest.")
    ] = 50.0,
    state: State = Path("var"),
    config: Config = None,
    plugins: PluginFolders = [],  # noqa: B006  # typer reads the default and never mutates it
    as_json: Json = False,
) -> None:
    """Fetch closed bars (1h where no --interval is given), 1h marks and funding. May be stopped and started again."""
    from bot.commands.fetch import FetchOptions, fetch_history

    options = FetchOptions(
        symbols=tuple(symbol or ()),
        variants=tuple(variants or (() if symbol else (DEFAULT_VARIANTS,))),
        plugins=tuple(plugins),
        config=config_path(config),
        bars=folder(bars, state),
        venue=venue,
        kinds=tuple(kind or ("bars", "mark", "funding")),
        intervals=tuple(interval or ("1h",)),
        start=start,
        end=end,
        share_pct=share_pct,
    )
    raise typer.Exit(fetch_history(options, as_json))


@app.command("import")
def import_files(
    sources: Annotated[list[Path], typer.Argument(help="Files, or folders of them: .parquet, .csv, Binance's .zip.")],
    bars: Bars = None,
    kind: Annotated[Kind | None, typer.Option(help="By default told by each file's name and folder.")] = None,
    symbol: Annotated[str | None, typer.Option(help="Of files whose names do not tell it.")] = None,
    interval: Annotated[str | None, typer.Option(help="Of files whose names do not tell it, as 1h.")] = None,
    state: State = Path("var"),
    as_json: Json = False,
) -> None:
    """Take over recordings made elsewhere. Exit status: 1 where a bar or file was left out, or told in two ways."""
    from bot.commands.data import import_files as take

    into = folder(bars, state)
    raise typer.Exit(take(sources, into, what=kind, symbol=symbol, interval=interval, as_json=as_json))


@app.command("list")
def list_series(bars: Bars = None, symbol: Symbol = None, state: State = Path("var"), as_json: Json = False) -> None:
    """List what is recorded: from when to when, how many bars, how many gaps."""
    from bot.commands.data import print_list

    print_list(folder(bars, state), symbol, as_json)


@app.command()
def check(
    bars: Bars = None,
    symbol: Symbol = None,
    jump_pct: Annotated[float, typer.Option(min=0.01, help="Tell closes that move by more from bar to bar.")] = 25.0,
    quiet_bars: Annotated[int, typer.Option(min=1, help="Tell so many bars in a row without volume.")] = 3,
    agree_pct: Annotated[float, typer.Option(min=0.0, help="Tell hours that differ more from their detail.")] = 0.01,
    state: State = Path("var"),
    as_json: Json = False,
) -> None:
    """Look for gaps, absurd bars, jumps, silence, and detail that disagrees. Exit status: 1 where an error is found."""
    from bot.commands.data import check_history
    from bot.history.faults import Limits

    limits = Limits(jump_pct=jump_pct, quiet_bars=quiet_bars, agree_pct=agree_pct)
    raise typer.Exit(check_history(folder(bars, state), symbol, limits, as_json))
