"""How a position ends: scalar rules that numba compiles, and the live guard's step over the same rules.

`sign` is +1 for LONG and -1 for SHORT. Every percentage is of the average entry price, so that a SHORT is the exact
mirror of a LONG. `OFF` as a percentage or a duration switches its rule off. Each compiled function is also plain
Python under `.py_func`.
"""

import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import msgspec
from numba import njit

from bot.messages import ExitPlan, Position, PositionStatus

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

OFF = math.inf

HOLD, MOVE_STOP, EXIT = 0, 1, 2  # actions
STOP_LOSS, TRAILING_STOP, PROFIT_FLOOR, MAX_HOLD = 0, 1, 2, 3  # reasons, indices into REASONS
REASONS = ("stop_loss", "trailing_stop", "profit_floor", "max_hold")

EPSILON_PCT = 1e-9  # what float arithmetic may be off by where a price stands exactly at a rule's percentage
MIN_MOVE_PCT = 0.05  # a smaller improvement is not worth two requests at the venue


def compiled(function: FunctionT) -> FunctionT:
    """`numba.njit`, cached on disk where numba may write, typed as the function it compiles."""
    try:
        return cast(FunctionT, njit(cache=True)(function))
    except RuntimeError:  # numba has no folder to write to: a read-only installation without a home
        return cast(FunctionT, njit(function))


@compiled
def gain_pct(price: float, sign: int, entry: float) -> float:
    """What the position has gained at `price`, in percent of the entry price."""
    return sign * (price / entry - 1.0) * 100.0


@compiled
def price_at_gain(gain: float, sign: int, entry: float) -> float:
    """The price at which the position has gained `gain` percent."""
    return entry * (1.0 + sign * gain / 100.0)


@compiled
def stop_price(entry: float, sign: int, stop_pct: float) -> float:
    return price_at_gain(-stop_pct, sign, entry)


@compiled
def target_price(entry: float, sign: int, target_pct: float) -> float:
    return price_at_gain(target_pct, sign, entry)


@compiled
def passed(price: float, sign: int, level: float) -> bool:
    """Whether `price` stands at or beyond a stop at `level`, seen from the position's side."""
    return sign * (price - level) <= 0.0


@compiled
def protective_gain(
    best: float, trail_arm_pct: float, trail_pct: float, floor_arm_pct: float, floor_keep_pct: float
) -> tuple[float, int]:
    """The gain that trailing stop and profit floor protect once `best` percent was reached; -inf: neither is armed."""
    gain, reason = -OFF, STOP_LOSS
    reached = best + EPSILON_PCT
    if reached >= trail_arm_pct:
        gain, reason = best - trail_pct, TRAILING_STOP
    if reached >= floor_arm_pct and floor_keep_pct > gain:
        gain, reason = floor_keep_pct, PROFIT_FLOOR
    return gain, reason


@compiled
def evaluate(
    price: float,
    now: int,
    sign: int,
    entry: float,
    opened_at: int,
    best: float,
    stop: float,
    reason: int,
    trail_arm_pct: float,
    trail_pct: float,
    floor_arm_pct: float,
    floor_keep_pct: float,
    max_hold_ms: float,
) -> tuple[int, int, float, float]:
    """One step: (action, reason, stop, best) after `price` was seen at `now`.

    `best` is the most favourable price so far, `stop` the level that stands and `reason` the rule that set it; all
    three go into the next step. The stop only ever tightens, by at least MIN_MOVE_PCT. EXIT means that the price has
    passed a level which this very step has set, or that the time is up; a price beyond a stop that already stood is
    the business of whoever holds that stop (the exchange, or the bar's fill rule).
    """
    best = max(best, price) if sign > 0 else min(best, price)
    best_gain = gain_pct(best, sign, entry)
    wanted, wanted_reason = protective_gain(best_gain, trail_arm_pct, trail_pct, floor_arm_pct, floor_keep_pct)
    action = HOLD
    if wanted - gain_pct(stop, sign, entry) >= MIN_MOVE_PCT - EPSILON_PCT:
        action, reason, stop = MOVE_STOP, wanted_reason, price_at_gain(wanted, sign, entry)
        if passed(price, sign, stop):
            action = EXIT
    if action != EXIT and now - opened_at >= max_hold_ms:
        action, reason = EXIT, MAX_HOLD
    return action, reason, stop, best


