"""A variant is its tier's template with its file over it; what cannot be traded is refused by file and key."""

from decimal import Decimal
from typing import Any

import pytest

from bot.errors import OperatorError
from bot.messages import ExitPlan
from bot.strategy.risk import Limits
from bot.strategy.sizing import VolatilityTarget
from tests.strategy.scenes import HOUR, make_variant, shipped


def fault(**tables: dict[str, Any]) -> str:
    with pytest.raises(OperatorError) as caught:
        make_variant(**tables)
    return str(caught.value)


def test_what_the_file_leaves_out_is_the_tiers() -> None:
    variant = make_variant()
    assert (variant.threshold, variant.margin, variant.leverage) == (0.002, Decimal("500.0"), 10)
    assert variant.exits == ExitPlan(
        stop_pct=2.0,
        target_pct=2.0,
        trail_arm_pct=0.5,
        trail_pct=0.5,
        max_hold_ms=4 * HOUR,
        red_after_ms=2 * HOUR,
    )
    assert (variant.caps.symbol, variant.caps.variant, variant.caps.tier, variant.caps.account) == (3, None, None, 44)
    assert variant.entry_ttl_ms == HOUR


def test_the_file_wins_and_zero_switches_a_rule_off() -> None:
    variant = make_variant(
        variant={"threshold_pct": 0.5, "minutes": [40, 10]},
        sizing={"margin_usdt": 250.5, "leverage": 5},
        exits={"stop_pct": 3.0, "target_pct": 0, "trail_arm_pct": 0, "max_hold_minutes": 0, "red_after_minutes": 0},
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
        ({"variant": {"tier": "t9"}}, "key variant.tier: there is no tier plugin 't9'; expected one of: {tiers}"),
        (
            {"variant": {"entry": "fibb"}},
            "key variant.entry: there is no entry plugin 'fibb'; expected one of: {entries}",
        ),
        (
            {"variant": {"filters": ["rsi", "moon"]}},
            "key variant.filters: there is no filter plugin 'moon'; expected one of: {filters}",
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
        (
            {"variant": {"tier": "metals"}, "sizing": {"leverage": 11}},
            "key sizing.leverage: 11 is not allowed in tier 'metals'; expected a whole number from 2 up to 10",
        ),
        (
            {"sizing": {"volatility_scale_min": 1.5}},
            "key sizing.volatility_scale_min: 1.5 is not allowed; expected at most volatility_scale_max (1.0)",
        ),
        (
            {"variant": {"filters": ["rsi"]}, "filter": {"rsi": {"shadow": 1}}},
            "key filter.rsi.shadow: 1 is not allowed; expected true or false",
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
    found = shipped().plugins
    names = {kind: ", ".join(sorted(getattr(found, kind))) for kind in ("tiers", "filters", "entries")}
    assert fault(**tables) == f"btc.toml: {line.format(**names)}"


def test_sizing_and_limits_are_the_tiers_or_the_files() -> None:
    plain = make_variant()
    assert plain.volatility is None
    assert plain.limits == Limits(volume_share=0.01, liquidation_buffer_pct=1.0, funding_share=0.25)
    own = make_variant(
        sizing={
            "volatility_target_pct": 40,
            "volatility_bars": 48,
            "volatility_scale_max": 1.5,
            "volume_share_pct": 0,
            "liquidation_buffer_pct": 2.5,
            "funding_share_pct": 10,
        }
    )
    assert own.volatility == VolatilityTarget(target=0.4, bars=48, least=0.25, most=1.5)
    assert own.limits == Limits(volume_share=None, liquidation_buffer_pct=2.5, funding_share=0.1)
    origins = {setting.key: setting.origin for setting in own.settings}
    assert (origins["sizing.volatility_bars"], origins["sizing.volatility_scale_min"]) == ("file", "tier t1")


@pytest.mark.parametrize("leverage", [2, 10])
def test_a_variant_chooses_its_leverage_within_the_tiers_range(leverage: int) -> None:
    assert make_variant(variant={"tier": "metals"}, sizing={"leverage": leverage}).leverage == leverage


def test_a_filter_in_shadow_is_marked_and_takes_no_option_of_that_name() -> None:
    rsi, session = make_variant(variant={"filters": ["rsi", "session"]}, filter={"rsi": {"shadow": True}}).filters
    assert (rsi.shadow, session.shadow) == (True, False)
    assert "shadow" not in rsi.options


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
