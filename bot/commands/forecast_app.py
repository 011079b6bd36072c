"""The command line of `forecast`."""

from pathlib import Path
from typing import Annotated

import typer

from bot.commands.groups import MadeByDefault
from bot.commands.options import DEFAULT_VARIANTS, Checkpoints, Config, Json, PluginFolders, State, config_path

app = typer.Typer(
    cls=MadeByDefault,
    rich_markup_mode=None,
    help="Run the model over history once, and store what it says: `forecast VARIANTS --from DAY`.\n\n"
    "That is `forecast make VARIANTS --from DAY`; its options are in `forecast make --help`.",
)

Store = Annotated[Path | None, typer.Option("--store", help="Folder of forecasts.  [default: STATE/forecasts]")]


@app.command()
def make(
    start: Annotated[str, typer.Option("--from", help="First day, UTC, as 2025-03-01.")],
    variants: Annotated[list[Path] | None, typer.Argument(help="Variant files, or folders of them.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="The day after the last one; by default all bars.")] = None,
    bars: Annotated[Path | None, typer.Option(help="Folder of bars.  [default: STATE/bars/live]")] = None,
    checkpoint: Annotated[
        str | None, typer.Option(help="For all symbols: base, or TIER/ID.  [default: what serves each tier]")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Windows in one pass.")] = 512,
    processes: Annotated[int, typer.Option(min=0, help="0: one for each GPU, or as many as the cores carry.")] = 0,
    ray: Annotated[str | None, typer.Option(help="Compute on the Ray cluster at this address.")] = None,
    store: Store = None,
    state: State = Path("var"),
    config: Config = None,
    plugins: PluginFolders = [],  # noqa: B006  # typer reads the default and never mutates it
    checkpoints: Checkpoints = None,
    as_json: Json = False,
) -> None:
    """Forecast every whole window of the variants' symbols that is not stored yet. May be stopped and started again."""
    from bot.commands.forecast import ForecastOptions, make_forecasts

    options = ForecastOptions(
        variants=tuple(variants or [DEFAULT_VARIANTS]),
        config=config_path(config),
        plugins=tuple(plugins),
        bars=bars or state / "bars" / "live",
        store=store or state / "forecasts",
        checkpoints=checkpoints,
        checkpoint=checkpoint,
        start=start,
        end=end,
        batch=batch,
        processes=processes,
        ray=ray,
    )
    make_forecasts(options, as_json)


@app.command("list")
def list_stored(store: Store = None, state: State = Path("var"), as_json: Json = False) -> None:
    """List what is stored: by checkpoint and symbol, from when to when, how many forecasts."""
    from bot.commands.forecast import print_stored

    print_stored(store or state / "forecasts", as_json)
