"""Bars on disk in, batches of random windows out."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from bot.clock import HOUR_MS
from bot.errors import OperatorError
from bot.history.bars import BarFiles
from bot.history.layout import Schema
from bot.messages import Floats

CLOSES: Schema = {"open_time": pl.Int64(), "close": pl.Float64()}


class Series(msgspec.Struct, frozen=True, eq=False):
    """Closes of one symbol, oldest first; there may be gaps."""

    symbol: str
    open_time: npt.NDArray[np.int64]  # ms UTC
    close: Floats

    def starts(self, first: int, last: int, length: int) -> npt.NDArray[np.int64]:
        """Indices where `length` contiguous bars begin whose first opens at or after `first` and last before `last`."""
        if len(self.close) < length:
            return np.empty(0, dtype=np.int64)
        begin, end = self.open_time[: len(self.close) - length + 1], self.open_time[length - 1 :]
        whole = (end - begin == (length - 1) * HOUR_MS) & (begin >= first) & (end < last)
        return np.flatnonzero(whole)


def read_series(directories: Sequence[Path]) -> tuple[Series, ...]:
    """1h closes of every symbol, sorted by symbol. A later directory adds only the bars before an earlier one's first.

    Raises OperatorError where a directory holds no 1h bars or a file lacks a column.
    """
    found: dict[str, Series] = {}
    for directory in directories:
        files = BarFiles(directory)
        symbols = files.symbols(HOUR_MS)
        if not symbols:
            raise OperatorError(f"--bars {directory}: there are no 1h bars; expected SYMBOL-1h.parquet or SYMBOL/1h")
        for symbol in symbols:
            found[symbol] = _prepend(_read(files, symbol), found.get(symbol))
    return tuple(found[symbol] for symbol in sorted(found))


def _read(files: BarFiles, symbol: str) -> Series:
    table = files.frame(symbol, HOUR_MS, schema=CLOSES).sort("open_time")
    close = table["close"].to_numpy()
    if not (np.isfinite(close).all() and (close > 0).all()):
        raise OperatorError(f"{files.place(symbol, HOUR_MS)}: column close holds a value that is not above zero")
    return Series(symbol, table["open_time"].to_numpy(), close)


def _prepend(older: Series, newer: Series | None) -> Series:
    if newer is None:
        return older
    before = older.open_time < newer.open_time[0]
    return Series(
        newer.symbol,
        np.concatenate([older.open_time[before], newer.open_time]),
        np.concatenate([older.close[before], newer.close]),
    )


class TrainingSet:
    """All windows of `length` contiguous bars between two times, drawn with equal chance."""

    def __init__(self, series: Sequence[Series], first: int, last: int, length: int) -> None:
        self.length = length
        self._closes = np.concatenate([one.close for one in series])
        offsets = np.cumsum([0, *(len(one.close) for one in series)])
        starts = [one.starts(first, last, length) for one in series]
        self._starts = np.concatenate([found + offset for found, offset in zip(starts, offsets[:-1], strict=True)])
        self.symbols = tuple(one.symbol for one, found in zip(series, starts, strict=True) if len(found))
        if not len(self._starts):
            raise OperatorError(f"--bars: no symbol has {length} contiguous hours in the training range")

    def __len__(self) -> int:
        return len(self._starts)

    def batch(self, generator: np.random.Generator, size: int) -> Floats:
        """`size` windows; (size, length)."""
        starts = self._starts[generator.integers(len(self._starts), size=size)]
        return np.asarray(self._closes[starts[:, None] + np.arange(self.length)])

    def spread(self, size: int) -> Floats:
        """At most `size` windows at even steps through all of them; (windows, length)."""
        step = -(-len(self._starts) // size)
        return np.asarray(self._closes[self._starts[::step][:, None] + np.arange(self.length)])
