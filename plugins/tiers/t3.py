"""Tier t3, the small caps: small positions for two hours that only a trailing stop takes out with a gain.

There is no target. The stop rests at the exchange from the first fill, and the trailing stop moves it.
"""

from bot.hookspecs import TierTemplate, hookimpl
from bot.messages import ExitPlan

HOUR_MS = 3_600_000


@hookimpl
def tier() -> TierTemplate:
    return TierTemplate(
        name="t3",
        checkpoint="active",
        threshold_pct=1.0,
        margin_usdt=100,
        leverage=10,
        max_positions_per_symbol=1,
        max_positions=10,
        exits=ExitPlan(stop_pct=3.0, trail_arm_pct=1.0, trail_pct=0.5, max_hold_ms=2 * HOUR_MS),
    )
