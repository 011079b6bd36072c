"""The venue's vocabulary: instruments, orders, executions and account events, both books in one set of words.

Times are integer milliseconds UTC; prices, quantities and money are Decimal.
"""

import enum
from decimal import Decimal

import msgspec

REPLAY = "replay"
VENUES = (REPLAY, "demo", "live")


class MarginBracket(msgspec.Struct, frozen=True, kw_only=True):
    """Up to `notional_cap` a position needs a maintenance margin of notional x rate - amount."""

    notional_cap: Decimal  # in quote
    maintenance_rate: Decimal  # a fraction
    amount: Decimal  # in quote; keeps the margin continuous from bracket to bracket
    max_leverage: int


class Instrument(msgspec.Struct, frozen=True, kw_only=True):
    """What the venue asks of an order on one symbol."""

    symbol: str
    tick_size: Decimal
    step_size: Decimal
    min_quantity: Decimal
    max_quantity: Decimal  # of a limit order
    max_market_quantity: Decimal
    min_notional: Decimal  # in quote; reduce-only orders are exempt
    trading: bool = True
    brackets: tuple[MarginBracket, ...] = ()  # by rising notional; asked of the account, so not there at first


def off_list(symbol: str) -> Instrument:
    """For a symbol that the venue lists no more: nothing can be sent there, and what is open has to be known."""
    finest, nothing = Decimal("1E-8"), Decimal(0)
    return Instrument(
        symbol=symbol,
        tick_size=finest,
        step_size=finest,
        min_quantity=finest,
        max_quantity=nothing,
        max_market_quantity=nothing,
        min_notional=nothing,
        trading=False,
    )


class InstrumentsChanged(msgspec.Struct, frozen=True):
    """What the venue trades now, of the symbols that the bot was started with; one that is not listed is not there."""

    instruments: dict[str, Instrument]


class Book(enum.StrEnum):
    """Binance keeps conditional orders in a book of their own."""

    REGULAR = "regular"
    ALGO = "algo"


class OrderKind(enum.StrEnum):
    LIMIT = "LIMIT"
    MARKET = "MARKET"
    STOP_MARKET = "STOP_MARKET"
    TAKE_PROFIT_MARKET = "TAKE_PROFIT_MARKET"

    @property
    def book(self) -> Book:
        return Book.ALGO if self in (OrderKind.STOP_MARKET, OrderKind.TAKE_PROFIT_MARKET) else Book.REGULAR


class OrderRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One order as the venue shall get it; numbers already on the symbol's grid."""

    client_id: str
    symbol: str
    kind: OrderKind
    buy: bool
    quantity: Decimal
    price: Decimal | None = None  # LIMIT
    trigger_price: Decimal | None = None  # STOP_MARKET, TAKE_PROFIT_MARKET
    reduce_only: bool = False
    post_only: bool = False


class VenueStatus(enum.StrEnum):
    """The venue's word for an order, both books in one vocabulary."""

    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    REJECTED = "REJECTED"
    TRIGGERING = "TRIGGERING"
    TRIGGERED = "TRIGGERED"
    FINISHED = "FINISHED"


class OrderReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the venue says of one order, whether asked or told by the user stream.

    The child order of a triggered algo order has the same client id and the REGULAR book.
    """

    client_id: str
    symbol: str
    book: Book
    venue_id: int
    status: VenueStatus
    buy: bool
    quantity: Decimal
    filled: Decimal
    at: int
    reason: str = ""


class Fill(msgspec.Struct, frozen=True, kw_only=True):
    """One execution. (symbol, trade_id) is unique."""

    symbol: str
    trade_id: int
    venue_id: int  # the regular order's id
    client_id: str  # "" where the venue's answer has none (userTrades)
    buy: bool
    price: Decimal
    quantity: Decimal
    fee: Decimal
    fee_asset: str
    realized_pnl: Decimal  # the venue's, of its netted position
    maker: bool
    at: int


class FundingPaid(msgspec.Struct, frozen=True, kw_only=True):
    """One funding payment; negative: we paid."""

    symbol: str
    amount: Decimal
    at: int
    income_id: int


class Transfer(msgspec.Struct, frozen=True):
    """A deposit (above zero) or withdrawal of the futures wallet, in USDT."""

    transfer_id: str
    amount: Decimal
    at: int


class Worth(msgspec.Struct, frozen=True):
    """What the account is worth, in USDT."""

    wallet: Decimal
    equity: Decimal  # the wallet with open positions at their marks


class FundingDue(msgspec.Struct, frozen=True):
    """The user stream says that funding was booked; the amounts are asked for."""

    at: int


class VenuePosition(msgspec.Struct, frozen=True, kw_only=True):
    """The venue's netted position of one symbol in one-way mode."""

    symbol: str
    quantity: Decimal  # signed
    entry_price: Decimal


class UserStreamUp(msgspec.Struct, frozen=True):
    """The user stream is connected (again): what happened before may have been missed."""

    at: int


class UserStreamLost(msgspec.Struct, frozen=True):
    at: int
    reason: str


UserEvent = OrderReport | Fill | FundingDue | UserStreamUp | UserStreamLost


# ---- order rows (the desk's intent, committed before the send)


class Leg(enum.StrEnum):
    """What an order is for; the letter goes into its client id."""

    ENTRY = "e"
    STOP = "s"
    TARGET = "t"
    EXIT = "x"


class OrderState(enum.StrEnum):
    """Our word for an order. The transition table is in `bot/orders/states.py`."""

    INTENDED = "intended"  # committed, not sent
    UNRESOLVED = "unresolved"  # sent, no answer that counts
    WORKING = "working"
    TRIGGERED = "triggered"  # an algo order whose child is on its way
    FILLED = "filled"
    CANCELED = "canceled"
    REJECTED = "rejected"
    EXPIRED = "expired"


class OrderRow(msgspec.Struct, kw_only=True):
    """A row of `bot.orders`."""

    client_id: str
    position_id: str
    leg: Leg
    revision: int
    request: OrderRequest
    state: OrderState
    filled: Decimal = Decimal(0)
    venue_id: int | None = None
    created_at: int
    updated_at: int
    reason: str = ""
