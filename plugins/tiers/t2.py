"""Tier t2, the mid caps: a stronger forecast, one position per coin and seven in all, a fixed target."""

from bot.hookspecs import TierTemplate, hookimpl
from bot.messages import ExitPlan

HOUR_MS = 3_600_000


@hookimpl
def tier() -> TierTemplate:
    return TierTemplate(
        name="t2",
        checkpoint="active",
        threshold_pct=0.75,
        margin_usdt=375,
        leverage=10,
        max_positions_per_symbol=1,
        max_positions=7,
        exits=ExitPlan(
            stop_pct=3.0,
            target_pct=3.0,
            floor_arm_pct=1.5,
            floor_keep_pct=0.25,
            red_after_ms=2 * HOUR_MS,
            max_hold_ms=4 * HOUR_MS,
        ),
    )