def prepare() -> None:
    """Compile now what the first price of the first position would wait for (a second or two without a cache)."""
    evaluate(100.0, 0, 1, 100.0, 0, 100.0, 98.0, STOP_LOSS, OFF, OFF, OFF, OFF, OFF)


class ExitState(msgspec.Struct, frozen=True):
    """What the guard remembers of one open position between two prices."""

    best: float  # the most favourable price seen
    stop: float  # the level that the guard wants on the exchange
    reason: int  # the rule that set it


class MoveStop(msgspec.Struct, frozen=True):
    stop_price: float  # not on the tick yet
    reason: str


class ExitNow(msgspec.Struct, frozen=True):
    reason: str


ExitDecision = MoveStop | ExitNow | None


def scalars(plan: ExitPlan) -> tuple[float, float, float, float, float]:
    """(trail_arm_pct, trail_pct, floor_arm_pct, floor_keep_pct, max_hold_ms) of a plan, OFF where it has None."""
    trailing = plan.trail_arm_pct is not None and plan.trail_pct is not None
    floor = plan.floor_arm_pct is not None and plan.floor_keep_pct is not None
    return (
        _or_off(plan.trail_arm_pct if trailing else None),
        _or_off(plan.trail_pct),
        _or_off(plan.floor_arm_pct if floor else None),
        _or_off(plan.floor_keep_pct),
        _or_off(plan.max_hold_ms),
    )


def _or_off(value: float | None) -> float:
    return OFF if value is None else float(value)


def begin(position: Position, best: float | None = None) -> ExitState:
    """The state of a position that was just filled, or was found open at start.

    `best` is the most favourable price since it was opened, where bars know it. Without it a trailing stop that stood
    before goes on from the level it had reached, because the placed stop is taken over.
    Raises ValueError for a position without an entry price.
    """
    if position.entry_price is None:
        raise ValueError(f"position {position.position_id} has no entry price")
    entry, sign = float(position.entry_price), position.side.sign
    placed = position.stop_price
    stop = stop_price(entry, sign, position.exits.stop_pct) if placed is None else float(placed)
    reason = STOP_LOSS if position.stop_reason is None else REASONS.index(position.stop_reason)
    return ExitState(entry if best is None else best, stop, reason)


def watch(position: Position, state: ExitState, price: float, now: int) -> tuple[ExitState, ExitDecision]:
    """One price for one open position. Pure; the caller keeps the state and acts on the decision.

    Besides the rules of `evaluate`: where the price has passed a level that was asked for and that the exchange does
    not hold yet (its stop is at least MIN_MOVE_PCT behind), the position is closed at market under that level's reason.
    An exit is decided again at every price until the position is CLOSING.
    """
    if position.status in (PositionStatus.CLOSING, PositionStatus.CLOSED) or position.open_quantity <= 0:
        return state, None
    if position.entry_price is None or position.opened_at is None:
        return state, None
    entry, sign = float(position.entry_price), position.side.sign
    action, reason, stop, best = evaluate(
        float(price),
        now,
        sign,
        entry,
        position.opened_at,
        state.best,
        state.stop,
        state.reason,
        *scalars(position.exits),
    )
    if action == EXIT:
        rule = state.reason if reason == MAX_HOLD else reason
        return ExitState(best, stop, rule), ExitNow(REASONS[reason])
    after = ExitState(best, stop, reason)
    if action == MOVE_STOP:
        return after, MoveStop(stop, REASONS[reason])
    if reason != STOP_LOSS and passed(price, sign, stop) and not _held(position, entry, stop):
        return after, ExitNow(REASONS[reason])
    return after, None


def _held(position: Position, entry: float, stop: float) -> bool:
    """Whether the exchange holds a stop as good as `stop` (a tick's rounding aside)."""
    if position.stop_price is None:
        return False
    sign = position.side.sign
    return gain_pct(stop, sign, entry) - gain_pct(float(position.stop_price), sign, entry) < MIN_MOVE_PCT
