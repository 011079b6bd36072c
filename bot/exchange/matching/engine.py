"""Orders, prices and funding in; executions, positions and account events out. All chance comes from the seed."""

from decimal import Decimal

from msgspec.structs import replace

from bot.exchange.matching import rules
from bot.exchange.matching.account import money
from bot.exchange.matching.admission import crosses
from bot.exchange.matching.forced import Forced
from bot.exchange.matching.levels import Level, Market
from bot.exchange.matching.records import ZERO, Amendment, Execution, NewOrder, Order, Rejection
from bot.venue import Instrument, VenueStatus


class Engine(Forced):
    """One account in one-way, single-asset, cross-margin mode. Deterministic: same calls, same events.

    `place`, `cancel` and the like raise Rejection with Binance's code and then have changed nothing. What they and the
    price calls do is told by `take_events`.
    """

    def step(self, now: int) -> None:
        """Set the time that the next calls happen at, never back.

        Triggers that were late until then go on, and what is good until then expires.
        """
        self.now = max(self.now, now)
        if self.late_triggers.next_at is not None:
            self._go_on_late()
        if self._deadlines:
            self._end_overdue()

    def place(self, new: NewOrder) -> Order:
        """Accept a regular order and execute what can be executed at once; returns it as it then stands.

        A market order fills in full at the last price worsened by the slippage, a limit beyond the last price fills in
        full as taker, never worse than its limit; a limit at the last price rests.
        """
        market = self._market(new.symbol)
        self._check_order(new, market)
        order = self._accept(
            symbol=new.symbol,
            side=new.side,
            type=new.type,
            quantity=rules.sent(new.quantity, "quantity"),
            price=new.price or ZERO,
            time_in_force=new.time_in_force or "GTC",
            good_till=new.good_till or 0,
            reduce_only=new.reduce_only,
            client_id=new.client_id,
        )
        return self._execute(order, market)

    def modify(self, wanted: Amendment) -> Order:
        """Give an open limit order another quantity and price; it loses its place among its equals.

        A quantity that is executed already, or a price at which a GTX order would take, cancels it.
        """
        market = self._market(wanted.symbol)
        order = self._find_order(wanted.symbol, wanted.order_id, wanted.client_id)
        if order is None or not order.is_open:
            raise Rejection(-2013, "Order does not exist.")
        quantity, price = rules.sent(wanted.quantity, "quantity"), rules.sent(wanted.price, "price")
        self._check_amendment(order, wanted, market)
        amended = replace(order, quantity=quantity, price=price)
        if quantity <= order.executed or (order.time_in_force == "GTX" and crosses(amended, market)):
            return self.cancel(order.symbol, order.order_id)
        market.by_last.remove(order.order_id)
        order = self._write_order(
            order,
            Execution.AMENDMENT,
            quantity=quantity,
            price=price,
            amendments=order.amendments + 1,
            modify_id=wanted.modify_id,
        )
        return self._execute(order, market)

    def cancel(self, symbol: str, order_id: int | None = None, client_id: str | None = None) -> Order:
        """Raises Rejection -2011 where no such order is open."""
        self._market(symbol)
        order = self._find_order(symbol, order_id, client_id)
        if order is None or not order.is_open:
            raise Rejection(-2011, "Unknown order sent.")
        order = self._write_order(order, Execution.CANCELED, status=VenueStatus.CANCELED)
        self._end_parent(order)
        return order

    def cancel_all(self, symbol: str) -> list[Order]:
        """Cancel the symbol's regular orders; conditional ones stay."""
        self._market(symbol)
        return [self.cancel(symbol, order.order_id) for order in self.open_orders(symbol)]

    def set_leverage(self, symbol: str, leverage: int) -> None:
        """Raises Rejection -4028 for a leverage that is not offered, -2027 for one that is too high for the position,
        -2019 where the account cannot carry it."""
        market = self._market(symbol)
        if not 1 <= leverage <= market.highest_leverage:
            raise Rejection(-4028, f"Leverage {leverage} is not valid")
        if leverage > market.leverage and self.exposure(symbol) > market.largest_notional(leverage):
            raise Rejection(-2027, "Exceeded the maximum allowable position at current leverage.")
        before, market.leverage = market.leverage, leverage
        if leverage < before and self.available_balance < 0:
            market.leverage = before
            raise Rejection(-2019, "Margin is insufficient.")

    def impose_leverage(self, symbol: str, leverage: int) -> None:
        """The venue sets it, whatever the account can carry."""
        self._market(symbol).leverage = leverage

    def change_instrument(self, instrument: Instrument) -> None:
        """Other filters or brackets from now on; what rests stays as it is."""
        self._market(instrument.symbol).change(instrument)

    def set_status(self, symbol: str, status: str) -> None:
        """Binance's word: with any other than TRADING nothing opens, with CLOSE nothing is taken at all."""
        self._market(symbol).status = status

    def on_price(self, symbol: str, price: Decimal, gap: bool = False) -> None:
        """The last price moved to `price`.

        Without `gap` every level between was traded: what waits there acts in the order of the path, a limit fills at
        its price, a stop at its trigger worsened by the slippage. With `gap` nothing between was traded: a limit fills
        at the better of its price and the new one, a stop at the new price worsened by the slippage. Of equals stops
        come first, then the older. The first touch of a limit may fill only a share of it, which share (if any) follows
        from the seed and the client id; the rest fills at the next price that is still at or through it.
        """
        market = self._market(symbol)
        levels = market.by_last
        if market.last is None or not levels.floor < price < levels.ceiling:
            self._walk(market, price, gap)
        market.last = price
        if market.trails:
            self._follow_price(market, "CONTRACT_PRICE")

    def on_mark(self, symbol: str, mark: Decimal) -> None:
        """The mark price is now `mark`: triggers that watch it, then liquidation."""
        market = self._market(symbol)
        start, market.mark = market.mark, mark
        levels = market.by_mark
        if not levels.floor < mark < levels.ceiling:
            for level in levels.jumped(mark if start is None else start, mark):
                self._meet(level, market)
        if market.trails:
            self._follow_price(market, "MARK_PRICE")
        if self._account.holdings[symbol].quantity:
            self._watch_margin()

    def pay_funding(self, symbol: str, rate: Decimal) -> Decimal:
        """Settle funding on the mark notional of the net position; returns the change of the wallet, 0 when flat."""
        quantity, mark = self._account.holdings[symbol].quantity, self._market(symbol).reference
        if not quantity or mark is None:
            return ZERO
        amount = money(-quantity * mark * rate)
        self._account.book_funding(symbol, amount, self.now)
        self._write_account("FUNDING_FEE", symbol, amount)
        return amount

    def transfer(self, amount: Decimal) -> None:
        """Deposit, or withdraw where `amount` is below zero; the wallet may go below what its positions need."""
        self._account.book_transfer(amount, self.now)
        self._write_account("DEPOSIT" if amount > 0 else "WITHDRAW", "", amount)

    def _walk(self, market: Market, price: Decimal, gap: bool) -> None:
        start = market.last
        if start is None or gap:
            met = market.by_last.jumped(price if start is None else start, price)
            market.last = price
            for level in met:
                self._meet(level, market)
            return
        low, high = min(start, price), max(start, price)
        for level in market.by_last.on_path(start, price):
            market.last = min(max(level.price, low), high)
            self._meet(level, market)

    def _meet(self, level: Level, market: Market) -> None:
        """Let what waits at a level act, unless something earlier on the path has ended it."""
        algo = self.algos.get(level.venue_id)
        if algo is not None:
            if algo.is_open:
                self._trigger(algo, market)
            return
        order = self.orders[level.venue_id]
        if order.is_open:
            self._touch(order, market)
