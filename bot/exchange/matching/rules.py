"""The venue's checks of a new order, in the venue's order, each with Binance's code. Nothing here keeps state."""

import re
from collections.abc import Iterator
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from bot.exchange.matching.records import CONDITIONAL, WITH_LIMIT, NewAlgo, NewOrder, Rejection, Settings
from bot.venue import Instrument

CLIENT_ID = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}")
MAX_OPEN_ORDERS = 200  # per symbol
MAX_OPEN_ALGOS = 200  # per account
MAX_LEVERAGE = 125
LARGEST_NOTIONAL = Decimal(1_000_000_000)
TIMES_IN_FORCE = frozenset({"GTC", "IOC", "FOK", "GTX", "GTD"})
SHORTEST_GTD_MS = 600_000
LATEST_GTD = 253_402_300_799_000
CALLBACK_RATES = (Decimal("0.1"), Decimal(20))  # percent
MAX_AMENDMENTS = 10_000
DEPTH_LEVELS = 10
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
    if type not in CONDITIONAL:
        raise Rejection(-1116, "Invalid orderType.")


def check_order_parameters(new: NewOrder, now: int) -> None:
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
    _check_time_in_force(new.time_in_force, new.good_till, now)


def check_algo_parameters(new: NewAlgo, now: int) -> None:
    _check_side(new.side)
    if new.type == "TRAILING_STOP_MARKET":
        _check_trailing(new)
    else:
        sent(new.trigger_price, "triggerPrice")
    if new.type in WITH_LIMIT:
        sent(new.price, "price")
    elif new.price is not None:
        raise unwanted("price")
    _check_time_in_force(new.time_in_force or "GTC", new.good_till, now)
    if new.working_type not in ("CONTRACT_PRICE", "MARK_PRICE"):
        raise missing("workingType")
    if new.close_position:
        _check_close_position(new)
    else:
        sent(new.quantity, "quantity")


def _check_close_position(new: NewAlgo) -> None:
    if new.type not in ("STOP_MARKET", "TAKE_PROFIT_MARKET"):
        raise Rejection(-4136, "Target strategy invalid for orderType, reduceOnly or closePosition.")
    if new.quantity is not None:
        raise Rejection(-4137, "Quantity must be zero with closePosition equals true")
    if new.reduce_only:
        raise unwanted("reduceOnly")


def _check_trailing(new: NewAlgo) -> None:
    if new.trigger_price is not None:
        raise unwanted("triggerPrice")
    if new.callback_rate is None:
        raise missing("callbackRate")
    lowest, highest = CALLBACK_RATES
    if not lowest <= new.callback_rate <= highest:
        raise Rejection(-2007, "Invalid callBack rate")


def _check_time_in_force(time_in_force: str, good_till: int | None, now: int) -> None:
    if time_in_force not in TIMES_IN_FORCE:
        raise Rejection(-1115, "Invalid timeInForce.")
    if time_in_force != "GTD":
        if good_till:
            raise unwanted("goodTillDate")
        return
    if good_till is None:
        raise missing("goodTillDate")
    if not now + SHORTEST_GTD_MS < good_till < LATEST_GTD:
        raise Rejection(
            -5040,
            "The goodTillDate timestamp must be greater than the current time plus 600 seconds "
            f"and smaller than {LATEST_GTD}",
        )


def check_client_id(client_id: str | None, *, duplicate: bool, code: int = -4116) -> None:
    if client_id is None:
        return
    if CLIENT_ID.fullmatch(client_id) is None:
        raise Rejection(-4015, "Client order id is not valid.")
    if duplicate:
        raise Rejection(code, "ClientOrderId is duplicated.")


def check_precision(price: Decimal | None, quantity: Decimal | None, instrument: Instrument) -> None:
    for value, grid in ((price, instrument.tick_size), (quantity, instrument.step_size)):
        if value is not None and _decimals(value) > _precision(grid):
            raise Rejection(-1111, "Precision is over the maximum defined for this asset.")


def check_price(price: Decimal, instrument: Instrument) -> None:
    if price <= 0:
        raise Rejection(-4001, "Price less than 0.")
    if price % instrument.tick_size:
        raise Rejection(-4014, "Price not increased by tick size.")


def check_percent_price(side: str, price: Decimal, mark: Decimal | None, settings: Settings) -> None:
    """A limit may not reach further through the mark price than `percent_price`."""
    if mark is None:
        return
    highest, lowest = mark * (1 + settings.percent_price), mark * (1 - settings.percent_price)
    if side == "BUY" and price > highest:
        raise Rejection(-4016, f"Limit price can't be higher than {highest.normalize():f}.")
    if side == "SELL" and price < lowest:
        raise Rejection(-4024, f"Limit price can't be lower than {lowest.normalize():f}.")


def check_take_bound(price: Decimal, buy: bool, mark: Decimal | None, settings: Settings) -> None:
    """A market order may not take further from the mark price than `market_take_bound`."""
    if not price or not mark:
        return
    worst = mark * (1 + settings.market_take_bound if buy else 1 - settings.market_take_bound)
    if price > worst if buy else price < worst:
        raise Rejection(-4131, "The counterparty's best price does not meet the PERCENT_PRICE filter limit.")


def check_quantity(quantity: Decimal, instrument: Instrument, *, market: bool) -> None:
    if quantity <= 0:
        raise Rejection(-4003, "Quantity less than or equal to zero.")
    if quantity < instrument.min_quantity:
        raise Rejection(-4004, "Quantity less than min quantity.")
    if quantity > (instrument.max_market_quantity if market else instrument.max_quantity):
        raise Rejection(-4005, "Quantity greater than max quantity.")
    if quantity % instrument.step_size:
        raise Rejection(-4023, "Qty not increased by step size.")


def check_notional(notional: Decimal, instrument: Instrument, *, code: int = -4164) -> None:
    """Reduce-only orders are exempt; the caller leaves them out."""
    if notional < instrument.min_notional:
        floor = f"{instrument.min_notional.normalize():f}"
        raise Rejection(code, f"Order's notional must be no smaller than {floor} (unless you choose reduce only).")


def worse_price(last: Decimal, *, buy: bool, settings: Settings, instrument: Instrument, steps: int = 1) -> Decimal:
    """What a taker gets: the last price moved against him by the slippage and on to the next tick."""
    shift = steps * settings.market_slippage_bps / BPS
    tick = instrument.tick_size
    if buy:
        return (last * (1 + shift) / tick).to_integral_value(ROUND_CEILING) * tick
    return max(tick, (last * (1 - shift) / tick).to_integral_value(ROUND_FLOOR) * tick)


def offers(
    last: Decimal, *, buy: bool, settings: Settings, instrument: Instrument
) -> Iterator[tuple[Decimal, Decimal]]:
    """(price, quantity) of what a taker finds in a book of limited depth, the best first."""
    step = instrument.step_size
    for steps in range(1, DEPTH_LEVELS + 1):
        price = worse_price(last, buy=buy, settings=settings, instrument=instrument, steps=steps)
        yield price, (settings.depth_usdt / price / step).to_integral_value(ROUND_FLOOR) * step


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
