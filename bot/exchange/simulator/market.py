"""What a market is to the simulator: bars played as price steps in time, closed bars and funding at their moments."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from bot.clock import DAY_MS
from bot.messages import Bar, Bars
from bot.venue import Instrument

Times = npt.NDArray[np.int64]
Printed = tuple[str, Decimal, bool]  # symbol, price, gap: the price jumped here instead of moving here


class PriceStep(msgspec.Struct, frozen=True):
    """One moment of the market."""

    at: int
    prices: tuple[Printed, ...]
    closed: tuple[Bar, ...]  # bars that close at the end of this step (close_at == at + 1), short intervals first
    funding: tuple[tuple[str, Decimal], ...]  # symbol, rate due now


class Market(Protocol):
    symbols: tuple[str, ...]
    instruments: dict[str, Instrument]
    start: int  # ms UTC, the open time of the first bar that is played
    end: int  # ms UTC, the close time of the last one

    def history(self, symbol: str, interval_ms: int, start: int, end: int) -> list[Bar]:
        """Warm-up: bars with start <= open_time < end that closed at or before `self.start`; none of an interval
        that the market does not have. What closes later is told by `steps` alone."""
        ...

    def steps(self) -> Iterator[PriceStep]:
        """The played range, oldest first, each time once."""
        ...


class FundingRates(msgspec.Struct, frozen=True, eq=False):
    """Rates of one symbol at the times they are due, oldest first."""

    at: Times  # (payments,)
    rate: tuple[Decimal, ...]


class Tape:
    """A market over arrays of bars. Prices are rounded to the symbol's tick.

    `bars` holds every known interval (warm-up included), `played` for each symbol the bars whose paths are played:
    disjoint in time, together covering start..end. A path has four prices: open at t, the first extreme at a quarter of
    the bar, the second at half, close one millisecond before its end; the low comes first in a bar that rose.
    """

    def __init__(
        self,
        instruments: Mapping[str, Instrument],
        bars: Mapping[tuple[str, int], Bars],
        played: Mapping[str, Sequence[Bars]],
        funding: Mapping[str, FundingRates],
        start: int,
        end: int,
    ) -> None:
        self.symbols = tuple(instruments)
        self.instruments = dict(instruments)
        self.start = start
        self.end = end
        self.bars = dict(bars)
        self.played = dict(played)
        self.funding = dict(funding)
        self._ticks = [instrument.tick_size for instrument in instruments.values()]

    def history(self, symbol: str, interval_ms: int, start: int, end: int) -> list[Bar]:
        bars = self.bars.get((symbol, interval_ms))
        if bars is None:
            return []
        return list(_structs(bars, start, min(end, self.start - interval_ms + 1)))

    def steps(self) -> Iterator[PriceStep]:
        for begin in range(self.start, self.end, DAY_MS):
            yield from self._day(begin, min(begin + DAY_MS, self.end))

    def _day(self, begin: int, end: int) -> Iterator[PriceStep]:
        at, owner, ticks, gap = self._paths(begin, end)
        closed = self._closing(begin, end)
        funding = self._due(begin, end)
        edges = np.flatnonzero(np.diff(at, prepend=at[0] - 1)).tolist()
        prints = list(zip(owner.tolist(), ticks.tolist(), gap.tolist(), strict=True))
        for first, last in zip(edges, [*edges[1:], len(prints)], strict=True):
            now = int(at[first])
            prices = tuple((self.symbols[who], self._ticks[who] * n, jump) for who, n, jump in prints[first:last])
            yield PriceStep(now, prices, tuple(closed.get(now, ())), tuple(funding.get(now, ())))

    def _paths(self, begin: int, end: int) -> tuple[Times, Times, Times, npt.NDArray[np.bool_]]:
        """Times, symbol numbers, prices in ticks and gap flags of all prints in [begin, end), by time."""
        at, owner, ticks = [], [], []
        for number, symbol in enumerate(self.symbols):
            for bars in self.played[symbol]:
                part = _between(bars, begin, end)
                times, prices = path(bars, part)
                at.append(times.ravel())
                ticks.append(np.rint(prices.ravel() / float(self._ticks[number])).astype(np.int64))
                owner.append(np.full(times.size, number, dtype=np.int64))
        all_at, all_owner = np.concatenate(at), np.concatenate(owner)
        gap = np.arange(all_at.size) % 4 == 0
        order = np.lexsort((all_owner, all_at))
        return all_at[order], all_owner[order], np.concatenate(ticks)[order], gap[order]

    def _closing(self, begin: int, end: int) -> dict[int, list[Bar]]:
        closing: dict[int, list[Bar]] = defaultdict(list)
        for (_, interval), bars in sorted(self.bars.items(), key=lambda item: item[0][1]):
            for bar in _structs(bars, max(begin - interval + 1, self.start), end - interval + 1):
                closing[bar.close_at - 1].append(bar)
        return closing

    def _due(self, begin: int, end: int) -> dict[int, list[tuple[str, Decimal]]]:
        due: dict[int, list[tuple[str, Decimal]]] = defaultdict(list)
        for symbol in self.symbols:
            rates = self.funding[symbol]
            for i in range(*np.searchsorted(rates.at, (begin, end)).tolist()):
                due[int(rates.at[i])].append((symbol, rates.rate[i]))
        return due


def path(bars: Bars, part: slice = slice(None)) -> tuple[Times, npt.NDArray[np.float64]]:
    """Times and prices of the bars' four prints, each of shape (bars, 4)."""
    interval = bars.interval_ms
    times = bars.open_time[part, None] + np.array([0, interval // 4, interval // 2, interval - 1], dtype=np.int64)
    opened, high, low, close = bars.open[part], bars.high[part], bars.low[part], bars.close[part]
    rose = close >= opened
    return times, np.column_stack((opened, np.where(rose, low, high), np.where(rose, high, low), close))


def _between(bars: Bars, begin: int, end: int) -> slice:
    """The part with begin <= open_time < end."""
    first, last = np.searchsorted(bars.open_time, (begin, end)).tolist()
    return slice(first, max(first, last))


def _structs(bars: Bars, begin: int, end: int) -> Iterator[Bar]:
    part = _between(bars, begin, end)
    columns = (bars.open_time, bars.open, bars.high, bars.low, bars.close, bars.volume)
    for row in zip(*(column[part].tolist() for column in columns), strict=True):
        yield Bar(bars.symbol, bars.interval_ms, *row)
