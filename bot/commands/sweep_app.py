"""The command line of `sweep`."""

from pathlib import Path
from typing import Annotated

import typer

from bot.commands.options import Config, Json, PluginFolders, State, config_path
from bot.commands.starting import importing
from bot.commands.studies_app import Bars, Checkpoint, Store


def sweep(
    grid: Annotated[Path, typer.Argument(help="What to try, as deploy/grids/btc.toml.")],
    top: Annotated[int, typer.Option(min=1, help="Rows of the ranking.")] = 10,
    sort: Annotated[str, typer.Option(help="By plateau | lower | sharpe | net, in-sample.")] = "plateau",
    verify: Annotated[
        list[int] | None,
        typer.Option("--verify", help="Also run this configuration (No.) through the exact backtest; may repeat."),
    ] = None,
    checkpoint: Checkpoint = None,
    bars: Bars = None,
    store: Store = None,
    state: State = Path("var"),
    config: Config = None,
    plugins: PluginFolders = [],  # noqa: B006  # typer reads the default and never mutates it
    as_json: Json = False,
) -> None:
    """Try thousands of configurations over stored forecasts; say of the best what makes them doubtful.

    May be stopped and started again. docs/sweep.md says what a grid may hold.
    """
    with importing():
        from bot.commands.sweep import SweepOptions
        from bot.commands.sweep import sweep as run_sweep

    options = SweepOptions(
        grid=grid,
        config=config_path(config),
        plugins=tuple(plugins),
        bars=bars or state / "bars" / "live",
        store=store or state / "forecasts",
        state=state,
        checkpoint=checkpoint,
        sort=sort,
        top=top,
        verify=tuple(verify or ()),
    )
    run_sweep(options, as_json)
