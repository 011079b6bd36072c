"""One trade walked along recorded prices, compiled: when its entry fills, and what ends it where and when.

Prices are counted in ticks, so that they compare exactly; levels stand on the tick as the desk rounds them. The rules
are those of `strategy.exits`, at each point the venue's first, then the guard's.
"""

import math

import msgspec
import numpy as np
import numpy.typing as npt

from bot.compiling import compiled
from bot.messages import Bars
from bot.strategy.exits import (
    BEST_FIRST,
    EXIT,
    MIN_MOVE_PCT,
    MOVE_STOP,
    REASONS,
    STILL_OPEN,
    STOP_LOSS,
    TARGET,
    WORST_FIRST,
    Rules,
    by_the_clock,
    evaluate,
    gain_pct,
    passed,
    points,
    stations,
    stop_price,
    target_price,
    time_up,
)
from bot.strategy.follow import BROKEN, EXPIRED, FILLED, RAN_OUT

Times = npt.NDArray[np.int64]
Ticks = npt.NDArray[np.int32]

LIQUIDATED = len(REASONS)  # an index into ENDS
ENDS = (*REASONS, "liquidated")
TORN = STILL_OPEN - 1  # in a reason's place: a bar is missing
NEVER = 1 << 62
NEAR = 5e-13  # of a level: what `rounding.decimal_of` takes for the tick itself
EXACT = 1e-9  # ticks


class PricePath(msgspec.Struct, frozen=True, eq=False):
    """One symbol's bars of any lengths, oldest first; a hole in time is a missing bar."""

    symbol: str
    at: Times  # (bars,), open time
    span: Times  # (bars,), ms
    ticks: Ticks  # (bars, 4): open, high, low, close

    def __len__(self) -> int:
        return len(self.at)


def in_ticks(bars: Bars, tick: float) -> PricePath:
    """Prices rounded to the nearest tick, as the simulator plays them."""
    prices = np.column_stack((bars.open, bars.high, bars.low, bars.close)) / tick
    span = np.full(len(bars), bars.interval_ms, dtype=np.int64)
    return PricePath(bars.symbol, bars.open_time, span, np.rint(prices).astype(np.int32))


@compiled
def worsened(price: float, buy: bool, bps: float) -> float:
    """What a taker gets who finds `price`: moved against him by the slippage and on to the next tick."""
    slip = math.ceil(price * bps / 10_000.0 - EXACT)
    return price + slip if buy else max(1.0, price - slip)


@compiled
def on_tick(level: float, up: bool) -> float:
    """The next tick up, or down; a level that is a tick but for float arithmetic is that tick."""
    nearest = np.rint(level)
    if abs(level - nearest) <= NEAR * level:
        return float(nearest)
    return float(math.ceil(level) if up else math.floor(level))


@compiled
def first_stop(entry: float, sign: int, stop_pct: float) -> float:
    return on_tick(stop_price(entry, sign, stop_pct), sign < 0)


@compiled
def first_target(entry: float, sign: int, target_pct: float) -> float:
    """`sign * OFF` where the percentage is OFF."""
    level = target_price(entry, sign, target_pct)
    return level if math.isinf(level) else on_tick(level, sign > 0)


@compiled
def behind(wanted: float, placed: float, sign: int, entry: float) -> bool:
    """Whether the venue's stop is so far from the guard's that the guard leaves by itself, as in `strategy.watch`."""
    return gain_pct(wanted, sign, entry) - gain_pct(placed, sign, entry) >= MIN_MOVE_PCT


@compiled
def wait(
    at: Times,
    span: Times,
    ticks: Ticks,
    start: int,
    sign: int,
    limit: float,
    from_at: int,
    expires_at: int,
    path: int,
) -> tuple[int, int, int]:
    """(how it ended, bar, time) of a limit that rests from the moment after `from_at` on, bar `start` being the first.

    As `follow.wait`, but a price of the very moment `expires_at` still fills it: the cancel comes after.
    """
    order = BEST_FIRST if path == WORST_FIRST else path
    for index in range(start, len(at)):
        if index > start and at[index] != at[index - 1] + span[index - 1]:
            return BROKEN, index, 0
        opened, high, low, close = ticks[index]
        for price, after in points(opened, high, low, close, span[index], sign, order):
            now = at[index] + after
            if now > expires_at:
                return EXPIRED, index, expires_at
            if now > from_at and passed(price, sign, limit):
                return FILLED, index, now
    if len(at) and at[-1] + span[-1] > expires_at:
        return EXPIRED, len(at) - 1, expires_at
    return RAN_OUT, len(at), 0


@compiled
def met(
    price: float, gap: bool, sign: int, placed: float, placed_reason: int, target: float, liquidation: float
) -> tuple[int, float]:
    """(ended by, price found) of what waits at the venue when `price` comes; after a gap all is met at that price."""
    if passed(price, sign, liquidation) and sign * (liquidation - placed) > 0:
        return LIQUIDATED, price if gap else liquidation
    if passed(price, sign, placed):
        return placed_reason, price if gap else placed
    if passed(price, -sign, target):
        return TARGET, price if gap else target
    return STILL_OPEN, 0.0


