"""Predictions beside what came: returns over gaps are not known, baselines look back."""

import numpy as np
import pytest

from bot.clock import HOUR_MS
from bot.messages import Bars
from bot.research.panel import closes_at, joined, looked_ahead, panel_of
from tests.history.made import START, bars


def without(whole: Bars, index: int) -> Bars:
    kept = np.arange(len(whole)) != index
    columns = (whole.open_time, whole.open, whole.high, whole.low, whole.close, whole.volume)
    return Bars(whole.symbol, whole.interval_ms, *(column[kept] for column in columns))


def test_a_close_that_is_missing_is_not_known() -> None:
    gapped = without(bars(10), 4)
    found = closes_at(gapped, START + np.array([0, 1, 5, 10, 11]) * HOUR_MS)
    assert np.isnan(found).tolist() == [True, False, True, False, True]
    assert found[1] == gapped.close[0]
    assert np.isnan(closes_at(bars(0), START + np.arange(3))).all()


def test_returns_lead_ahead_and_baselines_look_back() -> None:
    whole = bars(400)
    close = whole.close
    panel = panel_of("BTCUSDT", START + np.array([200, 398]) * HOUR_MS, np.zeros((2, 4)), whole, 4)
    assert tuple(panel.actual) == looked_ahead(4) == (1, 2, 3, 4, 8, 12, 24)
    assert panel.actual[4][0] == pytest.approx(close[203] / close[199] - 1)
    assert np.isnan(panel.actual[4][1])
    assert panel.baselines["reversal 24 h"][0] == pytest.approx(1 - close[199] / close[175])
    assert panel.baselines["momentum 168 h"][0] == pytest.approx(close[199] / close[31] - 1)


def test_rows_of_all_symbols_are_in_the_order_of_time() -> None:
    whole = bars(300)
    first = panel_of("A", START + np.array([250, 252]) * HOUR_MS, np.ones((2, 1)), whole, 1, {"base": np.zeros(2)})
    second = panel_of("B", START + np.array([251]) * HOUR_MS, np.zeros((1, 1)), whole, 1)
    both = joined([first, second])
    assert both.symbol.tolist() == ["A", "B", "A"]
    assert both.path[:, 0].tolist() == [1, 0, 1]
    assert "base" in first.baselines
    assert "base" not in both.baselines
