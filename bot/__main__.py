"""The command line: one command = one call."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from bot.errors import ModelRefused, OperatorError, VenueError

DEFAULT_VARIANTS = Path("deploy/variants")
DEFAULT_CONFIG = Path("deploy/bot.toml")
EXAMPLES = """
Examples:

  python -m bot run deploy/variants/btc.toml              replay a generated market, no account needed

  python -m bot run deploy/variants --bars DIR --from 2025-03-01 --to 2025-03-31      replay recordings

  python -m bot check deploy/variants                     what is wrong with my files, what do they resolve to

  python -m bot journal signals --limit 20 --json         what was decided, as JSON

Exit status: 0 done, 1 failed while running, 2 the input is wrong (one line on stderr says what is allowed).
"""

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Trades Binance USDS-M perpetual futures on TimesFM 2.5 forecasts.\n" + EXAMPLES,
)
train_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Train models.")
app.add_typer(train_app, name="train")

State = Annotated[
    Path, typer.Option("--state", envvar="BOT_STATE", help="State directory: database, bars, logs, reports.")
]
Config = Annotated[Path, typer.Option("--config", help="The bot's own settings; a missing default file is fine.")]
PluginFolders = Annotated[list[Path], typer.Option("--plugins", help="A further folder of plugins; may repeat.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout instead of a table.")]
Variants = Annotated[list[Path], typer.Argument(help="Variant files, or folders of them.", show_default=False)]


@app.command()
def run(
    variants: Annotated[list[Path] | None, typer.Argument(help="Variant files, or folders of them.")] = None,
    venue: Annotated[str, typer.Option(help="replay | demo | live")] = "replay",
    config: Config = DEFAULT_CONFIG,
    state: State = Path("var"),
    plugins: PluginFolders = [],  # noqa: B006  # typer reads the default and never mutates it
    checkpoints: Annotated[Path | None, typer.Option(help="Folder of checkpoints instead of the shipped one.")] = None,
    bars: Annotated[Path | None, typer.Option(help="Replay: folder of SYMBOL-INTERVAL.parquet recordings.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="Replay: first day, UTC, as 2025-03-01.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Replay: the day after the last one.")] = None,
    days: Annotated[int, typer.Option(min=1, help="Replay: days to play where --to is not given.")] = 7,
    seed: Annotated[int, typer.Option(help="Replay: seed of the generated market and of partial fills.")] = 1,
    profile: Annotated[str, typer.Option(help="Replay: calm | normal | stress market of the generator.")] = "normal",
    pace: Annotated[str, typer.Option(help="Replay: max (in lockstep), or N times real time.")] = "max",
    simulator_url: Annotated[
        str | None, typer.Option("--simulator", help="Replay: a simulator that runs already, as http://127.0.0.1:PORT.")
    ] = None,
    keep: Annotated[bool, typer.Option(help="Replay: go on with the state of an earlier run.")] = False,
    view: Annotated[bool, typer.Option(help="Show the live view.")] = True,
) -> None:
    """Trade variants at a venue until it ends (replay) or you stop it (Ctrl-C, SIGTERM)."""
    from bot.replay import MarketOptions
    from bot.run import RunOptions, run_bot

    market = MarketOptions(bars=bars, start=start, end=end, days=days, seed=seed, profile=profile, pace=pace)
    options = RunOptions(
        variants=tuple(variants or [DEFAULT_VARIANTS]),
        venue=venue,
        config=config,
        state=state,
        plugins=tuple(plugins),
        checkpoints=checkpoints,
        market=market,
        simulator_url=simulator_url,
        keep=keep,
        view=view,
    )
    raise typer.Exit(run_bot(options))


@app.command()
def check(
    paths: Annotated[list[Path] | None, typer.Argument(help="Variant files, or folders of them.")] = None,
    config: Config = DEFAULT_CONFIG,
    plugins: PluginFolders = [],  # noqa: B006  # as above
    as_json: Json = False,
) -> None:
    """Validate files and plugins, and print each variant with every default and where it comes from."""
    from bot.variants.check import check as resolve_all

    resolve_all(paths or [DEFAULT_VARIANTS], config, plugins, as_json)


@app.command()
def simulator(
    symbol: Annotated[list[str], typer.Option("--symbol", help="A symbol of the market; may repeat.")],
    bars: Annotated[Path | None, typer.Option(help="Folder of SYMBOL-INTERVAL.parquet recordings.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="First day, UTC, as 2025-03-01.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="The day after the last one.")] = None,
    days: Annotated[int, typer.Option(min=1, help="Days to play where --to is not given.")] = 7,
    seed: Annotated[int, typer.Option(help="Seed of the generated market and of partial fills.")] = 1,
    profile: Annotated[str, typer.Option(help="calm | normal | stress market of the generator.")] = "normal",
    pace: Annotated[str, typer.Option(help="max (in lockstep with a bot), or N times real time.")] = "max",
    wallet: Annotated[str, typer.Option(help="USDT in the account at the start.")] = "10000",
    port: Annotated[int, typer.Option(help="0: any free one.")] = 0,
    outage_minutes: Annotated[float, typer.Option(help="How far the world may go on while no bot is there.")] = 0.0,
    until_stdin_closes: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Serve Binance's REST and WebSocket interface on loopback over a recorded or generated market."""
    from bot.exchange.simulator.server import main as serve
    from bot.replay import MarketOptions

    market = MarketOptions(
        bars=bars,
        start=start,
        end=end,
        days=days,
        seed=seed,
        profile=profile,
        pace=pace,
        outage_minutes=outage_minutes,
    )
    serve(market.options(tuple(symbol), wallet, port, until_stdin_closes=until_stdin_closes))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; `python -m bot VARIANT.toml` means `run VARIANT.toml`. Returns the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0].endswith(".toml"):
        words.insert(0, "run")
    try:
        result = app(args=words, standalone_mode=False, prog_name="python -m bot")
    except (OperatorError, ModelRefused) as error:
        return _say(str(error), 2)
    except typer.Exit as exit_:
        return exit_.exit_code
    except (VenueError, OSError) as error:
        return _say(f"{type(error).__name__}: {error}", 1)
    except KeyboardInterrupt:
        return _say("interrupted", 1)
    return int(result or 0)


def _say(line: str, status: int) -> int:
    if line:
        print(line, file=sys.stderr)
    return status


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, default=str))


Printer = Callable[[Any], None]

if __name__ == "__main__":
    sys.exit(main())