@compiled
def due_before(now: int, stood: float, sign: int, entry: float, opened_at: int, rules: Rules) -> tuple[int, int]:
    """(rule, time) of a time that is up before `now`, while the price `stood` stands; STILL_OPEN: none is."""
    max_hold_ms, red_after_ms, session_end_at = rules[4:]
    gain = gain_pct(stood, sign, entry)
    due = min(opened_at + max_hold_ms, session_end_at)
    if gain < 0.0:
        due = min(due, opened_at + red_after_ms)
    if due >= now:
        return STILL_OPEN, NEVER
    at = int(max(due, opened_at))
    return time_up(gain, at, opened_at, max_hold_ms, red_after_ms, session_end_at), at


@compiled
def hold(
    at: Times,
    span: Times,
    ticks: Ticks,
    start: int,
    sign: int,
    entry: float,
    opened_at: int,
    first_at: int,
    last: float,
    stop: float,
    target: float,
    liquidation: float,
    rules: Rules,
    path: int,
    waited: bool,
    latency: int,
) -> tuple[int, float, int, int, bool]:
    """(ended by, price found, time, bar, by the bot) of a position from bar `start` on; STILL_OPEN, or TORN where a
    bar is missing. By the bot: it sent a market order, where else an order at the venue was met.

    `first_at`: the first moment whose price it meets, `last`: the price that stood before. `waited`: a limit filled on
    its way through the first bar (see `follow.wait`). `liquidation`: NaN for none. `latency`: ms from what the guard
    decides to what the venue does; meanwhile the stop that stood before still stands. Not worsened yet: whoever ends
    is a taker of the price found. A time that is up meets the price that stands in the order in which the bar is
    played, also where the extremes are taken worst first: there the better one would stand for half of the bar.
    """
    best, wanted, reason = entry, stop, STOP_LOSS  # the guard's
    placed, placed_reason = stop, STOP_LOSS  # the venue's
    coming, coming_reason, coming_at = stop, STOP_LOSS, 0
    leaving, leave_at, before, stood, timed = STILL_OPEN, NEVER, last, last, False
    if passed(last, sign, stop):  # it would trigger at once, so that the desk closes
        return STOP_LOSS, last, opened_at, start, True
    for index in range(start, len(at)):
        if index > start and at[index] != at[index - 1] + span[index - 1]:
            return TORN, 0.0, 0, index, False
        opened, high, low, close = ticks[index]
        order = BEST_FIRST if waited and index == start and path == WORST_FIRST else path
        for price, played, after in stations(opened, high, low, close, span[index], sign, order):
            now = at[index] + after
            if now < first_at:
                continue
            if leaving == STILL_OPEN:
                leaving, leave_at = due_before(now, stood, sign, entry, opened_at, rules)
                leave_at += latency
                timed = leaving != STILL_OPEN
            if leaving != STILL_OPEN and leave_at < now:
                return leaving, stood if timed else before, leave_at, index, True
            if placed != coming and coming_at <= now:
                placed, placed_reason = coming, coming_reason
                if passed(before, sign, placed):  # the price has come to it first, so that the desk closes
                    return placed_reason, before, coming_at, index, True
            ended, found = met(price, after == 0, sign, placed, placed_reason, target, liquidation)
            if ended != STILL_OPEN:
                return ended, found, now, index, False
            before, stood = price, played
            if leaving != STILL_OPEN:
                continue
            action, ruled, wanted, best = evaluate(price, now, sign, entry, opened_at, best, wanted, reason, rules)
            if action == EXIT:
                timed = by_the_clock(ruled)
                if latency == 0:
                    return ruled, played if timed else price, now, index, True
                leaving, leave_at = ruled, now + latency
                continue
            reason = ruled
            if action == MOVE_STOP:
                level = on_tick(wanted, sign < 0)
                if sign * (level - coming) > 0:
                    coming, coming_reason, coming_at = level, reason, now + latency
                    if latency == 0:
                        placed, placed_reason = coming, coming_reason
            elif reason != STOP_LOSS and passed(price, sign, wanted) and behind(wanted, coming, sign, entry):
                if latency == 0:
                    return reason, price, now, index, True
                leaving, leave_at = reason, now + latency
    return STILL_OPEN, 0.0, 0, len(at), False


@compiled
def last_price(at: Times, span: Times, ticks: Ticks, index: int, moment: int, path: int) -> float:
    """The price that stood at `moment`, which lies in bar `index` or after it."""
    opened, high, low, close = ticks[index]
    found = float(opened)
    for price, after in points(opened, high, low, close, span[index], 1, path):
        if at[index] + after <= moment:
            found = price
    return float(found)


@compiled
def last_prices(at: Times, span: Times, ticks: Ticks, moments: Times, path: int) -> npt.NDArray[np.float64]:
    """`last_price` of many moments, oldest first; NaN where no bar holds one."""
    found = np.full(len(moments), np.nan)
    index = 0
    for number in range(len(moments)):
        while index + 1 < len(at) and at[index + 1] <= moments[number]:
            index += 1
        if len(at) and at[index] <= moments[number] < at[index] + span[index]:
            found[number] = last_price(at, span, ticks, index, moments[number], path)
    return found


def bar_at(path: PricePath, moment: int) -> int | None:
    """The index of the bar that holds `moment`; None where there is none."""
    index = int(path.at.searchsorted(moment, side="right")) - 1
    return index if index >= 0 and moment < path.at[index] + path.span[index] else None
