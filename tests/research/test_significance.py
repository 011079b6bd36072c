"""Luck, held against the example of the paper, against theory and against a coin."""

import math

import numpy as np
import pytest

from bot.research.significance import (
    Split,
    bootstrap_p_value,
    deflated_sharpe,
    expected_best_sharpe,
    probabilistic_sharpe,
    walk_forward,
)

# The example of Bailey and Lopez de Prado (2014): the best of 100 trials has an annual Sharpe ratio of 2.5 over
# 1,250 days of 250 in a year, skewness -3 and kurtosis 10; the trials' annual ratios have a variance of 1/2.
DAILY, DAYS, VARIANCE = 2.5 / math.sqrt(250), 1250, 0.5 / 250


def test_the_best_of_many_trials_is_what_the_paper_says() -> None:
    assert expected_best_sharpe(100, VARIANCE) == pytest.approx(0.1132, abs=5e-5)
    assert expected_best_sharpe(1, VARIANCE) == 0


def test_the_paper_s_discovery_is_not_significant() -> None:
    best = expected_best_sharpe(100, VARIANCE)
    assert probabilistic_sharpe(DAILY, best, DAYS, -3, 10) == pytest.approx(0.9004, abs=5e-4)
    assert probabilistic_sharpe(DAILY, expected_best_sharpe(46, VARIANCE), DAYS, -3, 10) == pytest.approx(
        0.9505, abs=5e-4
    )
    assert probabilistic_sharpe(DAILY, expected_best_sharpe(88, VARIANCE), DAYS, 0, 3) == pytest.approx(
        0.9505, abs=5e-4
    )


def test_a_ratio_at_the_benchmark_is_a_coin() -> None:
    assert probabilistic_sharpe(0.1, 0.1, 100, 0, 3) == 0.5
    assert math.isnan(probabilistic_sharpe(0.1, 0.1, 1, 0, 3))


def test_more_trials_deflate_more() -> None:
    returns = np.random.default_rng(3).normal(0.001, 0.01, 500)
    few, many = (deflated_sharpe(returns, trials, 0.001) for trials in (2, 10_000))
    assert 0 < many < few < 1
    assert math.isnan(deflated_sharpe(np.zeros(10), 5, 0.001))


def test_the_bootstrap_agrees_with_the_normal_test_where_days_are_independent() -> None:
    returns = np.random.default_rng(5).normal(0.0, 0.01, 400)
    returns += 0.001 - returns.mean()
    z = 0.001 / (returns.std() / math.sqrt(400))
    assert bootstrap_p_value(returns, block=1, draws=4000) == pytest.approx(0.5 * math.erfc(z / math.sqrt(2)), abs=0.01)


def test_returns_that_cling_together_are_less_sure() -> None:
    noise = np.random.default_rng(7).normal(0, 0.01, 50)
    returns = np.repeat(noise - noise.mean() + 0.002, 20)
    alone, together = (bootstrap_p_value(returns, block=block, draws=1000) for block in (1, 20))
    assert alone < 0.01
    assert together > 10 * alone


def test_the_same_seed_draws_the_same() -> None:
    returns = np.random.default_rng(1).normal(0, 1, 50)
    first, second, other = (bootstrap_p_value(returns, block=5, draws=500, seed=seed) for seed in (4, 4, 5))
    assert first == second != other
    assert math.isnan(bootstrap_p_value(np.ones(5), block=2))


def test_a_walk_forward_keeps_the_embargo_out_of_both() -> None:
    found = list(walk_forward(0, 100, train=40, test=25, embargo=5))
    assert found == [Split(0, 40, 45, 70), Split(25, 65, 70, 95), Split(50, 90, 95, 100)]
