"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from bot.errors import OperatorError

DEFAULT_VARIANTS = Path("deploy/variants")
DEFAULT_CONFIG = Path("deploy/bot.toml")

State = Annotated[
    Path, typer.Option("--state", envvar="BOT_STATE", help="State directory: database, bars, logs, reports.")
]
Config = Annotated[
    Path | None, typer.Option("--config", help=f"The bot's own settings.  [default: {DEFAULT_CONFIG}, where it exists]")
]
PluginFolders = Annotated[list[Path], typer.Option("--plugins", help="A further folder of plugins; may repeat.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout instead of a table.")]
Limit = Annotated[int, typer.Option(min=1, help="At most so many rows, the newest.")]
Variant = Annotated[str | None, typer.Option(help="Only of this variant.")]
Symbol = Annotated[str | None, typer.Option(help="Only of this symbol.")]
Checkpoints = Annotated[Path | None, typer.Option(help="Folder of checkpoints instead of the shipped one.")]


def config_path(given: Path | None) -> Path:
    """The file to read; it need not exist where none was named."""
    if given is not None and not given.is_file():
        raise OperatorError(f"--config {given}: no such file")
    return given or DEFAULT_CONFIG
