"""What a position means for the row of the signal that it came from, pure."""

from bot.messages import Position, PositionStatus, SignalOutcome


def outcome_of(position: Position, *, resting: bool) -> SignalOutcome:
    """`resting`: the entry has not ended; exit and result are told once the position is closed."""
    traded = position.status is PositionStatus.CLOSED and position.filled > 0
    return SignalOutcome(
        signal_id=position.position_id,
        fill_status="pending" if resting else fill_status(position),
        fill_price=position.entry_price,
        exit_price=position.exit_price if traded else None,
        exit_reason=position.exit_reason if traded else None,
        net_pnl=position.net_pnl if traded else None,
    )


def fill_status(position: Position) -> str:
    """The signal row's word for an entry that has ended."""
    if position.filled == 0:
        return "rejected" if position.exit_reason == "rejected" else "expired"
    return "filled" if position.filled >= position.intended else "partial"
