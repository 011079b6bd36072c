"""Whether the venue takes a new order as its books stand now: the checks of `rules` and those that need state."""

from decimal import Decimal

from bot.exchange.matching import rules
from bot.exchange.matching.levels import Market
from bot.exchange.matching.margin import Margin
from bot.exchange.matching.records import (
    STOPS,
    WITH_LIMIT,
    ZERO,
    Amendment,
    NewAlgo,
    NewOrder,
    Order,
    Rejection,
    Settings,
)


class Admission(Margin):
    """Books with a door. Every check raises Rejection and changes nothing."""

    def _check_order(self, new: NewOrder, market: Market) -> None:
        _check_open(market)
        rules.check_type(new.type)
        rules.check_order_parameters(new, self.now)
        duplicate = new.client_id is not None and self._orders.is_open((new.symbol, new.client_id))
        rules.check_client_id(new.client_id, duplicate=duplicate)
        self._check_grid(new, market)
        self._check_room(new, market)
        _check_time_in_force(new, market, self.settings)

    def _check_grid(self, new: NewOrder, market: Market) -> None:
        instrument, quantity = market.instrument, rules.sent(new.quantity, "quantity")
        rules.check_precision(new.price, quantity, instrument)
        if new.price is not None:
            rules.check_price(new.price, instrument)
            rules.check_percent_price(new.side, new.price, market.reference, self.settings)
        rules.check_quantity(quantity, instrument, market=new.type == "MARKET")
        price = new.price if new.price is not None else market.reference
        if not new.reduce_only and price is not None:
            rules.check_notional(quantity * price, instrument)

    def _check_room(self, new: NewOrder, market: Market) -> None:
        buy, quantity = new.side == "BUY", rules.sent(new.quantity, "quantity")
        if new.reduce_only and not self._reducible(new.symbol, buy):
            raise Rejection(-2022, "ReduceOnly Order is rejected.")
        if not new.reduce_only and market.status != "TRADING":
            raise Rejection(-4140, "Invalid symbol status for opening position.")
        if new.type == "MARKET":
            rules.check_take_bound(self._taker_price(market, buy), buy, market.mark, self.settings)
        resting = len(self.open_orders(new.symbol))
        if self.settings.switches.algos_count_as_orders:
            resting += len(self.open_algos(new.symbol))
        if resting >= rules.MAX_OPEN_ORDERS:
            raise Rejection(-2025, "Reach max open order limit.")
        if not new.reduce_only:
            self._check_carried(buy, quantity, new.price, market)

    def _check_amendment(self, order: Order, wanted: Amendment, market: Market) -> None:
        """What an amendment may not be. The code of a changed reduceOnly is the venue's, its words are ours."""
        if order.type != "LIMIT":
            raise Rejection(-5025, "Only limit order is supported.")
        if wanted.side != order.side:
            raise Rejection(-1117, "Invalid side.")
        if wanted.reduce_only not in (None, order.reduce_only):
            raise Rejection(-5047, "reduceOnly cannot be modified.")
        if order.amendments >= rules.MAX_AMENDMENTS:
            raise Rejection(-5026, "Exceed maximum modify order limit.")
        quantity, price = rules.sent(wanted.quantity, "quantity"), rules.sent(wanted.price, "price")
        if (quantity, price) == (order.quantity, order.price):
            raise Rejection(-5027, "No need to modify the order.")
        rules.check_precision(price, quantity, market.instrument)
        rules.check_price(price, market.instrument)
        rules.check_percent_price(order.side, price, market.reference, self.settings)
        rules.check_quantity(quantity, market.instrument, market=False)
        if not order.reduce_only:
            rules.check_notional(quantity * price, market.instrument, code=-5029)
            change = max(ZERO, quantity - order.executed) * price - order.remaining * order.price
            self._check_enlarged(market, change if order.buy else ZERO, ZERO if order.buy else change)

    def _check_algo(self, new: NewAlgo, market: Market) -> None:
        _check_open(market)
        rules.check_algo_type(new.type)
        rules.check_algo_parameters(new, self.now)
        switches = self.settings.switches
        duplicate = new.client_id is not None and self._algos.is_open(("", new.client_id))
        rules.check_client_id(new.client_id, duplicate=duplicate, code=switches.duplicate_algo_code)
        self._check_algo_grid(new, market)
        self._check_reducing_algo(new)
        if len(self._algos.open()) >= rules.MAX_OPEN_ALGOS:
            raise Rejection(-4045, "Reach max stop order limit.")
        if _would_trigger(new, market):
            raise Rejection(-2021, "Order would immediately trigger.")

    def _check_algo_grid(self, new: NewAlgo, market: Market) -> None:
        instrument = market.instrument
        triggers = (new.trigger_price, new.activate_price) if self.settings.switches.trigger_price_on_tick else ()
        for price in (*triggers, new.price):
            rules.check_precision(price, new.quantity, instrument)
            if price is not None:
                rules.check_price(price, instrument)
        if new.quantity is None:
            return
        rules.check_quantity(new.quantity, instrument, market=new.type not in WITH_LIMIT)
        price = new.price or new.trigger_price or market.price(new.working_type)
        if not new.reduce_only and price is not None:
            rules.check_notional(new.quantity * price, instrument)

    def _check_reducing_algo(self, new: NewAlgo) -> None:
        reducible, switches = self._reducible(new.symbol, new.side == "BUY"), self.settings.switches
        if new.reduce_only and not reducible and not switches.reduce_only_algo_while_flat:
            raise Rejection(-2022, "ReduceOnly Order is rejected.")
        age = self.now - self._account.holdings[new.symbol].opened_at
        if (new.reduce_only or new.close_position) and reducible and age < switches.position_lag_ms:
            raise Rejection(switches.position_lag_code, "ReduceOnly Order is rejected.")
        if not new.close_position:
            return
        if not reducible:
            raise Rejection(
                -4509,
                "Time in Force (TIF) GTE can only be used with open positions. Ensure that positions are available.",
            )
        kind = (new.symbol, new.side, new.type)
        if any(algo.close_position and kind == (algo.symbol, algo.side, algo.type) for algo in self._algos.open()):
            raise Rejection(
                -4130, "An open stop or take profit order with GTE and closePosition in the direction is existing."
            )

    def _check_carried(self, buy: bool, quantity: Decimal, price: Decimal | None, market: Market) -> None:
        """Refuse with -2027 or -2019 what the leverage or the balance does not carry.

        Fees are not counted; what does not enlarge the larger side of the symbol is always carried.
        """
        notional = quantity * (price or self._taker_price(market, buy))
        self._check_enlarged(market, notional if buy else ZERO, ZERO if buy else notional)

    def _check_enlarged(self, market: Market, buying: Decimal, selling: Decimal) -> None:
        symbol = market.instrument.symbol
        before, after = self.exposure(symbol), self.exposure(symbol, buying, selling)
        if after <= before:
            return
        if after > market.largest_notional(market.leverage):
            raise Rejection(-2027, "Exceeded the maximum allowable position at current leverage.")
        if (after - before) / market.leverage > self.available_balance:
            raise Rejection(-2019, "Margin is insufficient.")

    def _taker_price(self, market: Market, buy: bool) -> Decimal:
        last = market.last if market.last is not None else ZERO
        return rules.worse_price(last, buy=buy, settings=self.settings, instrument=market.instrument)

    def _reducible(self, symbol: str, buy: bool) -> Decimal:
        return self._account.holdings[symbol].reducible(buy=buy)


