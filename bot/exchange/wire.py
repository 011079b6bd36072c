"""Binance's REST payloads as it sends them, and what each means in the venue's vocabulary; streams are in `frames`.

Sources and recorded examples: docs of /fapi/v1, /fapi/v3 and the user data stream (2026-10). Unknown keys are ignored.
An unknown word, a missing amount or one that is not finite is VenueDisagrees: nothing here guesses.
"""

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

import msgspec

from bot.errors import VenueDisagrees
from bot.exchange.payload import Ms, Payload, decode, is_amount
from bot.messages import Bar
from bot.venue import (
    Book,
    Fill,
    FundingPaid,
    Instrument,
    MarginBracket,
    OrderReport,
    VenuePosition,
    VenueStatus,
)

BuyOrSell = Literal["BUY", "SELL"]
INTERVAL_MS = {
    "1m": 60_000,
    "3m": 180_000,
    "5m": 300_000,
    "15m": 900_000,
    "30m": 1_800_000,
    "1h": 3_600_000,
    "2h": 7_200_000,
    "4h": 14_400_000,
    "6h": 21_600_000,
    "8h": 28_800_000,
    "12h": 43_200_000,
    "1d": 86_400_000,
}
INTERVAL_NAME = {length: name for name, length in INTERVAL_MS.items()}

_REGULAR_STATUS = {
    "NEW": VenueStatus.NEW,
    "PARTIALLY_FILLED": VenueStatus.PARTIALLY_FILLED,
    "FILLED": VenueStatus.FILLED,
    "CANCELED": VenueStatus.CANCELED,
    "EXPIRED": VenueStatus.EXPIRED,
    "EXPIRED_IN_MATCH": VenueStatus.EXPIRED,
    "REJECTED": VenueStatus.REJECTED,
}
_MADE_BY_VENUE = ("NEW_INSURANCE", "NEW_ADL")  # say who trades, not how far the order has come
_ALGO_STATUS = {
    word.value: word
    for word in (
        VenueStatus.NEW,
        VenueStatus.TRIGGERING,
        VenueStatus.TRIGGERED,
        VenueStatus.FINISHED,
        VenueStatus.CANCELED,
        VenueStatus.EXPIRED,
        VenueStatus.REJECTED,
    )
}


def regular_status(word: str, filled: Decimal, quantity: Decimal) -> VenueStatus:
    if word in _MADE_BY_VENUE:
        if filled == 0:
            return VenueStatus.NEW
        return VenueStatus.FILLED if filled >= quantity else VenueStatus.PARTIALLY_FILLED
    try:
        return _REGULAR_STATUS[word]
    except KeyError:
        raise VenueDisagrees(f"order status {word!r} is unknown") from None


def algo_status(word: str) -> VenueStatus:
    try:
        return _ALGO_STATUS[word]
    except KeyError:
        raise VenueDisagrees(f"algo order status {word!r} is unknown") from None


def amount_before_trigger(text: str | None) -> Decimal:
    """An amount that the algo book leaves empty until the order has triggered."""
    try:
        amount = Decimal(text or 0)
    except ArithmeticError:
        amount = Decimal("NaN")
    if not is_amount(amount):
        raise VenueDisagrees(f"amount {text!r:.60} of an algo order is not a number in range")
    return amount


# ---- REST: orders, fills, account


class OrderAnswer(Payload, frozen=True, kw_only=True):
    """Answer to placing, cancelling or querying a regular order, and a row of the open ones."""

    symbol: str
    client_order_id: str
    order_id: int
    status: str
    side: BuyOrSell
    orig_qty: Decimal
    executed_qty: Decimal
    update_time: Ms

    def report(self) -> OrderReport:
        return OrderReport(
            client_id=self.client_order_id,
            symbol=self.symbol,
            book=Book.REGULAR,
            venue_id=self.order_id,
            status=regular_status(self.status, self.executed_qty, self.orig_qty),
            buy=self.side == "BUY",
            quantity=self.orig_qty,
            filled=self.executed_qty,
            at=self.update_time,
        )


