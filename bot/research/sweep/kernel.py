"""Signals in, the results of many exit plans out: compiled, without the GIL, over one array of all symbols' prices.

What fills a limit is `strategy.walk.wait`, what ends a position `strategy.walk.hold`. This file only finds the first
bar at which `hold` can come to anything and starts it there, and does not ask it twice: where one level or one time
alone can end a position in its bar, all plans that share it share what `hold` says.
"""

import numpy as np

from bot.compiling import free
from bot.messages import Floats
from bot.research.sweep.columns import (
    CLOSED,
    LAST_TIME,
    NO_ENTRY,
    NO_FILL,
    UNTOLD,
    Bytes,
    Dealing,
    Entries,
    Plans,
    Prices,
    Scratch,
    Signals,
)
from bot.strategy.exits import OFF, STILL_OPEN, Rules, passed, price_at_gain
from bot.strategy.follow import EXPIRED, FILLED
from bot.strategy.walk import Times, first_stop, first_target, hold, wait, worsened

LONGEST_RUN = 4_096  # bars whose running extremes are kept
ARM_SLACK_PCT = 1e-6  # a bar that comes so near to a trigger is walked, and may turn out to do nothing
OFF_STOP = 0.0  # ticks from which no LONG is stopped; a SHORT has its mirror


@free
def first_at_or_above(rising: Floats, count: int, level: float) -> int:
    """The first of `count` values that never fall which is at or above `level`; `count` where none is."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if rising[middle] >= level:
            high = middle
        else:
            low = middle + 1
    return low


@free
def extremes(prices: Prices, begin: int, end: int, sign: int, best: Floats, worst: Floats) -> int:
    """How far the price went for and against the position since `begin`, as values that never fall; how many."""
    count = max(0, min(end - begin, len(best)))
    high, low = -OFF, -OFF
    for place in range(count):
        top, bottom = float(prices.ticks[begin + place, 1]), float(prices.ticks[begin + place, 2])
        high = max(high, top if sign > 0 else -bottom)
        low = max(low, -bottom if sign > 0 else top)
        best[place], worst[place] = high, low
    return count


@free
def enter(
    prices: Prices, signals: Signals, entries: Entries, row: int, dealing: Dealing, path: int
) -> tuple[int, bool, float, int, int]:
    """(status, maker, fill, time, bar) of a signal's entry, CLOSED standing for filled."""
    sign, market, limit = signals.sign[row], signals.market[row], entries.limit[row]
    first, last, arrives = signals.first_bar[row], signals.last_bar[row], signals.arrives_at[row]
    if not entries.wanted[row]:
        return NO_ENTRY, False, 0.0, arrives, first
    taken = worsened(market, sign > 0, dealing.slippage_bps)
    if np.isnan(limit):
        return CLOSED, False, taken, arrives, first
    if sign * (limit - market) > 0:
        if entries.post_only[row]:
            return NO_FILL, False, 0.0, arrives, first
        return CLOSED, False, min(taken, limit) if sign > 0 else max(taken, limit), arrives, first
    found, bar, at = wait(
        prices.at[first:last], prices.span[first:last], prices.ticks[first:last],
        0, sign, limit, arrives, entries.expires_at[row], path,
    )  # fmt: skip
    if found == FILLED:
        return CLOSED, True, limit, at, first + bar
    if found == EXPIRED:
        return NO_FILL, False, 0.0, at, first
    torn = signals.gap_at[row] != LAST_TIME
    return UNTOLD, False, 0.0, entries.expires_at[row] if torn else LAST_TIME, first


@free
def sent(limit: float, market: float, sign: int, stop_pct: float) -> bool:
    """A limit whose stop would trigger at once is not sent, because the stop is there first."""
    return np.isnan(limit) or not passed(market, sign, first_stop(limit, sign, stop_pct))


@free
def until(prices: Prices, first: int, run: int, due: float) -> int:
    """The first of `run` bars after whose end `due` does not lie; `run`: it lies beyond."""
    low, high = 0, run
    while low < high:
        middle = (low + high) // 2
        if prices.at[first + middle] + prices.span[first + middle] > due:
            high = middle
        else:
            low = middle + 1
    return low