def crosses(new: NewOrder | Order, market: Market) -> bool:
    """Whether a limit order lies beyond the last price. One at the last price waits for the next touch."""
    if new.price is None or market.last is None:
        return False
    return new.price > market.last if new.side == "BUY" else new.price < market.last


def _check_open(market: Market) -> None:
    if market.status == "CLOSE":
        raise Rejection(-4141, "Symbol is closed.")


def _check_time_in_force(new: NewOrder, market: Market, settings: Settings) -> None:
    if new.time_in_force == "GTX" and crosses(new, market):
        raise Rejection(
            -5022,
            "Due to the order could not be executed as maker, the Post Only order will be rejected. "
            "The order will not be recorded in the order history",
        )
    if new.time_in_force == "FOK" and not (crosses(new, market) and _fills_whole(new, market, settings)):
        raise Rejection(
            -5021,
            "Due to the order could not be filled immediately, the FOK order has been rejected. "
            "The order will not be recorded in the order history",
        )


def _fills_whole(new: NewOrder, market: Market, settings: Settings) -> bool:
    if not settings.depth_usdt or market.last is None or new.price is None or new.quantity is None:
        return True
    buy = new.side == "BUY"
    book = rules.offers(market.last, buy=buy, settings=settings, instrument=market.instrument)
    found = (quantity for price, quantity in book if (price <= new.price if buy else price >= new.price))
    return sum(found, ZERO) >= new.quantity


def _would_trigger(new: NewAlgo, market: Market) -> bool:
    price = market.price(new.working_type)
    if price is None:
        return False
    if new.trigger_price is None:  # trailing: the price must still come to where it begins to follow
        return new.activate_price is not None and (
            new.activate_price >= price if new.side == "BUY" else new.activate_price <= price
        )
    upward = (new.side == "BUY") == (new.type in STOPS)
    return price >= new.trigger_price if upward else price <= new.trigger_price
