"""The health of what the models say: exact quantiles of seven days, dead variants and constant models by name."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from bot.clock import DAY_MS, HOUR_MS
from bot.forecast.health import ForecastHealth, TierHealth, VariantHealth
from bot.forecast.watch import HealthWatch
from bot.messages import BotEvent, Severity, Signal
from bot.metrics import Metrics

START = 1_741_564_800_000  # 2025-03-10 00:00 UTC
MINUTE = 60_000


def row(
    predicted: float | None,
    hour: int = 0,
    *,
    minute: int = 3,
    symbol: str = "BTCUSDT",
    variant: str = "BTC",
    tier: str = "t1",
    checkpoint: str | None = "nano@1",
    threshold: float = 0.003,
    reason: str = "below_threshold",
) -> Signal:
    at = START + hour * HOUR_MS
    return Signal(
        signal_id=f"{variant}{symbol}{hour}{minute}",
        cycle_at=at + minute * MINUTE,
        variant=variant,
        tier=tier,
        symbol=symbol,
        bar_close_at=at,
        checkpoint=checkpoint,
        predicted_return=predicted,
        threshold=threshold,
        decision="refuse",
        decision_reason=reason,
        entry_method="market",
    )


def said(values: Sequence[float], **keys: Any) -> list[Signal]:
    """One row an hour."""
    return [row(value, hour, **keys) for hour, value in enumerate(values)]


def noise(count: int, seed: int = 1, scale: float = 0.001) -> list[float]:
    return np.random.default_rng(seed).normal(0, scale, count).tolist()


def health_of(rows: Sequence[Signal]) -> ForecastHealth:
    health = ForecastHealth()
    for one in rows:
        health.add(one)
    return health


def tier_of(rows: Sequence[Signal]) -> TierHealth:
    [tier] = health_of(rows).tiers()
    return tier


def variant_of(rows: Sequence[Signal]) -> VariantHealth:
    [variant] = health_of(rows).variants()
    return variant


# What was said


def test_the_quantiles_are_those_of_numpy_over_all_symbols_of_the_tier() -> None:
    btc, eth = noise(100, 1), noise(100, 2, 0.01)
    rows = [*said(btc), *said(eth, symbol="ETHUSDT", variant="ETH")]
    tier = tier_of(sorted(rows, key=lambda one: one.cycle_at))
    sizes = np.abs([*btc, *eth])
    expected = np.quantile(sizes, (0.5, 0.9, 0.99), method="higher")
    assert (tier.spread.p50, tier.spread.p90, tier.spread.p99) == tuple(expected)
    assert (tier.spread.forecasts, tier.rows) == (200, 200)
    assert tier.positive == (np.array([*btc, *eth]) > 0).mean()


def test_a_bar_that_is_asked_for_again_counts_once() -> None:
    rows = [row(value, hour, minute=minute) for hour, value in enumerate(noise(30)) for minute in (3, 33)]
    rows += [row(one.predicted_return, 29, minute=50, variant="TWIN") for one in rows[-1:]]
    tier = tier_of(rows)
    assert (tier.rows, tier.spread.forecasts) == (61, 30)


def test_refused_rows_are_counted_by_reason_for_each_checkpoint() -> None:
    rows = [
        row(0.001, 0),
        row(None, 1, reason="absurd_forecast"),
        row(None, 2, reason="not_finite_forecast"),
        row(None, 3, reason="absurd_forecast"),
        row(0.001, 4, checkpoint="t1/a@2"),
        row(None, 5, checkpoint=None, reason="bar_missing"),
    ]
    old, new = health_of(rows).tiers()
    assert (old.checkpoint, old.serving, old.rows) == ("nano@1", False, 4)
    assert list(old.refused.items()) == [("absurd_forecast", 2), ("not_finite_forecast", 1)]
    assert old.refused_share == 0.75
    assert (new.checkpoint, new.serving, new.rows, new.refused) == ("t1/a@2", True, 1, {})


def test_what_is_older_than_seven_days_is_forgotten() -> None:
    health = health_of([*said([0.1] * 24), *said([0.001] * 24, symbol="ETHUSDT", variant="ETH", checkpoint="b@1")])
    health.add(row(0.002, 7 * 24 + 12))
    health.forget(START + 7 * DAY_MS + 12 * HOUR_MS)
    by_checkpoint = {tier.checkpoint: tier for tier in health.tiers()}
    assert by_checkpoint["nano@1"].spread.forecasts == 13, "the hours 12 to 23 of the first day, and the newest"
    health.forget(START + 20 * DAY_MS)
    assert (health.tiers(), health.variants()) == ([], [])


def test_memory_is_bounded_by_symbols_times_bars() -> None:
    health = ForecastHealth()
    for hour in range(400):
        for minute in range(1, 60, 2):
            health.add(row(0.001, hour, minute=minute))
        health.forget(START + hour * HOUR_MS)
    [tier] = health.tiers()
    assert tier.spread.forecasts == 7 * 24 + 1


# Who is dead


def test_a_variant_whose_threshold_is_out_of_reach_is_dead_and_one_within_is_not() -> None:
    values = noise(168)
    p99 = float(np.quantile(np.abs(values), 0.99, method="higher"))
    dead, alive = variant_of(said(values, threshold=p99 * 1.001)), variant_of(said(values, threshold=p99))
    assert (dead.dead, alive.dead) == (True, False)
    assert dead.spread.p99 == p99
    assert alive.above == pytest.approx(2 / 168)


def test_a_variant_is_judged_on_its_own_symbols_and_not_on_its_tiers() -> None:
    wild = said(noise(100, 2, 0.05), symbol="DOGEUSDT", variant="DOGE", threshold=0.01)
    calm = said(noise(100, 1, 0.0001), threshold=0.01)
    rows = sorted([*wild, *calm], key=lambda one: one.cycle_at)
    assert {one.variant: one.dead for one in health_of(rows).variants()} == {"BTC": True, "DOGE": False}


def test_nobody_is_judged_before_most_of_a_day_was_seen() -> None:
    assert variant_of(said([0.001] * 20)).dead is None
    assert variant_of(said([0.001] * 21)).dead is True
    sparse = [row(0.001, hour) for hour in range(0, 48, 4)]
    assert variant_of(sparse).dead is None, "twelve bars are too few, however long they took"


def test_with_few_forecasts_a_threshold_must_be_far_out_of_reach() -> None:
    few, many = noise(99), noise(100)
    largest = max(map(abs, few))
    assert variant_of(said(few, threshold=largest * 1.9)).dead is False
    assert variant_of(said(few, threshold=largest * 2.1)).dead is True
    assert variant_of(said(many, threshold=max(map(abs, many)) * 1.01)).dead is True


def test_another_checkpoint_is_judged_on_its_own_words() -> None:
    rows = said([0.001] * 48)
    assert variant_of(rows).dead is True
    newer = [row(0.01, 48 + hour, checkpoint="t1/a@2") for hour in range(21)]
    assert variant_of([*rows, *newer[:5]]).dead is None
    judged = variant_of([*rows, *newer])
    assert (judged.dead, judged.checkpoint, judged.spread.forecasts) == (False, "t1/a@2", 21)


@pytest.mark.parametrize(
    ("values", "constant"),
    [
        ([0.001] * 24, "same_value"),
        ([0.0] * 24, "same_value"),
        ([0.001] * 20, None),
        (np.abs(noise(60)).tolist(), None),
        (np.abs(noise(80)).tolist(), "same_sign"),
        ((-np.abs(noise(80))).tolist(), "same_sign"),
        ([*np.abs(noise(80)), -1e-4], None),
    ],
)
def test_a_model_that_always_says_the_same_is_constant(values: list[float], constant: str | None) -> None:
    assert tier_of(said(values)).constant == constant


# What is told


class Listener:
    def __init__(self) -> None:
        self.metrics = Metrics()
        self.watch = HealthWatch(self.metrics)
        self.events: list[BotEvent] = []

    def hear(self, rows: Sequence[Signal]) -> list[tuple[str, int]]:
        """Names and hours of the new events."""
        before = len(self.events)
        for one in rows:
            self.events += self.watch.seen(one)
        return [(event.name, (event.at - START) // HOUR_MS) for event in self.events[before:]]

    def metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


def test_a_dead_variant_is_told_within_a_day_then_daily_and_once_when_it_is_over() -> None:
    listener = Listener()
    dead = said(noise(72), threshold=0.05)
    assert listener.hear(dead) == [("dead_variant", 20), ("dead_variant", 44), ("dead_variant", 68)]
    event = listener.events[0]
    assert event.severity is Severity.WARNING
    assert (event.detail["variant"], event.detail["tier"], event.detail["checkpoint"]) == ("BTC", "t1", "nano@1")
    assert (event.detail["threshold"], event.detail["forecasts"], event.detail["above"]) == (0.05, 21, 0.0)
    assert 0 < event.detail["p99"] < 0.05
    assert listener.metric("dead_variant", variant="BTC") == 1
    cured = [row(0.1, hour, threshold=0.05) for hour in range(72, 80)]
    assert listener.hear(cured) == [("dead_variant_over", 72)]
    assert listener.metric("dead_variant", variant="BTC") == 0


def test_a_living_variant_is_told_of_by_metrics_alone() -> None:
    listener = Listener()
    values = noise(100)
    assert listener.hear(said(values, threshold=0.0005)) == []
    assert listener.metric("dead_variant", variant="BTC") == 0
    p90 = np.quantile(np.abs(values), 0.9, method="higher")
    assert listener.metric("predicted_return_abs_quantile", tier="t1", quantile="0.90") == p90


def test_a_constant_model_is_told_and_its_end_too() -> None:
    listener = Listener()
    told = listener.hear(said([0.01] * 30))
    assert told == [("forecasts_constant", 20)]
    assert listener.events[0].detail["kind"] == "same_value"
    assert listener.hear([row(-0.01, 30)]) == [("forecasts_constant_over", 30)]


def test_a_restart_goes_on_where_the_last_process_ended() -> None:
    rows = said(noise(96), threshold=0.05)
    whole = Listener()
    whole.hear(rows)
    first, second = Listener(), Listener()
    first.hear(rows[:50])
    second.watch.restore(rows[:50], first.events)
    second.hear(rows[50:])
    assert [*first.events, *second.events] == whole.events
    assert len(whole.events) == 4
