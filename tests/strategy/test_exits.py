"""The exit rules: hand-computed tables, the compiled functions beside plain Python, and what must never happen."""

import os
import subprocess
import sys
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.messages import ExitPlan, Position, PositionStatus, Side
from bot.strategy import exits
from bot.strategy.watch import ExitNow, ExitState, MoveStop, begin, watch

HOUR = 3_600_000
PLAN = ExitPlan(
    stop_pct=2.0,
    target_pct=2.0,
    trail_arm_pct=1.0,
    trail_pct=0.5,
    floor_arm_pct=0.6,
    floor_keep_pct=0.2,
    max_hold_ms=4 * HOUR,
)


def position(side: Side = Side.LONG, stop: str | None = None, **changes: Any) -> Position:
    fields: dict[str, Any] = {
        "position_id": "p",
        "variant": "BTC",
        "tier": "t1",
        "symbol": "BTCUSDT",
        "side": side,
        "status": PositionStatus.OPEN,
        "intended": Decimal(1),
        "filled": Decimal(1),
        "entry_price": Decimal(100),
        "stop_price": Decimal(stop or ("98" if side is Side.LONG else "102")),
        "created_at": 0,
        "expires_at": HOUR,
        "opened_at": 0,
        "exits": PLAN,
    }
    return Position(**(fields | changes))


def play(held: Position, prices: list[float], now: int = 1) -> tuple[ExitState, list[Any]]:
    """Watch the prices with a desk that executes each move at once."""
    state, decisions = begin(held), []
    for price in prices:
        state, decision = watch(held, state, price, now)
        decisions.append(decision)
        if isinstance(decision, MoveStop):
            held.stop_price = Decimal(str(decision.stop_price))
    return state, decisions


def test_stop_and_target_lie_their_percentage_from_the_entry() -> None:
    assert exits.stop_price(100.0, 1, 2.0) == pytest.approx(98.0)
    assert exits.stop_price(100.0, -1, 2.0) == pytest.approx(102.0)
    assert exits.target_price(100.0, 1, 3.0) == pytest.approx(103.0)
    assert exits.target_price(100.0, -1, 3.0) == pytest.approx(97.0)


@pytest.mark.parametrize(
    ("side", "prices", "expected"),
    [
        (Side.LONG, [100.5], [None]),
        (Side.LONG, [100.6], [("profit_floor", 100.2)]),
        (Side.SHORT, [99.4], [("profit_floor", 99.8)]),
        (Side.LONG, [101.0], [("trailing_stop", 100.5)]),
        (Side.SHORT, [99.0], [("trailing_stop", 99.5)]),
        (
            Side.LONG,
            [100.6, 101.0, 101.5],
            [("profit_floor", 100.2), ("trailing_stop", 100.5), ("trailing_stop", 101.0)],
        ),
        (Side.LONG, [101.5, 101.2, 101.01], [("trailing_stop", 101.0), None, None]),
        (Side.LONG, [101.0, 101.04, 101.05], [("trailing_stop", 100.5), None, ("trailing_stop", 100.55)]),
        (Side.LONG, [99.0, 98.1], [None, None]),
    ],
)
def test_trailing_stop_and_floor_move_the_stop(
    side: Side, prices: list[float], expected: list[tuple[str, float] | None]
) -> None:
    _, decisions = play(position(side), prices)
    for decision, want in zip(decisions, expected, strict=True):
        if want is None:
            assert decision is None
        else:
            assert decision.reason == want[0]
            assert decision.stop_price == pytest.approx(want[1])


def test_a_price_beyond_a_stop_that_the_exchange_holds_is_left_to_the_exchange() -> None:
    assert play(position(), [97.0])[1] == [None]
    assert play(position(), [101.0, 100.4])[1][1] is None


def test_a_price_beyond_a_level_that_the_exchange_does_not_hold_yet_is_an_exit() -> None:
    held = position()
    state, move = watch(held, begin(held), 101.0, 1)
    assert isinstance(move, MoveStop)
    assert watch(held, state, 100.6, 2)[1] is None
    assert watch(held, state, 100.4, 3)[1] == ExitNow("trailing_stop")


def test_a_level_that_is_already_passed_when_it_is_found_is_an_exit() -> None:
    held = position()
    assert watch(held, begin(held, best=102.0), 101.0, 1)[1] == ExitNow("trailing_stop")
    assert watch(held, begin(held, best=100.7), 100.1, 1)[1] == ExitNow("profit_floor")


def test_the_maximum_hold_ends_a_position_to_the_millisecond() -> None:
    assert play(position(), [100.0], 4 * HOUR - 1)[1] == [None]
    assert play(position(), [100.0], 4 * HOUR)[1] == [ExitNow("max_hold")]


