"""The exit rules of time and the walk along a bar: hand-computed tables, and what must never happen on a whole path."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.config import ExitsTable
from bot.messages import ExitPlan, Position, Side
from bot.strategy import exits
from bot.strategy.cycle import decide
from bot.strategy.risk import Exposure
from bot.strategy.sessions import SkipWindows
from bot.strategy.watch import ExitNow, begin, watch
from tests.strategy.scenes import HOUR, MONDAY, make_bars, make_seen, make_variant
from tests.strategy.test_exits import position

LONG, SHORT = Side.LONG, Side.SHORT
MINUTE = 60_000
QUARTER, HALF, LAST = HOUR // 4, HOUR // 2, HOUR - 1
FLOOR = {"floor_arm_pct": 1.5, "floor_keep_pct": 0.25}


@pytest.mark.parametrize(
    ("side", "price", "age", "rules", "expected"),
    [
        (LONG, 99.99, 2 * HOUR - 1, {"red_after_ms": 2 * HOUR}, None),
        (LONG, 99.99, 2 * HOUR, {"red_after_ms": 2 * HOUR}, "red_after"),
        (LONG, 100.0, 2 * HOUR, {"red_after_ms": 2 * HOUR}, None),
        (LONG, 99.5, 3 * HOUR, {"red_after_ms": 2 * HOUR}, "red_after"),  # in the green at two hours, in the red later
        (SHORT, 100.01, 2 * HOUR, {"red_after_ms": 2 * HOUR}, "red_after"),
        (SHORT, 99.99, 2 * HOUR, {"red_after_ms": 2 * HOUR}, None),
        (LONG, 101.0, HOUR - 1, {"session_end_at": HOUR}, None),
        (LONG, 101.0, HOUR, {"session_end_at": HOUR}, "session_end"),
        (SHORT, 101.0, HOUR, {"session_end_at": HOUR}, "session_end"),
        (LONG, 101.0, 4 * HOUR, {"max_hold_ms": 4 * HOUR}, "max_hold"),
        # several at once: red, then the session, then the hold
        (LONG, 99.0, 2 * HOUR, {"red_after_ms": 2 * HOUR, "max_hold_ms": 2 * HOUR}, "red_after"),
        (LONG, 101.0, 2 * HOUR, {"red_after_ms": 2 * HOUR, "max_hold_ms": 2 * HOUR}, "max_hold"),
        (LONG, 101.0, 2 * HOUR, {"session_end_at": 2 * HOUR, "max_hold_ms": 2 * HOUR}, "session_end"),
        (LONG, 99.0, 2 * HOUR, {"red_after_ms": HOUR, "session_end_at": 2 * HOUR}, "red_after"),
    ],
)
def test_a_rule_of_time_ends_a_position_to_the_millisecond(
    side: Side, price: float, age: int, rules: dict[str, int], expected: str | None
) -> None:
    held = position(side, exits=ExitPlan(stop_pct=2.0, **rules))  # type: ignore[arg-type]
    _, decision = watch(held, begin(held), price, age)
    assert decision == (None if expected is None else ExitNow(expected))


def test_an_exit_by_time_does_not_forget_which_rule_set_the_stop() -> None:
    held = position(exits=ExitPlan(stop_pct=2.0, floor_arm_pct=1.5, floor_keep_pct=0.25, red_after_ms=HOUR))
    state, _ = watch(held, begin(held), 101.5, 1)
    after, decision = watch(held, state, 100.26, HOUR)
    assert decision is None
    assert exits.REASONS[after.reason] == "profit_floor"


def test_the_three_stages_of_the_trailing_stop() -> None:
    """Arm 1 %, trail 0.5 %, stop 3 %: nothing below 101, 100.5 at it, then half a percent behind the best."""
    plan = exits.scalars(ExitPlan(stop_pct=3.0, trail_arm_pct=1.0, trail_pct=0.5))
    best, stop, reason = 100.0, 97.0, exits.STOP_LOSS
    seen = []
    for price in (100.99, 101.0, 102.0, 101.6, 103.0, 102.51):
        _, reason, stop, best = exits.evaluate(price, 1, 1, 100.0, 0, best, stop, reason, plan)
        seen.append((round(stop, 6), exits.REASONS[reason]))
    trailing = "trailing_stop"
    assert seen == [
        (97.0, "stop_loss"),
        (100.5, trailing),
        (101.5, trailing),
        (101.5, trailing),
        (102.5, trailing),
        (102.5, trailing),
    ]


def test_the_floor_keeps_a_quarter_percent_once_one_and_a_half_were_reached() -> None:
    plan = exits.scalars(ExitPlan(stop_pct=3.0, floor_arm_pct=1.5, floor_keep_pct=0.25))
    low = exits.evaluate(101.49, 1, 1, 100.0, 0, 100.0, 97.0, exits.STOP_LOSS, plan)
    assert low == (exits.HOLD, exits.STOP_LOSS, 97.0, 101.49)
    action, reason, stop, _ = exits.evaluate(101.5, 1, 1, 100.0, 0, 100.0, 97.0, exits.STOP_LOSS, plan)
    assert (action, reason, stop) == (exits.MOVE_STOP, exits.PROFIT_FLOOR, pytest.approx(100.25))


def test_the_floor_is_reached_though_a_trailing_stop_stands_just_below_it() -> None:
    """The trailing stop came to 100.21; 0.04 % more is not worth a move to it, but the floor is earned."""
    plan = exits.scalars(ExitPlan(stop_pct=3.0, trail_arm_pct=1.0, trail_pct=1.28, **FLOOR))
    action, reason, stop, _ = exits.evaluate(101.5, 1, 1, 100.0, 0, 101.49, 100.21, exits.TRAILING_STOP, plan)
    assert (action, reason, stop) == (exits.MOVE_STOP, exits.PROFIT_FLOOR, pytest.approx(100.25))
    again = exits.evaluate(101.5, 2, 1, 100.0, 0, 101.5, stop, reason, plan)
    assert again[:3] == (exits.HOLD, exits.PROFIT_FLOOR, stop)


Ends = tuple[str | None, float, int]
TRAIL = {"trail_arm_pct": 1.0, "trail_pct": 0.5}


@pytest.mark.parametrize(
    ("side", "bar", "rules", "expected"),
    [
        # entry 100 a bar ago, stop 98 (102), target 103 (97); the bar is open, high, low, close
        (LONG, (100, 101, 99, 100), {}, (None, 0.0, 0)),
        (LONG, (100, 101, 98, 100), {}, ("stop_loss", 98.0, QUARTER)),
        (LONG, (100, 103, 99, 100), {}, ("target", 103.0, HALF)),
        (LONG, (100, 104, 97, 100), {}, ("stop_loss", 98.0, QUARTER)),  # both: the stop
        (LONG, (97.5, 104, 97, 100), {}, ("stop_loss", 97.5, 0)),  # a gap through the stop is filled at the open
        (LONG, (103.5, 104, 97, 100), {}, ("target", 103.5, 0)),
        (SHORT, (100, 104, 96, 100), {}, ("stop_loss", 102.0, QUARTER)),
        (SHORT, (100, 101, 97, 100), {}, ("target", 97.0, HALF)),
        (SHORT, (102.5, 103, 97, 100), {}, ("stop_loss", 102.5, 0)),
        # best 102.5: the stop trails to 102, and the close is below it
        (LONG, (100, 102.5, 99, 101.5), TRAIL, ("trailing_stop", 102.0, LAST)),
        (LONG, (100, 102.5, 99, 102.2), TRAIL, (None, 0.0, 0)),
        (LONG, (100, 102.5, 97, 102.2), TRAIL, ("stop_loss", 98.0, QUARTER)),
        (SHORT, (100, 101, 97.5, 98.5), TRAIL, ("trailing_stop", 98.0, LAST)),
        (LONG, (100, 101.5, 99, 100.2), FLOOR, ("profit_floor", 100.25, LAST)),
        (LONG, (100, 101.4, 99, 100.2), FLOOR, (None, 0.0, 0)),
        # the bar opens at an age of one hour
        (LONG, (101, 102, 99, 100), {"max_hold_ms": HOUR}, ("max_hold", 101.0, 0)),
        (LONG, (101, 102, 99, 100), {"session_end_at": HOUR}, ("session_end", 101.0, 0)),
        (LONG, (99.9, 102, 99, 100), {"red_after_ms": HOUR}, ("red_after", 99.9, 0)),
        (LONG, (101, 102, 99, 100), {"red_after_ms": HOUR}, ("red_after", 99.0, QUARTER)),
        (LONG, (97, 102, 96, 100), {"max_hold_ms": HOUR}, ("stop_loss", 97.0, 0)),  # the venue's stop is faster
        # a time between two points: the price that stood then
        (LONG, (101, 102, 99, 100), {"max_hold_ms": HOUR + MINUTE}, ("max_hold", 101.0, MINUTE)),
        (LONG, (99, 102, 98.5, 100), {"red_after_ms": HOUR + MINUTE}, ("red_after", 99.0, MINUTE)),
        (LONG, (101, 102, 97, 100), {"session_end_at": HOUR + MINUTE}, ("session_end", 101.0, MINUTE)),
    ],
)
def test_a_bar_is_walked_with_the_stop_before_the_target(
    side: Side, bar: tuple[float, float, float, float], rules: dict[str, Any], expected: Ends
) -> None:
    sign = side.sign
    plan = exits.scalars(ExitPlan(stop_pct=2.0, **rules))
    stop, target = exits.stop_price(100.0, sign, 2.0), exits.target_price(100.0, sign, 3.0)
    bar = tuple(float(price) for price in bar)  # type: ignore[assignment]
    told = exits.walk_bar(*bar, HOUR, HOUR, sign, 100.0, 0, target, 100.0, stop, exits.STOP_LOSS, plan)
    assert told == exits.walk_bar.py_func(  # type: ignore[attr-defined]
        *bar, HOUR, HOUR, sign, 100.0, 0, target, 100.0, stop, exits.STOP_LOSS, plan
    )
    ended, price, at = told[:3]
    reason, wanted, after = expected
    if reason is None:
        assert ended == exits.STILL_OPEN
    else:
        assert (exits.REASONS[ended], price, at) == (reason, pytest.approx(wanted), HOUR + after)


def test_points_before_the_entry_are_left_out() -> None:
    """Opened at half the bar: neither the gap at its open nor its low are the position's."""
    plan = exits.scalars(ExitPlan(stop_pct=2.0))
    walk = (90.0, 101.0, 90.0, 100.0, 0, HOUR, 1, 100.0, HALF, exits.OFF, 100.0, 98.0, exits.STOP_LOSS, plan)
    assert exits.walk_bar(*walk)[0] == exits.STILL_OPEN


