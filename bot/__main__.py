"""The command line: one command = one call."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from bot.commands import (
    backtest_app,
    checkpoints_app,
    data_app,
    forecast_app,
    guards_app,
    journal_app,
    state_app,
    studies_app,
    sweep_app,
    train_app,
)
from bot.commands.options import DEFAULT_VARIANTS, Checkpoints, Config, Json, PluginFolders, State, config_path
from bot.commands.starting import importing
from bot.errors import DatabaseAway, ModelRefused, OperatorError, VenueError

PROGRAM = "python -m bot"
INTERRUPTED = 130  # what typer makes of Ctrl-C
MANUAL = """Trades Binance USDS-M perpetual futures on TimesFM 2.5 forecasts.

\b
python -m bot run deploy/variants/btc.toml          replay a generated market; no account needed
python -m bot deploy/variants/btc.toml              the same
python -m bot run deploy/variants --bars DIR --from 2025-03-01 --to 2025-03-31
                                                    replay recordings
python -m bot data fetch --from 2025-01-01          get them: bars, marks, funding of the book's symbols
python -m bot forecast deploy/variants --from 2025-03-01
                                                    the model's word on every hour, stored once
python -m bot ic --html ic.html                     what those words were worth, beside plain rules
python -m bot lookahead deploy/variants             does a plugin use what it could not know
python -m bot check deploy/variants                 what is wrong with my files; what they resolve to
python -m bot journal signals --limit 20 --json     what was decided, as JSON

