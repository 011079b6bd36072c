"""Indicators against values computed by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.messages import Bars, Floats, Side
from bot.strategy import indicators

HOUR = 3_600_000


def bars(highs: list[float], lows: list[float], closes: list[float] | None = None) -> Bars:
    high, low = np.array(highs, dtype=float), np.array(lows, dtype=float)
    close = np.array(closes, dtype=float) if closes else (high + low) / 2
    return Bars("BTCUSDT", HOUR, np.arange(len(high)) * HOUR, close, high, low, close, np.ones(len(high)))


def test_rsi_of_seven_gains_of_two_and_seven_losses_of_one() -> None:
    closes = np.cumsum([100.0, *[2.0, -1.0] * 7])
    assert indicators.rsi(closes) == pytest.approx(100 - 100 / (1 + 2))


def test_rsi_of_gains_alone_is_a_hundred_and_of_losses_alone_zero() -> None:
    assert indicators.rsi(np.arange(1.0, 20.0)) == 100
    assert indicators.rsi(np.arange(20.0, 1.0, -1.0)) == 0
    assert indicators.rsi(np.full(20, 7.0)) == 50


def test_atr_smooths_as_wilder_did() -> None:
    steady = bars([12.0] * 20, [10.0] * 20)
    assert indicators.atr(steady) == pytest.approx(2.0)
    jump = bars([*[12.0] * 20, 27.0], [*[10.0] * 20, 11.0])
    assert indicators.atr(jump) == pytest.approx((2.0 * 13 + 16.0) / 14)


def test_ema_starts_from_the_simple_average() -> None:
    assert indicators.ema(np.array([1.0, 2.0, 3.0, 4.0, 5.0]), 3) == pytest.approx(4.0)


def test_too_few_bars_are_no_number() -> None:
    assert np.isnan(indicators.rsi(np.arange(1.0, 15.0)))
    assert np.isnan(indicators.atr(bars([2.0] * 14, [1.0] * 14)))


HIGHS = [5.0, 4.0, 3.0, 4.0, 6.0, 8.0, 8.0, 7.0, 6.0, 5.0]


def test_a_swing_high_needs_its_bars_on_both_sides_and_the_first_of_equals_counts() -> None:
    assert indicators.swing_highs(np.array(HIGHS)) == [indicators.Swing(5, 8.0)]
    assert indicators.swing_highs(np.array(HIGHS[:8])) == []


@given(
    highs=st.lists(st.integers(0, 5), max_size=40).map(lambda steps: np.array(steps, dtype=float)),
    width=st.integers(1, 4),
)
def test_swings_are_found_as_their_definition_says(highs: Floats, width: int) -> None:
    expected = [
        indicators.Swing(index, highs[index])
        for index in range(width, len(highs) - width)
        if all(highs[index] > highs[index - back] for back in range(1, width + 1))
        and all(highs[index] >= highs[index + ahead] for ahead in range(1, width + 1))
    ]
    assert indicators.swing_highs(highs, width) == expected
    lows = [(swing.index, 10 - swing.price) for swing in indicators.swing_lows(10 - highs, width)]
    assert lows == [(swing.index, swing.price) for swing in expected]


def test_the_last_leg_runs_from_the_swing_before_the_last_turn() -> None:
    lows = [4.0, 3.5, 3.0, 2.0, 4.0, 6.0, 7.0, 6.0, 5.0, 4.0]
    leg = indicators.last_leg(bars(HIGHS, lows), Side.LONG)
    assert leg is not None
    assert (leg.start.price, leg.end.price) == (2.0, 8.0)
    assert leg.retraced(0.382) == pytest.approx(8.0 - 0.382 * 6.0)
    mirrored = bars([20.0 - low for low in lows], [20.0 - high for high in HIGHS])
    short = indicators.last_leg(mirrored, Side.SHORT)
    assert short is not None
    assert short.retraced(0.382) == pytest.approx(20.0 - leg.retraced(0.382))
    assert indicators.last_leg(bars(HIGHS, lows), Side.SHORT) is None


def test_stochastic_is_the_mean_of_the_last_three_places_in_the_range() -> None:
    still = [5.0] * 20
    jump = bars([10.0] * 21, [0.0] * 21, [*still, 10.0])
    assert indicators.stochastic(bars([10.0] * 20, [0.0] * 20, [2.5] * 20)) == pytest.approx(25)
    assert indicators.stochastic(jump) == pytest.approx((50 + 50 + 100) / 3)
    assert indicators.stochastic(bars([7.0] * 20, [7.0] * 20)) == 50, "no range is neither high nor low"
    for high in (2.0, 1.0):
        assert np.isnan(indicators.stochastic(bars([high] * 15, [1.0] * 15)))
    assert not np.isnan(indicators.stochastic(bars([2.0] * 16, [1.0] * 16)))


def test_directional_movement_needs_two_periods_of_bars() -> None:
    rising = bars([2.0 + index for index in range(28)], [float(index) for index in range(28)])
    movement = indicators.directional_movement(rising)
    assert movement is not None
    assert (movement.adx, movement.minus_di) == (100, 0)
    assert movement.plus_di == pytest.approx(50)
    assert indicators.directional_movement(bars([2.0] * 27, [1.0] * 27)) is None
