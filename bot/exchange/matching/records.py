"""What goes into the matching engine and what comes out: settings, requests, orders, events."""

import enum
from decimal import Decimal

import msgspec

from bot.exchange.matching.switches import Switches
from bot.venue import Fill, VenueStatus

ZERO = Decimal(0)
MONEY = Decimal("0.00000001")  # USDT is booked in eight decimals
CONDITIONAL = frozenset({"STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"})
STOPS = frozenset({"STOP", "STOP_MARKET", "TRAILING_STOP_MARKET"})
WITH_LIMIT = frozenset({"STOP", "TAKE_PROFIT"})
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
    depth_usdt: Decimal = (
        ZERO  # what a taker gets at each of ten prices, one slippage apart; 0: all he wants at the first
    )
    stuck_trigger_probability: float = 0.0  # a conditional order that triggers stays TRIGGERING and never executes
    maintenance_ratio: Decimal = Decimal("0.005")  # of symbols whose instrument names no brackets
    margin_call_ratio: Decimal = Decimal("0.8")  # maintenance margin over equity at which a MARGIN_CALL goes out
    default_leverage: int = 20
    percent_price: Decimal = Decimal("0.05")  # a limit may cross the mark price by this much
    market_take_bound: Decimal = Decimal("0.05")  # a market order may take so far from the mark price
    trigger_protect: Decimal = Decimal("0.05")  # `priceProtect`: how far mark and last may be apart at a trigger
    switches: Switches = Switches()


class NewOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What `POST /fapi/v1/order` carries, unchecked; None: not sent."""

    symbol: str
    side: str  # BUY | SELL
    type: str  # LIMIT | MARKET
    quantity: Decimal | None = None
    price: Decimal | None = None
    time_in_force: str | None = None  # GTC | IOC | FOK | GTX | GTD, with LIMIT only
    good_till: int | None = None  # ms UTC, with GTD
    reduce_only: bool = False
    client_id: str | None = None


class Amendment(msgspec.Struct, frozen=True, kw_only=True):
    """What `PUT /fapi/v1/order` carries, unchecked: quantity and price replace those of the order."""

    symbol: str
    side: str
    order_id: int | None = None
    client_id: str | None = None
    quantity: Decimal | None = None
    price: Decimal | None = None
    reduce_only: bool | None = None
    modify_id: int | None = None


class NewAlgo(msgspec.Struct, frozen=True, kw_only=True):
    """What `POST /fapi/v1/algoOrder` carries, unchecked; None: not sent."""

    symbol: str
    side: str  # BUY | SELL
    type: str  # STOP_MARKET | TAKE_PROFIT_MARKET | STOP | TAKE_PROFIT | TRAILING_STOP_MARKET
    quantity: Decimal | None = None
    trigger_price: Decimal | None = None
    price: Decimal | None = None  # of the order that a STOP or TAKE_PROFIT sends
    time_in_force: str | None = None
    good_till: int | None = None  # ms UTC, with GTD
    activate_price: Decimal | None = None  # of a trailing stop; None: active at once
    callback_rate: Decimal | None = None  # of a trailing stop, in percent
    reduce_only: bool = False
    close_position: bool = False
    price_protect: bool = False
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
    good_till: int = 0
    amendments: int = 0
    modify_id: int | None = None  # the client's, of the last amendment
    expire_reason: int = 0  # Binance's `er`, see `execution`

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
    time_in_force: str = "GTC"
    price: Decimal = ZERO  # of the order that a STOP or TAKE_PROFIT sends
    price_protect: bool = False
    activate_price: Decimal | None = None
    callback_rate: Decimal | None = None
    activated: bool = False  # a trailing stop follows the price
    good_till: int = 0
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
    def child_type(self) -> str:
        return "LIMIT" if self.type in WITH_LIMIT else "MARKET"

    @property
    def triggers_upward(self) -> bool:
        """A buy stop and a sell target wait for a price at or above the trigger, the others at or below."""
        return self.buy == (self.type in STOPS)


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
    CALCULATED = "CALCULATED"  # a fill that the venue forced: liquidation, ADL, settlement
    AMENDMENT = "AMENDMENT"


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


class MarginCalled(msgspec.Struct, frozen=True, kw_only=True):
    """The maintenance margin has come close to the equity."""

    at: int
    wallet: Decimal
    positions: tuple[tuple[NetPosition, Decimal], ...]  # each with its maintenance margin


EngineEvent = OrderUpdated | AccountUpdated | AlgoUpdated | MarginCalled
