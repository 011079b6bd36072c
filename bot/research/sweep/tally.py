"""What each configuration comes to: its signals in order of time, each in its place, added up day by day. Compiled."""

import numpy as np

from bot.clock import DAY_MS
from bot.compiling import free
from bot.messages import Floats
from bot.research.sweep.columns import CLOSED, NO_ENTRY, UNTOLD, Bytes
from bot.strategy.walk import Times

MOST_HELD = 64  # positions of one symbol
TRADES, WON, NET, GAINS, LOSSES, HELD_MS, DRAWDOWN, UNTOLD_COUNT = range(8)
FIGURES = ("trades", "won", "net", "gains", "losses", "held_ms", "drawdown", "untold")
SPAN_FIGURES = ("trades", "net", "sharpe")  # of each span of days, after the others
DAY = DAY_MS


@free
def add_up(
    members: Times,
    symbol: Times,
    sign: Times,
    arrives_at: Times,
    net: Floats,
    end_at: Times,
    status: Bytes,
    cap: int,
    first_day: int,
    daily: Floats,
    counts: Floats,
    kept: Bytes,
    figures: Floats,
) -> None:
    """One configuration: `members` are its signals' rows. Fills `daily` and `counts` by the day of the exit, marks in
    `kept` the signals that had a place, and the whole run's `figures`.

    A signal has a place where fewer than `cap` of its symbol are held, none of them on the other side; a resting entry
    counts. A place is free from `end_at` on.
    """
    ends = np.empty(MOST_HELD, dtype=np.int64)
    held, held_sign, current = 0, 0, -1
    won, gains, held_ms, untold = 0.0, 0.0, 0.0, 0.0
    for row in members:
        if symbol[row] != current:
            current, held = symbol[row], 0
        now, left = arrives_at[row], 0
        for place in range(held):
            if ends[place] > now:
                ends[left] = ends[place]
                left += 1
        held = left
        if status[row] == NO_ENTRY or held >= cap or (held and held_sign != sign[row]):
            continue
        kept[row] = 1
        ends[held], held_sign = end_at[row], sign[row]
        held += 1
        if status[row] != CLOSED:
            untold += status[row] == UNTOLD
            continue
        gain = net[row]
        day = end_at[row] // DAY - first_day
        daily[day] += gain
        counts[day] += 1
        won += gain > 0.0
        gains += max(gain, 0.0)
        held_ms += end_at[row] - now
    figures[TRADES], figures[WON], figures[NET] = counts.sum(), won, daily.sum()
    figures[GAINS], figures[LOSSES], figures[HELD_MS] = gains, gains - figures[NET], held_ms
    figures[UNTOLD_COUNT] = untold
    top, level = 0.0, 0.0
    for gain in daily:
        level += gain
        top = max(top, level)
        figures[DRAWDOWN] = max(figures[DRAWDOWN], top - level)


@free
def of_span(daily: Floats, counts: Floats, begin: int, end: int) -> tuple[float, float, float]:
    """(trades, net, Sharpe ratio of the days) of a span of days; the ratio is NaN where nothing moves."""
    trades, net, square = 0.0, 0.0, 0.0
    for day in range(begin, end):
        trades += counts[day]
        net += daily[day]
        square += daily[day] * daily[day]
    days = end - begin
    if days < 2:
        return trades, net, np.nan
    mean = net / days
    variance = (square - days * mean * mean) / (days - 1)
    return trades, net, mean / np.sqrt(variance) if variance > 1e-18 else np.nan


@free
def tally(
    begin: int,
    end: int,
    members: Times,
    starts: Times,
    symbol: Times,
    sign: Times,
    arrives_at: Times,
    net: Floats,
    end_at: Times,
    status: Bytes,
    cap: int,
    first_day: int,
    days: int,
    spans: Times,
    figures: Floats,
) -> None:
    """Configurations `begin` ... `end`, number walk x masks + mask: a row of figures each.

    The members of mask m are `members[starts[m] : starts[m + 1]]`; `spans` (spans, 2) are days since `first_day`.
    """
    masks = len(starts) - 1
    daily, counts = np.empty(days), np.empty(days)
    kept = np.zeros(len(symbol), dtype=np.int8)
    for number in range(begin, end):
        plan, mask = number // masks, number % masks
        daily[:], counts[:], figures[number] = 0.0, 0.0, 0.0
        add_up(
            members[starts[mask] : starts[mask + 1]], symbol, sign, arrives_at, net[plan], end_at[plan], status[plan],
            cap, first_day, daily, counts, kept, figures[number],
        )  # fmt: skip
        for span in range(len(spans)):
            place = len(FIGURES) + span * len(SPAN_FIGURES)
            figures[number, place : place + 3] = of_span(daily, counts, spans[span, 0], spans[span, 1])
