"""The command lines of the studies: ic, entries, lookahead."""

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
    against: Annotated[
        str | None, typer.Option(help="A stored checkpoint to stand beside it.  [default: an adapter's base]")
    ] = None,
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
        against=against,
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


def entries(
    variants: Variants = None,
    start: From = None,
    end: To = None,
    symbol: Symbols = None,
    by: Annotated[str, typer.Option(help="tier | variant | symbol")] = "tier",
    filters: Annotated[bool, typer.Option(help="Only the signals that the variants' filters let pass.")] = True,
    detail: Annotated[str, typer.Option(help="The finest bars to follow along: 1m | 5m | 1h")] = "1m",
    coarsest: Annotated[str, typer.Option(help="The coarsest; what only longer bars cover is not known.")] = "5m",
    checkpoint: Checkpoint = None,
    in_sample: InSample = False,
    bars: Bars = None,
    store: Store = None,
    state: State = Path("var"),
    config: Config = None,
    plugins: PluginFolders = [],  # noqa: B006  # as above
    as_json: Json = False,
) -> None:
    """Enter every signal that the variants would act on by every entry plugin, and follow it to its end.

    Fill rate, win rate, profit factor and net result of each method on the same signals. docs/research.md says how.
    """
    from bot.commands.entries import DETAIL, EntriesOptions, print_entries

    if by not in ("tier", "variant", "symbol"):
        raise OperatorError(f"--by {by}: expected one of tier, variant, symbol")
    for name, length in (("detail", detail), ("coarsest", coarsest)):
        if length not in DETAIL:
            raise OperatorError(f"--{name} {length}: expected one of {', '.join(DETAIL)}")
    if DETAIL[coarsest] < DETAIL[detail]:
        raise OperatorError(f"--coarsest {coarsest}: expected {detail}, as --detail says, or longer")
    options = EntriesOptions(
        variants=tuple(variants or [DEFAULT_VARIANTS]),
        config=config_path(config),
        plugins=tuple(plugins),
        bars=bars or state / "bars" / "live",
        store=store or state / "forecasts",
        checkpoint=checkpoint,
        start=start,
        end=end,
        symbols=tuple(symbol or ()),
        detail=detail,
        coarsest=coarsest,
        filters=filters,
        by=by,
        in_sample=in_sample,
    )
    print_entries(options, as_json)


def lookahead(
    variants: Annotated[list[Path] | None, typer.Argument(help="Variant files, or folders of them.")] = None,
    bars: Annotated[Path | None, typer.Option(help="Folder of recordings.  [default: a generated market]")] = None,
    count: Annotated[int, typer.Option("--count", min=1, help="Bars of each symbol that are decided on.")] = 100,
    days: Annotated[int, typer.Option(min=1, help="Of the generated market.")] = 60,
    seed: Annotated[int, typer.Option(help="Of the generated market.")] = 1,
    config: Config = None,
    plugins: PluginFolders = [],  # noqa: B006  # as above
    as_json: Json = False,
) -> None:
    """Decide again with other futures, less history, in another order, without files and at another date.

    A plugin that then says something else uses what it could not know; it is named. Exit status: 1 where one is.
    """
    from bot.commands.lookahead import LookaheadOptions, look

    options = LookaheadOptions(
        variants=tuple(variants or [DEFAULT_VARIANTS]),
        config=config_path(config),
        plugins=tuple(plugins),
        bars=bars,
        days=days,
        seed=seed,
        count=count,
    )
    raise typer.Exit(look(options, as_json))


COMMANDS = (
    ("ic", "Rank predicted against actual returns; how sure is it, and what would plain rules have known.", ic),
    ("entries", "Hold all entry methods against each other on the same signals.", entries),
    ("lookahead", "Prove that no decision uses what it could not know, or name the plugin that does.", lookahead),
)