class AlgoAnswer(Payload, frozen=True, kw_only=True):
    """Answer to placing or querying an algo order, and a row of the open ones."""

    symbol: str
    client_algo_id: str
    algo_id: int
    algo_status: str
    side: BuyOrSell
    update_time: Ms
    quantity: Decimal | None = None
    close_position: bool = False
    actual_qty: str | None = None

    def report(self) -> OrderReport:
        if self.quantity is None and not self.close_position:
            raise VenueDisagrees(f"algo order {self.client_algo_id} has no quantity")
        return OrderReport(
            client_id=self.client_algo_id,
            symbol=self.symbol,
            book=Book.ALGO,
            venue_id=self.algo_id,
            status=algo_status(self.algo_status),
            buy=self.side == "BUY",
            quantity=self.quantity or Decimal(0),
            filled=amount_before_trigger(self.actual_qty),
            at=self.update_time,
        )


class AlgoCancelled(Payload, frozen=True, kw_only=True):
    """Answer to cancelling an algo order; it does not say how the order stands."""

    algo_id: int
    client_algo_id: str


class OpenAlgoOrders(Payload, frozen=True, kw_only=True):
    """The envelope in which some clients have seen the open algo orders; the documents say: a bare array."""

    orders: list[AlgoAnswer]


def open_algo_orders(raw: msgspec.Raw) -> list[OrderReport]:
    if bytes(raw).lstrip()[:1] == b"{":
        return [row.report() for row in decode(raw, OpenAlgoOrders).orders]
    return [row.report() for row in decode(raw, list[AlgoAnswer])]


class UserTrade(Payload, frozen=True, kw_only=True):
    symbol: str
    id: int
    order_id: int
    side: BuyOrSell
    price: Decimal
    qty: Decimal
    commission: Decimal
    commission_asset: str
    realized_pnl: Decimal
    maker: bool
    time: Ms

    def fill(self) -> Fill:
        return Fill(
            symbol=self.symbol,
            trade_id=self.id,
            venue_id=self.order_id,
            client_id="",
            buy=self.side == "BUY",
            price=self.price,
            quantity=self.qty,
            fee=self.commission,
            fee_asset=self.commission_asset,
            realized_pnl=self.realized_pnl,
            maker=self.maker,
            at=self.time,
        )


class Income(Payload, frozen=True, kw_only=True):
    symbol: str
    income_type: str
    income: Decimal
    asset: str
    time: Ms
    tran_id: int

    def funding_paid(self) -> FundingPaid:
        if self.income_type != "FUNDING_FEE" or self.asset != "USDT":
            raise VenueDisagrees(f"income {self.tran_id} is {self.income_type} in {self.asset}, not funding in USDT")
        return FundingPaid(symbol=self.symbol, amount=self.income, at=self.time, income_id=self.tran_id)


class PositionRisk(Payload, frozen=True, kw_only=True):
    """A row of /fapi/v3/positionRisk."""

    symbol: str
    position_side: str
    position_amt: Decimal
    entry_price: Decimal

    def position(self) -> VenuePosition:
        if self.position_side != "BOTH":
            raise VenueDisagrees(f"{self.symbol}: position side {self.position_side}, the account is in hedge mode")
        return VenuePosition(symbol=self.symbol, quantity=self.position_amt, entry_price=self.entry_price)


class Balance(Payload, frozen=True, kw_only=True):
    """A row of /fapi/v3/balance."""

    asset: str
    balance: Decimal


class AccountConfig(Payload, frozen=True, kw_only=True):
    can_trade: bool
    dual_side_position: bool
    multi_assets_margin: bool

    def fault(self) -> str:
        """Why the bot cannot trade on this account; empty where it can."""
        if self.dual_side_position:
            return "hedge mode is on; the bot trades in one-way mode only"
        if self.multi_assets_margin:
            return "multi-assets mode is on; the bot trades in single-asset mode only"
        return "" if self.can_trade else "the venue does not allow this account to trade"


class LeverageAnswer(Payload, frozen=True, kw_only=True):
    symbol: str
    leverage: int


