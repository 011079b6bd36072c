"""What goes into the matching engine and what comes out: settings, requests, orders, events."""

import enum
from decimal import Decimal

import msgspec

from bot.venue import Fill, VenueStatus

ZERO = Decimal(0)
MONEY = Decimal("0.00000001")  # USDT is booked in eight decimals
CONDITIONAL = frozenset({"STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"})
OPEN = frozenset({VenueStatus.NEW, VenueStatus.PARTIALLY_FILLED})


class Rejection(Exception):
    """The engine refused and changed nothing. Code and message are Binance's."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How the venue behaves where the bars do not say. Fees and ratios are fractions of the notional."""

    maker_fee: Decimal = Decimal("0.0002")
    taker_fee: Decimal = Decimal("0.0005")
    market_slippage_bps: Decimal = Decimal(1)  # a taker fills this much worse than the last price
    partial_fill_probability: float = 0.15  # see `Engine.on_price`
    seed: int = 0
    reduce_only_algo_while_flat: bool = True  # False: -2022; which of the two the real venue does is not known
    stuck_trigger_probability: float = 0.0  # a conditional order that triggers stays TRIGGERING and never executes
    maintenance_ratio: Decimal = Decimal("0.005")
    default_leverage: int = 20
    percent_price: Decimal = Decimal("0.05")  # a limit may cross the mark price by this much


class NewOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What `POST /fapi/v1/order` carries, unchecked; None: not sent."""

    symbol: str
    side: str  # BUY | SELL
    type: str  # LIMIT | MARKET
    quantity: Decimal | None = None
    price: Decimal | None = None
    time_in_force: str | None = None  # GTC | IOC | FOK | GTX, with LIMIT only
    reduce_only: bool = False
    client_id: str | None = None


class NewAlgo(msgspec.Struct, frozen=True, kw_only=True):
    """What `POST /fapi/v1/algoOrder` carries, unchecked; None: not sent."""

    symbol: str
    side: str  # BUY | SELL
    type: str  # STOP_MARKET | TAKE_PROFIT_MARKET
    quantity: Decimal | None = None
    trigger_price: Decimal | None = None
    reduce_only: bool = False
    close_position: bool = False
    working_type: str = "CONTRACT_PRICE"  # or MARK_PRICE
    client_id: str | None = None


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A regular order as it stands at one moment."""

    order_id: int
    client_id: str
    symbol: str
    side: str
    type: str  # LIMIT | MARKET | LIQUIDATION
    time_in_force: str
    quantity: Decimal
    price: Decimal  # 0 for a market order
    reduce_only: bool
    status: VenueStatus = VenueStatus.NEW
    executed: Decimal = ZERO
    quote: Decimal = ZERO  # sum of price x quantity of its fills
    created_at: int
    updated_at: int
    original_type: str  # the algo order's type where this is its child
    close_position: bool = False
    algo_id: int | None = None
    expire_reason: int = 0  # Binance's `er`: 2 IOC remainder, 4 not reducing any more, 5 liquidation, 9 no liquidity

    @property
    def buy(self) -> bool:
        return self.side == "BUY"

    @property
    def remaining(self) -> Decimal:
        return self.quantity - self.executed

    @property
    def average_price(self) -> Decimal:
        """0 before the first fill; rounded to eight decimals."""
        return (self.quote / self.executed).quantize(MONEY) if self.executed else ZERO

    @property
    def is_open(self) -> bool:
        return self.status in OPEN


class Algo(msgspec.Struct, frozen=True, kw_only=True):
    """A conditional order as it stands at one moment."""

    algo_id: int
    client_id: str
    symbol: str
    side: str
    type: str
    quantity: Decimal  # 0 with close_position
    trigger_price: Decimal
    reduce_only: bool
    close_position: bool
    working_type: str
    status: VenueStatus = VenueStatus.NEW
    created_at: int
    updated_at: int
    triggered_at: int = 0
    order_id: int | None = None  # the child's
    actual_price: Decimal = ZERO
    actual_quantity: Decimal = ZERO
    reject_reason: str = ""

    @property
    def buy(self) -> bool:
        return self.side == "BUY"

    @property
    def is_open(self) -> bool:
        return self.status is VenueStatus.NEW

    @property
    def time_in_force(self) -> str:
        return "GTE_GTC" if self.close_position else "GTC"

    @property
    def triggers_upward(self) -> bool:
        """A buy stop and a sell target wait for a price at or above the trigger, the others at or below."""
        return self.buy == (self.type == "STOP_MARKET")


class NetPosition(msgspec.Struct, frozen=True, kw_only=True):
    """The netted position of one symbol. The entry price is rounded to eight decimals, 0 when flat."""

    symbol: str
    quantity: Decimal  # signed
    entry_price: Decimal
    mark_price: Decimal
    unrealized_pnl: Decimal
    realized_pnl: Decimal  # of the symbol, since the start


class Income(msgspec.Struct, frozen=True, kw_only=True):
    """One change of the wallet."""

    income_id: int
    symbol: str  # empty for a transfer
    kind: str  # REALIZED_PNL | COMMISSION | FUNDING_FEE | TRANSFER
    amount: Decimal  # negative: we paid
    at: int
    trade_id: int | None = None


class Execution(enum.StrEnum):
    """Binance's execution type `x`."""

    NEW = "NEW"
    TRADE = "TRADE"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    CALCULATED = "CALCULATED"  # a liquidation fill


class OrderUpdated(msgspec.Struct, frozen=True, kw_only=True):
    at: int
    order: Order
    execution: Execution
    fill: Fill | None = None


class AccountUpdated(msgspec.Struct, frozen=True, kw_only=True):
    at: int
    reason: str  # ORDER | FUNDING_FEE | DEPOSIT | WITHDRAW
    symbol: str  # empty for a transfer
    wallet: Decimal
    balance_change: Decimal  # without profit and commission, so 0 for ORDER
    positions: tuple[NetPosition, ...] = ()  # those that changed


class AlgoUpdated(msgspec.Struct, frozen=True, kw_only=True):
    at: int
    algo: Algo


EngineEvent = OrderUpdated | AccountUpdated | AlgoUpdated
