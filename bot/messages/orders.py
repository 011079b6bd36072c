"""Positions and what is to be done about them."""

import enum
from decimal import Decimal

import anyio
import msgspec

from bot.messages.signals import EntryIntent, ExitPlan, Side


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
    naked_seconds: Decimal = Decimal(0)  # with less live stop at the venue than open quantity

    @classmethod
    def of(cls, intent: EntryIntent) -> "Position":
        """Before anything of the entry has filled."""
        return cls(
            position_id=intent.signal_id,
            variant=intent.variant,
            tier=intent.tier,
            symbol=intent.symbol,
            side=intent.side,
            status=PositionStatus.PENDING,
            intended=intent.quantity,
            created_at=intent.created_at,
            expires_at=intent.expires_at,
            exits=intent.exits,
        )

    @property
    def open_quantity(self) -> Decimal:
        return self.filled - self.closed

    @property
    def net_pnl(self) -> Decimal:
        return self.gross_pnl - self.fees + self.funding


class PositionChanged(msgspec.Struct, frozen=True):
    position: Position


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


PERSON = "person:"  # what the `by` of a person's word starts with; their name follows


class StandingOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Trade no more than `state` allows, for `reason`, until it is released. Anybody may send it to the desk.

    One of `bot.orders.standing.AUTOMATIC` is lifted by whoever gave it; any other reason outlives the process and is
    lifted by a person alone.
    """

    state: TradingState
    reason: str  # snake_case; a second order of the same reason takes the first one's place
    by: str  # an actor's name, or PERSON and a name
    detail: str = ""


class StandingReleased(msgspec.Struct, frozen=True, kw_only=True):
    """Lift what was ordered for `reason`; None: every reason that waits for a person."""

    reason: str | None
    by: str


class Flatten(msgspec.Struct, frozen=True, kw_only=True):
    """Cancel every entry and close every position at market. `done` is set when flat, or refused."""

    by: str
    reason: str = "flatten"  # becomes the exit reason of what is closed
    within_ms: int = 60_000  # then what is left is told; the desk goes on trying
    done: anyio.Event = msgspec.field(default_factory=anyio.Event)


class Settle(msgspec.Struct, frozen=True):
    """Begin no entry more, and finish what was begun; `done` is set when nothing is on its way and all is covered."""

    done: anyio.Event = msgspec.field(default_factory=anyio.Event)


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
