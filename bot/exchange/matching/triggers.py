"""The book of conditional orders: placing, cancelling, trailing, triggering."""

from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from bot.exchange.matching import rules
from bot.exchange.matching.admission import crosses
from bot.exchange.matching.executions import NO_REASON, Executions
from bot.exchange.matching.fates import FAIR, Fate
from bot.exchange.matching.levels import Market, Trail
from bot.exchange.matching.records import STOPS, ZERO, Algo, NewAlgo, Rejection
from bot.venue import VenueStatus

PERCENT = Decimal(100)


class Triggers(Executions):
    """A conditional order binds nothing before it triggers; then it sends a regular order with its own client id."""

    fate_of: Callable[[Algo], Fate] = staticmethod(lambda algo: FAIR)  # asked at each trigger; may be set

    def place_algo(self, new: NewAlgo) -> Algo:
        """Accept a conditional order. No margin is bound before it triggers."""
        market = self._market(new.symbol)
        self._check_algo(new, market)
        algo_id = next(self._algo_ids)
        algo = Algo(
            algo_id=algo_id,
            client_id=new.client_id if new.client_id is not None else f"auto-{algo_id}",
            symbol=new.symbol,
            side=new.side,
            type=new.type,
            quantity=new.quantity or ZERO,
            trigger_price=new.trigger_price or ZERO,
            reduce_only=new.reduce_only or new.close_position,
            close_position=new.close_position,
            working_type=new.working_type,
            time_in_force="GTE_GTC" if new.close_position else new.time_in_force or "GTC",
            price=new.price or ZERO,
            price_protect=new.price_protect,
            activate_price=new.activate_price,
            callback_rate=new.callback_rate,
            good_till=new.good_till or 0,
            created_at=self.now,
            updated_at=self.now,
        )
        if algo.good_till:
            self._deadlines[algo_id] = algo.good_till
        algo = self._write_algo(algo)
        if algo.callback_rate is None:
            self._wait(algo, algo.trigger_price, market)
        else:
            market.trails[algo_id] = Trail(algo_id, algo.working_type)
            self._follow_price(market, algo.working_type)
        return self.algos[algo_id]

    def cancel_algo(self, algo_id: int | None = None, client_id: str | None = None) -> Algo:
        """Raises Rejection -2011 where no such conditional order waits."""
        algo = self._find_algo(algo_id, client_id)
        if algo is None or not algo.is_open:
            raise Rejection(-2011, "Unknown order sent.")
        return self._write_algo(algo, status=VenueStatus.CANCELED)

    def cancel_all_algos(self, symbol: str) -> list[Algo]:
        self._market(symbol)
        return [self.cancel_algo(algo.algo_id) for algo in self.open_algos(symbol)]

    def expire_algo(self, algo_id: int) -> Algo:
        """The venue expires a conditional order by itself."""
        return self._write_algo(self.algos[algo_id], status=VenueStatus.EXPIRED)

    def _wait(self, algo: Algo, price: Decimal, market: Market) -> None:
        market.levels(algo.working_type).add(
            price,
            upward=algo.triggers_upward,
            rank=0 if algo.type in STOPS else 1,
            sequence=next(self._sequence),
            venue_id=algo.algo_id,
        )

    def _follow_price(self, market: Market, working_type: str) -> None:
        """Move the levels of trailing stops behind a price that has come further their way."""
        price = market.price(working_type)
        if price is None:
            return
        for trail in [trail for trail in market.trails.values() if trail.working_type == working_type]:
            algo = self.algos[trail.algo_id]
            if trail.extreme is None:
                start = algo.activate_price
                if start is not None and (price > start if algo.buy else price < start):
                    continue
                algo = self._write_algo(algo, activated=True)
            elif price >= trail.extreme if algo.buy else price <= trail.extreme:
                continue
            trail.extreme = price
            market.levels(working_type).remove(algo.algo_id)
            self._wait(algo, _trailed(algo, price, market.instrument.tick_size), market)

    def _trigger(self, algo: Algo, market: Market) -> None:
        """The price came to a conditional order."""
        if algo.price_protect and self._prices_apart(market):
            return  # it goes on waiting, and is met again by each price that still is at or through its trigger
        algo = self._write_algo(algo, status=VenueStatus.TRIGGERING, triggered_at=self.now)
        fate = self.fate_of(algo)
        if fate.stuck or self._chance("stuck", algo).random() < self.settings.stuck_trigger_probability:
            return
        if fate.late_ms:
            self.late_triggers.put(self.now + fate.late_ms, algo.algo_id, fate)
        else:
            self._go_on(algo, market, fate)

    def _go_on_late(self) -> None:
        for algo_id, fate in self.late_triggers.take(self.now):
            algo = self.algos[algo_id]
            self._go_on(algo, self._markets[algo.symbol], fate)

    def _go_on(self, algo: Algo, market: Market, fate: Fate) -> None:
        """Send a triggered order's order, reduced to what the net position leaves."""
        if fate.reject_reason:
            self._reject(algo, fate.reject_reason)
            return
        quantity = algo.quantity
        if algo.reduce_only:
            reducible = self._reducible(algo.symbol, algo.buy)
            quantity = reducible if algo.close_position else min(quantity, reducible)
            if not quantity:
                self._reject(algo, "Reduce Only reject")
                return
        else:
            try:
                self._check_carried(algo.buy, quantity, algo.price or None, market)
            except Rejection as rejection:
                self._reject(algo, rejection.message)
                return
        self._send_child(algo, quantity, market, fate)

    def _prices_apart(self, market: Market) -> bool:
        mark, last = market.reference, market.last
        return mark is not None and last is not None and abs(mark - last) > mark * self.settings.trigger_protect

    def _reject(self, algo: Algo, reason: str) -> None:
        self._write_algo(algo, status=VenueStatus.REJECTED, reject_reason=reason)

    def _send_child(self, algo: Algo, quantity: Decimal, market: Market, fate: Fate) -> None:
        order_id = next(self._order_ids)
        algo = self._write_algo(algo, status=VenueStatus.TRIGGERED, order_id=order_id)
        limit = algo.child_type == "LIMIT"
        child = self._accept(
            symbol=algo.symbol,
            side=algo.side,
            type=algo.child_type,
            quantity=quantity,
            price=algo.price,
            time_in_force=algo.time_in_force if limit else "GTC",
            good_till=algo.good_till if limit else 0,
            client_id=algo.client_id,
            reduce_only=algo.reduce_only,
            algo=algo,
            order_id=order_id,
        )
        if fate.share is not None:
            self._take_share(child, market, fate.share)
        elif child.time_in_force == "GTX" and crosses(child, market):
            self._expire(child, NO_REASON)
        else:
            self._execute(child, market)


def _trailed(algo: Algo, extreme: Decimal, tick: Decimal) -> Decimal:
    """Where a trailing stop triggers, on the tick that a price on the grid reaches with it."""
    share = rules.sent(algo.callback_rate, "callbackRate") / PERCENT
    level = extreme * (1 + share if algo.buy else 1 - share)
    return (level / tick).to_integral_value(ROUND_CEILING if algo.buy else ROUND_FLOOR) * tick
