"""Bars of a longer interval made of shorter ones."""

import msgspec

from bot.messages import Bars


def resample(bars: Bars, interval_ms: int) -> Bars:
    """The bars of `interval_ms` (a multiple of the given bars' own) that lie whole within `bars`, oldest first.

    They begin at multiples of the interval since 1970-01-01 00:00 UTC, as the venue's do; a first or last one of which
    a part is missing is left out.
    """
    count = interval_ms // bars.interval_ms
    first = -int(bars.open_time[0]) % interval_ms // bars.interval_ms if len(bars) else 0
    whole = max(0, len(bars) - first) // count
    chosen = slice(first, first + whole * count)
    return msgspec.structs.replace(
        bars,
        interval_ms=interval_ms,
        open_time=bars.open_time[chosen][::count],
        open=bars.open[chosen][::count],
        high=bars.high[chosen].reshape(whole, count).max(axis=1),
        low=bars.low[chosen].reshape(whole, count).min(axis=1),
        close=bars.close[chosen][count - 1 :: count],
        volume=bars.volume[chosen].reshape(whole, count).sum(axis=1),
    )
