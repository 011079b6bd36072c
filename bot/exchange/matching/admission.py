"""Whether the venue takes a new order as its books stand now: the checks of `rules` and those that need state."""

from decimal import Decimal

from bot.exchange.matching import rules
from bot.exchange.matching.books import Books
from bot.exchange.matching.levels import Market
from bot.exchange.matching.records import ZERO, NewAlgo, NewOrder, Rejection


class Admission(Books):
    """Books with a door. Every check raises Rejection and changes nothing."""

    def _check_order(self, new: NewOrder, market: Market) -> None:
        rules.check_type(new.type)
        rules.check_order_parameters(new)
        duplicate = new.client_id is not None and self._orders.is_open((new.symbol, new.client_id))
        rules.check_client_id(new.client_id, duplicate=duplicate)
        self._check_grid(new, market)
        self._check_room(new, market)
        _check_time_in_force(new, market)

    def _check_grid(self, new: NewOrder, market: Market) -> None:
        instrument, quantity = market.instrument, rules.sent(new.quantity, "quantity")
        rules.check_precision(new.price, quantity, instrument)
        if new.price is not None:
            rules.check_price(new.price, instrument)
            rules.check_percent_price(new, market.reference, self.settings)
        rules.check_quantity(quantity, instrument, market=new.type == "MARKET")
        price = new.price if new.price is not None else market.reference
        if not new.reduce_only and price is not None:
            rules.check_notional(quantity * price, instrument)

    def _check_room(self, new: NewOrder, market: Market) -> None:
        buy, quantity = new.side == "BUY", rules.sent(new.quantity, "quantity")
        if new.reduce_only and not self._reducible(new.symbol, buy):
            raise Rejection(-2022, "ReduceOnly Order is rejected.")
        if not new.reduce_only and not market.instrument.trading:
            raise Rejection(-4140, "Invalid symbol status for opening position.")
        if len(self.open_orders(new.symbol)) >= rules.MAX_OPEN_ORDERS:
            raise Rejection(-2025, "Reach max open order limit.")
        if not new.reduce_only and not self._can_afford(buy, quantity, new.price, market):
            raise Rejection(-2019, "Margin is insufficient.")

    def _check_algo(self, new: NewAlgo, market: Market) -> None:
        rules.check_algo_type(new.type)
        rules.check_algo_parameters(new)
        duplicate = new.client_id is not None and self._algos.is_open(("", new.client_id))
        rules.check_client_id(new.client_id, duplicate=duplicate)
        instrument, trigger = market.instrument, rules.sent(new.trigger_price, "triggerPrice")
        rules.check_precision(trigger, new.quantity, instrument)
        rules.check_price(trigger, instrument)
        if new.quantity is not None:
            rules.check_quantity(new.quantity, instrument, market=True)
            if not new.reduce_only:
                rules.check_notional(new.quantity * trigger, instrument)
        self._check_reducing_algo(new)
        if len(self._algos.open()) >= rules.MAX_OPEN_ALGOS:
            raise Rejection(-4045, "Reach max stop order limit.")
        if _would_trigger(new, trigger, market):
            raise Rejection(-2021, "Order would immediately trigger.")

    def _check_reducing_algo(self, new: NewAlgo) -> None:
        reducible = self._reducible(new.symbol, new.side == "BUY")
        if new.reduce_only and not reducible and not self.settings.reduce_only_algo_while_flat:
            raise Rejection(-2022, "ReduceOnly Order is rejected.")
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

    def _can_afford(self, buy: bool, quantity: Decimal, price: Decimal | None, market: Market) -> bool:
        """Fees are not counted; what does not bind more margin is always affordable."""
        symbol, notional = market.instrument.symbol, quantity * (price or self._taker_price(market, buy))
        before = self.initial_margin(symbol)
        after = self.initial_margin(symbol, notional if buy else ZERO, ZERO if buy else notional)
        return after <= before or after - before <= self.available_balance

    def _taker_price(self, market: Market, buy: bool) -> Decimal:
        last = market.last if market.last is not None else ZERO
        return rules.worse_price(last, buy=buy, settings=self.settings, instrument=market.instrument)

    def _reducible(self, symbol: str, buy: bool) -> Decimal:
        return self._account.holdings[symbol].reducible(buy=buy)


def crosses(new: NewOrder, market: Market) -> bool:
    """Whether a limit order lies beyond the last price. One at the last price waits for the next touch."""
    if new.price is None or market.last is None:
        return False
    return new.price > market.last if new.side == "BUY" else new.price < market.last


def _check_time_in_force(new: NewOrder, market: Market) -> None:
    if new.time_in_force == "GTX" and crosses(new, market):
        raise Rejection(
            -5022,
            "Due to the order could not be executed as maker, the Post Only order will be rejected. "
            "The order will not be recorded in the order history",
        )
    if new.time_in_force == "FOK" and not crosses(new, market):
        raise Rejection(
            -5021,
            "Due to the order could not be filled immediately, the FOK order has been rejected. "
            "The order will not be recorded in the order history",
        )


def _would_trigger(new: NewAlgo, trigger: Decimal, market: Market) -> bool:
    price = market.mark if new.working_type == "MARK_PRICE" else market.last
    if price is None:
        return False
    upward = (new.side == "BUY") == (new.type == "STOP_MARKET")
    return price >= trigger if upward else price <= trigger
