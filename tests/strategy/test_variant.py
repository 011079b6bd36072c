"""A variant is its tier's template with its file over it; what cannot be traded is refused by file and key."""

from decimal import Decimal
from typing import Any

import pytest

from bot.errors import OperatorError
from bot.messages import ExitPlan
from tests.strategy.scenes import HOUR, make_variant


def fault(**tables: dict[str, Any]) -> str:
    with pytest.raises(OperatorError) as caught:
        make_variant(**tables)
    return str(caught.value)


def test_what_the_file_leaves_out_is_the_tiers() -> None:
    variant = make_variant()
    assert (variant.threshold, variant.margin, variant.leverage) == (0.002, Decimal("500.0"), 10)
    assert variant.exits == ExitPlan(
        stop_pct=2.0, target_pct=2.0, trail_arm_pct=0.5, trail_pct=0.5, max_hold_ms=4 * HOUR
    )
    assert (variant.caps.symbol, variant.caps.variant, variant.caps.tier, variant.caps.account) == (3, None, None, 44)
    assert variant.entry_ttl_ms == HOUR


def test_the_file_wins_and_zero_switches_a_rule_off() -> None:
    variant = make_variant(
        variant={"threshold_pct": 0.5, "minutes": [40, 10]},
        sizing={"margin_usdt": 250.5, "leverage": 5},
        exits={"stop_pct": 3.0, "target_pct": 0, "trail_arm_pct": 0, "max_hold_minutes": 0},
    )
    assert (variant.threshold, variant.margin, variant.leverage) == (0.005, Decimal("250.5"), 5)
    assert variant.minutes == (10, 40)
    assert variant.exits == ExitPlan(stop_pct=3.0)


def test_a_floor_can_be_added_to_a_tier_that_has_none() -> None:
    exits = make_variant(exits={"floor_arm_pct": 1.0, "floor_keep_pct": 0.3}).exits
    assert (exits.floor_arm_pct, exits.floor_keep_pct) == (1.0, 0.3)


@pytest.mark.parametrize(
    ("tables", "line"),
    [
        ({"variant": {"tier": "t9"}}, "key variant.tier: there is no tier plugin 't9'; expected one of: t1"),
        (
            {"variant": {"entry": "fibb"}},
            "key variant.entry: there is no entry plugin 'fibb'; expected one of: atr05, fib, market",
        ),
        (
            {"variant": {"filters": ["rsi", "moon"]}},
            "key variant.filters: there is no filter plugin 'moon'; expected one of: rsi, session",
        ),
        (
            {"exits": {"stop_pct": 10.0}},
            "key exits.stop_pct: 10.0 is not allowed: at leverage 10 liquidation is nearer; expected below 9",
        ),
        (
            {"exits": {"floor_arm_pct": 1.0}},
            "key exits.floor_keep_pct: is missing; expected together with floor_arm_pct (0 switches both off)",
        ),
        (
            {"exits": {"floor_arm_pct": 1.0, "floor_keep_pct": 1.0}},
            "key exits.floor_keep_pct: 1.0 is not allowed; expected below floor_arm_pct (1.0)",
        ),
        ({"entry": {"fib": {"ratio": 0.5}}}, "key entry.fib: this variant does not use it; expected one of: market"),
        (
            {"variant": {"entry": "fib"}, "entry": {"fib": {"ration": 0.5}}},
            "key entry.fib.ration: is unknown; allowed here: ratio, width",
        ),
        (
            {"variant": {"entry": "fib"}, "entry": {"fib": {"width": 2.5}}},
            "key entry.fib.width: 2.5 is not allowed; expected a whole number",
        ),
        (
            {"variant": {"filters": ["rsi"]}, "filter": {"rsi": {"long_above": True}}},
            "key filter.rsi.long_above: True is not allowed; expected a number",
        ),
        (
            {"variant": {"filters": ["session"]}, "filter": {"session": {"skip_hours": [24]}}},
            "key filter.session.skip_hours: [24] is not allowed; expected a list of whole numbers from 0 up to 23",
        ),
    ],
)
def test_each_fault_is_one_line_with_file_key_and_what_is_allowed(tables: dict[str, Any], line: str) -> None:
    assert fault(**tables) == f"btc.toml: {line}"


def test_options_come_from_the_file_then_the_tier_then_the_plugin() -> None:
    variant = make_variant(
        variant={"filters": ["session", "rsi"]}, filter={"session": {"skip_hours": [7]}, "rsi": {"long_above": 55}}
    )
    session, rsi = variant.filters
    assert dict(session.options) == {"skip_weekdays": [4], "skip_hours": [7]}
    assert dict(rsi.options) == {"long_above": 55.0, "short_below": 40.0}
    origins = {setting.key: setting.origin for setting in variant.settings}
    assert origins["filter.session.skip_hours"] == "file"
    assert origins["filter.session.skip_weekdays"] == "tier t1"
    assert origins["filter.rsi.short_below"] == "plugin rsi"
    assert origins["exits.stop_pct"] == "tier t1"
    assert origins["variant.entry_ttl_minutes"] == "default"
