"""The command line of the backtest."""

from pathlib import Path
from typing import Annotated

import typer

from bot.commands.options import DEFAULT_VARIANTS, Config, Json, PluginFolders, State, config_path
from bot.commands.studies_app import Bars, Checkpoint, Store


def backtest(
    variants: Annotated[list[Path] | None, typer.Argument(help="Variant files, or folders of them.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="First day, UTC.  [default: the first forecast]")] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="The day after the last one.  [default: the last bar]")
    ] = None,
    detail: Annotated[str, typer.Option(help="Finest bars to walk along, where they are there: 1m | 5m | 1h.")] = "5m",
    path: Annotated[str, typer.Option(help="Order of a bar's extremes: pessimistic | played (the simulator's).")] = (
        "pessimistic"
    ),
    latency_ms: Annotated[int, typer.Option(min=0, max=60_000, help="From a decision to its order.")] = 250,
    guards: Annotated[bool, typer.Option(help="The account guards refuse entries as they would live.")] = True,
    checkpoint: Checkpoint = None,
    rule: Annotated[str | None, typer.Option(help="Trade what this rule plugin says instead of forecasts.")] = None,
    bars: Bars = None,
    store: Store = None,
    config: Config = None,
    state: State = Path("var"),
    plugins: PluginFolders = [],  # noqa: B006  # typer reads the default and never mutates it
    as_json: Json = False,
) -> None:
    """Trade variants over recorded bars and stored forecasts by the decisions, exits and costs of the live bot.

    Writes report.json and report.html into STATE/report; docs/backtest.md says what is modelled and what is not.
    """
    from bot.commands.backtest import BacktestOptions, run_backtest

    options = BacktestOptions(
        variants=tuple(variants or [DEFAULT_VARIANTS]),
        config=config_path(config),
        state=state,
        plugins=tuple(plugins),
        bars=bars or state / "bars" / "live",
        store=store or state / "forecasts",
        checkpoint=checkpoint,
        rule=rule,
        start=start,
        end=end,
        detail=detail,
        path=path,
        latency_ms=latency_ms,
        guards=guards,
    )
    run_backtest(options, as_json)


COMMANDS = (("backtest", "Trade variants over history; stored forecasts, live's own decisions.", backtest),)
