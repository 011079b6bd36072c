"""The command line of `guards`."""

from pathlib import Path
from typing import Annotated

import typer

from bot.commands.options import Config, Json, State, config_path

app = typer.Typer(rich_markup_mode=None, help="The account guards: what each measures, and which are tripped.")


@app.callback(invoke_without_command=True)
def guards(context: typer.Context, state: State = Path("var"), config: Config = None, as_json: Json = False) -> None:
    """The account guards: what each measured when the account was last read, its limit, and which are tripped."""
    from bot.commands.guards import print_guards

    if context.invoked_subcommand is None:
        print_guards(state, config_path(config), as_json)


@app.command("release")
def release(
    name: Annotated[str, typer.Argument(help="The guard, as it stands in the table.")],
    state: State = Path("var"),
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Let a tripped guard go; a bot that runs hears of it within a minute, another one at its start."""
    from bot.commands.guards import ask_release

    ask_release(state, config_path(config), name, as_json)