Exit status: 0 done, 1 failed while running, 2 the input is wrong (one line on stderr says what is allowed).
"""
WIDTH = {"max_content_width": 110}

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings=WIDTH,
    help=MANUAL,
)
GROUPS = {
    "checkpoints": checkpoints_app.app,
    "data": data_app.app,
    "forecast": forecast_app.app,
    "journal": journal_app.app,
    "state": state_app.app,
    "train": train_app.app,
}
for _name, _group in GROUPS.items():
    app.add_typer(_group, name=_name)
app.add_typer(guards_app.app, name="guards")
app.command(short_help="Try thousands of configurations; say of the best what makes them doubtful.")(sweep_app.sweep)
for _name, _words, _study in (*backtest_app.COMMANDS, *studies_app.COMMANDS):
    app.command(_name, short_help=_words)(_study)


@app.command(short_help="Trade variants at a venue: replay, demo or live.")
def run(
    variants: Annotated[list[Path] | None, typer.Argument(help="Variant files, or folders of them.")] = None,
    venue: Annotated[str, typer.Option(help="replay | demo | live")] = "replay",
    config: Config = None,
    state: State = Path("var"),
    plugins: PluginFolders = [],  # noqa: B006  # typer reads the default and never mutates it
    checkpoints: Checkpoints = None,
    bars: Annotated[Path | None, typer.Option(help="Replay: folder of recordings.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="Replay: first day, UTC, as 2025-03-01.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Replay: the day after the last one.")] = None,
    days: Annotated[int, typer.Option(min=1, help="Replay: days to play where --to is not given.")] = 7,
    seed: Annotated[int, typer.Option(help="Replay: seed of the generated market and of partial fills.")] = 1,
    profile: Annotated[str, typer.Option(help="Replay: calm | normal | stress market of the generator.")] = "normal",
    pace: Annotated[str, typer.Option(help="Replay: max (in lockstep), or N times real time.")] = "max",
    simulator_url: Annotated[
        str | None, typer.Option("--simulator", help="Replay: a simulator that runs already, as http://127.0.0.1:PORT.")
    ] = None,
    scenario: Annotated[
        Path | None, typer.Option(help="Replay: what goes wrong, as deploy/scenarios/naked-position.toml.")
    ] = None,
    keep: Annotated[bool, typer.Option(help="Replay: go on with the state of an earlier run.")] = False,
    flatten: Annotated[
        bool, typer.Option(help="When stopped, close everything instead of leaving it to its stops.")
    ] = False,
    view: Annotated[bool, typer.Option(help="Show the live view.")] = True,
) -> None:
    """Trade variants at a venue until it ends (replay) or you stop it (Ctrl-C, SIGTERM)."""
    with importing():
        from bot.replay import MarketOptions
        from bot.run import RunOptions, run_bot

    market = MarketOptions(
        bars=bars, start=start, end=end, days=days, seed=seed, profile=profile, pace=pace, scenario=scenario
    )
    options = RunOptions(
        variants=tuple(variants or [DEFAULT_VARIANTS]),
        venue=venue,
        config=config_path(config),
        state=state,
        plugins=tuple(plugins),
        checkpoints=checkpoints,
        market=market,
        simulator_url=simulator_url,
        keep=keep,
        flatten=flatten,
        view=view,
    )
    raise typer.Exit(run_bot(options))


@app.command(short_help="Validate files and plugins; print the resolved variants.")
def check(
    paths: Annotated[list[Path] | None, typer.Argument(help="Variant files, or folders of them.")] = None,
    config: Config = None,
    plugins: PluginFolders = [],  # noqa: B006  # as above
    everything: Annotated[bool, typer.Option("--all", help="Every key, for each of many variants too.")] = False,
    as_json: Json = False,
) -> None:
    """Validate files and plugins. Print the variants side by side, or one with every key and where it comes from."""
    from bot.commands.check import check as resolve_all
    from bot.commands.output import configure_logs

    configure_logs()
    resolve_all(paths or [DEFAULT_VARIANTS], config_path(config), plugins, as_json=as_json, everything=everything)


@app.command(short_help="Serve the exchange on loopback, for a bot or for your own tests.")
def simulator(
    symbol: Annotated[
        list[str] | None, typer.Option("--symbol", help="A symbol of the market; may repeat. Not given: all of --bars.")
    ] = None,
    bars: Annotated[Path | None, typer.Option(help="Folder of recordings.")] = None,
    scenario: Annotated[
        Path | None, typer.Option(help="What goes wrong, as deploy/scenarios/naked-position.toml.")
    ] = None,
    start: Annotated[str | None, typer.Option("--from", help="First day, UTC, as 2025-03-01.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="The day after the last one.")] = None,
    days: Annotated[int, typer.Option(min=1, help="Days to play where --to is not given.")] = 7,
    seed: Annotated[int, typer.Option(help="Seed of the generated market and of partial fills.")] = 1,
    profile: Annotated[str, typer.Option(help="calm | normal | stress market of the generator.")] = "normal",
    pace: Annotated[str, typer.Option(help="max (in lockstep with a bot), or N times real time.")] = "max",
    wallet: Annotated[str, typer.Option(help="USDT in the account at the start.")] = "10000",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0: any free one.")] = 0,
    outage_minutes: Annotated[float, typer.Option(help="How far the world may go on while no bot is there.")] = 0.0,
    until_stdin_closes: Annotated[bool, typer.Option(hidden=True)] = False,
    list_faults: Annotated[
        bool, typer.Option("--list-faults", help="Print what can go wrong, and serve nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Serve Binance's REST and WebSocket interface on loopback over a recorded or generated market."""
    with importing():
        from bot.commands.faults import print_faults
        from bot.commands.output import configure_logs
        from bot.exchange.simulator.server import main as serve
        from bot.replay import MarketOptions

    if list_faults:
        print_faults(as_json=as_json)
        raise typer.Exit
    market = MarketOptions(
        bars=bars,
        start=start,
        end=end,
        days=days,
        seed=seed,
        profile=profile,
        pace=pace,
        outage_minutes=outage_minutes,
        scenario=scenario,
    )
    configure_logs()  # stdout is the parent's
    serve(market.options(market.symbols(tuple(symbol or ())), wallet, port, until_stdin_closes=until_stdin_closes))


@app.command(short_help="Write a generated market as files, to look at or to replay with --bars.")
def generate(
    out: Annotated[Path, typer.Argument(help="Folder to write; one that does not exist yet, or is empty.")],
    symbol: Annotated[list[str], typer.Option("--symbol", help="A symbol of the market; may repeat.")],
    days: Annotated[int, typer.Option(min=1, help="Days after the warm-up of 500 hours.")] = 7,
    start: Annotated[str | None, typer.Option("--from", help="First day, UTC, as 2025-03-01.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same market.")] = 1,
    profile: Annotated[str, typer.Option(help="calm | normal | stress")] = "normal",
) -> None:
    """Write 1h and 5m bars and funding rates of a generated market as Parquet files."""
    from bot.commands.generate import write_market

    write_market(out, tuple(symbol), start=start, days=days, seed=seed, profile=profile)


@app.command(short_help="List the plugins that were found, and from where.")
def plugins(
    folders: PluginFolders = [],  # noqa: B006  # as above
    as_json: Json = False,
) -> None:
    """List the plugins that were found: kind, options with their defaults, and where they are from."""
    from bot.commands.plugins import list_plugins

    list_plugins(folders, as_json)


