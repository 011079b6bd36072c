"""The rule that every backtester was given: long when RSI(14) crosses below a bound, entry at the next bar's open, a
stop, a target, out 48 bars later, one position a symbol, fee 0.05 % a side. Here as a sweep and as a plain loop.
"""

import itertools
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.made_market import FIVE_MS
from bot.clock import DAY_MS
from bot.messages import Bars, Floats
from bot.research.sweep.columns import LAST_TIME, Dealing, Entries, Prices, Signals
from bot.research.sweep.parts import Work, load, run
from bot.research.sweep.signals import Extracted
from bot.strategy import ta
from bot.strategy.exits import OFF
from bot.strategy.walk import in_ticks

TICK = 0.001
HOLD = 48  # bars
FEE = 0.0005
BOUNDS = tuple(range(21, 41, 2))
STOPS = tuple(round(1.0 + 0.2 * step, 1) for step in range(10))  # percent
TARGETS = (1.0, 2.0, 3.0, 4.0, 5.0)
NO_COSTS_BUT_FEES = Dealing(maker=FEE, taker=FEE, slippage_bps=0.0, arms=False)


class Crossings(msgspec.Struct, frozen=True, eq=False):
    """Where some bound was crossed: places in the joined bars, and which bounds, (bounds, crossings)."""

    bar: np.ndarray
    symbol: np.ndarray
    crossed: np.ndarray


def crossings(some: Sequence[Bars], bounds: Sequence[float]) -> Crossings:
    """RSI once a symbol, crossings once a bound, as the rivals' sweeps have it."""
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    begin = 0
    for number, bars in enumerate(some):
        strength = ta.RSI(bars.close, timeperiod=14)
        before, now = strength[:-1], strength[1:]
        crossed = np.array([(now < bound) & (before >= bound) for bound in bounds])
        crossed[:, -1] = False  # there is no next bar
        places = np.flatnonzero(crossed.any(axis=0))
        found.append((places + 1 + begin, np.full(len(places), number), crossed[:, places]))
        begin += len(bars)
    columns = zip(*found, strict=True)
    bar, symbol, flags = (np.concatenate(one, axis=-1) for one in columns)
    return Crossings(bar.astype(np.int64), symbol.astype(np.int64), flags)


def joined(some: Sequence[Bars]) -> Prices:
    paths = [in_ticks(bars, TICK) for bars in some]
    return Prices(
        at=np.concatenate([path.at for path in paths]),
        span=np.concatenate([path.span for path in paths]),
        ticks=np.concatenate([path.ticks for path in paths]),
        funding=np.zeros(sum(map(len, paths))),
    )


def work_of(prices: Prices, symbols: int, bars: int, bar: np.ndarray, symbol: np.ndarray, sign: np.ndarray,
            rules: Floats, masks: np.ndarray) -> Work:  # fmt: skip
    """Signals that enter at the open of the bar after `bar`, under every row of rules and every mask."""
    first = bar + 1
    count = len(first)
    at = prices.at[first]
    first_day = int(prices.at[0]) // DAY_MS
    last_day = int(prices.at.max() + FIVE_MS) // DAY_MS
    signals = Signals(
        first_bar=first,
        last_bar=(symbol + 1) * bars,
        gap_at=np.full(count, LAST_TIME),
        sign=sign,
        market=prices.ticks[first, 0].astype(np.float64),
        arrives_at=at,
    )
    entries = Entries(
        limit=np.full(count, np.nan),
        post_only=np.zeros(count, dtype=np.bool_),
        wanted=np.ones(count, dtype=np.bool_),
        expires_at=at,
        session_end_at=np.full(count, OFF),
    )
    days = last_day - first_day + 1
    extracted = Extracted(
        symbols=tuple(f"S{number}" for number in range(symbols)), symbol=symbol, ticks=(), predicted=np.zeros(count),
        prices=prices, signals=signals, allowed=np.ones((0, count), dtype=np.bool_), entries=(entries,),
    )  # fmt: skip
    spans = np.array([[0, days]], dtype=np.int64)
    return Work(
        extracted=extracted, rules=rules, masks=masks, dealing=NO_COSTS_BUT_FEES, path=0, cap=1,
        first_day=first_day, days=days, spans=spans,
    )  # fmt: skip


def rules_of(stops: Sequence[float], targets: Sequence[float]) -> Floats:
    off = (math.inf,) * 4
    rows = [(stop, target, *off, float(HOLD * FIVE_MS), math.inf) for stop, target in itertools.product(stops, targets)]
    return np.array(rows)


def sweep(some: Sequence[Bars], bounds: Sequence[float], stops: Sequence[float], targets: Sequence[float]) -> Floats:
    """(configurations, 2): trades and net, stops slowest and bounds fastest; from the bars to the figures on disk."""
    found = crossings(some, bounds)
    sign = np.ones(len(found.bar), dtype=np.int64)
    rules = rules_of(stops, targets)
    work = work_of(joined(some), len(some), len(some[0]), found.bar, found.symbol, sign, rules, found.crossed)
    with tempfile.TemporaryDirectory() as folder:
        run(work, Path(folder), ["whole"])
        table = load(work, Path(folder), ["whole"])
    return table.select("trades", "net").to_numpy()


def plain_loop(some: Sequence[Bars], bound: float, stop_pct: float, target_pct: float) -> tuple[int, float]:
    """(trades, net) of one configuration by a loop over the signals that nothing of ours has a part in."""
    trades, net = 0, 0.0
    for bars in some:
        prices = np.rint(np.column_stack((bars.open, bars.high, bars.low, bars.close)) / TICK)
        strength = ta.RSI(bars.close, timeperiod=14)
        crossed = np.flatnonzero((strength[1:] < bound) & (strength[:-1] >= bound)) + 1
        free = 0
        for signal in crossed.tolist():
            begin = signal + 1
            if begin < free or begin >= len(bars):
                continue
            entry = prices[begin, 0]
            stop, target = math.floor(entry * (1 - stop_pct / 100)), math.ceil(entry * (1 + target_pct / 100))
            left = _left(prices, begin, stop, target)
            if left is None:
                break
            free, out = left
            trades += 1
            net += out / entry - 1 - FEE * (1 + out / entry)
    return trades, net


def _left(prices: np.ndarray, begin: int, stop: float, target: float) -> tuple[int, float] | None:
    """(the bar from which on it is flat, the price out); None where the bars end first."""
    for bar in range(begin, min(begin + HOLD + 1, len(prices))):
        opened, high, low, _ = prices[bar]
        if bar > begin and opened <= stop:
            return bar + 1, opened
        if bar > begin and opened >= target:
            return bar + 1, opened
        if bar == begin + HOLD:
            return bar + 1, opened
        if low <= stop:
            return bar + 1, stop
        if high >= target:
            return bar + 1, target
    return None