class ListenKey(Payload, frozen=True, kw_only=True):
    listen_key: str


# ---- REST: market


class _Bracket(Payload, frozen=True, kw_only=True):
    initial_leverage: int
    notional_cap: Decimal
    maint_margin_ratio: Decimal
    cum: Decimal


class LeverageBrackets(Payload, frozen=True, kw_only=True):
    symbol: str
    brackets: list[_Bracket]

    def margin_brackets(self) -> tuple[MarginBracket, ...]:
        found = (
            MarginBracket(
                notional_cap=row.notional_cap,
                maintenance_rate=row.maint_margin_ratio,
                amount=row.cum,
                max_leverage=row.initial_leverage,
            )
            for row in self.brackets
        )
        return tuple(sorted(found, key=lambda bracket: bracket.notional_cap))


class ServerTime(Payload, frozen=True, kw_only=True):
    server_time: Ms


class KlineRow(Payload, frozen=True, array_like=True):
    open_time: Ms
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    close_time: Ms

    def bar(self, symbol: str, interval_ms: int) -> Bar:
        return candle(symbol, interval_ms, self.open_time, (self.open, self.high, self.low, self.close, self.volume))


def candle(symbol: str, interval_ms: int, open_time: int, values: Sequence[Decimal]) -> Bar:
    opened, high, low, close, volume = map(float, values)
    sound = 0 < low <= min(opened, close) and max(opened, close) <= high and volume >= 0
    if not sound or not math.isfinite(high + volume):
        raise VenueDisagrees(f"{symbol}: the bar at {open_time} is not a candle")
    return Bar(symbol, interval_ms, open_time, opened, high, low, close, volume)


class _Filter(Payload, frozen=True, kw_only=True):
    filter_type: str
    tick_size: Decimal | None = None
    step_size: Decimal | None = None
    min_qty: Decimal | None = None
    max_qty: Decimal | None = None
    notional: Decimal | None = None


class _SymbolInfo(Payload, frozen=True, kw_only=True):
    symbol: str
    status: str
    filters: list[_Filter]


class _ExchangeInfo(Payload, frozen=True, kw_only=True):
    symbols: list[msgspec.Raw]


class _SymbolName(Payload, frozen=True, kw_only=True):
    symbol: str = "a symbol without a name"


def instrument(raw: bytes | str | msgspec.Raw) -> Instrument:
    """One row of `symbols[]`; VenueDisagrees where a filter that an order must pass is missing."""
    info = decode(raw, _SymbolInfo)
    by_type = {entry.filter_type: entry for entry in info.filters}

    def required(filter_type: str, key: str) -> Decimal:
        value = getattr(by_type.get(filter_type), key, None)
        if not isinstance(value, Decimal):
            raise VenueDisagrees(f"{info.symbol}: filter {filter_type} has no {key}")
        return value

    return Instrument(
        symbol=info.symbol,
        tick_size=required("PRICE_FILTER", "tick_size"),
        step_size=required("LOT_SIZE", "step_size"),
        min_quantity=required("LOT_SIZE", "min_qty"),
        max_quantity=required("LOT_SIZE", "max_qty"),
        max_market_quantity=required("MARKET_LOT_SIZE", "max_qty"),
        min_notional=required("MIN_NOTIONAL", "notional"),
        trading=info.status == "TRADING",
    )


def instruments(raw: bytes) -> tuple[dict[str, Instrument], dict[str, str]]:
    """(instruments by symbol, faults by symbol): one odd symbol of 900 may not keep the others from trading."""
    sound: dict[str, Instrument] = {}
    faults: dict[str, str] = {}
    for row in decode(raw, _ExchangeInfo).symbols:
        try:
            found = instrument(row)
            sound[found.symbol] = found
        except VenueDisagrees as fault:
            faults[_name_of(row)] = str(fault)
    return sound, faults


def _name_of(row: msgspec.Raw) -> str:
    try:
        return decode(row, _SymbolName).symbol
    except VenueDisagrees:
        return _SymbolName().symbol
