"""The command line of `state`."""

from pathlib import Path
from typing import Annotated

import typer

from bot.commands.options import Config, Json, State, config_path

app = typer.Typer(rich_markup_mode=None, help="Whether the bot may trade: look, hold it back, let it go on.")

Reason = Annotated[str, typer.Option(help="Why, for the journal.")]


@app.command("show")
def show(state: State = Path("var"), config: Config = None, as_json: Json = False) -> None:
    """What holds trading back until a person lets it go, and what was asked for and is not taken yet."""
    from bot.commands.state import print_state

    print_state(state, config_path(config), as_json)


@app.command("reduce")
def reduce(state: State = Path("var"), config: Config = None, reason: Reason = "", as_json: Json = False) -> None:
    """Open nothing more and cancel resting entries; exits and stops go on."""
    from bot.commands.state import leave_word

    leave_word(state, config_path(config), "reduce", reason, as_json)


@app.command("halt")
def halt(state: State = Path("var"), config: Config = None, reason: Reason = "", as_json: Json = False) -> None:
    """Send nothing but cancels. Stops that stand at the venue stay; a position without one gets none."""
    from bot.commands.state import leave_word

    leave_word(state, config_path(config), "halt", reason, as_json)


@app.command("activate")
def activate(state: State = Path("var"), config: Config = None, reason: Reason = "", as_json: Json = False) -> None:
    """Let go whatever waits for a person: a person's word, a kill, a surprise of the venue's."""
    from bot.commands.state import leave_word

    leave_word(state, config_path(config), "activate", reason, as_json)
