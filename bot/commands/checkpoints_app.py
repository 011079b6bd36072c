"""The command line of `checkpoints`."""

from pathlib import Path
from typing import Annotated

import typer

from bot.commands.options import Checkpoints, Config, Json, config_path

app = typer.Typer(rich_markup_mode=None, help="The checkpoints of the tiers: what there is, and which one serves.")

Tier = Annotated[str, typer.Argument(help="A tier, as t1.")]
Id = Annotated[str, typer.Argument(help="A checkpoint of the tier: the name of its folder.")]


@app.command("list")
def list_all(
    tier: Annotated[str | None, typer.Argument(help="Only of this tier.")] = None,
    checkpoints: Checkpoints = None,
    as_json: Json = False,
) -> None:
    """Every checkpoint of every tier, with size, method, cutoff and score, and which one is active."""
    from bot.commands.checkpoints import print_list

    print_list(checkpoints, tier, as_json)


@app.command()
def show(
    tier: Tier,
    checkpoint: Annotated[str | None, typer.Argument(metavar="[ID]", help="By default the active one.")] = None,
    checkpoints: Checkpoints = None,
    as_json: Json = False,
) -> None:
    """One checkpoint's manifest with its scores, and what was active in the tier before."""
    from bot.commands.checkpoints import print_one

    print_one(checkpoints, tier, checkpoint, as_json)


@app.command()
def verify(
    tier: Annotated[str | None, typer.Argument(help="Only of this tier.")] = None,
    checkpoint: Annotated[str | None, typer.Argument(metavar="[ID]", help="Only this one.")] = None,
    checkpoints: Checkpoints = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Hold weights against their manifests and the configured base, as the bot does before it serves them."""
    from bot.commands.checkpoints import print_verified

    print_verified(checkpoints, config_path(config), tier, checkpoint, as_json)


@app.command()
def activate(
    tier: Tier,
    checkpoint: Annotated[str, typer.Argument(metavar="ID", help="A checkpoint of the tier, or: base")],
    checkpoints: Checkpoints = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Verify a checkpoint and make it the tier's; a running bot takes it before its next forecasts."""
    from bot.commands.checkpoints import activate_one

    activate_one(checkpoints, config_path(config), tier, checkpoint, as_json)


@app.command()
def rollback(
    tier: Tier,
    checkpoints: Checkpoints = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Make what was active before the tier's again; twice goes two back."""
    from bot.commands.checkpoints import roll_back

    roll_back(checkpoints, config_path(config), tier, as_json)


@app.command("import")
def import_weights(
    tier: Tier,
    source: Annotated[
        Path,
        typer.Argument(metavar="PATH", help="A folder of peft's save_pretrained, or a state dict: .pt, .safetensors."),
    ],
    checkpoint: Annotated[str | None, typer.Option("--id", help="Its name here; by default made of PATH's.")] = None,
    licence: Annotated[
        str | None, typer.Option(help="The weights' licence, as Apache-2.0; unknown ones do not trade on a live venue.")
    ] = None,
    checkpoints: Checkpoints = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Bring in weights that were made elsewhere on the configured base. What is active stays active."""
    from bot.commands.checkpoints import import_one

    import_one(checkpoints, config_path(config), tier, source, checkpoint, licence, as_json)