def test_a_plan_of_an_older_version_is_read_with_the_new_rules_off() -> None:
    held = msgspec.to_builtins(position(exits=ExitPlan(stop_pct=2.0, max_hold_ms=HOUR)))
    for key in ("red_after_ms", "close_at_session_end", "session_end_at"):
        del held["exits"][key]
    plan = msgspec.convert(held, Position).exits
    assert plan == ExitPlan(stop_pct=2.0, max_hold_ms=HOUR)
    assert exits.scalars(plan)[5:] == (exits.OFF, exits.OFF)


def test_the_end_of_the_session_goes_with_the_entry_and_ends_its_rest() -> None:
    exits_table = {"close_at_session_end": True}
    bars = make_bars([50_000.0 - 5.0 * (number % 2) for number in range(64, 0, -1)], end=MONDAY + 5 * HOUR)
    variant = make_variant(variant={"entry": "atr05"}, exits=exits_table)
    seen = make_seen(bars)
    _, intent = decide(variant, seen, Exposure())
    assert intent is not None
    assert intent.exits.session_end_at == MONDAY + 6 * HOUR  # t1 skips the hour from 06:00 on
    assert intent.expires_at == MONDAY + 6 * HOUR < seen.now + HOUR
    assert variant.exits.session_end_at is None


