"""One variant's decision on one symbol: the signal, what may be done about it, and what came of it."""

import enum
from decimal import Decimal
from typing import Annotated

import msgspec


class Side(enum.StrEnum):
    LONG = "LONG"
    SHORT = "SHORT"

    def __init__(self, value: str) -> None:
        self.sign = 1 if value == "LONG" else -1


class FilterVerdict(msgspec.Struct, frozen=True):
    """One filter's word on one signal."""

    filter: str
    allow: bool
    reason: str
    values: dict[str, float | int | str | bool | None] = {}
    shadow: bool = False  # logged, and without a say
    scale: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0  # what the margin is multiplied by


class Signal(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One row of `bot.signal_log`: variant x symbol x cycle, acted on or not. The field order is the column order."""

    signal_id: str
    cycle_at: int
    variant: str
    tier: str
    symbol: str
    bar_close_at: int | None = None
    checkpoint: str | None = None
    mark_price: Decimal | None = None
    predicted_return: float | None = None
    predicted_q10: float | None = None
    predicted_q90: float | None = None
    threshold: float
    side: Side | None = None
    rsi: float | None = None
    atr: float | None = None
    cat_trend: float | None = None
    cat_momentum: float | None = None
    cat_strength: float | None = None
    cat_volume: float | None = None
    cat_volatility: float | None = None
    filter_verdicts: tuple[FilterVerdict, ...] = ()
    decision: str  # "enter" | "refuse"
    decision_reason: str
    entry_method: str
    entry_price: Decimal | None = None  # None for a market entry
    quantity: Decimal | None = None
    fill_status: str | None = None  # None | "pending" | "filled" | "partial" | "expired" | "rejected" | "denied"
    fill_price: Decimal | None = None
    exit_price: Decimal | None = None
    exit_reason: str | None = None
    net_pnl: Decimal | None = None
    actual_return: float | None = None


class ExitPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How one position may end. Percentages are of the average entry price; None switches a rule off."""

    stop_pct: float
    target_pct: float | None = None
    trail_arm_pct: float | None = None
    trail_pct: float | None = None
    floor_arm_pct: float | None = None
    floor_keep_pct: float | None = None
    max_hold_ms: int | None = None
    red_after_ms: int | None = None  # from then on a price worse than the entry's ends it
    close_at_session_end: bool = False
    session_end_at: int | None = None  # set when the entry is decided; None in a template


class EntryIntent(msgspec.Struct, frozen=True, kw_only=True):
    """An allowed signal on its way to the desk. `signal_id` is also the position's id."""

    signal_id: str
    variant: str
    tier: str
    symbol: str
    side: Side
    quantity: Decimal
    limit_price: Decimal | None  # None: market
    post_only: bool
    created_at: int
    expires_at: int  # what has not filled by then is cancelled
    leverage: int
    exits: ExitPlan


class SignalOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an acted-on signal so far; None leaves a column as it is."""

    signal_id: str
    fill_status: str | None = None
    fill_price: Decimal | None = None
    exit_price: Decimal | None = None
    exit_reason: str | None = None
    net_pnl: Decimal | None = None


class ReturnKnown(msgspec.Struct, frozen=True, kw_only=True):
    """The horizon of every signal on this bar has passed."""

    symbol: str
    bar_close_at: int
    actual_return: float  # close at the horizon / close at bar_close_at - 1