@free
def look_ahead(
    prices: Prices,
    first: int,
    run: int,
    sign: int,
    fill: float,
    at: int,
    session_end_at: float,
    plans: Plans,
    kept: Scratch,
) -> None:
    """Where each stop, target, trigger and time comes into reach."""
    kept.known[:] = 0
    for place in range(len(plans.stops)):
        kept.stop_level[place] = first_stop(fill, sign, plans.stops[place])
        kept.bars[0, place] = first_at_or_above(kept.worst_run, run, -sign * kept.stop_level[place])
    for place in range(len(plans.targets)):
        kept.target_level[place] = first_target(fill, sign, plans.targets[place])
        kept.bars[1, place] = first_at_or_above(kept.best_run, run, sign * kept.target_level[place])
    for place in range(len(plans.arms)):
        arm = sign * price_at_gain(plans.arms[place] - ARM_SLACK_PCT, sign, fill)
        kept.bars[2, place] = 0 if sign * fill >= arm else first_at_or_above(kept.best_run, run, arm)
    for place in range(len(plans.times)):
        due = min(at + min(plans.times[place, 0], plans.times[place, 1]), session_end_at)
        kept.bars[3, place] = until(prices, first, run, due)


@free
def leave(
    prices: Prices,
    first: int,
    quiet: int,
    last: int,
    sign: int,
    fill: float,
    fill_at: int,
    maker: bool,
    market: float,
    stop: float,
    target: float,
    rules: Rules,
    path: int,
) -> tuple[int, float, int, int, bool]:
    """(ended by, price found, time, bar, by the bot) of `strategy.walk.hold`, without latency and liquidation, of a
    position whose first `quiet` bars say nothing."""
    start = first + quiet
    if start >= last:
        return STILL_OPEN, 0.0, 0, last, False
    waited, first_at, before = maker, fill_at if maker else fill_at + 1, fill if maker else market
    if quiet > 0:
        waited, first_at, before = False, prices.at[start], float(prices.ticks[start - 1, 3])
    ended, price, at, bar, by_bot = hold(
        prices.at[start:last], prices.span[start:last], prices.ticks[start:last],
        0, sign, fill, fill_at, first_at, before, stop, target, np.nan, rules, path, waited, 0,
    )  # fmt: skip
    return ended, price, at, start + bar, by_bot


@free
def result(
    prices: Prices, sign: int, maker: bool, fill: float, first: int, found: float, bar: int, dealing: Dealing
) -> float:
    """The net return, as a fraction of the entry's notional, of a position that a taker left at the price `found`."""
    out = worsened(found, sign < 0, dealing.slippage_bps)
    paid = (dealing.maker if maker else dealing.taker) + out / fill * dealing.taker
    funding = float(prices.funding[bar] - prices.funding[first])
    return sign * (out / fill - 1.0) - paid - sign * funding / fill


@free
def alone(bars: Times, codes: Times) -> int:
    """Which of a plan's four can speak first: its place, or -1 where several can in the same bar."""
    which, nearest, same = 0, bars[0, codes[0]], False
    for one in range(1, 4):
        here = bars[one, codes[one]]
        if here == nearest:
            same = True
        elif here < nearest:
            which, nearest, same = one, here, False
    return -1 if same else which


@free
def shared(
    which: int,
    place: int,
    prices: Prices,
    first: int,
    sign: int,
    fill: float,
    fill_at: int,
    maker: bool,
    market: float,
    session_end_at: float,
    plans: Plans,
    dealing: Dealing,
    path: int,
    kept: Scratch,
) -> None:
    """What a stop, a target or a time comes to where nothing else can speak in its bar, kept for all plans of it."""
    quiet = kept.bars[which, place]
    stop = kept.stop_level[place] if which == 0 else OFF_STOP if sign > 0 else OFF
    target = kept.target_level[place] if which == 1 else sign * OFF
    rules = (OFF, OFF, OFF, OFF, OFF, OFF, OFF)
    if which == 3:
        rules = (OFF, OFF, OFF, OFF, plans.times[place, 0], plans.times[place, 1], session_end_at)
    ended, price, at, bar, by_bot = leave(
        prices, first, quiet, first + quiet + 1, sign, fill, fill_at, maker, market, stop, target, rules, path
    )
    kept.known[which, place] = 2
    if ended > STILL_OPEN:
        kept.known[which, place] = 1
        kept.net[which, place] = result(prices, sign, maker, fill, first, price, bar, dealing)
        kept.end_at[which, place] = at + by_bot


