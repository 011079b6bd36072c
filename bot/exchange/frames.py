"""Text frames of the market and the user streams, and the events that each of them means.

A frame comes bare or in the envelope {"stream": ..., "data": ...}. An event type that the bot does not read is Skipped,
one of the account that no document names is Unknown, and one that it reads and cannot understand is VenueDisagrees.
"""

from decimal import Decimal

import msgspec
from msgspec import field

from bot.errors import VenueDisagrees
from bot.exchange.payload import Ms, Payload, decode
from bot.exchange.port import MarketEvent
from bot.exchange.wire import INTERVAL_MS, BuyOrSell, algo_status, amount_before_trigger, candle, regular_status
from bot.messages import MarkChanged, PriceChanged
from bot.venue import Book, Fill, FundingDue, OrderReport, UserEvent

USD_M = 1  # `st` of market streams, which carry COIN-M rows too since 2026-06-30


class Acknowledged(msgspec.Struct, frozen=True):
    """The answer to a SUBSCRIBE."""

    request_id: int


class Skipped(msgspec.Struct, frozen=True):
    event: str


class Unknown(msgspec.Struct, frozen=True):
    """Something of the account that we have no rule for."""

    found: str


class MarginCall(msgspec.Struct, frozen=True):
    symbols: tuple[str, ...]


class ListenKeyExpired(msgspec.Struct, frozen=True):
    at: int


UserFrame = UserEvent | ListenKeyExpired | Skipped | Unknown | MarginCall

# Documented, and without a meaning for us: what they tell is told by the events that are read, or is not ours.
UNREAD = frozenset(
    {
        "TRADE_LITE",
        "CONDITIONAL_ORDER_TRIGGER_REJECT",
        "STRATEGY_UPDATE",
        "GRID_UPDATE",
        "serverShutdown",  # the socket is closed by the venue before long
    }
)


class _Envelope(Payload, frozen=True):
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    event: str | None = field(name="e", default=None)
    request_id: int | str | None = field(name="id", default=None)
    error: msgspec.Raw | None = None
    code: int | None = None


class _Kline(Payload, frozen=True, kw_only=True):
    open_time: Ms = field(name="t")
    interval: str = field(name="i")
    open: Decimal = field(name="o")
    high: Decimal = field(name="h")
    low: Decimal = field(name="l")
    close: Decimal = field(name="c")
    volume: Decimal = field(name="v")
    closed: bool = field(name="x")


class _KlineEvent(Payload, frozen=True, kw_only=True):
    at: Ms = field(name="E")
    symbol: str = field(name="s")
    kline: _Kline = field(name="k")

    def events(self) -> tuple[MarketEvent, ...]:
        if self.kline.interval not in INTERVAL_MS:
            raise VenueDisagrees(f"kline interval {self.kline.interval!r} is unknown")
        price = PriceChanged(self.symbol, self.kline.close, self.at)
        if not self.kline.closed:
            return (price,)
        row = self.kline
        values = (row.open, row.high, row.low, row.close, row.volume)
        return (price, candle(self.symbol, INTERVAL_MS[row.interval], row.open_time, values))


class _MarkPriceEvent(Payload, frozen=True, kw_only=True):
    at: Ms = field(name="E")
    symbol: str = field(name="s")
    mark: Decimal = field(name="p")
    funding_rate: Decimal = field(name="r")
    next_funding_at: Ms = field(name="T")
    market: int = field(name="st", default=USD_M)

    def events(self) -> tuple[MarketEvent, ...]:
        if self.market != USD_M:
            return ()
        return (MarkChanged(self.symbol, self.mark, self.funding_rate, self.next_funding_at, self.at),)


class _Order(Payload, frozen=True, kw_only=True):
    symbol: str = field(name="s")
    client_id: str = field(name="c")
    side: BuyOrSell = field(name="S")
    quantity: Decimal = field(name="q")
    status: str = field(name="X")
    order_id: int = field(name="i")
    last_quantity: Decimal = field(name="l")
    filled: Decimal = field(name="z")
    last_price: Decimal = field(name="L")
    fee: Decimal | None = field(name="n", default=None)
    fee_asset: str | None = field(name="N", default=None)
    trade_id: int = field(name="t")
    maker: bool = field(name="m")
    realized_pnl: Decimal = field(name="rp")
    expiry_reason: str = field(name="er", default="0")


class _OrderEvent(Payload, frozen=True, kw_only=True):
    at: Ms = field(name="T")
    order: _Order = field(name="o")

    def events(self) -> tuple[UserEvent, ...]:
        order = self.order
        report = OrderReport(
            client_id=order.client_id,
            symbol=order.symbol,
            book=Book.REGULAR,
            venue_id=order.order_id,
            status=regular_status(order.status, order.filled, order.quantity),
            buy=order.side == "BUY",
            quantity=order.quantity,
            filled=order.filled,
            at=self.at,
            reason="" if order.expiry_reason == "0" else f"expiry reason {order.expiry_reason}",
        )
        executed = order.trade_id != 0 and order.last_quantity != 0
        return (self._fill(), report) if executed else (report,)

    def _fill(self) -> Fill:
        order = self.order
        if order.last_quantity <= 0 or order.last_price <= 0:
            raise VenueDisagrees(f"trade {order.trade_id} on {order.symbol} has no quantity or no price")
        if order.fee is None and order.fee_asset is not None:
            raise VenueDisagrees(f"trade {order.trade_id} on {order.symbol} names a fee's asset and no fee")
        return Fill(
            symbol=order.symbol,
            trade_id=order.trade_id,
            venue_id=order.order_id,
            client_id=order.client_id,
            buy=order.side == "BUY",
            price=order.last_price,
            quantity=order.last_quantity,
            fee=order.fee or Decimal(0),  # both keys are left out of a trade without commission
            fee_asset=order.fee_asset or "",
            realized_pnl=order.realized_pnl,
            maker=order.maker,
            at=self.at,
        )


