"""Every struct that crosses a stream or a room's edge, in flow order.

Times are integer milliseconds UTC. Prices, quantities and money are Decimal from the venue's edge on; bars,
forecasts and indicators are float, because they are estimates.
"""

import enum
from decimal import Decimal
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Side(enum.StrEnum):
    LONG = "LONG"
    SHORT = "SHORT"

    @property
    def sign(self) -> int:
        return 1 if self is Side.LONG else -1


# ---- market


class Bar(msgspec.Struct, frozen=True):
    """A closed candle of last-trade prices; volume in base units."""

    symbol: str
    interval_ms: int
    open_time: int
    open: float
    high: float
    low: float
    close: float
    volume: float

    @property
    def close_at(self) -> int:
        """The first millisecond after the bar."""
        return self.open_time + self.interval_ms


class BarClosed(msgspec.Struct, frozen=True):
    bar: Bar
    backfilled: bool = False  # fetched over REST instead of seen on the stream


class PriceChanged(msgspec.Struct, frozen=True):
    """The last traded price of one symbol."""

    symbol: str
    price: Decimal
    at: int


class MarkChanged(msgspec.Struct, frozen=True):
    """The mark price, and the funding that is due next."""

    symbol: str
    mark: Decimal
    funding_rate: Decimal
    next_funding_at: int
    at: int


# ---- forecast


class Bars(msgspec.Struct, frozen=True, eq=False):
    """Contiguous closed bars of one symbol, oldest first; each array has shape (bars,)."""

    symbol: str
    interval_ms: int
    open_time: npt.NDArray[np.int64]
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    @property
    def close_at(self) -> int:
        return int(self.open_time[-1]) + self.interval_ms

    def __len__(self) -> int:
        return len(self.open_time)


class Window(msgspec.Struct, frozen=True, eq=False):
    """What the model sees of one symbol: exactly `context` contiguous closes, no gap, no NaN, all above zero."""

    symbol: str
    bar_close_at: int
    closes: Floats  # (context,)


class ForecastRequest(msgspec.Struct, frozen=True, eq=False):
    """One variant's cycle: its windows, and the tier whose checkpoint shall answer."""

    request_id: int
    variant: str
    tier: str
    windows: tuple[Window, ...]
    asked_at: int
    deadline: int  # domain time after which an answer is useless


class ForecastsDue(msgspec.Struct, frozen=True, eq=False):
    """All requests of one moment, so that one pass of the model can answer them."""

    requests: tuple[ForecastRequest, ...]


class Forecast(msgspec.Struct, frozen=True, eq=False):
    symbol: str
    checkpoint: str  # id of what was really used
    bar_close_at: int
    horizon: int  # bars ahead
    predicted_return: float  # point forecast at the horizon / last close - 1
    predicted_q10: float  # the same of the 0.1 quantile
    predicted_q90: float


class ForecastRefused(msgspec.Struct, frozen=True):
    symbol: str
    reason: str


class ForecastsReady(msgspec.Struct, frozen=True, eq=False):
    """The answer to one request: every window of it is in one of the two."""

    request_id: int
    variant: str
    forecasts: tuple[Forecast, ...]
    refused: tuple[ForecastRefused, ...] = ()


class CheckpointServed(msgspec.Struct, frozen=True):
    """What a tier's forecasts are made by from now on."""

    tier: str
    checkpoint: str  # id


# ---- variant


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


# ---- orders


class PositionStatus(enum.StrEnum):
    PENDING = "pending"  # the entry rests, nothing filled
    OPEN = "open"
    CLOSING = "closing"  # a market exit is on its way
    CLOSED = "closed"


class Position(msgspec.Struct, kw_only=True):
    """One independent entry with its own quantity, stop and target. Owned by the desk; others get copies."""

    position_id: str
    variant: str
    tier: str
    symbol: str
    side: Side
    status: PositionStatus
    intended: Decimal  # quantity asked for
    filled: Decimal = Decimal(0)
    closed: Decimal = Decimal(0)
    entry_price: Decimal | None = None  # average of the entry's fills
    exit_price: Decimal | None = None
    stop_price: Decimal | None = None
    target_price: Decimal | None = None
    stop_reason: str | None = None  # why the stop was last moved; None: never moved
    created_at: int
    expires_at: int  # the entry's time to live ends
    opened_at: int | None = None
    closed_at: int | None = None
    exit_reason: str | None = None
    fees: Decimal = Decimal(0)
    funding: Decimal = Decimal(0)
    gross_pnl: Decimal = Decimal(0)
    exits: ExitPlan

    @property
    def open_quantity(self) -> Decimal:
        return self.filled - self.closed

    @property
    def net_pnl(self) -> Decimal:
        return self.gross_pnl - self.fees + self.funding


class PositionChanged(msgspec.Struct, frozen=True):
    position: Position


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


class BalanceChanged(msgspec.Struct, frozen=True, kw_only=True):
    """The wallet by the bot's own ledger: start + realized - fees + funding."""

    at: int
    wallet: Decimal


class TradingState(enum.StrEnum):
    ACTIVE = "active"
    REDUCING = "reducing"  # exits only
    HALTED = "halted"  # cancels only


class TradingStateChanged(msgspec.Struct, frozen=True):
    state: TradingState
    reason: str
    at: int


# ---- account


class GuardTrip(msgspec.Struct, frozen=True):
    """An account guard that has tripped and was not released yet."""

    guard: str
    at: int
    value: float  # what it measured, in percent; of the streak a count
    limit: float
    until: int | None  # when it is released by itself; None: by hand


class GuardState(msgspec.Struct, frozen=True, kw_only=True):
    """What the account guards say to a decision. As it stands here there are none."""

    tripped: tuple[GuardTrip, ...] = ()
    equity_at: int | None = None  # when the account's equity was last known; None: never
    unknown_after_ms: int | None = None  # an older equity is none; None: no guard needs it


class GuardsChanged(msgspec.Struct, frozen=True):
    guards: GuardState


# ---- exits


class ExitIntent(msgspec.Struct, frozen=True):
    """Close the whole position at market."""

    position_id: str
    reason: str
    at: int


class StopMove(msgspec.Struct, frozen=True):
    """Move the exchange-side stop; a move against the position is ignored."""

    position_id: str
    stop_price: float
    reason: str
    at: int


# ---- journal


class Severity(enum.StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class BotEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `bot.bot_events` and a log line: something that an operator may want to know."""

    at: int
    name: str  # snake_case
    severity: Severity = Severity.INFO
    detail: dict[str, Any] = {}


JournalEntry = Signal | SignalOutcome | ReturnKnown | BotEvent


# ---- terminal


class Progress(msgspec.Struct, frozen=True):
    """How far the run has come."""

    now: int
    fraction: float | None  # 0 to 1; None where the run has no end
    started_at: int
