"""Bars on disk: one Parquet file per symbol and interval, columns open_time (ms UTC), open, high, low, close, volume.

The files are of the kind that a replay plays (`--bars DIR`).
"""

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import anyio
import anyio.to_thread
import numpy as np
import polars as pl

from bot.errors import OperatorError
from bot.exchange.wire import INTERVAL_NAME
from bot.messages import Bar, BarClosed, Bars
from bot.streams import Stream

COLUMNS = {
    "open_time": pl.Int64,
    "open": pl.Float64,
    "high": pl.Float64,
    "low": pl.Float64,
    "close": pl.Float64,
    "volume": pl.Float64,
}
BATCH = 256  # bars that may wait in memory; after a crash they are fetched from the venue again


class BarHistory:
    """Blocking; call it from a worker thread. One process writes a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path(self, symbol: str, interval_ms: int) -> Path:
        return self._directory / f"{symbol}-{INTERVAL_NAME[interval_ms]}.parquet"

    def append(self, bars: Sequence[Bar]) -> None:
        """Add closed bars in any order; of two bars with one open_time the newer word stays."""
        by_file: dict[tuple[str, int], list[Bar]] = defaultdict(list)
        for bar in bars:
            by_file[bar.symbol, bar.interval_ms].append(bar)
        for (symbol, interval_ms), added in by_file.items():
            new = pl.DataFrame({name: [getattr(bar, name) for bar in added] for name in COLUMNS}, schema=COLUMNS)
            whole = pl.concat([self._read(symbol, interval_ms), new])
            self._write(symbol, interval_ms, whole.unique("open_time", keep="last").sort("open_time"))

    def load(self, symbol: str, interval_ms: int) -> Bars:
        """All bars on disk, oldest first; not necessarily contiguous (see `gaps`)."""
        frame = self._read(symbol, interval_ms)
        return Bars(symbol, interval_ms, *(frame[name].to_numpy() for name in COLUMNS))

    def _read(self, symbol: str, interval_ms: int) -> pl.DataFrame:
        path = self.path(symbol, interval_ms)
        if not path.exists():
            return pl.DataFrame(schema=COLUMNS)
        try:
            return pl.read_parquet(path).select(pl.col(name).cast(kind) for name, kind in COLUMNS.items())
        except (pl.exceptions.PolarsError, OSError) as error:
            raise OperatorError(f"{path}: not a file of bars ({type(error).__name__}); move it away") from error

    def _write(self, symbol: str, interval_ms: int, frame: pl.DataFrame) -> None:
        """Into place in one step: a crash leaves the old file or the new one."""
        path = self.path(symbol, interval_ms)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".draft")
        frame.write_parquet(draft)
        os.replace(draft, path)


def gaps(bars: Bars) -> list[tuple[int, int]]:
    """(first missing open_time, next present open_time) of every hole."""
    steps = np.diff(bars.open_time)
    holes = np.flatnonzero(steps != bars.interval_ms)
    return [(int(bars.open_time[at]) + bars.interval_ms, int(bars.open_time[at + 1])) for at in holes]


class HistoryWriter:
    """Actor: closed bars in, files out, in batches and off the event loop; what is left is written at the end."""

    def __init__(self, history: BarHistory, inbox: Stream[BarClosed], batch: int = BATCH) -> None:
        self._history = history
        self._inbox = inbox
        self._batch = batch
        self._waiting: list[Bar] = []
        self._thread = anyio.CapacityLimiter(1)

    async def run(self) -> None:
        try:
            async for closed in self._inbox:
                self._waiting.append(closed.bar)
                if len(self._waiting) >= self._batch:
                    await self._flush()
        finally:
            with anyio.CancelScope(shield=True):
                await self._flush()

    async def _flush(self) -> None:
        batch, self._waiting = self._waiting, []
        if batch:
            await anyio.to_thread.run_sync(self._history.append, batch, limiter=self._thread)
