"""How a position ends: scalar rules that numba compiles, one step at a price and one walk along a bar.

`sign` is +1 for LONG and -1 for SHORT. Every percentage is of the average entry price, so that a SHORT is the exact
mirror of a LONG. `OFF` as a percentage or a duration switches its rule off. Each compiled function is also plain
Python under `.py_func`.
"""

import math

import msgspec

from bot.compiling import compiled
from bot.messages import ExitPlan
from bot.strategy.sessions import SkipWindows

OFF = math.inf

# trail_arm_pct, trail_pct, floor_arm_pct, floor_keep_pct, max_hold_ms, red_after_ms, session_end_at
Rules = tuple[float, float, float, float, float, float, float]

HOLD, MOVE_STOP, EXIT = 0, 1, 2  # actions
STOP_LOSS, TRAILING_STOP, PROFIT_FLOOR, MAX_HOLD, RED_AFTER, SESSION_END, TARGET = range(7)  # indices into REASONS
REASONS = ("stop_loss", "trailing_stop", "profit_floor", "max_hold", "red_after", "session_end", "target")
STILL_OPEN = -1  # in a reason's place
WORST_FIRST, BEST_FIRST, AS_PLAYED = range(3)  # how a bar is walked; as the simulator does: the low first where it rose

EPSILON_PCT = 1e-9  # what float arithmetic may be off by where a price stands exactly at a rule's percentage
MIN_MOVE_PCT = 0.05  # a smaller improvement is not worth two requests at the venue


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
def time_up(
    gain: float, now: int, opened_at: int, max_hold_ms: float, red_after_ms: float, session_end_at: float
) -> int:
    """The rule of time that ends a position with `gain` percent at `now`, or STILL_OPEN.

    Red is a price worse than the average entry price, fees left out. Where several rules are due at once the one that
    says most comes first: red, end of session, maximum hold.
    """
    if now - opened_at >= red_after_ms and gain < -EPSILON_PCT:
        return RED_AFTER
    if now >= session_end_at:
        return SESSION_END
    if now - opened_at >= max_hold_ms:
        return MAX_HOLD
    return STILL_OPEN


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
    rules: Rules,
) -> tuple[int, int, float, float]:
    """One step: (action, reason, stop, best) after `price` was seen at `now`.

    `best` is the most favourable price so far, `stop` the level that stands and `reason` the rule that set it; all
    three go into the next step. The stop only ever tightens, by at least MIN_MOVE_PCT, to the floor also by less. EXIT
    means that the price has passed a level which this very step has set, or that a time is up; a price beyond a stop
    that already stood is the business of whoever holds that stop (the exchange, or the bar's fill rule).
    """
    trail_arm_pct, trail_pct, floor_arm_pct, floor_keep_pct, max_hold_ms, red_after_ms, session_end_at = rules
    best = max(best, price) if sign > 0 else min(best, price)
    best_gain = gain_pct(best, sign, entry)
    wanted, wanted_reason = protective_gain(best_gain, trail_arm_pct, trail_pct, floor_arm_pct, floor_keep_pct)
    action = HOLD
    standing = gain_pct(stop, sign, entry)
    below_floor = best_gain + EPSILON_PCT >= floor_arm_pct and floor_keep_pct - standing > EPSILON_PCT
    if below_floor or wanted - standing >= MIN_MOVE_PCT - EPSILON_PCT:
        action, reason, stop = MOVE_STOP, wanted_reason, price_at_gain(wanted, sign, entry)
        if passed(price, sign, stop):
            action = EXIT
    if action != EXIT:
        due = time_up(gain_pct(price, sign, entry), now, opened_at, max_hold_ms, red_after_ms, session_end_at)
        if due != STILL_OPEN:
            action, reason = EXIT, due
    return action, reason, stop, best


Points = tuple[tuple[float, int], tuple[float, int], tuple[float, int], tuple[float, int]]


@compiled
def by_the_clock(rule: int) -> bool:
    """Whether it is a moment that ends a position, and not a price: what it meets is the price that stands then."""
    return rule in (MAX_HOLD, SESSION_END)


