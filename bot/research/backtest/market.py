"""What a backtest knows of the market: bars for windows, the finest path for fills, funding, and instruments."""

from collections.abc import Sequence
from decimal import Decimal

import msgspec
import numpy as np
import numpy.typing as npt

from bot.clock import DAY_MS, HOUR_MS, MINUTE_MS
from bot.errors import OperatorError
from bot.exchange.simulator.instruments import instrument_of
from bot.exchange.simulator.market import FundingRates
from bot.exchange.simulator.recordings import (
    WARMUP_HOURS,
    fitting,
    funding_between,
    refuse_absurd,
    select,
)
from bot.history.bars import BarFiles, absent
from bot.history.funding import FundingFiles
from bot.history.layout import INTERVAL_NAME
from bot.messages import Bars, Floats
from bot.strategy.exits import AS_PLAYED
from bot.strategy.walk import PricePath, Times, bar_at, in_ticks, last_price, last_prices
from bot.strategy.window import read_only
from bot.venue import Instrument

FUNDING_MS = 8 * HOUR_MS
USUAL_RATE = Decimal("0.0001")  # told before the first payment is seen


class SymbolMarket(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """One symbol over the run, warm-up for windows included."""

    bars: Bars  # that windows are made of
    path: PricePath  # that orders meet, played range only
    instrument: Instrument
    funding: FundingRates
    began_at: int
    assumed_funding: int = 0  # payments that nobody recorded

    @property
    def symbol(self) -> str:
        return self.bars.symbol

    @property
    def tick(self) -> float:
        return float(self.instrument.tick_size)

    def ticks_at(self, moment: int) -> float | None:
        """The price that stood at `moment`, in ticks, as the simulator plays the bar; None where a bar is missing."""
        index = bar_at(self.path, moment)
        return None if index is None else self.ticks_in(index, moment)

    def ticks_in(self, index: int, moment: int) -> float:
        """The same of a moment that bar `index` holds."""
        return last_price(self.path.at, self.path.span, self.path.ticks, index, moment, AS_PLAYED)

    def prices_at(self, moments: Times) -> Floats:
        """The same of many moments, oldest first; NaN where a bar is missing."""
        return last_prices(self.path.at, self.path.span, self.path.ticks, moments, AS_PLAYED)

    def payments_before(self, moments: Times) -> Times:
        """How many payments had been made by each of the moments."""
        return np.searchsorted(self.funding.at, moments, side="right")

    def funding_known(self, count: int) -> tuple[Decimal, int]:
        """(rate, time) of the next payment as the simulator tells them after `count` payments: as the last one was."""
        paid = self.funding.at
        first = int(paid.searchsorted(self.began_at, side="right"))
        if count <= first:
            return USUAL_RATE, self.began_at - self.began_at % FUNDING_MS + FUNDING_MS
        interval = int(paid[count - 1] - paid[count - 2]) if count - first >= 2 else FUNDING_MS
        return self.funding.rate[count - 1], int(paid[count - 1]) + interval

    def days_by_interval(self) -> dict[str, float]:
        """How many days the path has of each interval, by the interval's name."""
        counts = {length: int((self.path.span == length).sum()) for length in INTERVAL_NAME}
        return {INTERVAL_NAME[length]: round(length * n / DAY_MS, 2) for length, n in counts.items() if n}


def load_symbol(
    files: BarFiles,
    symbol: str,
    start: int,
    end: int,
    *,
    interval_ms: int = HOUR_MS,
    finest_ms: int = 5 * MINUTE_MS,
    warmup: int = WARMUP_HOURS,
) -> SymbolMarket | None:
    """The recorded market of `symbol`; None where no bar of it lies in the range.

    Hours that bars of `finest_ms` or more cover completely are walked along these, others along the bar itself.
    OperatorError for bars that cannot have happened, and where there is no file at all.
    """
    place = files.place(symbol, interval_ms)
    if place is None:
        raise absent(files, symbol, interval_ms)
    bars = read_only(files.load(symbol, interval_ms, start=start - warmup * interval_ms, end=end))
    refuse_absurd(place, bars)
    if not len(bars) or bars.close_at <= start:
        return None
    instrument = fitting(instrument_of(symbol, float(bars.close[-1])), bars)
    path = finest_path(files, bars, float(instrument.tick_size), start, finest_ms)
    funding, assumed = funding_between(FundingFiles(files.directory).load(symbol), start, end)
    return SymbolMarket(
        bars=bars, path=path, instrument=instrument, funding=funding, began_at=start, assumed_funding=assumed
    )


def finest_path(files: BarFiles, bars: Bars, tick: float, start: int, finest_ms: int) -> PricePath:
    """The finest bars of each of `bars` from `start` on, in order of time."""
    left = bars.open_time >= start
    parts: list[PricePath] = []
    for interval in (MINUTE_MS, 5 * MINUTE_MS):
        if not finest_ms <= interval < bars.interval_ms or files.place(bars.symbol, interval) is None:
            continue
        detail = files.load(bars.symbol, interval, start=start, end=bars.close_at)
        refuse_absurd(files.place(bars.symbol, interval), detail)
        index, owned = _owners(bars, detail)
        whole = np.bincount(index[owned], minlength=len(bars)) == bars.interval_ms // interval
        parts.append(in_ticks(select(detail, owned & (whole & left)[index]), tick))
        left &= ~whole
    parts.append(in_ticks(select(bars, left), tick))
    return _joined([part for part in parts if len(part)], bars.symbol)


def _owners(bars: Bars, detail: Bars) -> tuple[Times, npt.NDArray[np.bool_]]:
    """The place of the bar that each finer one lies in, and whether it is there."""
    opened = detail.open_time - detail.open_time % bars.interval_ms
    index = np.minimum(np.searchsorted(bars.open_time, opened), len(bars) - 1)
    return index, bars.open_time[index] == opened


def _joined(parts: Sequence[PricePath], symbol: str) -> PricePath:
    if len(parts) == 1:
        return parts[0]
    if not parts:
        raise OperatorError(f"{symbol}: no bars to walk along")
    at = np.concatenate([part.at for part in parts])
    order = np.argsort(at, kind="stable")
    span = np.concatenate([part.span for part in parts])
    ticks = np.concatenate([part.ticks for part in parts])
    return PricePath(symbol, at[order], span[order], np.ascontiguousarray(ticks[order]))
