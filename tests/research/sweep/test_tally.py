"""What a configuration comes to, against the same in plain Python."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.clock import DAY_MS, HOUR_MS
from bot.research.sweep.columns import CLOSED, LAST_TIME, NO_ENTRY, NO_FILL, UNTOLD
from bot.research.sweep.tally import DRAWDOWN, FIGURES, GAINS, HELD_MS, LOSSES, NET, TRADES, UNTOLD_COUNT, WON, tally

FIRST_DAY = 20_000
DAYS = 6


@st.composite
def signals(draw: st.DrawFn) -> list[tuple[int, int, int, float, int, int]]:
    """(symbol, time, side, net, free from, status), by symbol and time, one a moment."""
    found = []
    for symbol in range(draw(st.integers(1, 2))):
        for hour in sorted(draw(st.sets(st.integers(0, 90), max_size=14))):
            status = draw(st.sampled_from([CLOSED, CLOSED, CLOSED, NO_FILL, NO_ENTRY, UNTOLD]))
            at = FIRST_DAY * DAY_MS + hour * HOUR_MS
            until = LAST_TIME if status == UNTOLD else at + draw(st.integers(0, 30)) * HOUR_MS
            net = draw(st.integers(-50, 50)) / 1_000
            found.append((symbol, at, draw(st.sampled_from([-1, 1])), net, until, status))
    return found


def plainly(rows: list[tuple[int, int, int, float, int, int]], cap: int) -> list[tuple[float, int, int]]:
    """(net, entered, left) of the trades that had a place."""
    trades: list[tuple[float, int, int]] = []
    for symbol in {row[0] for row in rows}:
        held: list[tuple[int, int]] = []
        for _, at, sign, net, until, status in (row for row in rows if row[0] == symbol):
            held = [one for one in held if one[0] > at]
            if status == NO_ENTRY or len(held) >= cap or any(one[1] != sign for one in held):
                continue
            held.append((until, sign))
            if status == CLOSED:
                trades.append((net, at, until))
    return trades


@settings(max_examples=200, deadline=None)
@given(rows=signals(), cap=st.integers(1, 3), chosen=st.integers(0, 2**28))
def test_a_configuration_is_its_signals_in_their_places(
    rows: list[tuple[int, int, int, float, int, int]], cap: int, chosen: int
) -> None:
    columns = [np.array([row[place] for row in rows]) for place in range(6)]
    symbol, at, sign, net, until, status = columns if rows else [np.zeros(0)] * 6
    members = np.array([place for place in range(len(rows)) if chosen >> place & 1], dtype=np.int64)
    figures = np.zeros((1, len(FIGURES) + 6))
    tally(
        0, 1, members, np.array([0, len(members)]), symbol.astype(np.int64), sign.astype(np.int64),
        at.astype(np.int64), net.astype(np.float64)[None], until.astype(np.int64)[None], status.astype(np.int8)[None],
        cap, FIRST_DAY, DAYS, np.array([[0, 3], [3, DAYS]]), figures,
    )  # fmt: skip
    trades = plainly([rows[place] for place in members.tolist()], cap)
    daily = np.zeros(DAYS)
    for gain, _, left in trades:
        daily[left // DAY_MS - FIRST_DAY] += gain
    level = np.cumsum(daily)
    got = figures[0]
    assert got[TRADES] == len(trades)
    assert got[WON] == sum(gain > 0 for gain, _, _ in trades)
    assert got[NET] == pytest.approx(sum(gain for gain, _, _ in trades), abs=1e-12)
    assert got[GAINS] - got[LOSSES] == pytest.approx(got[NET], abs=1e-12)
    assert got[HELD_MS] == sum(left - entered for _, entered, left in trades)
    assert got[DRAWDOWN] == pytest.approx(np.max(np.maximum.accumulate(np.maximum(level, 0)) - level), abs=1e-12)
    assert got[UNTOLD_COUNT] <= sum(row[5] == UNTOLD for row in rows)
    for span, part in enumerate((daily[:3], daily[3:])):
        _, total, sharpe = got[len(FIGURES) + 3 * span : len(FIGURES) + 3 * span + 3]
        assert total == pytest.approx(part.sum(), abs=1e-12)
        deviation = part.std(ddof=1)
        assert math.isnan(sharpe) if deviation < 1e-9 else sharpe == pytest.approx(part.mean() / deviation, rel=1e-6)
