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


HOLD_ONLY = ExitPlan(stop_pct=90.0, max_hold_ms=4 * FIVE)


def held_out(prices: walk.PricePath, sign: int, opened_at: int, plan: ExitPlan, path: int) -> tuple[str, float, int]:
    """Ended by, price and time of a position that was opened at the price that stood, by no stop and no target."""
    index = walk.bar_at(prices, opened_at)
    assert index is not None
    entry = walk.last_price(prices.at, prices.span, prices.ticks, index, opened_at, AS_PLAYED)
    stop = walk.first_stop(entry, sign, plan.stop_pct)
    ended, found, at, *_ = walk.hold(
        prices.at, prices.span, prices.ticks, index, sign, entry, opened_at, opened_at + 1, entry, stop, sign * OFF,
        math.nan, scalars(plan), path, False, 0,
    )  # fmt: skip
    return walk.ENDS[ended], found, at


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("share", "found"), [(0.1, 10_000), (0.3, 9_800), (0.5, 10_300), (0.6, 10_300)])
def test_a_time_that_is_up_inside_a_bar_meets_what_is_played_then_and_not_the_better_extreme(
    sign: int, share: float, found: int
) -> None:
    """A bar that rises: the low first. On the worst-first path of a short the low would stand from the half on."""
    flat, rising = (100.0,) * 4, (100.0, 103.0, 98.0, 101.0)
    columns = [np.array(column) for column in zip(*[flat] * 4, rising, flat, strict=True)]
    prices = walk.in_ticks(Bars("BTCUSDT", FIVE, np.arange(6) * FIVE, *columns, np.ones(6)), 0.01)
    due = round(4 * FIVE + share * FIVE)
    for path in (WORST_FIRST, AS_PLAYED):
        assert held_out(prices, sign, due - 4 * FIVE, HOLD_ONLY, path) == ("max_hold", found, due)


def test_what_is_red_when_its_time_is_up_is_what_is_red_as_it_is_played() -> None:
    """A bar that falls: from its half on its low stands, where the worst-first path of a long has its high."""
    flat, falling = (100.0,) * 4, (100.0, 103.0, 98.0, 99.0)
    columns = [np.array(column) for column in zip(*[flat] * 4, falling, flat, strict=True)]
    prices = walk.in_ticks(Bars("BTCUSDT", FIVE, np.arange(6) * FIVE, *columns, np.ones(6)), 0.01)
    plan = ExitPlan(stop_pct=90.0, red_after_ms=4 * FIVE)
    due = 4 * FIVE + round(0.6 * FIVE)
    assert held_out(prices, 1, due - 4 * FIVE, plan, WORST_FIRST) == ("red_after", 9_800, due)


@pytest.mark.parametrize("sign", [1, -1])
def test_coarse_bars_are_no_kinder_to_what_the_clock_ends_than_fine_ones(sign: int) -> None:
    """A walk of minutes, and the same as bars of five: over many exits the one earns what the other does."""
    random, minutes = np.random.default_rng(5), 40_000
    close = 10_000 + np.cumsum(random.normal(0, 8, minutes))
    opened = np.concatenate([[10_000.0], close[:-1]])
    high, low = np.maximum(opened, close) + 3, np.minimum(opened, close) - 3
    fine = Bars("M", 60_000, np.arange(minutes) * 60_000, opened, high, low, close, np.ones(minutes))
    five = (part.reshape(-1, 5) for part in (opened, high, low, close))
    firsts, highs, lows, lasts = five
    coarse = Bars(
        "M", FIVE, np.arange(minutes // 5) * FIVE, firsts[:, 0], highs.max(axis=1), lows.min(axis=1), lasts[:, -1],
        np.ones(minutes // 5),
    )  # fmt: skip
    plan, apart = ExitPlan(stop_pct=90.0, max_hold_ms=30 * 60_000), []
    fives, ones = walk.in_ticks(coarse, 1.0), walk.in_ticks(fine, 1.0)
    for opened_at in range(3 * 60_000, (minutes - 200) * 60_000, 20 * 60_000):
        _, kind, _ = held_out(fives, sign, opened_at, plan, WORST_FIRST)
        _, true, _ = held_out(ones, sign, opened_at, plan, AS_PLAYED)
        apart.append(sign * (kind - true))
    assert abs(np.mean(apart)) < 3 * np.std(apart) / math.sqrt(len(apart))


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