@app.command(short_help="Tell what model is loaded, its licence and its scores.")
def model(
    base: Annotated[str | None, typer.Argument(help="A model other than the configured one.")] = None,
    config: Config = None,
    checkpoints: Checkpoints = None,
    as_json: Json = False,
) -> None:
    """Tell what model is loaded, from where, under which licence, and how it scored beside a 24-hour reversal."""
    with importing():
        from bot.commands.model import print_model

    print_model(config_path(config), checkpoints, base, as_json)


@app.command(short_help="Tell what the models said lately, and which variants can never trade.")
def health(
    state: State = Path("var"),
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Tell what the models said in the journal's last 7 days: refused, spread, and thresholds out of reach ("dead")."""
    from bot.commands.health import print_health

    print_health(state, config_path(config), as_json)


@app.command(short_help="Tell one signal's whole story.")
def why(
    signal_id: Annotated[str, typer.Argument(help="A signal's id, or how it begins.")],
    state: State = Path("var"),
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Tell a signal's story: what was seen and predicted, each filter's and check's word, orders, fills, the result.

    Of a refused signal: what would have come of it on the recorded bars, once its time is over.
    """
    from bot.commands.why import print_why

    print_why(signal_id, state, config_path(config), as_json=as_json)


@app.command(short_help="Have the running bot close everything.")
def flatten(
    state: State = Path("var"),
    config: Config = None,
    reason: Annotated[str, typer.Option(help="Why, for the journal.")] = "",
    as_json: Json = False,
) -> None:
    """Have the bot cancel every entry and close every position at market; it opens nothing until `state activate`."""
    from bot.commands.state import leave_word

    leave_word(state, config_path(config), "flatten", reason, as_json)


@app.command(short_help="Say what each filter saved or cost.")
def filters(
    days: Annotated[int, typer.Option(min=1, help="The last so many days.")] = 30,
    state: State = Path("var"),
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Say what each filter and check saved or cost: refused signals are followed through the recorded bars."""
    from bot.commands.filters import print_filters

    print_filters(days, state, config_path(config), as_json=as_json)


@app.command(short_help="Hold the signal log of the last days against itself.")
def audit(
    days: Annotated[int, typer.Option(min=1, help="The last so many days.")] = 7,
    state: State = Path("var"),
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Hold the signal log against itself: dead columns and variants, idle filters, exit rules that should have fired.

    Exit status: 1 where an error is found.
    """
    from bot.commands.audit import print_audit

    raise typer.Exit(print_audit(days, state, config_path(config), as_json=as_json))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; `python -m bot VARIANT.toml` means `run VARIANT.toml`. Returns the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0].endswith(".toml"):
        words.insert(0, "run")
    if not words or words in ([group] for group in GROUPS):
        words.append("--help")
    try:
        status = app(args=words, standalone_mode=False, prog_name=PROGRAM)
    except typer.TyperException as error:
        return _say(_usage(error), 2)
    except (OperatorError, ModelRefused) as error:
        return _say(str(error), 2)
    except (VenueError, DatabaseAway, OSError) as error:
        return _say(f"{type(error).__name__}: {error}", 1)
    except BaseExceptionGroup as group:
        return _of_group(group)
    return _say("interrupted", 1) if status == INTERRUPTED else int(status or 0)


def _of_group(group: BaseExceptionGroup[BaseException]) -> int:
    """A task group wraps what ends it: one line for the operator's fault or the venue's, else it is a crash of ours."""
    leaves = list(_leaves(group))
    for leaf in leaves:
        if isinstance(leaf, OperatorError | ModelRefused):
            return _say(str(leaf), 2)
    for leaf in leaves:
        if not isinstance(leaf, VenueError | DatabaseAway | OSError):
            raise group
    return _say(f"{type(leaves[0]).__name__}: {leaves[0]}", 1)


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _usage(error: typer.TyperException) -> str:
    """Typer's own word on the command line, and where to read what is allowed."""
    context: typer.Context | None = getattr(error, "ctx", None)
    command = PROGRAM if context is None else context.command_path
    said = error.format_message().rstrip(".")
    if getattr(error, "option_name", "") == "--state" and command != PROGRAM:
        said = "--state: this command has no use for a state directory; leave it out"
    return f"{said}; see {command} --help"


def _say(text: str, status: int) -> int:
    """One line on stderr; none where a child process has said it already."""
    if text:
        print(" ".join(text.split()), file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
