"""Orders, prices and funding in; executions, positions and account events out. All chance comes from the seed."""

import random
from collections.abc import Callable
from decimal import Decimal

from bot.exchange.matching import rules
from bot.exchange.matching.account import money
from bot.exchange.matching.admission import Admission, crosses
from bot.exchange.matching.fates import FAIR, Fate
from bot.exchange.matching.levels import Level, Market
from bot.exchange.matching.records import ZERO, Algo, Execution, NewAlgo, NewOrder, Order, Rejection
from bot.venue import VenueStatus

IOC_REMAINDER, NOT_REDUCING, LIQUIDATED, NO_LIQUIDITY = 2, 4, 5, 9  # Binance's `er`


class Engine(Admission):
    """One account in one-way, single-asset, cross-margin mode. Deterministic: same calls, same events.

    `place`, `cancel` and the like raise Rejection with Binance's code and then have changed nothing. What they and the
    price calls do is told by `take_events`.
    """

    fate_of: Callable[[Algo], Fate] = staticmethod(lambda algo: FAIR)  # asked at each trigger; may be set

    def step(self, now: int) -> None:
        """Set the time that the next calls happen at; never back. Triggers that were late until now go on."""
        self.now = max(self.now, now)
        if self.late_triggers.next_at is not None:
            for algo_id, fate in self.late_triggers.take(self.now):
                algo = self.algos[algo_id]
                self._go_on(algo, self._markets[algo.symbol], fate)

    def drop_algo(self, algo_id: int) -> Algo:
        """The venue expires a conditional order by itself."""
        return self._write_algo(self.algos[algo_id], status=VenueStatus.EXPIRED)

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
            reduce_only=new.reduce_only,
            client_id=new.client_id,
        )
        if new.type == "MARKET" or crosses(new, market):
            order = self._take(order, market)
        if order.is_open and order.time_in_force in ("IOC", "FOK"):
            order = self._expire(order, IOC_REMAINDER)
        if order.is_open:
            market.by_last.add(
                order.price, upward=not order.buy, rank=1, sequence=next(self._sequence), venue_id=order.order_id
            )
            self._knock_out(market)
        return self.orders[order.order_id]

    def cancel(self, symbol: str, order_id: int | None = None, client_id: str | None = None) -> Order:
        """Raises Rejection -2011 where no such order is open."""
        self._market(symbol)
        order = self._find_order(symbol, order_id, client_id)
        if order is None or not order.is_open:
            raise Rejection(-2011, "Unknown order sent.")
        return self._write_order(order, Execution.CANCELED, status=VenueStatus.CANCELED)

    def cancel_all(self, symbol: str) -> list[Order]:
        """Cancel the symbol's regular orders; conditional ones stay."""
        self._market(symbol)
        return [self.cancel(symbol, order.order_id) for order in self.open_orders(symbol)]

    def place_algo(self, new: NewAlgo) -> Algo:
        """Accept a conditional order. No margin is bound before it triggers."""
        market = self._market(new.symbol)
        self._check_algo(new, market)
        algo_id, sequence = next(self._algo_ids), next(self._sequence)
        algo = Algo(
            algo_id=algo_id,
            client_id=new.client_id if new.client_id is not None else f"auto-{algo_id}",
            symbol=new.symbol,
            side=new.side,
            type=new.type,
            quantity=new.quantity or ZERO,
            trigger_price=rules.sent(new.trigger_price, "triggerPrice"),
            reduce_only=new.reduce_only or new.close_position,
            close_position=new.close_position,
            working_type=new.working_type,
            created_at=self.now,
            updated_at=self.now,
        )
        market.levels(algo.working_type).add(
            algo.trigger_price,
            upward=algo.triggers_upward,
            rank=0 if algo.type == "STOP_MARKET" else 1,
            sequence=sequence,
            venue_id=algo_id,
        )
        return self._write_algo(algo)

    def cancel_algo(self, algo_id: int | None = None, client_id: str | None = None) -> Algo:
        """Raises Rejection -2011 where no such conditional order waits."""
        algo = self._find_algo(algo_id, client_id)
        if algo is None or not algo.is_open:
            raise Rejection(-2011, "Unknown order sent.")
        return self._write_algo(algo, status=VenueStatus.CANCELED)

    def cancel_all_algos(self, symbol: str) -> list[Algo]:
        self._market(symbol)
        return [self.cancel_algo(algo.algo_id) for algo in self.open_algos(symbol)]

    def set_leverage(self, symbol: str, leverage: int) -> None:
        """Raises Rejection -4028 for a leverage that is not offered, -2019 where the account cannot carry it."""
        market = self._market(symbol)
        if not 1 <= leverage <= rules.MAX_LEVERAGE:
            raise Rejection(-4028, f"Leverage {leverage} is not valid")
        before, market.leverage = market.leverage, leverage
        if leverage < before and self.available_balance < 0:
            market.leverage = before
            raise Rejection(-2019, "Margin is insufficient.")

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

    def on_mark(self, symbol: str, mark: Decimal) -> None:
        """The mark price is now `mark`: triggers that watch it, then liquidation."""
        market = self._market(symbol)
        start, market.mark = market.mark, mark
        levels = market.by_mark
        if not levels.floor < mark < levels.ceiling:
            for level in levels.jumped(mark if start is None else start, mark):
                self._meet(level, market)
        if self._account.holdings[symbol].quantity and self._is_underwater():
            self._liquidate()

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

    def _accept(
        self,
        *,
        symbol: str,
        side: str,
        type: str,
        quantity: Decimal,
        client_id: str | None,
        price: Decimal = ZERO,
        time_in_force: str = "GTC",
        reduce_only: bool = False,
        algo: Algo | None = None,
        order_id: int | None = None,
    ) -> Order:
        if order_id is None:
            order_id = next(self._order_ids)
        order = Order(
            order_id=order_id,
            client_id=client_id if client_id is not None else f"auto-{order_id}",
            symbol=symbol,
            side=side,
            type=type,
            time_in_force=time_in_force,
            quantity=quantity,
            price=price,
            reduce_only=reduce_only,
            created_at=self.now,
            updated_at=self.now,
            original_type=type if algo is None else algo.type,
            close_position=algo is not None and algo.close_position,
            algo_id=None if algo is None else algo.algo_id,
        )
        return self._write_order(order, Execution.NEW)

    def _take(self, order: Order, market: Market) -> Order:
        """Execute against a book that is as deep as it needs to be, in one or two executions at one price."""
        if market.last is None:
            return self._expire(order, NO_LIQUIDITY)
        price = self._taker_price(market, order.buy)
        if order.type == "LIMIT":
            price = min(price, order.price) if order.buy else max(price, order.price)
        wanted = order.remaining
        if order.reduce_only:
            wanted = min(wanted, self._reducible(order.symbol, order.buy))
        share = self._first_share(order, wanted, market)
        order = self._fill(order, share, price, maker=False)
        if share < wanted and order.time_in_force != "IOC":
            order = self._fill(order, wanted - share, price, maker=False)
        if order.is_open and order.reduce_only and order.time_in_force != "IOC":
            order = self._expire(order, NOT_REDUCING)
        return order

    def _take_share(self, order: Order, market: Market, share: Decimal) -> Order:
        """Execute a share of the order, in whole steps, and expire the rest."""
        step = market.instrument.step_size
        part = order.quantity * share // step * step
        if part and market.last is not None:
            order = self._fill(order, part, self._taker_price(market, order.buy), maker=False)
        return self._expire(order, NO_LIQUIDITY) if order.is_open else order

    def _first_share(self, order: Order, quantity: Decimal, market: Market) -> Decimal:
        """How much of `quantity` the first execution gets: from one step to all of it."""
        step = market.instrument.step_size
        steps = int(quantity / step)
        if steps < 2:
            return quantity
        chance = self._chance("share", order)
        if chance.random() >= self.settings.partial_fill_probability:
            return quantity
        return chance.randint(1, steps - 1) * step

    def _chance(self, purpose: str, order: Order | Algo) -> random.Random:
        """Chance that depends on the seed and the client's own id, so not on what else happens in which order."""
        return random.Random(f"{self.settings.seed}/{purpose}/{order.symbol}/{order.client_id}")

    def _fill(self, order: Order, quantity: Decimal, price: Decimal, *, maker: bool) -> Order:
        order = self._write_fill(order, quantity, price, maker=maker)
        self._follow_position(self._markets[order.symbol])
        return self.orders[order.order_id]

    def _expire(self, order: Order, reason: int) -> Order:
        return self._write_order(order, Execution.EXPIRED, status=VenueStatus.EXPIRED, expire_reason=reason)

    def _follow_position(self, market: Market) -> None:
        """What the venue cancels by itself when a position shrinks."""
        symbol = market.instrument.symbol
        self._knock_out(market)
        for algo in self.open_algos(symbol):
            if algo.close_position and not self._reducible(symbol, algo.buy):
                self._write_algo(algo, status=VenueStatus.EXPIRED)

    def _knock_out(self, market: Market) -> None:
        """Expire reduce-only limits for which better ones leave nothing to reduce."""
        symbol = market.instrument.symbol
        resting = [order for order in self.open_orders(symbol) if order.reduce_only and order.type == "LIMIT"]
        for buy in (True, False):
            left = self._reducible(symbol, buy)
            side = [order for order in resting if order.buy == buy]
            for order in sorted(side, key=lambda order: (-order.price if order.buy else order.price, order.order_id)):
                if left <= 0:
                    self._expire(order, NOT_REDUCING)
                left -= order.remaining

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

    def _touch(self, order: Order, market: Market) -> None:
        wanted = order.remaining
        if order.reduce_only:
            wanted = min(wanted, self._reducible(order.symbol, order.buy))
        if not order.executed:
            wanted = self._first_share(order, wanted, market)
        self._fill(order, wanted, order.price, maker=True)

    def _trigger(self, algo: Algo, market: Market) -> None:
        """The price came to a conditional order."""
        algo = self._write_algo(algo, status=VenueStatus.TRIGGERING, triggered_at=self.now)
        fate = self.fate_of(algo)
        if fate.stuck or self._chance("stuck", algo).random() < self.settings.stuck_trigger_probability:
            return
        if fate.late_ms:
            self.late_triggers.put(self.now + fate.late_ms, algo.algo_id, fate)
        else:
            self._go_on(algo, market, fate)

    def _go_on(self, algo: Algo, market: Market, fate: Fate) -> None:
        """Send a triggered order's market order, reduced to what the net position leaves."""
        if fate.reject_reason:
            self._write_algo(algo, status=VenueStatus.REJECTED, reject_reason=fate.reject_reason)
            return
        quantity = algo.quantity
        if algo.reduce_only:
            reducible = self._reducible(algo.symbol, algo.buy)
            quantity = reducible if algo.close_position else min(quantity, reducible)
            if not quantity:
                self._write_algo(algo, status=VenueStatus.REJECTED, reject_reason="Reduce Only reject")
                return
        elif not self._can_afford(algo.buy, quantity, None, market):
            self._write_algo(algo, status=VenueStatus.REJECTED, reject_reason="Margin is insufficient.")
            return
        self._send_child(algo, quantity, market, fate)

    def _send_child(self, algo: Algo, quantity: Decimal, market: Market, fate: Fate) -> None:
        order_id = next(self._order_ids)
        algo = self._write_algo(algo, status=VenueStatus.TRIGGERED, order_id=order_id)
        child = self._accept(
            symbol=algo.symbol,
            side=algo.side,
            type="MARKET",
            quantity=quantity,
            client_id=algo.client_id,
            reduce_only=algo.reduce_only,
            algo=algo,
            order_id=order_id,
        )
        child = self._take(child, market) if fate.share is None else self._take_share(child, market, fate.share)
        self._write_algo(
            algo,
            status=VenueStatus.FINISHED,
            actual_price=child.average_price,
            actual_quantity=child.executed,
        )

    def _is_underwater(self) -> bool:
        maintenance = sum(map(self.maintenance_margin, self._held()), ZERO)
        return self.wallet + self.unrealized_pnl() <= maintenance

    def _liquidate(self) -> None:
        """Cancel every regular order, then close positions at their mark, the largest first, until the rest is safe."""
        for order in self._orders.open():
            self._expire(order, LIQUIDATED)
        while self._is_underwater() and (held := list(self._held())):
            symbol = max(held, key=self.maintenance_margin)
            quantity, mark = self._account.holdings[symbol].quantity, self._market(symbol).reference
            assert mark is not None  # nothing is held of a symbol that never had a price
            order_id = next(self._order_ids)
            order = self._accept(
                symbol=symbol,
                side="SELL" if quantity > 0 else "BUY",
                type="LIQUIDATION",
                quantity=abs(quantity),
                client_id=f"autoclose-{order_id}",
                time_in_force="IOC",
                order_id=order_id,
            )
            self._write_fill(order, abs(quantity), mark, maker=False, execution=Execution.CALCULATED)
            self._follow_position(self._market(symbol))
