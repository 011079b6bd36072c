"""The venue's checks of a new order, in the venue's order, each with Binance's code. Nothing here keeps state."""

import re
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from bot.exchange.matching.records import CONDITIONAL, NewAlgo, NewOrder, Rejection, Settings
from bot.venue import Instrument

CLIENT_ID = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}")
MAX_OPEN_ORDERS = 200  # per symbol
MAX_OPEN_ALGOS = 200  # per account
MAX_LEVERAGE = 125
LARGEST_NOTIONAL = Decimal(1_000_000_000)
TIMES_IN_FORCE = frozenset({"GTC", "IOC", "FOK", "GTX"})
BPS = Decimal(10_000)


def check_type(type: str) -> None:
    """Refuse what the regular order endpoint does not take."""
    if type in CONDITIONAL:
        raise Rejection(
            -4120, "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead."
        )
    if type not in ("LIMIT", "MARKET"):
        raise Rejection(-1116, "Invalid orderType.")


def check_algo_type(type: str) -> None:
    if type not in ("STOP_MARKET", "TAKE_PROFIT_MARKET"):
        raise Rejection(-1116, "Invalid orderType.")


def check_order_parameters(new: NewOrder) -> None:
    _check_side(new.side)
    sent(new.quantity, "quantity")
    if new.type == "MARKET":
        if new.price is not None:
            raise unwanted("price")
        if new.time_in_force is not None:
            raise unwanted("timeInForce")
        return
    sent(new.price, "price")
    if new.time_in_force is None:
        raise missing("timeInForce")
    if new.time_in_force not in TIMES_IN_FORCE:
        raise Rejection(-1115, "Invalid timeInForce.")


def check_algo_parameters(new: NewAlgo) -> None:
    _check_side(new.side)
    sent(new.trigger_price, "triggerPrice")
    if new.working_type not in ("CONTRACT_PRICE", "MARK_PRICE"):
        raise missing("workingType")
    if not new.close_position:
        sent(new.quantity, "quantity")
        return
    if new.quantity is not None:
        raise Rejection(-4137, "Quantity must be zero with closePosition equals true")
    if new.reduce_only:
        raise unwanted("reduceOnly")


def check_client_id(client_id: str | None, *, duplicate: bool) -> None:
    if client_id is None:
        return
    if CLIENT_ID.fullmatch(client_id) is None:
        raise Rejection(-4015, "Client order id is not valid.")
    if duplicate:
        raise Rejection(-4116, "ClientOrderId is duplicated.")


def check_precision(price: Decimal | None, quantity: Decimal | None, instrument: Instrument) -> None:
    for value, grid in ((price, instrument.tick_size), (quantity, instrument.step_size)):
        if value is not None and _decimals(value) > _precision(grid):
            raise Rejection(-1111, "Precision is over the maximum defined for this asset.")


def check_price(price: Decimal, instrument: Instrument) -> None:
    if price <= 0:
        raise Rejection(-4001, "Price less than 0.")
    if price % instrument.tick_size:
        raise Rejection(-4014, "Price not increased by tick size.")


def check_percent_price(new: NewOrder, mark: Decimal | None, settings: Settings) -> None:
    """A limit may not reach further through the mark price than `percent_price`."""
    if mark is None or new.price is None:
        return
    highest, lowest = mark * (1 + settings.percent_price), mark * (1 - settings.percent_price)
    if new.side == "BUY" and new.price > highest:
        raise Rejection(-4016, f"Limit price can't be higher than {highest.normalize():f}.")
    if new.side == "SELL" and new.price < lowest:
        raise Rejection(-4024, f"Limit price can't be lower than {lowest.normalize():f}.")


def check_quantity(quantity: Decimal, instrument: Instrument, *, market: bool) -> None:
    if quantity <= 0:
        raise Rejection(-4003, "Quantity less than or equal to zero.")
    if quantity < instrument.min_quantity:
        raise Rejection(-4004, "Quantity less than min quantity.")
    if quantity > (instrument.max_market_quantity if market else instrument.max_quantity):
        raise Rejection(-4005, "Quantity greater than max quantity.")
    if quantity % instrument.step_size:
        raise Rejection(-4023, "Qty not increased by step size.")


def check_notional(notional: Decimal, instrument: Instrument) -> None:
    """Reduce-only orders are exempt; the caller leaves them out."""
    if notional < instrument.min_notional:
        floor = f"{instrument.min_notional.normalize():f}"
        raise Rejection(-4164, f"Order's notional must be no smaller than {floor} (unless you choose reduce only).")


def worse_price(last: Decimal, *, buy: bool, settings: Settings, instrument: Instrument) -> Decimal:
    """What a taker gets: the last price moved against him by the slippage and on to the next tick."""
    shift = settings.market_slippage_bps / BPS
    tick = instrument.tick_size
    if buy:
        return (last * (1 + shift) / tick).to_integral_value(ROUND_CEILING) * tick
    return max(tick, (last * (1 - shift) / tick).to_integral_value(ROUND_FLOOR) * tick)


def sent(value: Decimal | None, name: str) -> Decimal:
    if value is None:
        raise missing(name)
    return value


def missing(name: str) -> Rejection:
    return Rejection(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def unwanted(name: str) -> Rejection:
    return Rejection(-1106, f"Parameter '{name}' sent when not required.")


def _check_side(side: str) -> None:
    if side not in ("BUY", "SELL"):
        raise Rejection(-1117, "Invalid side.")


def _precision(grid: Decimal) -> int:
    """The decimals as written: Binance's tick 0.10 goes with a price precision of 2."""
    return max(0, -int(grid.as_tuple().exponent))


def _decimals(value: Decimal) -> int:
    return max(0, -int(value.normalize().as_tuple().exponent))
