"""Signal rows in, events and metrics on the models' health out, each fault told once a day while it lasts."""

from collections.abc import Iterable, Iterator

from bot.clock import DAY_MS, HOUR_MS
from bot.forecast.health import ForecastHealth, TierHealth, VariantHealth
from bot.messages import BotEvent, Severity, Signal
from bot.metrics import Metrics

DEAD, DEAD_OVER = "dead_variant", "dead_variant_over"
CONSTANT, CONSTANT_OVER = "forecasts_constant", "forecasts_constant_over"
TOLD = (DEAD, DEAD_OVER, CONSTANT, CONSTANT_OVER)

Fault = tuple[str, str]  # the event's name; the variant, or the tier


class HealthWatch:
    """Judges once an hour of domain time. Time is the rows' own, so a replay and a live run are told the same."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._health = ForecastHealth()
        self._judged = 0  # the hour
        self._told: dict[Fault, int] = {}

    def restore(self, rows: Iterable[Signal], events: Iterable[BotEvent]) -> None:
        """Take up what an earlier process saw and told, oldest first."""
        for row in rows:
            self._health.add(row)
        for event in events:
            if event.name in (DEAD, CONSTANT):
                self._told[_fault(event)] = event.at
            elif event.name in (DEAD_OVER, CONSTANT_OVER):
                self._told.pop(_fault(event), None)

    def seen(self, row: Signal) -> list[BotEvent]:
        """Take a row; the events that are due with it."""
        self._health.add(row)
        hour = row.cycle_at // HOUR_MS
        if hour <= self._judged:
            return []
        self._judged = hour
        self._health.forget(row.cycle_at)
        return list(self._judge(row.cycle_at))

    def _judge(self, now: int) -> Iterator[BotEvent]:
        for variant in self._health.variants():
            if variant.dead is not None:
                self._metrics.dead_variant.labels(variant.variant).set(variant.dead)
                yield from self._tell((DEAD, variant.variant), variant.dead, now, _of_variant(variant))
        for tier in self._health.tiers():
            if tier.serving:
                self._show(tier)
                if tier.spread.forecasts:
                    yield from self._tell((CONSTANT, tier.tier), tier.constant is not None, now, _of_tier(tier))

    def _tell(self, fault: Fault, lasts: bool, now: int, detail: dict[str, object]) -> Iterator[BotEvent]:
        told = self._told.get(fault)
        if lasts and (told is None or now - told >= DAY_MS):
            self._told[fault] = now
            yield BotEvent(at=now, name=fault[0], severity=Severity.WARNING, detail=detail)
        elif not lasts and told is not None:
            del self._told[fault]
            yield BotEvent(at=now, name=f"{fault[0]}_over", detail=detail)

    def _show(self, tier: TierHealth) -> None:
        for quantile in ("p50", "p90", "p99"):
            value = getattr(tier.spread, quantile)
            if value is not None:
                self._metrics.predicted_return_abs.labels(tier.tier, f"0.{quantile[1:]}").set(value)


def _fault(event: BotEvent) -> Fault:
    name = event.name.removesuffix("_over")
    return name, str(event.detail["variant" if name == DEAD else "tier"])


def _of_variant(health: VariantHealth) -> dict[str, object]:
    return {
        "variant": health.variant,
        "tier": health.tier,
        "checkpoint": health.checkpoint,
        "threshold": health.threshold,
        "p99": health.spread.p99,
        "forecasts": health.spread.forecasts,
        "above": health.above,
    }


def _of_tier(health: TierHealth) -> dict[str, object]:
    return {
        "tier": health.tier,
        "checkpoint": health.checkpoint,
        "kind": health.constant,
        "forecasts": health.spread.forecasts,
        "positive": health.positive,
    }
