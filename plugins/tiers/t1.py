"""Tier t1, the majors: four hours ahead on hourly bars, three positions per coin, a tight trailing stop."""

from bot.hookspecs import TierTemplate, hookimpl
from bot.messages import ExitPlan

HOUR_MS = 3_600_000
FRIDAY = 4


@hookimpl
def tier() -> TierTemplate:
    return TierTemplate(
        name="t1",
        checkpoint="active",
        threshold_pct=0.2,
        margin_usdt=500,
        leverage=10,
        max_positions_per_symbol=3,
        max_positions=None,
        exits=ExitPlan(
            stop_pct=2.0,
            target_pct=2.0,
            trail_arm_pct=0.5,
            trail_pct=0.5,
            red_after_ms=2 * HOUR_MS,
            max_hold_ms=4 * HOUR_MS,
        ),
        skip_weekdays=(FRIDAY,),
        skip_hours=(6,),
    )
