"""What positions and orders bind, what must be left of the equity, and when a position is closed by force."""

from decimal import Decimal

from bot.exchange.matching.account import money
from bot.exchange.matching.books import Books
from bot.exchange.matching.levels import Market
from bot.exchange.matching.records import ZERO
from bot.venue import MarginBracket


class Margin(Books):
    """The account's figures: cross margin in one asset."""

    def brackets(self, symbol: str) -> tuple[MarginBracket, ...]:
        """By rising notional."""
        return self._market(symbol).brackets

    def largest_notional(self, symbol: str) -> Decimal:
        """What a position may come to at the leverage that is set."""
        market = self._market(symbol)
        return market.largest_notional(market.leverage)

    def exposure(self, symbol: str, buying: Decimal = ZERO, selling: Decimal = ZERO) -> Decimal:
        """The larger side of position and resting orders, were orders of the two notionals added to them."""
        market, net = self._market(symbol), self._account.holdings[symbol].quantity
        for order in self._orders.open():
            if order.symbol != symbol or order.reduce_only:
                continue
            if order.buy:
                buying += order.remaining * order.price
            else:
                selling += order.remaining * order.price
        held = net * (market.reference or ZERO)
        return max(abs(held + buying), abs(held - selling))

    def initial_margin(self, symbol: str, buying: Decimal = ZERO, selling: Decimal = ZERO) -> Decimal:
        """What position and resting orders of one symbol bind, were orders of the two notionals added to them."""
        return self.exposure(symbol, buying, selling) / self._market(symbol).leverage

    def maintenance_margin(self, symbol: str) -> Decimal:
        """The equity that the position of one symbol must keep, at the mark price."""
        market = self._market(symbol)
        held = abs(self._account.holdings[symbol].quantity) * (market.reference or ZERO)
        bracket = market.bracket(held)
        return held * bracket.maintenance_rate - bracket.amount

    def liquidation_price(self, symbol: str) -> Decimal:
        """The mark price at which the account falls to its maintenance margin, all others standing; 0 for none."""
        holding = self._account.holdings[symbol]
        if not holding.quantity:
            return ZERO
        cushion = self.wallet
        for other in self._held():
            if other != symbol:
                cushion += self.unrealized_pnl(other) - self.maintenance_margin(other)
        return _liquidation_price(self._market(symbol), holding.quantity, holding.cost - cushion)

    @property
    def available_balance(self) -> Decimal:
        """What new positions may bind: wallet + unrealized - initial margins, rounded; below zero when over-drawn."""
        bound = {order.symbol for order in self._orders.open()}.union(self._held())
        return money(self.wallet + self.unrealized_pnl() - sum(map(self.initial_margin, sorted(bound)), ZERO))

    def _worth(self) -> tuple[Decimal, Decimal]:
        """Equity, and the maintenance margin that it must stay above."""
        return self.wallet + self.unrealized_pnl(), sum(map(self.maintenance_margin, self._held()), ZERO)


def _liquidation_price(market: Market, quantity: Decimal, missing: Decimal) -> Decimal:
    """`missing` is what the position must be worth more than its maintenance margin: its cost less the cushion.

    The bracket depends on the price that is looked for; the first one in which its own price lies is right.
    """
    price, floor = ZERO, ZERO
    for bracket in market.brackets:
        kept = quantity - abs(quantity) * bracket.maintenance_rate
        price = (missing - bracket.amount) / kept
        if floor <= abs(quantity) * price <= bracket.notional_cap:
            break
        floor = bracket.notional_cap
    return max(ZERO, money(price))
