"""Rows of other makers' files into the folder of recordings: what is absurd or told twice is reported, never mended."""

import msgspec
import numpy as np
import polars as pl

from bot.history.bars import COLUMNS, BarFiles
from bot.history.faults import Fault, Mask, absurd
from bot.history.foreign import What
from bot.history.funding import FundingFiles
from bot.history.layout import series_name
from bot.messages import Bars

TWICE = "duplicate"
NOT_A_NUMBER = "not_a_number"


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one series' rows."""

    symbol: str
    series: str  # 1h, mark-1h, funding
    files: int
    rows: int  # read
    repeated: int = 0  # of them, told before to the digit
    stored: int  # of them, now on disk
    replaced: int  # stored bars of earlier that got other values
    faults: tuple[Fault, ...]


class Intake:
    """Writes to one folder. Blocking."""

    def __init__(self, files: BarFiles, rates: FundingFiles) -> None:
        self._files = files
        self._rates = rates

    def take(self, symbol: str, what: What, interval_ms: int | None, tables: list[pl.DataFrame]) -> Taken:
        """Store the rows of one series' files. Of two rows of one time the later file's stays; where the two differ it
        is an error. So is a row that lacks a number, and a bar that cannot have happened; these are left out."""
        series = "funding" if what == "funding" or interval_ms is None else series_name(interval_ms, what)
        read = pl.concat(tables)
        table, faults = _numbered(symbol, series, read)
        unlike = table.unique(maintain_order=True)
        if what == "funding" or interval_ms is None:
            self._rates.add(symbol, unlike)
            sound, replaced = unlike, 0
        else:
            kept = unlike.unique("open_time", keep="last").sort("open_time")
            if len(kept) < len(unlike):
                faults.append(_conflicts(symbol, series, unlike))
            bad, absurdities = _absurd(_bars(symbol, interval_ms, kept), series)
            faults += absurdities
            sound = kept.filter(pl.Series(~bad))
            replaced = self._files.add(symbol, interval_ms, sound, what)
        return Taken(
            symbol=symbol,
            series=series,
            files=len(tables),
            rows=len(read),
            repeated=len(table) - len(unlike),
            stored=len(sound),
            replaced=replaced,
            faults=tuple(faults),
        )


def _numbered(symbol: str, series: str, read: pl.DataFrame) -> tuple[pl.DataFrame, list[Fault]]:
    """The rows that lack no number, and what is told of the others."""
    time, *measured = read.columns
    whole = read.select(pl.all_horizontal(pl.col(measured).is_finite())).to_series()
    if whole.all():
        return read, []
    fault = Fault(
        symbol=symbol,
        series=series,
        rule=NOT_A_NUMBER,
        level="error",
        first_at=int(read[time].to_numpy()[int(whole.arg_min() or 0)]),
        count=int((~whole).sum()),
        words="a number is missing (empty, no number, or infinite); left out",
    )
    return read.filter(whole), [fault]


def _absurd(bars: Bars, series: str) -> tuple[Mask, list[Fault]]:
    """Which bars cannot have happened, and what is told of them."""
    bad = np.zeros(len(bars), dtype=np.bool_)
    faults: list[Fault] = []
    for words, where in absurd(bars).items():
        if where.any():
            bad |= where
            faults.append(
                Fault(
                    symbol=bars.symbol,
                    series=series,
                    rule="absurd",
                    level="error",
                    first_at=int(bars.open_time[np.argmax(where)]),
                    count=int(where.sum()),
                    words=f"{words}; left out",
                )
            )
    return bad, faults


def _conflicts(symbol: str, series: str, unlike: pl.DataFrame) -> Fault:
    twice = unlike.filter(pl.col("open_time").is_duplicated())["open_time"].unique().sort()
    return Fault(
        symbol=symbol,
        series=series,
        rule=TWICE,
        level="error",
        first_at=int(twice[0]),
        count=len(twice),
        words="told twice, and not the same; the later word is kept",
    )


def _bars(symbol: str, interval_ms: int, table: pl.DataFrame) -> Bars:
    columns = [table[name].to_numpy() if name in table.columns else np.zeros(len(table)) for name in COLUMNS[1:]]
    return Bars(symbol, interval_ms, table["open_time"].to_numpy(), *columns)
