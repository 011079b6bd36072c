"""Bars as a client of the exchange sees them: the closed ones so far and the one that is still open."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal

import msgspec

from bot.exchange.simulator.market import Market
from bot.exchange.wire import INTERVAL_MS
from bot.messages import Bar


class Candle(msgspec.Struct):
    """A bar that may still change."""

    interval_ms: int
    open_time: int
    open: float
    high: float
    low: float
    close: float
    volume: float = 0.0
    prints: int = 0

    @property
    def close_at(self) -> int:
        return self.open_time + self.interval_ms

    def absorb(self, other: "Candle | Bar") -> None:
        self.high = max(self.high, other.high)
        self.low = min(self.low, other.low)
        self.close = other.close
        self.volume += other.volume


class Candles:
    """The bars of every symbol. Intervals that the market does not have are put together from those it has."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._closed: defaultdict[tuple[str, int], list[Bar]] = defaultdict(list)
        self._bent: dict[tuple[str, int, int], float | None] = {}  # closed bars that are told wrongly, by open time
        self._forming: dict[str, dict[int, Candle]] = {symbol: {} for symbol in market.symbols}
        self._native = {symbol: self._warmed_up(symbol) for symbol in market.symbols}
        self._tracked = {symbol: list(native) for symbol, native in self._native.items()}

    def knows(self, symbol: str, interval_ms: int) -> bool:
        return any(interval_ms % native == 0 for native in self._native[symbol])

    def track(self, symbol: str, interval_ms: int) -> None:
        """Keep an open bar of an interval that somebody now listens to."""
        if interval_ms in self._tracked[symbol] or not self.knows(symbol, interval_ms):
            return
        base = self._base(symbol, interval_ms)
        forming = self._forming[symbol].get(base)
        if forming is not None:
            opened = forming.open_time - forming.open_time % interval_ms
            parts: list[Bar | Candle] = [*self._rows(symbol, base, opened, forming.open_time), forming]
            self._forming[symbol][interval_ms] = merged(parts, opened, interval_ms)
        self._tracked[symbol].append(interval_ms)

    def print(self, symbol: str, price: Decimal, at: int) -> None:
        """One traded price."""
        value = float(price)
        forming = self._forming[symbol]
        for interval in self._tracked[symbol]:
            candle = forming.get(interval)
            if candle is None or at >= candle.open_time + interval:
                opened = at - at % interval
                forming[interval] = Candle(interval, opened, value, value, value, value, 0.0, 1)
                continue
            candle.prints += 1
            candle.close = value
            if value > candle.high:
                candle.high = value
            elif value < candle.low:
                candle.low = value

    def close(self, bar: Bar) -> None:
        """The final values of a bar, as the market tells them."""
        key = (bar.symbol, bar.interval_ms)
        self._closed[key].append(bar)
        if bar.interval_ms not in self._native[bar.symbol]:
            self._native[bar.symbol].add(bar.interval_ms)
            self._tracked[bar.symbol].append(bar.interval_ms)
        candle = self._forming[bar.symbol].get(bar.interval_ms)
        if candle is not None and candle.open_time == bar.open_time:
            candle.open, candle.high, candle.low, candle.close = bar.open, bar.high, bar.low, bar.close
            candle.volume = bar.volume
        if bar.interval_ms == min(self._native[bar.symbol]):
            self._add_volume(bar)

    def _add_volume(self, bar: Bar) -> None:
        for interval, candle in self._forming[bar.symbol].items():
            if interval != bar.interval_ms and candle.open_time <= bar.open_time < candle.close_at:
                candle.volume += bar.volume

    def open_candle(self, symbol: str, interval_ms: int) -> Candle | None:
        """The last candle that began; it may be complete by now."""
        return self._forming[symbol].get(interval_ms)

    def bend(self, symbol: str, interval_ms: int, open_time: int, factor: float | None) -> None:
        """Tell a bar with another close from now on, or not at all (None)."""
        self._bent[symbol, interval_ms, open_time] = factor

    def rows(self, symbol: str, interval_ms: int, start: int, end: int, now: int) -> list[Bar | Candle]:
        """Bars with start <= open_time < end, oldest first; the one that is open at `now` as far as it has come."""
        rows = self._true_rows(symbol, interval_ms, start, end, now)
        if not self._bent:
            return rows
        bent = (_bent(row, self._bent.get((symbol, interval_ms, row.open_time), 1.0)) for row in rows)
        return [row for row in bent if row is not None]

    def _true_rows(self, symbol: str, interval_ms: int, start: int, end: int, now: int) -> list[Bar | Candle]:
        base = self._base(symbol, interval_ms)
        opened = start - start % interval_ms
        parts = self._rows(symbol, base, opened, min(end, now + 1))
        forming = self._forming[symbol].get(base)
        if forming is not None and opened <= forming.open_time < end and forming.close_at > now:
            if parts and parts[-1].open_time == forming.open_time:
                parts.pop()
            parts.append(forming)
        if base == interval_ms:
            return [part for part in parts if part.open_time >= start]
        groups: defaultdict[int, list[Bar | Candle]] = defaultdict(list)
        for part in parts:
            groups[part.open_time - part.open_time % interval_ms].append(part)
        return [merged(group, at, interval_ms) for at, group in groups.items() if at >= start]

    def _rows(self, symbol: str, interval_ms: int, start: int, end: int) -> list[Bar | Candle]:
        warm_up: list[Bar | Candle] = list(self._market.history(symbol, interval_ms, start, end))
        played = self._closed[symbol, interval_ms]
        first = bisect_left(played, start, key=lambda bar: bar.open_time)
        last = bisect_left(played, end, key=lambda bar: bar.open_time)
        return warm_up + played[first:last]

    def _warmed_up(self, symbol: str) -> set[int]:
        """The intervals that the market itself has before its start."""
        start = self._market.start
        return {ms for ms in INTERVAL_MS.values() if self._market.history(symbol, ms, start - 2 * ms, start)}

    def _base(self, symbol: str, interval_ms: int) -> int:
        """The longest interval of the market's own that the wanted one is a multiple of."""
        return max(ms for ms in self._native[symbol] if interval_ms % ms == 0)


def _bent(row: Bar | Candle, factor: float | None) -> Bar | Candle | None:
    if factor is None or factor == 1.0:
        return None if factor is None else row
    close = row.close * factor
    return msgspec.structs.replace(row, close=close, high=max(row.high, close), low=min(row.low, close))


def merged(parts: Iterable[Bar | Candle], open_time: int, interval_ms: int) -> Candle:
    """One longer candle out of shorter ones, oldest first."""
    first, *rest = parts
    candle = Candle(interval_ms, open_time, first.open, first.high, first.low, first.close, first.volume, 4)
    for part in rest:
        candle.absorb(part)
    return candle
