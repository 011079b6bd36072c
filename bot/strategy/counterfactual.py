"""What would have come of a refused signal: its row followed through recorded bars, pure."""

from decimal import Decimal

import msgspec

from bot.clock import DAY_MS
from bot.config import CostsTable
from bot.messages import Bars, ExitPlan, Signal, SignalOutcome
from bot.strategy.follow import Costs, Followed, FollowStatus, Path, Trial, follow
from bot.strategy.rounding import decimal_of
from bot.strategy.verdicts import ENTRY, FUNDING

CF_FILLED, CF_EXPIRED, CF_REJECTED = "cf_filled", "cf_expired", "cf_rejected"
FILL_STATUS = {
    FollowStatus.CLOSED: CF_FILLED,
    FollowStatus.EXPIRED: CF_EXPIRED,
    FollowStatus.REJECTED: CF_REJECTED,
}
NO_END_MS = DAY_MS  # after which a position without a last moment is looked at, and then at every round
PLAN = ExitPlan.__struct_fields__


class Pursuit(msgspec.Struct, frozen=True):
    """A refused signal that has all it takes to follow it."""

    signal: Signal
    trial: Trial
    due_at: int  # what came of it should have ended by then
    funding: tuple[tuple[int, float], ...]  # the payment that was known when it was decided


def pursuit_of(signal: Signal) -> Pursuit | None:
    """None where the row has no side, no quantity or no plan: there is nothing to follow."""
    values = {verdict.filter: verdict.values for verdict in signal.filter_verdicts}
    if signal.side is None or signal.quantity is None or signal.mark_price is None or ENTRY not in values:
        return None
    entry = values[ENTRY]
    exits = msgspec.convert({name: entry[name] for name in PLAN}, ExitPlan)
    times = msgspec.convert(entry, _Times)
    trial = Trial(
        side=signal.side,
        quantity=float(signal.quantity),
        market=float(signal.mark_price),
        limit=None if signal.entry_price is None else float(signal.entry_price),
        post_only=bool(entry["post_only"]),
        from_at=times.created_at,
        expires_at=times.expires_at,
        exits=exits,
    )
    ends = [] if exits.session_end_at is None else [exits.session_end_at]
    last_fill = trial.from_at if trial.limit is None else trial.expires_at
    ends.append(last_fill + (NO_END_MS if exits.max_hold_ms is None else exits.max_hold_ms))
    return Pursuit(signal, trial, max(min(ends), trial.expires_at), _known_funding(values.get(FUNDING)))


class _Times(msgspec.Struct):
    created_at: int
    expires_at: int


def _known_funding(values: dict[str, float | int | str | bool | None] | None) -> tuple[tuple[int, float], ...]:
    if values is None or values["funding_rate"] is None or values["next_funding_at"] is None:
        return ()
    return ((int(values["next_funding_at"]), float(values["funding_rate"])),)


def pursue(pursuit: Pursuit, bars: Bars, costs: Costs) -> SignalOutcome | None:
    """The outcome for the signal's row; None where the bars do not tell it (yet)."""
    followed = follow(pursuit.trial, bars, costs, Path.PESSIMISTIC, pursuit.funding)
    return outcome_of(pursuit.signal.signal_id, followed)


def costs_of(table: CostsTable) -> Costs:
    return Costs(
        maker_fee=table.maker_fee_pct / 100, taker_fee=table.taker_fee_pct / 100, slippage=table.slippage_bps / 10_000
    )


def outcome_of(signal_id: str, followed: Followed) -> SignalOutcome | None:
    status = FILL_STATUS.get(followed.status)
    if status is None:
        return None
    closed = followed.status is FollowStatus.CLOSED
    return SignalOutcome(
        signal_id=signal_id,
        fill_status=status,
        fill_price=_price(followed.fill_price),
        exit_price=_price(followed.exit_price),
        exit_reason=followed.exit_reason,
        net_pnl=Decimal(f"{followed.net:.8f}") if closed else None,
    )


def _price(value: float | None) -> Decimal | None:
    return None if value is None else decimal_of(value)
