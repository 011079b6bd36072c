"""Tier metals: gold and silver, which move little, so that positions are large and short.

A variant may choose any leverage from 2 to 10; where its file says nothing it is 10, with which a stop of 3 % costs a
third of the margin. The metals themselves pause around midnight UTC, so nothing is held into the skip window.
"""

from bot.hookspecs import TierTemplate, hookimpl
from bot.messages import ExitPlan

HOUR_MS = 3_600_000
WEDNESDAY = 2


@hookimpl
def tier() -> TierTemplate:
    return TierTemplate(
        name="metals",
        checkpoint="active",
        threshold_pct=0.3,
        margin_usdt=1_000,
        leverage=10,
        leverage_range=(2, 10),
        max_positions_per_symbol=3,
        max_positions=3,
        exits=ExitPlan(
            stop_pct=3.0,
            target_pct=4.0,
            floor_arm_pct=1.5,
            floor_keep_pct=0.25,
            max_hold_ms=2 * HOUR_MS,
            close_at_session_end=True,
        ),
        skip_weekdays=(WEDNESDAY,),
        skip_hours=(23, 0, 1),
    )
