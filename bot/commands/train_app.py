"""The command line of `train`."""

from pathlib import Path
from typing import Annotated

import typer

from bot.commands.options import Json

app = typer.Typer(rich_markup_mode=None, help="Train models.")


@app.command("base")
def train_base(
    bars: Annotated[list[Path], typer.Option("--bars", help="Folder of 1h bars; may repeat.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for weights and manifest; its name is the model's.")],
    seed: Annotated[int | None, typer.Option(min=0, help="One seed means one result.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of training.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Windows in a step.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads; part of what the result depends on.")] = None,
    cutoff: Annotated[str | None, typer.Option(help="Training ends, validation begins; as 2024-10-01.")] = None,
    validation_to: Annotated[str | None, typer.Option(help="Validation ends, the test begins.")] = None,
    test_to: Annotated[str | None, typer.Option(help="The test ends.")] = None,
    as_json: Json = False,
) -> None:
    """Train a small model of the TimesFM 2.5 architecture from nothing. What is left out is the shipped recipe's."""
    from bot.commands.train import options, train

    days = {"cutoff": cutoff, "validation_to": validation_to, "test_to": test_to}
    numbers = {"seed": seed, "steps": steps, "batch": batch, "threads": threads}
    train(options(tuple(bars), out, days, numbers), as_json)


@app.command("inputs")
def train_inputs(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of a checkpoint: a base's, or a tier's.")],
    bars: Annotated[list[Path], typer.Option("--bars", help="Folder of 1h bars; may repeat.")],
    context: Annotated[int, typer.Option(min=32, help="Bars in a window, where the manifest does not tell.")] = 192,
    as_json: Json = False,
) -> None:
    """Measure what the training windows were like, and write it into the manifest for the input-distance gate."""
    from bot.commands.train import inputs

    inputs(checkpoint, tuple(bars), context, as_json)
