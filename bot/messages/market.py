"""What the market says: bars, prices, marks."""

from decimal import Decimal

import msgspec
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Bar(msgspec.Struct, frozen=True):
    """A closed candle of last-trade prices; volume in base units."""

    symbol: str
    interval_ms: int
    open_time: int
    open: float
    high: float
    low: float
    close: float
    volume: float

    @property
    def close_at(self) -> int:
        """The first millisecond after the bar."""
        return self.open_time + self.interval_ms


class BarClosed(msgspec.Struct, frozen=True):
    bar: Bar
    backfilled: bool = False  # fetched over REST instead of seen on the stream


class PriceChanged(msgspec.Struct, frozen=True):
    """The last traded price of one symbol."""

    symbol: str
    price: Decimal
    at: int


class MarkChanged(msgspec.Struct, frozen=True):
    """The mark price, and the funding that is due next."""

    symbol: str
    mark: Decimal
    funding_rate: Decimal
    next_funding_at: int
    at: int


class Bars(msgspec.Struct, frozen=True, eq=False):
    """Contiguous closed bars of one symbol, oldest first; each array has shape (bars,)."""

    symbol: str
    interval_ms: int
    open_time: npt.NDArray[np.int64]
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    @property
    def close_at(self) -> int:
        return int(self.open_time[-1]) + self.interval_ms

    def __len__(self) -> int:
        return len(self.open_time)
