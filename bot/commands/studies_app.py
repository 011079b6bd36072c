"""The command lines of the studies: ic."""

from pathlib import Path
from typing import Annotated

import typer

from bot.commands.options import DEFAULT_VARIANTS, Config, Json, PluginFolders, State, config_path
from bot.errors import OperatorError

Variants = Annotated[
    list[Path] | None, typer.Option("--variants", help="Variant files, or folders of them; may repeat.")
]
Bars = Annotated[Path | None, typer.Option("--bars", help="Folder of recordings.  [default: STATE/bars/live]")]
Store = Annotated[Path | None, typer.Option("--store", help="Folder of forecasts.  [default: STATE/forecasts]")]
Checkpoint = Annotated[
    str | None, typer.Option(help="As `forecast list` names it.  [default: the tier's one adapter, else the base]")
]
From = Annotated[str | None, typer.Option("--from", help="First day, UTC, as 2025-03-01.")]
To = Annotated[str | None, typer.Option("--to", help="The day after the last one.")]
Symbols = Annotated[list[str] | None, typer.Option("--symbol", help="Only of this symbol; may repeat.")]
InSample = Annotated[bool, typer.Option("--in-sample", help="Also the bars that the model's training has seen.")]
Html = Annotated[Path | None, typer.Option("--html", help="Write the pictures into this file.")]
BY = ("symbol", "week", "hour")


def ic(
    variants: Variants = None,
    start: From = None,
    end: To = None,
    tier: Annotated[list[str] | None, typer.Option("--tier", help="Only of this tier; may repeat.")] = None,
    symbol: Symbols = None,
    by: Annotated[str | None, typer.Option(help="The table by symbol, week or hour instead.")] = None,
    checkpoint: Checkpoint = None,
    in_sample: InSample = False,
    journal: Annotated[bool, typer.Option("--journal", help="What the bot of STATE really forecast.")] = False,
    bars: Bars = None,
    store: Store = None,
    html: Html = None,
    state: State = Path("var"),
    config: Config = None,
    plugins: PluginFolders = [],  # noqa: B006  # typer reads the default and never mutates it
    as_json: Json = False,
) -> None:
    """Rank predicted against actual returns by tier, strength, horizon, symbol, week and hour, beside plain rules.

    Reads stored forecasts (`forecast`) and hourly bars (`data`), or the journal; docs/research.md says how.
    """
    from bot.commands.ic import IcOptions, print_ic

    if by is not None and by not in BY:
        raise OperatorError(f"--by {by}: expected one of {', '.join(BY)}")
    options = IcOptions(
        variants=tuple(variants or [DEFAULT_VARIANTS]),
        config=config_path(config),
        plugins=tuple(plugins),
        bars=bars,
        state=state,
        store=store or state / "forecasts",
        checkpoint=checkpoint,
        journal=journal,
        start=start,
        end=end,
        tiers=tuple(tier or ()),
        symbols=tuple(symbol or ()),
        in_sample=in_sample,
        by=by,
        html=html,
    )
    print_ic(options, as_json)


COMMANDS = (
    ("ic", "Rank predicted against actual returns; how sure is it, and what would plain rules have known.", ic),
)
