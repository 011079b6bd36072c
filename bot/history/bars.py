"""Bars on disk, by symbol and interval: what is appended is what is read, whatever the order and however it was cut."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from bot.errors import OperatorError
from bot.history import layout
from bot.history.layout import Kind, Schema, by_month, joined, month_files, read_frame, read_frames, write_frame
from bot.messages import Bar, Bars

PRICES = ("open", "high", "low", "close")
COLUMNS = ("open_time", *PRICES, "volume")
SCHEMA: Schema = {"open_time": pl.Int64(), **dict.fromkeys((*PRICES, "volume"), pl.Float64())}
MARK_SCHEMA: Schema = {name: kind for name, kind in SCHEMA.items() if name != "volume"}  # nothing trades at the mark


class BarFiles:
    """One folder of bars. Blocking; an actor calls it from a worker thread.

    Of a series (symbol, kind, interval) the months are read where there are any, else the flat file
    `SYMBOL-INTERVAL.parquet` of people's own recordings. The first bar that is appended to such a series takes the
    flat file's bars over into months; the file stays and is read no more.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def folder(self, symbol: str, interval_ms: int, kind: Kind = "bars") -> Path:
        return self.directory / symbol / layout.series_name(interval_ms, kind)

    def flat_file(self, symbol: str, interval_ms: int) -> Path:
        return self.directory / f"{symbol}-{layout.INTERVAL_NAME[interval_ms]}.parquet"

    def place(self, symbol: str, interval_ms: int, kind: Kind = "bars") -> Path | None:
        """What is read of a series, a folder of months or a flat file; None where there is neither."""
        folder = self.folder(symbol, interval_ms, kind)
        if month_files(folder):
            return folder
        flat = self.flat_file(symbol, interval_ms)
        return flat if kind == "bars" and flat.exists() else None

    def series(self) -> list[tuple[str, Kind, int]]:
        """Every series there is: by symbol, bars before marks, short intervals first."""
        found: set[tuple[str, Kind, int]] = set()
        for path in self.directory.glob("*-*.parquet"):
            symbol, _, name = path.stem.rpartition("-")
            if layout.SYMBOL.fullmatch(symbol) and name in layout.INTERVALS:
                found.add((symbol, "bars", layout.INTERVALS[name]))
        for folder in self.directory.glob("*/*/"):
            parsed = layout.parse_series(folder.name)
            if parsed and layout.SYMBOL.fullmatch(folder.parent.name) and month_files(folder):
                found.add((folder.parent.name, *parsed))
        return sorted(found)

    def symbols(self, interval_ms: int) -> tuple[str, ...]:
        """The symbols that have last-trade bars of this interval."""
        return tuple(symbol for symbol, kind, length in self.series() if (kind, length) == ("bars", interval_ms))

    def load(
        self,
        symbol: str,
        interval_ms: int,
        kind: Kind = "bars",
        *,
        start: int | None = None,
        end: int | None = None,
    ) -> Bars:
        """The bars with start <= open_time < end, as they lie there; none where the series is absent.

        They are neither sorted nor judged (see `faults`): whoever writes through `append` finds them in order, a flat
        file may hold anything. OperatorError for a file that is none of bars.
        """
        frame = self.frame(symbol, interval_ms, kind, start=start, end=end)
        at = frame["open_time"].to_numpy()
        columns = [np.zeros(len(at)) if name not in frame.columns else frame[name].to_numpy() for name in COLUMNS[1:]]
        return Bars(symbol, interval_ms, at, *columns)

    def span(self, symbol: str, interval_ms: int, kind: Kind = "bars") -> tuple[int, int] | None:
        """(first open time, last close time) of a series; None where it holds no bar."""
        months = month_files(self.folder(symbol, interval_ms, kind))
        if months:
            ends = [read_frame(path, {"open_time": pl.Int64()})["open_time"] for path in (months[0], months[-1])]
        else:
            ends = [self.frame(symbol, interval_ms, kind, {"open_time": pl.Int64()})["open_time"]] * 2
        if not len(ends[0]) or not len(ends[1]):
            return None
        return int(ends[0].to_numpy().min()), int(ends[1].to_numpy().max()) + interval_ms

    def bytes(self, symbol: str, interval_ms: int, kind: Kind = "bars") -> int:
        place = self.place(symbol, interval_ms, kind)
        if place is None:
            return 0
        return sum(path.stat().st_size for path in (month_files(place) if place.is_dir() else [place]))

    def append(self, bars: Sequence[Bar]) -> None:
        """Add closed bars in any order; of two bars with one open_time the newer word stays."""
        by_series: dict[tuple[str, int], list[Bar]] = defaultdict(list)
        for bar in bars:
            by_series[bar.symbol, bar.interval_ms].append(bar)
        for (symbol, interval_ms), added in by_series.items():
            columns = {name: [getattr(bar, name) for bar in added] for name in COLUMNS}
            self.add(symbol, interval_ms, pl.DataFrame(columns, schema=SCHEMA))

    def add(self, symbol: str, interval_ms: int, frame: pl.DataFrame, kind: Kind = "bars") -> int:
        """Add rows in the columns of `SCHEMA` (a mark price's without volume); of two with one open_time the last
        stays. Returns how many stored bars got other values by it."""
        folder = self.folder(symbol, interval_ms, kind)
        replaced = 0
        with layout.writing(self.directory):
            if not month_files(folder):
                frame = pl.concat([self.frame(symbol, interval_ms, kind), frame])
            for name, part in by_month(frame, "open_time"):
                path = folder / f"{name}.parquet"
                stored = read_frame(path, _schema(kind)) if path.exists() else part.clear()
                whole = joined(stored, part, "open_time")
                if len(whole) < len(stored) + len(part):  # a bar that was there, or twice in what is added
                    replaced += len(stored) - len(stored.join(whole, on=list(_schema(kind)), how="semi"))
                    if stored.equals(whole):
                        continue
                write_frame(path, whole)
        return replaced

    def frame(
        self,
        symbol: str,
        interval_ms: int,
        kind: Kind = "bars",
        schema: Schema | None = None,
        *,
        start: int | None = None,
        end: int | None = None,
    ) -> pl.DataFrame:
        """As `load`, as a table of the columns of `schema`, which must hold open_time."""
        place = self.place(symbol, interval_ms, kind)
        columns = schema or _schema(kind)
        if place is None:
            return pl.DataFrame(schema=columns)
        paths = month_files(place, start, end) if place.is_dir() else [place]
        whole = read_frames(paths, columns)
        if start is not None:
            whole = whole.filter(pl.col("open_time") >= start)
        return whole if end is None else whole.filter(pl.col("open_time") < end)


def _schema(kind: Kind) -> Schema:
    return SCHEMA if kind == "bars" else MARK_SCHEMA


def absent(files: BarFiles, symbol: str, interval_ms: int) -> OperatorError:
    """The error for a series that a command needs and that is not there."""
    folder, flat = files.folder(symbol, interval_ms), files.flat_file(symbol, interval_ms)
    return OperatorError(f"{flat}: no such file, nor months in {folder}; `python -m bot data fetch` gets them")
