"""Bars of a higher timeframe, made of whole ones only."""

import numpy as np
import pytest

from bot.strategy.resample import resample
from tests.strategy.scenes import HOUR, MONDAY, make_bars


def test_a_bar_has_the_first_open_the_extremes_the_last_close_and_the_sum_of_volumes() -> None:
    bars = make_bars([5.0, 9.0, 2.0, 6.0, 7.0, 8.0, 9.0, 10.0], spread=1.0, end=MONDAY + 8 * HOUR)
    longer = resample(bars, 4 * HOUR)
    assert longer.interval_ms == 4 * HOUR
    assert longer.open_time.tolist() == [MONDAY, MONDAY + 4 * HOUR]
    assert longer.open.tolist() == [5.0, 7.0]
    assert longer.high.tolist() == [10.0, 11.0]
    assert longer.low.tolist() == [1.0, 6.0]
    assert longer.close.tolist() == [6.0, 10.0]
    assert longer.volume.tolist() == [4.0, 4.0]
    assert longer.close_at == MONDAY + 8 * HOUR


@pytest.mark.parametrize(
    ("hours", "end", "opens"),
    [
        (8, 8, [0, 4]),
        (9, 9, [0, 4]),  # the last bar is of one hour so far
        (11, 11, [0, 4]),
        (7, 8, [4]),  # the first bar lacks its first hour
        (10, 11, [4]),
        (4, 4, [0]),
        (4, 5, []),
        (3, 3, []),
        (5, 24, [20]),
    ],
)
def test_only_whole_bars_on_the_boundaries_of_the_day_count(hours: int, end: int, opens: list[int]) -> None:
    bars = make_bars([100.0] * hours, end=MONDAY + end * HOUR)
    assert resample(bars, 4 * HOUR).open_time.tolist() == [MONDAY + hour * HOUR for hour in opens]


def test_no_bars_make_none() -> None:
    empty = make_bars([1.0] * 3, end=MONDAY + 3 * HOUR)
    assert len(resample(resample(empty, 4 * HOUR), 8 * HOUR)) == 0
    assert len(resample(empty, 4 * HOUR).close) == 0


def test_every_hour_of_a_day_of_bars_is_in_its_bar() -> None:
    closes = np.arange(1.0, 25.0)
    bars = make_bars(closes.tolist(), end=MONDAY + 24 * HOUR)
    for hours in (2, 3, 4, 6, 8, 12, 24):
        assert resample(bars, hours * HOUR).close.tolist() == closes[hours - 1 :: hours].tolist()
