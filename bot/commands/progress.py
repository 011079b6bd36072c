"""Progress on stderr: a bar with rate and time left on a terminal, a few lines elsewhere."""

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from bot.clock import Stopwatch

PLAIN_LINES = 20  # where stderr is no terminal

Show = Callable[[int, int], None]  # done, total


@contextlib.contextmanager
def progress(what: str, unit: str) -> Iterator[Show]:
    """Yields what is to be called with how much is done and how much there is."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(console, what, unit)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} " + unit),
        _Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as drawn:
        task = drawn.add_task(what, total=1, start=False)

        def show(done: int, total: int) -> None:
            drawn.start_task(task)
            drawn.update(task, completed=done, total=total)

        yield show


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f}/s" if task.speed else "", style="dim")


def _lines(console: Console, what: str, unit: str) -> Show:
    took, said = Stopwatch(), -1

    def show(done: int, total: int) -> None:
        nonlocal said
        part = done * PLAIN_LINES // max(total, 1)
        if part > said:
            said = part
            rate = done / max(took.seconds, 1e-9)
            left = f"{(total - done) / rate:,.0f} s left" if rate else "starting"
            line = f"{what}  {done:,} of {total:,} {unit}  {rate:,.0f}/s  {left}"
            console.print(line, highlight=False, soft_wrap=True)

    return show
