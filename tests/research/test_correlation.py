"""Rank correlations, held against a published example, sums by hand and what is known of made-up panels."""

import math

import numpy as np
import pytest

from bot.research.correlation import (
    independent_t,
    information_ratio,
    long_run_variance,
    mean_t,
    panel_correlation,
    rank_correlation,
    ranks,
)


def test_equal_values_share_a_rank() -> None:
    assert list(ranks(np.array([10.0, 30.0, 10.0, 20.0]))) == [1.5, 4.0, 1.5, 3.0]


def test_the_textbook_s_example() -> None:
    # Wikipedia, "Spearman's rank correlation coefficient": IQ and hours of television a week, -29/165.
    iq = np.array([106.0, 100, 86, 101, 99, 103, 97, 113, 112, 110])
    hours = np.array([7.0, 27, 2, 50, 28, 29, 20, 12, 6, 17])
    assert rank_correlation(iq, hours) == pytest.approx(-29 / 165)
    assert independent_t(-29 / 165, 10) == pytest.approx(-29 / 165 * math.sqrt(8 / (1 - (29 / 165) ** 2)))


def test_a_constant_has_no_correlation() -> None:
    assert math.isnan(rank_correlation(np.ones(5), np.arange(5.0)))
    assert math.isnan(panel_correlation(np.ones(5), np.arange(5.0), np.arange(5), 1, 2).t)


def test_the_long_run_variance_weighs_lags_as_bartlett_does() -> None:
    # 1 + 4 + 1 + 2 (2/3) (2 - 2) + 2 (1/3) (-1)
    assert long_run_variance(np.array([1.0, 2.0, -1.0]), 2) == pytest.approx(6 - 2 / 3)


def test_without_lags_the_mean_s_t_value_is_the_plain_one() -> None:
    values = np.array([1.0, 2.0, 4.0, 5.0])
    assert mean_t(values, 0) == pytest.approx(3 * 4 / math.sqrt(10))


def test_independent_rows_get_about_the_plain_t_value() -> None:
    rng = np.random.default_rng(2)
    predicted = rng.normal(size=4000)
    actual = 0.05 * predicted + rng.normal(size=4000)
    found = panel_correlation(predicted, actual, np.arange(4000), 1, 8)
    assert found.value == rank_correlation(predicted, actual)
    assert found.t == pytest.approx(independent_t(found.value, 4000), rel=0.15)


def test_rows_said_again_in_the_same_hour_add_no_certainty() -> None:
    rng = np.random.default_rng(3)
    predicted, actual = rng.normal(size=(2, 500))
    once = panel_correlation(predicted, actual, np.arange(500), 1, 3)
    again = panel_correlation(np.repeat(predicted, 10), np.repeat(actual, 10), np.repeat(np.arange(500), 10), 1, 3)
    assert again.value == pytest.approx(once.value)
    assert again.t == pytest.approx(once.t)


def test_overlapping_horizons_do_not_make_noise_significant() -> None:
    """Four-hour returns of a walk, told every hour by a slow signal that knows nothing of them."""
    rng = np.random.default_rng(4)
    naive, honest = [], []
    for _ in range(200):
        walk = np.cumsum(rng.normal(size=604))
        signal = np.convolve(rng.normal(size=603), np.ones(4), "valid")[:600]
        actual = walk[4:604] - walk[:600]
        found = panel_correlation(signal, actual, np.arange(600), 1, 12)
        naive.append(abs(independent_t(found.value, 600)) > 1.96)
        honest.append(abs(found.t) > 1.96)
    assert np.mean(naive) > 0.15
    assert np.mean(honest) < 0.11


def test_a_few_horizons_are_no_proof() -> None:
    predicted, actual = np.random.default_rng(6).normal(size=(2, 47))
    assert math.isnan(panel_correlation(predicted, actual, np.arange(47), 1, 12).t)
    assert math.isfinite(panel_correlation(predicted, actual, np.arange(47), 1, 11).t)
    assert math.isnan(mean_t(predicted, 12))


def test_the_information_ratio_leaves_out_periods_without_a_correlation() -> None:
    assert information_ratio(np.array([0.1, math.nan, 0.3])) == pytest.approx(0.2 / math.sqrt(0.02))
    assert math.isnan(information_ratio(np.array([0.1])))
