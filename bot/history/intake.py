"""Rows of other makers' files into the folder of recordings: what is absurd or told twice is reported, never mended."""

import msgspec
import numpy as np
import polars as pl

from bot.history.bars import COLUMNS, BarFiles
from bot.history.faults import Fault, absurd
from bot.history.foreign import What
from bot.history.funding import FundingFiles
from bot.history.layout import series_name
from bot.messages import Bars

TWICE = "duplicate"


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one series' rows."""

    symbol: str
    series: str  # 1h, mark-1h, funding
    files: int
    rows: int  # read
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
        is an error, as is a bar that cannot have happened, which is left out."""
        table = pl.concat(tables)
        if what == "funding" or interval_ms is None:
            self._rates.add(symbol, table)
            return Taken(
                symbol=symbol,
                series="funding",
                files=len(tables),
                rows=len(table),
                stored=len(table),
                replaced=0,
                faults=(),
            )
        series = series_name(interval_ms, what)
        unlike = table.unique(maintain_order=True)
        kept = unlike.unique("open_time", keep="last").sort("open_time")
        faults = [] if len(unlike) == len(kept) else [_conflicts(symbol, series, unlike)]
        bars = _bars(symbol, interval_ms, kept)
        bad = np.zeros(len(kept), dtype=np.bool_)
        for words, where in absurd(bars).items():
            if where.any():
                bad |= where
                faults.append(
                    Fault(
                        symbol=symbol,
                        series=series,
                        rule="absurd",
                        level="error",
                        first_at=int(bars.open_time[np.argmax(where)]),
                        count=int(where.sum()),
                        words=f"{words}; left out",
                    )
                )
        sound = kept.filter(pl.Series(~bad))
        return Taken(
            symbol=symbol,
            series=series,
            files=len(tables),
            rows=len(table),
            stored=len(sound),
            replaced=self._files.add(symbol, interval_ms, sound, what),
            faults=tuple(faults),
        )


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