@compiled
def points(opened: float, high: float, low: float, close: float, interval_ms: int, sign: int, path: int) -> Points:
    """A bar as (price, ms after its begin): open, an extreme, the other one, close, in the order `path`."""
    low_first = close >= opened if path == AS_PLAYED else (sign > 0) == (path == WORST_FIRST)
    first, second = (low, high) if low_first else (high, low)
    return (opened, 0), (first, interval_ms // 4), (second, interval_ms // 2), (close, interval_ms - 1)


Stations = tuple[tuple[float, float, int], tuple[float, float, int], tuple[float, float, int], tuple[float, float, int]]


@compiled
def stations(opened: float, high: float, low: float, close: float, interval_ms: int, sign: int, path: int) -> Stations:
    """The bar's `points`, and between price and time the price that stands then: on a WORST_FIRST path that of the bar
    as it is played, because there its better extreme would stand for half of each bar."""
    first, second, third, fourth = points(opened, high, low, close, interval_ms, sign, path)
    stands = points(opened, high, low, close, interval_ms, sign, AS_PLAYED if path == WORST_FIRST else path)
    return (
        (first[0], stands[0][0], first[1]),
        (second[0], stands[1][0], second[1]),
        (third[0], stands[2][0], third[1]),
        (fourth[0], stands[3][0], fourth[1]),
    )


@compiled
def walk_bar(
    opened: float,
    high: float,
    low: float,
    close: float,
    open_at: int,
    interval_ms: int,
    sign: int,
    entry: float,
    opened_at: int,
    target: float,
    best: float,
    stop: float,
    reason: int,
    rules: Rules,
    path: int = WORST_FIRST,
) -> tuple[int, float, int, int, float, float]:
    """One bar of an open position: (ended by, exit price, exit time, reason, stop, best).

    The bar is walked by its `points`; WORST_FIRST lets a stop come before a target. Points before `opened_at` are left
    out. At each point the price meets the stop that stands, then `target` (`sign * OFF`: none), then `evaluate`. A
    level is filled at itself, at the open at the opening price; a time that is up ends the position at the price that
    stands then, on a WORST_FIRST path that of the bar as it is played. Ended by STILL_OPEN: price and time mean
    nothing, the last three go on.
    """
    max_hold_ms, red_after_ms, session_end_at = rules[4:]
    stood = entry
    for price, played, after in stations(opened, high, low, close, interval_ms, sign, path):
        now = open_at + after
        if now < opened_at:
            continue
        gain = gain_pct(stood, sign, entry)
        due = min(opened_at + max_hold_ms, session_end_at)
        if gain < -EPSILON_PCT:
            due = min(due, opened_at + red_after_ms)
        if after > 0 and due < now:
            at = int(max(due, opened_at))
            up = time_up(gain, at, opened_at, max_hold_ms, red_after_ms, session_end_at)
            return up, stood, at, reason, stop, best
        if passed(price, sign, stop):
            return reason, price if after == 0 else stop, now, reason, stop, best
        if passed(price, -sign, target):
            return TARGET, price if after == 0 else target, now, reason, stop, best
        action, step_reason, stop, best = evaluate(price, now, sign, entry, opened_at, best, stop, reason, rules)
        if action == EXIT:
            return step_reason, played if by_the_clock(step_reason) else price, now, reason, stop, best
        reason = step_reason
        stood = played
    return STILL_OPEN, 0.0, 0, reason, stop, best


def prepare() -> None:
    """Compile now what the first price of the first position would wait for (a second or two without a cache)."""
    evaluate(100.0, 0, 1, 100.0, 0, 100.0, 98.0, STOP_LOSS, scalars(ExitPlan(stop_pct=2.0)))


def scalars(plan: ExitPlan) -> Rules:
    """A plan for the compiled functions, OFF where it has None."""
    trailing = plan.trail_arm_pct is not None and plan.trail_pct is not None
    floor = plan.floor_arm_pct is not None and plan.floor_keep_pct is not None
    return (
        _or_off(plan.trail_arm_pct if trailing else None),
        _or_off(plan.trail_pct),
        _or_off(plan.floor_arm_pct if floor else None),
        _or_off(plan.floor_keep_pct),
        _or_off(plan.max_hold_ms),
        _or_off(plan.red_after_ms),
        _or_off(plan.session_end_at),
    )


def moves_stop(plan: ExitPlan) -> bool:
    """Whether a better price moves the stop."""
    trail_arm_pct, _, floor_arm_pct = scalars(plan)[:3]
    return min(trail_arm_pct, floor_arm_pct) < OFF


def due_times(plan: ExitPlan, opened_at: int) -> list[int]:
    """When a position opened at `opened_at` must be looked at even without a new price."""
    holds = [opened_at + held for held in (plan.max_hold_ms, plan.red_after_ms) if held is not None]
    return holds if plan.session_end_at is None else [*holds, plan.session_end_at]


def dated(plan: ExitPlan, windows: SkipWindows, now: int) -> ExitPlan:
    """A variant's plan as it goes with an entry decided at `now`: the end of its session as a time."""
    if not plan.close_at_session_end:
        return plan
    return msgspec.structs.replace(plan, session_end_at=windows.session_end(now))


def _or_off(value: float | None) -> float:
    return OFF if value is None else float(value)
