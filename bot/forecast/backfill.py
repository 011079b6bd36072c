"""History in, stored forecasts out: every whole window that has none yet, in batches; what is stored stays."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from bot.clock import Stopwatch
from bot.forecast.bulk import Answer, Choice, Task
from bot.history.bars import BarFiles
from bot.history.forecasts import ForecastStore, window_crc32
from bot.messages import Bars, Floats
from bot.strategy.reasons import Reason
from bot.strategy.window import refusals

Refusals = Mapping[Reason, int]


class Workers(Protocol):
    def answers(self, tasks: Iterator[Task]) -> Iterator[tuple[Task, Answer]]:
        """Each task once with its answer, in any order. Takes few tasks more than it can work on."""
        ...


class Missing(msgspec.Struct, frozen=True, eq=False):
    """What is to be forecast of one symbol."""

    symbol: str
    bar_close_at: npt.NDArray[np.int64]  # (windows,)
    windows: Floats  # (windows, context), not a copy of the bars
    stored: int  # windows that have their forecast
    refused: Refusals  # windows that the bot would not show the model


class BackfillProgress(msgspec.Struct, frozen=True):
    done: int
    total: int
    seconds: float


def missing(bars: Bars, store: ForecastStore, start: int, end: int) -> Missing:
    """Of the bars that close at start <= t < end, those whose window is whole and has no forecast in `store`.

    `bars` must reach back for the first window. A forecast of other closes than these counts as none.
    """
    context, interval = store.manifest.context, store.manifest.interval_ms
    close_at = bars.open_time + interval
    inside = (close_at >= start) & (close_at < end)
    refused = {reason: where & inside for reason, where in refusals(bars, context, interval).items()}
    whole = inside.copy()
    for where in refused.values():
        whole &= ~where
    rows = np.flatnonzero(whole)
    windows = _windows(bars.close, context)
    known = store.load(bars.symbol, start, end)
    crc32 = dict(zip(known.bar_close_at.tolist(), known.window_crc32.tolist(), strict=True))
    absent = [row for row in rows if crc32.get(int(close_at[row])) != window_crc32(windows[row - context + 1])]
    return Missing(
        symbol=bars.symbol,
        bar_close_at=close_at[absent],
        windows=windows[np.array(absent, dtype=np.int64) - context + 1],
        stored=len(rows) - len(absent),
        refused={reason: count for reason, where in refused.items() if (count := int(where.sum()))},
    )


def survey(files: BarFiles, symbols: Sequence[str], store: ForecastStore, start: int, end: int) -> list[Missing]:
    """`missing` of every symbol, from the bars on disk."""
    context, interval = store.manifest.context, store.manifest.interval_ms
    found = []
    for symbol in symbols:
        bars = files.load(symbol, interval, start=start - context * interval, end=end)
        found.append(missing(bars, store, start, end))
    return found


def tasks(choice: Choice, wanted: Iterable[Missing], batch: int) -> Iterator[Task]:
    """Batches of `batch` rows, symbol after symbol and each in time; only the last may be smaller."""
    symbols: list[str] = []
    close_at: list[int] = []
    parts: list[Floats] = []

    def made() -> Task:
        task = Task(
            tier=choice.tier,
            checkpoint=choice.checkpoint,
            symbols=tuple(symbols),
            bar_close_at=tuple(close_at),
            closes=np.concatenate(parts),
        )
        for taken in (symbols, close_at, parts):
            taken.clear()
        return task

    for one in wanted:
        begin = 0
        while begin < len(one.bar_close_at):
            end = min(begin + batch - len(symbols), len(one.bar_close_at))
            symbols += [one.symbol] * (end - begin)
            close_at += one.bar_close_at[begin:end].tolist()
            parts.append(one.windows[begin:end])
            begin = end
            if len(symbols) == batch:
                yield made()
    if symbols:
        yield made()


def backfill(
    store: ForecastStore,
    choice: Choice,
    wanted: Sequence[Missing],
    workers: Workers,
    batch: int,
    show: Callable[[BackfillProgress], None],
) -> Counter[str]:
    """Forecast and store batch by batch; what the model's answers were refused for, counted by word.

    Killed at any time, it has lost no batch whose answer had come, but the one that was being written.
    """
    took, done = Stopwatch(), 0
    total = sum(len(one.bar_close_at) for one in wanted)
    refused: Counter[str] = Counter()
    for task, answer in workers.answers(tasks(choice, wanted, batch)):
        table = rows(store, task, answer)
        for (symbol,), part in table.group_by("symbol", maintain_order=True):
            store.add(str(symbol), part.drop("symbol"))
        refused.update(word for word in answer.refused if word)
        done += len(task)
        show(BackfillProgress(done, total, took.seconds))
    return refused


def rows(store: ForecastStore, task: Task, answer: Answer) -> pl.DataFrame:
    """A task and its answer as the store's rows, beside a column `symbol`."""
    steps = {f"step_{number}": answer.path[:, number - 1] for number in range(1, store.manifest.horizon + 1)}
    columns = {
        "symbol": task.symbols,
        "bar_close_at": task.bar_close_at,
        "last_close": task.closes[:, -1],
        **steps,
        "q10": answer.q10,
        "q90": answer.q90,
        "distance": answer.distance,
        "refused": answer.refused,
        "window_crc32": [window_crc32(window) for window in task.closes],
    }
    return pl.DataFrame(columns, schema={"symbol": pl.String(), **store.schema})


def _windows(closes: Floats, context: int) -> Floats:
    """(bars,) -> (bars - context + 1, context), views; none where there are too few bars."""
    if len(closes) < context:
        return np.empty((0, context))
    return np.lib.stride_tricks.sliding_window_view(closes, context)
