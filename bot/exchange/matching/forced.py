"""What the venue does to an account by itself: margin calls, liquidation, auto-deleveraging, settlement."""

from decimal import Decimal

from bot.exchange.matching.executions import DELISTED, LIQUIDATED
from bot.exchange.matching.records import ZERO, Execution, MarginCalled, Rejection
from bot.exchange.matching.triggers import Triggers
from bot.venue import VenueStatus

ADL_CLIENT_ID = "adl_autoclose"


class Forced(Triggers):
    """Every order that is made here has the venue's own client id and the execution CALCULATED."""

    def deleverage(self, symbol: str, quantity: Decimal) -> None:
        """Close so much of the position, or all there is, against a trader who was liquidated."""
        if not self._account.holdings[symbol].quantity:
            raise Rejection(-2022, "ReduceOnly Order is rejected.")
        self._close_by_force(symbol, quantity, "MARKET", ADL_CLIENT_ID)

    def settle_symbol(self, symbol: str) -> None:
        """The contract ends: its orders of both books expire, its position is closed at the mark price."""
        market = self._market(symbol)
        market.status = "SETTLING"
        for order in self.open_orders(symbol):
            self._expire(order, DELISTED)
        for algo in self.open_algos(symbol):
            self._write_algo(algo, status=VenueStatus.EXPIRED)
        quantity = self._account.holdings[symbol].quantity
        if quantity:
            self._close_by_force(symbol, abs(quantity), "LIQUIDATION", "settlement_autoclose-")

    def liquidate(self) -> None:
        """Close positions at their mark prices, the largest first, until the rest is safe; without need the largest."""
        for order in self._orders.open():
            self._expire(order, LIQUIDATED)
        first = True
        while (first or self._is_underwater()) and (held := list(self._held())):
            symbol = max(held, key=self.maintenance_margin)
            if self.settings.switches.liquidation_cancels_algos:
                for algo in self.open_algos(symbol):
                    self._write_algo(algo, status=VenueStatus.EXPIRED)
            quantity = abs(self._account.holdings[symbol].quantity)
            self._close_by_force(symbol, quantity, "LIQUIDATION", "autoclose-")
            first = False

    def _watch_margin(self) -> None:
        """Look at the account after a mark price has moved."""
        equity, maintenance = self._worth()
        if equity <= maintenance:
            self.liquidate()
        elif maintenance < equity * self.settings.margin_call_ratio:
            self._margin_called = False
        elif not self._margin_called:
            self._margin_called = True
            positions = tuple((self.position(held), self.maintenance_margin(held)) for held in self._held())
            self._events.append(MarginCalled(at=self.now, wallet=self.wallet, positions=positions))

    def _is_underwater(self) -> bool:
        equity, maintenance = self._worth()
        return equity <= maintenance

    def _close_by_force(self, symbol: str, most: Decimal, type: str, client_id: str) -> None:
        """A client id that ends with a hyphen is completed by the order's own id."""
        net, mark = self._account.holdings[symbol].quantity, self._market(symbol).reference
        assert mark is not None  # nothing is held of a symbol that never had a price
        quantity, order_id = min(most, abs(net)), next(self._order_ids)
        order = self._accept(
            symbol=symbol,
            side="SELL" if net > ZERO else "BUY",
            type=type,
            quantity=quantity,
            client_id=client_id + str(order_id) if client_id.endswith("-") else client_id,
            time_in_force="IOC",
            order_id=order_id,
        )
        self._write_fill(order, quantity, mark, maker=False, execution=Execution.CALCULATED)
        self._follow_position(self._market(symbol))
