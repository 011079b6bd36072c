"""Funding rates on disk: one file a symbol, times as they were due."""

from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from bot.clock import HOUR_MS
from bot.errors import OperatorError
from bot.history.layout import FUNDING, SYMBOL, Schema, read_frame, stamp, write_frame, writing

SCHEMA: Schema = {"funding_time": pl.Int64(), "rate": pl.Float64()}
OF_MANY: Schema = {"symbol": pl.String(), **SCHEMA}
FLAT = "funding_um.parquet"  # of all symbols, beside a flat folder's bars or in ../../funding


class Rates(msgspec.Struct, frozen=True, eq=False):
    """One symbol's payments, oldest first."""

    at: npt.NDArray[np.int64]  # ms UTC, whole hours
    rate: tuple[Decimal, ...]


class FundingFiles:
    """The funding rates of one folder. Blocking."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, symbol: str) -> Path:
        return self.directory / symbol / FUNDING

    def symbols(self) -> tuple[str, ...]:
        found = (path.parent.name for path in self.directory.glob(f"*/{FUNDING}"))
        return tuple(sorted(name for name in found if SYMBOL.fullmatch(name)))

    def load(self, symbol: str) -> Rates | None:
        """None where there is no file of them. OperatorError where they are out of order."""
        own = self.path(symbol)
        if own.exists():
            return in_order(own, symbol, read_frame(own, SCHEMA))
        flat = self._flat()
        return None if flat is None else rates_of(flat, symbol)

    def add(self, symbol: str, frame: pl.DataFrame) -> None:
        """Add rows in the columns of `SCHEMA`; of two that were due at one hour the newer word stays."""
        with writing(self.directory):
            path = self.path(symbol)
            stored = [read_frame(path, SCHEMA)] if path.exists() else []
            whole = pl.concat([*stored, frame.with_columns(pl.col("funding_time").map_batches(_due))])
            write_frame(path, whole.unique("funding_time", keep="last").sort("funding_time"))

    def _flat(self) -> Path | None:
        places = (self.directory / FLAT, self.directory.resolve().parent.parent / "funding" / FLAT)
        return next((path for path in places if path.exists()), None)


def rates_of(path: Path, symbol: str) -> Rates:
    """One symbol's rates out of a file of many symbols."""
    return in_order(path, symbol, read_frame(path, OF_MANY).filter(pl.col("symbol") == symbol))


def in_order(path: Path, symbol: str, table: pl.DataFrame) -> Rates:
    at = due(table["funding_time"].to_numpy())
    wrong = np.flatnonzero(np.diff(at) <= 0)
    if wrong.size:
        raise OperatorError(
            f"{path}: {symbol}: funding_time must rise from row to row; not so at {stamp(int(at[wrong[0] + 1]))}"
        )
    return Rates(at, tuple(Decimal(str(rate)) for rate in table["rate"].to_list()))


def due(at: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The hour that a payment was due: the venue stamps it some milliseconds late."""
    return np.rint(at / HOUR_MS).astype(np.int64) * HOUR_MS


def _due(times: pl.Series) -> pl.Series:
    return pl.Series(times.name, due(times.to_numpy()))