def test_a_closing_or_empty_position_is_left_alone() -> None:
    for held in (position(status=PositionStatus.CLOSING), position(filled=Decimal(0)), position(entry_price=None)):
        state = ExitState(100.0, 98.0, exits.STOP_LOSS)
        assert watch(held, state, 150.0, 99 * HOUR) == (state, None)


def test_rules_that_are_off_never_act() -> None:
    held = position(exits=ExitPlan(stop_pct=2.0))
    state, decisions = play(held, [101.0, 150.0, 99.0], 1_000 * HOUR)
    assert decisions == [None, None, None]
    assert state.stop == 98.0


def test_after_a_restart_the_placed_stop_still_stands() -> None:
    held = position(stop="101", stop_reason="trailing_stop")
    state, decision = watch(held, begin(held), 101.2, 1)
    assert decision is None
    assert (state.stop, exits.REASONS[state.reason]) == (101.0, "trailing_stop")


def test_the_rules_compile_where_numba_may_not_write_a_cache() -> None:
    script = "from bot.strategy import exits; exits.prepare(); print(exits.stop_price(100.0, 1, 2.0))"
    environment = os.environ | {"NUMBA_CACHE_DIR": os.path.join(os.devnull, "none")}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["98.0"]


NEVER = st.just(exits.OFF)
RULES = st.tuples(st.floats(0.1, 5), st.floats(0.1, 5), st.floats(0.1, 5), st.floats(0.05, 5), NEVER, NEVER, NEVER)
PATHS = st.lists(st.floats(80, 120), min_size=1, max_size=30)


@settings(max_examples=150, deadline=None)
@given(path=PATHS, sign=st.sampled_from([1, -1]), rules=RULES)
def test_the_stop_never_moves_against_the_position_and_the_floor_is_never_lost(
    path: list[float], sign: int, rules: exits.Rules
) -> None:
    state = (100.0, exits.stop_price(100.0, sign, 2.0), exits.STOP_LOSS)
    reached = 0.0
    for now, price in enumerate(path):
        _, reason, stop, best = exits.evaluate(price, now, sign, 100.0, 0, *state, rules)
        assert sign * (stop - state[1]) >= 0
        reached = max(reached, exits.gain_pct(price, sign, 100.0))
        if reached >= rules[2]:
            assert exits.gain_pct(stop, sign, 100.0) > rules[3] - 1e-6
        state = (best, stop, reason)


@settings(max_examples=150, deadline=None)
@given(path=PATHS, rules=RULES)
def test_a_short_is_the_mirror_of_a_long(path: list[float], rules: exits.Rules) -> None:
    long, short = (100.0, 98.0, exits.STOP_LOSS), (100.0, 102.0, exits.STOP_LOSS)
    for now, price in enumerate(path):
        up = exits.evaluate(round(price, 2), now, 1, 100.0, 0, *long, rules)
        down = exits.evaluate(200.0 - round(price, 2), now, -1, 100.0, 0, *short, rules)
        assert up[:2] == down[:2]
        assert up[2] - 100.0 == pytest.approx(100.0 - down[2], abs=1e-6)
        long, short = (up[3], up[2], up[1]), (down[3], down[2], down[1])


@settings(max_examples=100, deadline=None)
@given(price=st.floats(90, 110), best=st.floats(90, 110), sign=st.sampled_from([1, -1]), rules=RULES)
def test_compiled_and_plain_python_agree(price: float, best: float, sign: int, rules: exits.Rules) -> None:
    arguments = (price, 7, sign, 100.0, 0, best, 100.0 - 2.0 * sign, exits.STOP_LOSS, rules)
    assert exits.evaluate(*arguments) == exits.evaluate.py_func(*arguments)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("side", "placed", "price"), [(Side.LONG, "100.19", 100.72), (Side.SHORT, "99.81", 99.28)])
def test_after_a_restart_a_floor_that_the_tick_has_worsened_is_moved_no_sooner_than_without(
    side: Side, placed: str, price: float
) -> None:
    """At a gain of 0.72 the trailing stop wants 0.22: too little to move a stop that was put at the floor of 0.2."""
    plan = msgspec.structs.replace(PLAN, trail_arm_pct=0.6)
    held = position(side, stop=placed, stop_reason="profit_floor", exits=plan)
    assert watch(held, begin(held), price, 1)[1] is None
    lower = position(side, stop="100.1" if side is Side.LONG else "99.9", stop_reason="profit_floor", exits=plan)
    assert isinstance(watch(lower, begin(lower), price, 1)[1], MoveStop)
