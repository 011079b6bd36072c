"""The live guard's step over the compiled exit rules: one price for one open position."""

import msgspec

from bot.messages import Position, PositionStatus
from bot.strategy.exits import (
    EXIT,
    MIN_MOVE_PCT,
    MOVE_STOP,
    PROFIT_FLOOR,
    REASONS,
    STOP_LOSS,
    TRAILING_STOP,
    evaluate,
    gain_pct,
    passed,
    price_at_gain,
    scalars,
    stop_price,
)

LEVEL_REASONS = (STOP_LOSS, TRAILING_STOP, PROFIT_FLOOR)


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
    keep = position.exits.floor_keep_pct
    if reason == PROFIT_FLOOR and keep is not None:
        floor = price_at_gain(keep, sign, entry)
        stop = floor if 0 < keep - gain_pct(stop, sign, entry) < MIN_MOVE_PCT else stop  # the tick took the difference
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
        scalars(position.exits),
    )
    if action == EXIT:
        rule = reason if reason in LEVEL_REASONS else state.reason
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
