"""The distance from the training windows: independent of units, larger for what training never saw."""

import msgspec
import numpy as np
import pytest

from bot.forecast.distance import FEATURES, LEVELS, InputStats, describe, distances, features, rank
from bot.messages import Floats

CONTEXT = 192


def walks(count: int, seed: int = 1, volatility: float = 0.01) -> Floats:
    """Random walks of log prices with returns of Student's t, as hourly returns of coins are."""
    draw = np.random.default_rng(seed)
    return 50_000 * np.exp(volatility * np.cumsum(draw.standard_t(4, (count, CONTEXT)), axis=1))


@pytest.fixture(scope="module")
def stats() -> InputStats:
    return describe(walks(4_000))


def test_the_price_scale_does_not_matter(stats: InputStats) -> None:
    window = walks(5, seed=2)
    assert features(window * 1e-6) == pytest.approx(features(window), rel=1e-6, abs=1e-6)
    assert distances(stats, window / 1e4) == pytest.approx(distances(stats, window), rel=1e-5)


def test_windows_of_the_same_kind_lie_where_the_training_windows_lie(stats: InputStats) -> None:
    ranks = np.array([rank(stats, one) for one in distances(stats, walks(4_000, seed=3))])
    assert (ranks <= 0.5).mean() == pytest.approx(0.5, abs=0.03)
    assert (ranks > 0.99).mean() == pytest.approx(0.01, abs=0.006)


def test_the_distance_is_the_mahalanobis_distance_of_the_features(stats: InputStats) -> None:
    window = walks(1, seed=4)
    offset = features(window)[0] - np.array(stats.mean)
    expected = np.sqrt(offset @ np.linalg.inv(np.array(stats.covariance)) @ offset)
    assert distances(stats, window) == pytest.approx([expected])


@pytest.mark.parametrize("kind", ["a jump", "a staircase", "a straight line up", "twenty times the volatility"])
def test_what_training_never_saw_is_farther_than_nearly_all_of_it(stats: InputStats, kind: str) -> None:
    walk = walks(1, seed=5)[0]
    shapes = {
        "a jump": np.concatenate([walk[:96], walk[96:] * 2]),
        "a staircase": np.repeat(walk[:48], 4) * (1 + 1e-5 * np.arange(CONTEXT)),
        "a straight line up": 100 * 1.001 ** np.arange(CONTEXT) * (1 + 1e-5 * np.sin(np.arange(CONTEXT))),
        "twenty times the volatility": walks(1, seed=5, volatility=0.2)[0],
    }
    assert rank(stats, float(distances(stats, shapes[kind][None])[0])) > 0.999


def test_a_flat_window_is_infinitely_far_and_harms_no_other(stats: InputStats) -> None:
    walk = walks(1, seed=6)
    found = distances(stats, np.concatenate([np.full((1, CONTEXT), 7.0), walk]))
    assert found[0] == np.inf
    assert found[1] == pytest.approx(distances(stats, walk)[0])
    assert rank(stats, float(found[0])) == 1.0


def test_the_rank_runs_from_none_to_all_of_the_training_windows(stats: InputStats) -> None:
    assert rank(stats, 0.0) == 0.0
    assert rank(stats, stats.distances[-1]) == rank(stats, 1e9) == 1.0
    middle = stats.distances[LEVELS.index(0.5)]
    assert rank(stats, middle) == pytest.approx(0.5)


def test_the_statistics_survive_json_and_wrong_ones_are_refused(stats: InputStats) -> None:
    stored = msgspec.json.encode(stats)
    assert msgspec.json.decode(stored, type=InputStats) == stats
    wrong = (
        {"features": (*FEATURES[:-1], "moon_phase")},
        {"mean": stats.mean[:-1]},
        {"covariance": stats.covariance[:-1]},
        {"distances": stats.distances[::-1]},
        {"levels": stats.levels[1:]},
    )
    for change in wrong:
        text = msgspec.json.encode(msgspec.structs.asdict(stats) | change)
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(text, type=InputStats)


def test_too_few_windows_describe_nothing() -> None:
    with pytest.raises(ValueError, match="99 windows"):
        describe(np.concatenate([walks(99), np.full((50, CONTEXT), 1.0)]))