class _AlgoOrder(Payload, frozen=True, kw_only=True):
    symbol: str = field(name="s")
    client_id: str = field(name="caid")
    algo_id: int = field(name="aid")
    side: BuyOrSell = field(name="S")
    quantity: Decimal = field(name="q")
    status: str = field(name="X")
    executed: str | None = field(name="aq", default=None)
    reject_reason: str | None = field(name="rm", default=None)


class _AlgoEvent(Payload, frozen=True, kw_only=True):
    at: Ms = field(name="T")
    order: _AlgoOrder = field(name="o")

    def events(self) -> tuple[UserEvent, ...]:
        order = self.order
        report = OrderReport(
            client_id=order.client_id,
            symbol=order.symbol,
            book=Book.ALGO,
            venue_id=order.algo_id,
            status=algo_status(order.status),
            buy=order.side == "BUY",
            quantity=order.quantity,
            filled=amount_before_trigger(order.executed),
            at=self.at,
            reason=order.reject_reason or "",
        )
        return (report,)


class _AccountChange(Payload, frozen=True, kw_only=True):
    cause: str = field(name="m")


class _AccountEvent(Payload, frozen=True, kw_only=True):
    at: Ms = field(name="T")
    change: _AccountChange = field(name="a")


class _Mode(Payload, frozen=True, kw_only=True):
    multi_assets: bool = field(name="j")


class _ConfigEvent(Payload, frozen=True, kw_only=True):
    mode: _Mode | None = field(name="ai", default=None)  # else one symbol's leverage has changed


class _MarginPosition(Payload, frozen=True, kw_only=True):
    symbol: str = field(name="s")


class _MarginEvent(Payload, frozen=True, kw_only=True):
    positions: list[_MarginPosition] = field(name="p")


class _ExpiredEvent(Payload, frozen=True, kw_only=True):
    at: Ms = field(name="E")


def read_market_frame(frame: bytes | str) -> tuple[MarketEvent | Acknowledged | Skipped, ...]:
    """The events of one frame of a /market socket; VenueDisagrees for a refused SUBSCRIBE too."""
    envelope, payload = _open(frame)
    match envelope.event:
        case "kline":
            return decode(payload, _KlineEvent).events()
        case "markPriceUpdate":
            return decode(payload, _MarkPriceEvent).events()
        case None:
            return (_answer(envelope),)
        case other:
            return (Skipped(other),)


def read_user_frame(frame: bytes | str) -> tuple[UserFrame, ...]:
    """The events of one frame of a /private socket: an execution gives the fill first, so that the report counts it."""
    envelope, payload = _open(frame)
    match envelope.event:
        case "ORDER_TRADE_UPDATE":
            return decode(payload, _OrderEvent).events()
        case "ALGO_UPDATE":
            return decode(payload, _AlgoEvent).events()
        case "ACCOUNT_UPDATE":
            account = decode(payload, _AccountEvent)
            if account.change.cause == "FUNDING_FEE":
                return (FundingDue(account.at),)
            return (Skipped(f"ACCOUNT_UPDATE {account.change.cause}"),)
        case "ACCOUNT_CONFIG_UPDATE":
            mode = decode(payload, _ConfigEvent).mode
            return (Skipped("ACCOUNT_CONFIG_UPDATE") if mode is None else Unknown(f"multi-assets mode is {_on(mode)}"),)
        case "MARGIN_CALL":
            return (MarginCall(tuple(row.symbol for row in decode(payload, _MarginEvent).positions)),)
        case "listenKeyExpired":
            return (ListenKeyExpired(decode(payload, _ExpiredEvent).at),)
        case None:
            raise VenueDisagrees("a user frame without an event type")
        case other:
            return (Skipped(other) if other in UNREAD else Unknown(f"event type {other!r}"),)


def _on(mode: _Mode) -> str:
    return "on" if mode.multi_assets else "off"


def _open(frame: bytes | str) -> tuple[_Envelope, bytes | str | msgspec.Raw]:
    envelope = decode(frame, _Envelope)
    if isinstance(envelope.data, msgspec.Raw):
        payload = envelope.data
        return decode(payload, _Envelope), payload
    return envelope, frame


def _answer(envelope: _Envelope) -> Acknowledged:
    if envelope.error is not None or envelope.code is not None:
        raise VenueDisagrees(f"SUBSCRIBE {envelope.request_id} was refused")
    if not isinstance(envelope.request_id, int):
        raise VenueDisagrees("a market frame that is neither an event nor an answer to us")
    return Acknowledged(envelope.request_id)
