"""Figures of returns and trades, held against numbers worked out by hand."""

import math

import numpy as np
import pytest

from bot.research.statistics import (
    Group,
    brier,
    calmar,
    daily,
    exposure,
    grouped_means,
    hit_rates,
    max_drawdown,
    probability_up,
    profit_factor,
    sharpe,
    skew_and_kurtosis,
    sortino,
    turnover,
)

RETURNS = np.array([0.01, -0.01, 0.02, 0.02])  # mean 0.01, squared deviations 4e-4 + 2 x 1e-4


def test_sharpe_is_mean_over_the_sample_s_deviation() -> None:
    assert sharpe(RETURNS, 1) == pytest.approx(0.01 / math.sqrt(6e-4 / 3))
    assert sharpe(RETURNS) == pytest.approx(0.01 / math.sqrt(6e-4 / 3) * math.sqrt(365))


def test_sortino_counts_losses_alone_and_over_all_periods() -> None:
    assert sortino(RETURNS, 1) == pytest.approx(0.01 / math.sqrt(1e-4 / 4))
    assert math.isnan(sortino(np.array([0.01, 0.02]), 1))


def test_what_has_no_spread_has_no_ratio() -> None:
    assert all(math.isnan(figure(np.zeros(5))) for figure in (sharpe, sortino, profit_factor))
    assert all(math.isnan(figure(np.array([]))) for figure in (sharpe, sortino, profit_factor, max_drawdown))


def test_drawdown_is_of_the_highest_before_it() -> None:
    assert max_drawdown(np.array([100.0, 120.0, 90.0, 130.0, 104.0])) == pytest.approx(0.25)
    assert max_drawdown(np.array([1.0, 2.0])) == 0


def test_calmar_is_the_year_s_growth_over_the_drawdown() -> None:
    assert calmar(np.array([100.0, 80.0, 121.0]), 2.0) == pytest.approx(0.1 / 0.2)
    assert math.isnan(calmar(np.array([100.0, -1.0]), 1.0))


def test_profit_factor_is_won_over_lost() -> None:
    assert profit_factor(np.array([3.0, -1.0, 2.0, -1.5])) == pytest.approx(2.0)


def test_exposure_counts_what_overlaps_once_and_only_inside() -> None:
    assert exposure([(5, 15), (10, 20), (30, 60), (-10, 2)], 0, 50) == pytest.approx((2 + 15 + 20) / 50)
    assert exposure([], 0, 50) == 0


def test_turnover_is_of_a_year() -> None:
    assert turnover(50_000.0, 10_000.0, 0.5) == pytest.approx(10.0)


def test_a_probability_follows_from_how_far_the_quantiles_lie_apart() -> None:
    spread = 2 * 1.2815515655446004
    found = probability_up(np.array([0.0, 1.0, -1.96, 0.3]), np.zeros(4), np.array([spread] * 3 + [0.0]))
    assert found == pytest.approx([0.5, 0.841344746, 0.024997895, 1.0])


def test_brier_of_a_coin_and_of_a_prophet() -> None:
    happened = np.array([True, False, True, True])
    assert brier(np.full(4, 0.5), happened) == 0.25
    assert brier(happened.astype(float), happened) == 0
    assert brier(np.array([0.8, 0.4, 0.9, 0.6]), happened) == pytest.approx((0.04 + 0.16 + 0.01 + 0.16) / 4)


def test_groups_are_of_one_size_and_in_order() -> None:
    found = grouped_means(np.array([3.0, 1.0, 2.0, 4.0]), np.array([30.0, 10.0, 20.0, 50.0]), 2)
    assert found == [Group(1, 2, 1.0, 2.0, 15.0), Group(2, 2, 3.0, 4.0, 40.0)]
    assert [group.count for group in grouped_means(np.arange(3.0), np.arange(3.0), 5)] == [1, 1, 1]


def test_hits_are_counted_by_strength_and_standing_still_is_none() -> None:
    predicted, actual = np.array([0.1, -0.2, 0.3, -0.4]), np.array([0.0, -1.0, -1.0, -1.0])
    assert [group.mean for group in hit_rates(predicted, actual, 2)] == [0.5, 0.5]


def test_moments_are_those_of_the_sample() -> None:
    assert skew_and_kurtosis(np.array([-1.0, 1.0, -1.0, 1.0])) == pytest.approx((0.0, 1.0))
    # 0, 0, 0, 4: mean 1, second moment 3, third (−3 + 27)/4 = 6, fourth (3 + 81)/4 = 21
    assert skew_and_kurtosis(np.array([0.0, 0.0, 0.0, 4.0])) == pytest.approx((6 / 3**1.5, 21 / 9))


def test_days_without_an_equity_return_nothing() -> None:
    found = daily([1, 5, 12, 35], np.array([100.0, 110.0, 99.0, 198.0]), 10)
    assert found == pytest.approx([0.1, -0.1, 0.0, 1.0])


def test_what_is_known_at_midnight_closes_the_day_before() -> None:
    assert daily([0, 10, 20], np.array([100.0, 110.0, 99.0]), 10) == pytest.approx([0.1, -0.1])
    assert math.isnan(sharpe(daily([0, 5, 10], np.array([100.0, 90.0, 110.0]), 10)))  # one day has no ratio


def test_what_was_ruined_has_no_returns_and_so_no_ratios() -> None:
    found = daily([0, 10, 15, 20, 30], np.array([100.0, 20.0, -5.0, 1.0, 50.0]), 10)
    assert len(found) == 3
    assert np.isnan(found).all()
    assert math.isnan(sharpe(found))
    assert math.isnan(sortino(found))
