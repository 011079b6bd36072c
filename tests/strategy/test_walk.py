"""The compiled walk: prices on ticks, and the same answers as the Python that it was compiled from."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.messages import Bars, ExitPlan
from bot.strategy import walk
from bot.strategy.exits import AS_PLAYED, OFF, WORST_FIRST, scalars
from bot.strategy.follow import EXPIRED, FILLED, RAN_OUT

FIVE = 300_000
PLAN = ExitPlan(
    stop_pct=1.5, target_pct=2.0, trail_arm_pct=0.8, trail_pct=0.4, floor_arm_pct=1.2, floor_keep_pct=0.3,
    max_hold_ms=12 * FIVE, red_after_ms=6 * FIVE,
)  # fmt: skip


@pytest.mark.parametrize(
    ("price", "bps", "up", "down"),
    [
        (10_000, 1, 10_001, 9_999),
        (10_001, 1, 10_003, 9_999),
        (100, 1, 101, 99),
        (10_000, 0, 10_000, 10_000),
        (1, 5, 2, 1),
    ],
)
def test_a_taker_gets_the_next_worse_tick(price: int, bps: int, up: int, down: int) -> None:
    assert (walk.worsened(price, True, bps), walk.worsened(price, False, bps)) == (up, down)


@pytest.mark.parametrize(
    ("level", "up", "tick"),
    [(100.2, True, 101), (100.2, False, 100), (98.0 + 1e-13, True, 98), (98.0 - 1e-13, False, 98), (98.0, True, 98)],
)
def test_a_level_that_is_a_tick_but_for_arithmetic_is_that_tick(level: float, up: bool, tick: int) -> None:
    assert walk.on_tick(level, up) == tick


def test_levels_of_a_short_mirror_those_of_a_long() -> None:
    assert (walk.first_stop(10_037, 1, 1.5), walk.first_target(10_037, 1, 1.5)) == (9_886, 10_188)
    assert (walk.first_stop(10_037, -1, 1.5), walk.first_target(10_037, -1, 1.5)) == (10_188, 9_886)
    assert walk.first_target(10_037, 1, OFF) == OFF
    assert walk.first_target(10_037, -1, OFF) == -OFF


def path_of(moves: list[tuple[float, float, float]], tick: float = 0.01) -> walk.PricePath:
    """Bars whose closes move by the first number in percent, and reach beyond it by the other two."""
    opened, rows = 100.0, []
    for moved, above, below in moves:
        close = opened * (1 + moved / 100)
        rows.append((opened, max(opened, close) * (1 + above / 100), min(opened, close) * (1 - below / 100), close))
        opened = close
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    at = np.arange(len(rows), dtype=np.int64) * FIVE
    return walk.in_ticks(Bars("BTCUSDT", FIVE, at, *columns, np.ones(len(rows))), tick)


MOVES = st.lists(st.tuples(st.floats(-1, 1), st.floats(0, 0.8), st.floats(0, 0.8)), min_size=20, max_size=40)


@settings(max_examples=60, deadline=None)
@given(MOVES, st.sampled_from([1, -1]), st.sampled_from([WORST_FIRST, AS_PLAYED]), st.sampled_from([0, 250]))
def test_the_compiled_hold_is_the_plain_one(
    moves: list[tuple[float, float, float]], sign: int, path: int, latency: int
) -> None:
    prices = path_of(moves)
    entry = float(prices.ticks[0, 0])
    stop, target = walk.first_stop(entry, sign, 1.5), walk.first_target(entry, sign, 2.0)
    given = (
        prices.at, prices.span, prices.ticks, 0, sign, entry, 60_000, 60_001, entry, stop, target, math.nan,
        scalars(PLAN), path, False, latency,
    )  # fmt: skip
    compiled = walk.hold(*given)
    assert compiled == walk.hold.py_func(*given)  # type: ignore[attr-defined]
    ended, found, at, index, _ = compiled
    assert index < len(prices), "twenty bars are longer than the longest hold"
    low, high = prices.ticks[max(0, index - 1) : index + 1].min(), prices.ticks[max(0, index - 1) : index + 1].max()
    assert low <= found <= high
    assert at <= 60_000 + 12 * FIVE + latency
    assert walk.ENDS[ended] in ("stop_loss", "trailing_stop", "profit_floor", "max_hold", "red_after", "target")


@settings(max_examples=40, deadline=None)
@given(MOVES, st.sampled_from([1, -1]), st.floats(0, 2))
def test_a_limit_fills_where_the_path_first_comes_to_it(
    moves: list[tuple[float, float, float]], sign: int, away: float
) -> None:
    prices = path_of(moves)
    limit = float(math.floor(prices.ticks[0, 0] * (1 - sign * away / 100)))
    end = 18 * FIVE
    found, index, at = walk.wait(prices.at, prices.span, prices.ticks, 0, sign, limit, 0, end, AS_PLAYED)
    extremes = prices.ticks[:, 2] if sign > 0 else prices.ticks[:, 1]
    reached = np.flatnonzero(sign * (extremes - limit) <= 0)
    if found == FILLED:
        assert index == reached[0]
        assert prices.at[index] <= at < prices.at[index] + FIVE
    else:
        assert found == EXPIRED
        assert not len(reached) or reached[0] * FIVE + FIVE > end


def test_a_limit_is_open_still_where_the_bars_end_before_its_time_does() -> None:
    prices = path_of([(0.0, 0.0, 0.0)] * 3)
    assert walk.wait(prices.at, prices.span, prices.ticks, 0, 1, 9_000.0, 0, 3 * FIVE, AS_PLAYED)[0] == RAN_OUT


@settings(max_examples=30, deadline=None)
@given(MOVES, st.lists(st.integers(-FIVE, 50 * FIVE), min_size=1, max_size=30))
def test_many_prices_at_once_are_those_one_by_one(moves: list[tuple[float, float, float]], moments: list[int]) -> None:
    prices = path_of(moves)
    wanted = np.array(sorted(moments), dtype=np.int64)
    found = walk.last_prices(prices.at, prices.span, prices.ticks, wanted, AS_PLAYED)
    for moment, price in zip(wanted.tolist(), found.tolist(), strict=True):
        index = walk.bar_at(prices, moment)
        if index is None:
            assert math.isnan(price)
        else:
            assert price == walk.last_price(prices.at, prices.span, prices.ticks, index, moment, AS_PLAYED)
