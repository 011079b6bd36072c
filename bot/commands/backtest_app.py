"""The command line of the backtest."""

from pathlib import Path
from typing import Annotated

import typer

from bot.commands.options import DEFAULT_VARIANTS, Config, Json, PluginFolders, State, config_path
from bot.commands.starting import importing
from bot.commands.studies_app import Bars, Checkpoint, Store
from bot.errors import OperatorError


def backtest(
    variants: Annotated[list[Path] | None, typer.Argument(help="Variant files, or folders of them.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="First day, UTC.  [default: the first forecast]")] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="The day after the last one.  [default: the last forecast]")
    ] = None,
    detail: Annotated[str, typer.Option(help="Finest bars to walk along, where they are there: 1m | 5m | 1h.")] = "5m",
    path: Annotated[str, typer.Option(help="Order of a bar's extremes: pessimistic | played (the simulator's).")] = (
        "pessimistic"
    ),
    latency_ms: Annotated[int, typer.Option(min=0, max=60_000, help="From a decision to its order.")] = 250,
    guards: Annotated[bool, typer.Option(help="The account guards refuse entries as they would live.")] = True,
    checkpoint: Checkpoint = None,
    rule: Annotated[str | None, typer.Option(help="Trade what this rule plugin says instead of forecasts.")] = None,
    interval: Annotated[str, typer.Option(help="Of the bars that a rule looks at, as 5m.")] = "1h",
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
    with importing():
        from bot.commands.backtest import BacktestOptions, run_backtest

    if rule is None and interval != "1h":
        raise OperatorError(f"--interval {interval}: goes with --rule; forecasts are of 1h bars")
    options = BacktestOptions(
        variants=tuple(variants or [DEFAULT_VARIANTS]),
        config=config_path(config),
        state=state,
        plugins=tuple(plugins),
        bars=bars or state / "bars" / "live",
        store=store or state / "forecasts",
        checkpoint=checkpoint,
        rule=rule,
        interval=interval,
        start=start,
        end=end,
        detail=detail,
        path=path,
        latency_ms=latency_ms,
        guards=guards,
    )
    run_backtest(options, as_json)


def parity(
    day: Annotated[str, typer.Option(help="The day, UTC, as 2025-03-01.")],
    days: Annotated[int, typer.Option(min=1, help="So many days from then on.")] = 1,
    variants: Annotated[
        list[Path] | None, typer.Option("--variants", help="The files that the bot ran with; may repeat.")
    ] = None,
    bars: Annotated[
        Path | None, typer.Option("--bars", help="Folder with 1m or 5m bars of that day.  [default: the bot's own]")
    ] = None,
    config: Config = None,
    state: State = Path("var"),
    plugins: PluginFolders = [],  # noqa: B006  # as above
    as_json: Json = False,
) -> None:
    """Hold a day of the bot against the backtest: each decision made again, each trade walked again.

    Exit status: 1 where anything differs; each difference is named.
    """
    with importing():
        from bot.commands.parity import ParityOptions, print_parity

    options = ParityOptions(
        variants=tuple(variants or [DEFAULT_VARIANTS]),
        config=config_path(config),
        state=state,
        plugins=tuple(plugins),
        bars=bars,
        day=day,
        days=days,
    )
    raise typer.Exit(print_parity(options, as_json=as_json))


COMMANDS = (
    ("backtest", "Trade variants over history; stored forecasts, live's own decisions.", backtest),
    ("parity", "Hold a day of the running bot against the backtest.", parity),
)
