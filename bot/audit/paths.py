"""Where the audit gets the path of a price from: the finest bars that the venue keeps."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from bot.clock import HOUR_MS, MINUTE_MS
from bot.errors import VenueRejected
from bot.messages import Bar, Bars

INTERVALS_MS = (5 * MINUTE_MS, HOUR_MS)  # the finest first
COLUMNS = ("open", "high", "low", "close", "volume")


class BarSource(Protocol):
    async def bars(self, symbol: str, interval_ms: int, start: int, end: int) -> Sequence[Bar]:
        """Closed bars with start <= open_time < end, oldest first."""
        ...


class VenuePaths:
    """Bars over REST; an interval that the venue refuses for a symbol (a replay on 1h bars has no finer ones) is
    not asked for again."""

    def __init__(self, source: BarSource) -> None:
        self._source = source
        self._finest: dict[str, int] = {}  # symbol: index of INTERVALS_MS

    async def hours(self, symbol: str, start: int, end: int) -> Bars:
        """The hourly bars that opened from `start` on, before `end`."""
        return as_arrays(symbol, HOUR_MS, await self._source.bars(symbol, HOUR_MS, start, end))

    async def finest(self, symbol: str, start: int, end: int) -> Bars:
        """The bars that cover start ... end as far as they are closed; none where the venue has none.

        Raises VenueError as the venue's port does.
        """
        index = self._finest.get(symbol, 0)
        interval_ms = INTERVALS_MS[index]
        begin = start - start % interval_ms
        try:
            found = await self._source.bars(symbol, interval_ms, begin, end)
        except VenueRejected:
            if index + 1 == len(INTERVALS_MS):
                raise
            self._finest[symbol] = index + 1
            return await self.finest(symbol, start, end)
        return as_arrays(symbol, interval_ms, found)


def as_arrays(symbol: str, interval_ms: int, bars: Sequence[Bar]) -> Bars:
    columns = (np.array([getattr(bar, name) for bar in bars], dtype=np.float64) for name in COLUMNS)
    return Bars(symbol, interval_ms, np.array([bar.open_time for bar in bars], dtype=np.int64), *columns)