def test_without_a_skip_window_there_is_no_session_to_end() -> None:
    plan = ExitPlan(stop_pct=2.0, close_at_session_end=True)
    assert exits.dated(plan, SkipWindows(), MONDAY).session_end_at is None
    assert exits.dated(ExitPlan(stop_pct=2.0), SkipWindows((), (6,)), MONDAY).session_end_at is None


RULES = st.builds(
    ExitPlan,
    stop_pct=st.floats(0.5, 5),
    trail_arm_pct=st.none() | st.floats(0.1, 3),
    trail_pct=st.floats(0.1, 3),
    floor_arm_pct=st.none() | st.floats(0.5, 3),
    floor_keep_pct=st.floats(0.05, 0.45),
    max_hold_ms=st.none() | st.integers(1, 20 * HOUR),
    red_after_ms=st.none() | st.integers(1, 20 * HOUR),
    session_end_at=st.none() | st.integers(1, 20 * HOUR),
)
MOVES = st.lists(st.tuples(*[st.integers(-40, 40)] * 4), min_size=1, max_size=20)


@settings(max_examples=150, deadline=None)
@given(moves=MOVES, plan=RULES, sign=st.sampled_from([1, -1]))
def test_on_a_whole_path_the_stop_only_tightens_the_floor_holds_and_time_ends_it(
    moves: list[tuple[int, ...]], plan: ExitPlan, sign: int
) -> None:
    rules = exits.scalars(plan)
    best, stop, reason = 100.0, exits.stop_price(100.0, sign, plan.stop_pct), exits.STOP_LOSS
    last = 100.0
    for number, (first, up, down, end) in enumerate(moves):
        opened, close = last + first / 50, last + end / 20
        high, low = max(opened, close) + abs(up) / 20, min(opened, close) - abs(down) / 20
        at = number * HOUR
        told = exits.walk_bar(
            opened, high, low, close, at, HOUR, sign, 100.0, 0, sign * exits.OFF, best, stop, reason, rules
        )
        ended, price, ended_at, reason, after, best = told
        assert sign * (after - stop) >= 0
        stop, last = after, close
        gained = exits.gain_pct(best, sign, 100.0)
        if plan.floor_arm_pct is not None and gained >= plan.floor_arm_pct:
            assert exits.gain_pct(stop, sign, 100.0) >= plan.floor_keep_pct - 1e-6  # type: ignore[operator]
        if ended != exits.STILL_OPEN:
            assert at <= ended_at < at + HOUR
            assert low - 1e-9 <= price <= high + 1e-9
            return
        for limit in (plan.max_hold_ms, plan.session_end_at):
            assert limit is None or at + HOUR - 1 < limit


def test_the_table_of_a_variant_names_every_rule_of_a_plan() -> None:
    keys = {field.name.replace("_minutes", "_ms") for field in msgspec.structs.fields(ExitsTable)}
    assert keys | {"session_end_at"} == {field.name for field in msgspec.structs.fields(ExitPlan)}
