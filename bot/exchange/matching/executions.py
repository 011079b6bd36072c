"""How regular orders execute, rest, expire and end, and what the venue cancels when a position shrinks."""

import random
from collections.abc import Iterator
from decimal import Decimal

from bot.exchange.matching import rules
from bot.exchange.matching.admission import Admission, crosses
from bot.exchange.matching.levels import Market
from bot.exchange.matching.records import ZERO, Algo, Execution, Order
from bot.venue import VenueStatus

# Binance's `er`; what expires because its time is over has none
NO_REASON, IOC_REMAINDER, NOT_REDUCING, LIQUIDATED, DELISTED, NO_LIQUIDITY = 0, 2, 4, 5, 7, 9


class Executions(Admission):
    """What becomes of an order once it is accepted."""

    @property
    def next_deadline(self) -> int | None:
        """When the next GTD order ends or a late trigger goes on."""
        late = self.late_triggers.next_at
        return min([*self._deadlines.values(), *([] if late is None else [late])], default=None)

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
        good_till: int = 0,
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
            good_till=good_till,
        )
        if good_till:
            self._deadlines[order_id] = good_till
        return self._write_order(order, Execution.NEW)

    def _execute(self, order: Order, market: Market) -> Order:
        """Execute what can be executed at once; what is left rests or expires."""
        if order.type == "MARKET" or crosses(order, market):
            order = self._take(order, market)
        if order.is_open and order.time_in_force in ("IOC", "FOK"):
            order = self._expire(order, IOC_REMAINDER)
        if order.is_open:
            market.by_last.add(
                order.price, upward=not order.buy, rank=1, sequence=next(self._sequence), venue_id=order.order_id
            )
            self._knock_out(market)
        return self.orders[order.order_id]

    def _take(self, order: Order, market: Market) -> Order:
        if market.last is None:
            return self._expire(order, NO_LIQUIDITY)
        wanted = order.remaining
        if order.reduce_only:
            wanted = min(wanted, self._reducible(order.symbol, order.buy))
        for quantity, price in self._found(order, wanted, market):
            if not order.is_open:  # knocked out by what the execution before did to the position
                return order
            order = self._fill(order, quantity, price, maker=False)
            wanted -= quantity
        if order.is_open and order.type == "MARKET" and wanted:
            order = self._expire(order, NO_LIQUIDITY)
        if order.is_open and order.reduce_only and order.time_in_force != "IOC" and not wanted:
            order = self._expire(order, NOT_REDUCING)
        return order

    def _found(self, order: Order, wanted: Decimal, market: Market) -> Iterator[tuple[Decimal, Decimal]]:
        """(quantity, price) of the executions of a taker; an IOC order loses what the first one leaves."""
        if self.settings.depth_usdt:
            yield from self._swept(order, wanted, market)
            return
        price = self._taker_price(market, order.buy)
        if order.type == "LIMIT":
            price = min(price, order.price) if order.buy else max(price, order.price)
        share = self._first_share(order, wanted, market)
        yield share, price
        if share < wanted and order.time_in_force != "IOC":
            yield wanted - share, price

    def _swept(self, order: Order, wanted: Decimal, market: Market) -> Iterator[tuple[Decimal, Decimal]]:
        assert market.last is not None  # the caller has looked
        for price, offered in rules.offers(
            market.last, buy=order.buy, settings=self.settings, instrument=market.instrument
        ):
            quantity = min(offered, wanted)
            if order.type == "LIMIT" and (price > order.price if order.buy else price < order.price):
                return
            if quantity:
                yield quantity, price
            wanted -= quantity
            if not wanted:
                return

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

    def _touch(self, order: Order, market: Market) -> None:
        wanted = order.remaining
        if order.reduce_only:
            wanted = min(wanted, self._reducible(order.symbol, order.buy))
        if not order.executed:
            wanted = self._first_share(order, wanted, market)
        self._fill(order, wanted, order.price, maker=True)

    def _fill(self, order: Order, quantity: Decimal, price: Decimal, *, maker: bool) -> Order:
        order = self._write_fill(order, quantity, price, maker=maker)
        self._follow_position(self._markets[order.symbol])
        order = self.orders[order.order_id]
        self._end_parent(order)
        return order

    def _expire(self, order: Order, reason: int) -> Order:
        order = self._write_order(order, Execution.EXPIRED, status=VenueStatus.EXPIRED, expire_reason=reason)
        self._end_parent(order)
        return order

    def _end_parent(self, order: Order) -> None:
        """A conditional order is finished when the order that it sent is, however that ended."""
        if order.is_open or order.algo_id is None:
            return
        algo = self.algos[order.algo_id]
        if algo.status is VenueStatus.TRIGGERED:
            self._write_algo(
                algo,
                status=VenueStatus.FINISHED,
                actual_price=order.average_price,
                actual_quantity=order.executed,
            )

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

    def _end_overdue(self) -> None:
        """Expire the GTD orders of both books whose time is over."""
        for venue_id, until in [*self._deadlines.items()]:
            if until > self.now:
                continue
            algo = self.algos.get(venue_id)
            if algo is None:
                self._expire(self.orders[venue_id], NO_REASON)
            else:
                self._write_algo(algo, status=VenueStatus.EXPIRED)
