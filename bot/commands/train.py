"""The command `train base`: a bar of progress on stderr, the scores of the result on stdout."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bot.commands.model import drawn
from bot.commands.output import configure_logs, parse_day, print_json, print_table, table
from bot.errors import OperatorError
from bot.forecast.checkpoints import load
from bot.training.base import TrainOptions, TrainProgress, train_base
from bot.training.inputs import InputOptions, write_inputs

PLAIN_STEPS = 20  # lines of progress where stderr is no terminal


def options(
    bars: tuple[Path, ...], out: Path, days: Mapping[str, str | None], numbers: Mapping[str, int | None]
) -> TrainOptions:
    """What is given of `cutoff`, `validation_to`, `test_to` (days) and of the numbers; None leaves the recipe's.

    OperatorError where the days are not in order, or the result would lie where it cannot.
    """
    if out.exists() and not out.is_dir():
        raise OperatorError(f"--out {out}: is a file; expected a folder")
    _try_to_make(out)
    given = {name: number for name, number in numbers.items() if number is not None}
    given |= {name: parse_day(f"--{name.replace('_', '-')}", text) for name, text in days.items() if text is not None}
    made = msgspec.structs.replace(TrainOptions(bars=bars, out=out), **given)
    if not made.cutoff < made.validation_to < made.test_to:
        raise OperatorError("--cutoff, --validation-to and --test-to: expected three days, each after the one before")
    return made


def _try_to_make(folder: Path) -> None:
    """Minutes of training are not to end at a folder that cannot be made; an empty one is taken away again."""
    try:
        folder.mkdir(parents=True)
        folder.rmdir()
    except FileExistsError:
        return
    except OSError as error:
        raise OperatorError(f"--out {folder}: {error.strerror}; expected a folder that can be made") from None


def train(wanted: TrainOptions, as_json: bool) -> None:
    """Train, then load what was written and print how it scores."""
    configure_logs()
    console = Console(stderr=True)
    if console.is_terminal:
        _train_with_bar(wanted, console)
    else:
        _train_with_lines(wanted, console)
    described = load(wanted.out.name, wanted.out.resolve().parent, context=wanted.context).description
    if as_json:
        print_json(described)
    else:
        print_table(drawn(described))


def _train_with_bar(wanted: TrainOptions, console: Console) -> None:
    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f}"),
        TextColumn("loss {task.fields[loss]:.4f}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("train", total=wanted.steps, loss=float("nan"))

        def show(progress: TrainProgress) -> None:
            bar.update(task, description=progress.stage, completed=progress.step)
            if progress.stage == "train":
                bar.update(task, loss=progress.loss)

        train_base(wanted, show)


def _train_with_lines(wanted: TrainOptions, console: Console) -> None:
    said = -1

    def show(progress: TrainProgress) -> None:
        nonlocal said
        part = progress.step * PLAIN_STEPS // progress.steps
        if part > said or progress.stage != "train":
            said = part
            loss = f"  loss {progress.loss:.4f}" if progress.stage == "train" else ""
            line = f"{progress.stage}  {progress.step:,} of {progress.steps:,}{loss}  {progress.seconds:,.0f} s"
            console.print(line, highlight=False, soft_wrap=True)

    train_base(wanted, show)


def inputs(checkpoint: Path, bars: tuple[Path, ...], context: int, as_json: bool) -> None:
    """Measure, write, and print how far the training windows themselves lie from their middle."""
    configure_logs()
    stats = write_inputs(InputOptions(checkpoint=checkpoint, bars=bars, context=context))
    if as_json:
        print_json(stats)
        return
    shown = table("Share of the training windows", "Distance", right="Distance")
    for level, distance in zip(stats.levels, stats.distances, strict=True):
        shown.add_row(f"{level:.2%}", f"{distance:.3f}")
    print_table(shown)