@free
def walk(
    begin: int,
    end: int,
    prices: Prices,
    signals: Signals,
    entries: Entries,
    plans: Plans,
    dealing: Dealing,
    path: int,
    net: Floats,
    end_at: Times,
    status: Bytes,
) -> None:
    """Signals `begin` ... `end` under every plan, (plans, signals): the net return of the entry's notional, from
    when on its place is free, and what became of it. What the bot itself ends is known after that moment only."""
    kept = scratch(plans)
    longest = plans.times[:, 0].max()
    for row in range(begin, end):
        became, maker, fill, fill_at, first = enter(prices, signals, entries, row, dealing, path)
        sign, last, market = signals.sign[row], signals.last_bar[row], signals.market[row]
        session_end_at, run = entries.session_end_at[row], 0
        if became == CLOSED:
            reach = last if longest == OFF else min(last, first + int(longest // prices.span[first]) + 2)
            run = extremes(prices, first, reach, sign, kept.best_run, kept.worst_run)
            look_ahead(prices, first, run, sign, fill, fill_at, session_end_at, plans, kept)
        for number in range(len(plans.codes)):
            codes, rules = plans.codes[number], plans.rules[number]
            status[number, row], net[number, row], end_at[number, row] = became, 0.0, fill_at
            if became != NO_ENTRY and dealing.arms and not sent(entries.limit[row], market, sign, rules[0]):
                status[number, row], end_at[number, row] = NO_FILL, signals.arrives_at[row]
                continue
            if became != CLOSED:
                continue
            which = alone(kept.bars, codes)
            first_event = kept.bars[max(which, 0), codes[max(which, 0)]]
            if which >= 0 and which != 2 and 0 < first_event < run:
                if kept.known[which, codes[which]] == 0:
                    shared(
                        which, codes[which], prices, first, sign, fill, fill_at, maker, market, session_end_at,
                        plans, dealing, path, kept,
                    )  # fmt: skip
                if kept.known[which, codes[which]] == 1:
                    net[number, row], end_at[number, row] = (
                        kept.net[which, codes[which]],
                        kept.end_at[which, codes[which]],
                    )
                    continue
            ended, price, at, bar, by_bot = walked(
                prices, first, last, run, sign, fill, fill_at, maker, market, session_end_at, codes, rules, path, kept
            )  # fmt: skip
            if ended <= STILL_OPEN:
                status[number, row], end_at[number, row] = UNTOLD, signals.gap_at[row]
                continue
            net[number, row] = result(prices, sign, maker, fill, first, price, bar, dealing)
            end_at[number, row] = at + by_bot


@free
def walked(
    prices: Prices,
    first: int,
    last: int,
    run: int,
    sign: int,
    fill: float,
    fill_at: int,
    maker: bool,
    market: float,
    session_end_at: float,
    codes: Times,
    rules: Floats,
    path: int,
    kept: Scratch,
) -> tuple[int, float, int, int, bool]:
    """One plan from the first bar on in which it can say anything."""
    stop, target = kept.stop_level[codes[0]], kept.target_level[codes[1]]
    quiet = min(
        run,
        min(min(kept.bars[0, codes[0]], kept.bars[1, codes[1]]), min(kept.bars[2, codes[2]], kept.bars[3, codes[3]])),
    )
    if passed(fill if maker else market, sign, stop):
        quiet = 0
    rest = (rules[2], rules[3], rules[4], rules[5], rules[6], rules[7], session_end_at)
    return leave(prices, first, quiet, last, sign, fill, fill_at, maker, market, stop, target, rest, path)


@free
def scratch(plans: Plans) -> Scratch:
    most = max(max(len(plans.stops), len(plans.targets)), max(len(plans.arms), len(plans.times)))
    return Scratch(
        np.empty(LONGEST_RUN),
        np.empty(LONGEST_RUN),
        np.empty(most),
        np.empty(most),
        np.empty((4, most), dtype=np.int64),
        np.zeros((4, most), dtype=np.int8),
        np.empty((4, most)),
        np.empty((4, most), dtype=np.int64),
    )


@free
def trade(
    row: int, prices: Prices, signals: Signals, entries: Entries, plans: Plans, number: int, dealing: Dealing, path: int
) -> tuple[int, bool, float, int, float, int, int]:
    """(status, maker, fill, fill time, exit price, exit time, ended by) of one signal under one plan, in ticks: the
    `walk` of a single plan, told in full."""
    kept = scratch(plans)
    became, maker, fill, fill_at, first = enter(prices, signals, entries, row, dealing, path)
    sign, last, market = signals.sign[row], signals.last_bar[row], signals.market[row]
    if became != NO_ENTRY and dealing.arms and not sent(entries.limit[row], market, sign, plans.rules[number, 0]):
        return NO_FILL, False, 0.0, 0, 0.0, signals.arrives_at[row], STILL_OPEN
    if became != CLOSED:
        return became, False, 0.0, 0, 0.0, fill_at, STILL_OPEN
    run = extremes(prices, first, last, sign, kept.best_run, kept.worst_run)
    look_ahead(prices, first, run, sign, fill, fill_at, entries.session_end_at[row], plans, kept)
    ended, price, at, _, _ = walked(
        prices, first, last, run, sign, fill, fill_at, maker, market, entries.session_end_at[row],
        plans.codes[number], plans.rules[number], path, kept,
    )  # fmt: skip
    if ended <= STILL_OPEN:
        return UNTOLD, maker, fill, fill_at, 0.0, signals.gap_at[row], ended
    return CLOSED, maker, fill, fill_at, worsened(price, sign < 0, dealing.slippage_bps), at, ended
