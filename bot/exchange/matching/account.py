"""The account's money: netting, cost basis, realized profit, fees, funding. All amounts are USDT.

Two roundings exist and no others, both to eight decimals, half to even: the share of the cost basis that leaves with
a partial close, and each fee or funding payment. So `wallet == start + realized - fees + funding + transfers` holds
exactly, and whatever a partial close rounded away is still in the cost basis and comes back with the last close.
"""

import itertools
from decimal import ROUND_HALF_EVEN, Decimal

from bot.exchange.matching.records import MONEY, ZERO, Income


class Holding:
    """The net of one symbol."""

    def __init__(self) -> None:
        self.quantity = ZERO  # signed
        self.cost = ZERO  # what the open quantity was bought for, signed like it
        self.realized = ZERO
        self.opened_at = 0

    @property
    def entry_price(self) -> Decimal:
        return money(self.cost / self.quantity) if self.quantity else ZERO

    def reducible(self, *, buy: bool) -> Decimal:
        """How much of the position an order of this side can close."""
        return max(ZERO, -self.quantity if buy else self.quantity)

    def trade(self, signed: Decimal, price: Decimal, at: int) -> Decimal:
        """Net one execution and return the profit that it realized."""
        closing = min(abs(signed), self.reducible(buy=signed > 0))
        realized = ZERO
        if closing:
            closed = closing if self.quantity > 0 else -closing
            cost = self.cost if closed == self.quantity else money(self.cost * closed / self.quantity)
            realized = closed * price - cost
            self.quantity -= closed
            self.cost -= cost
            self.realized += realized
            signed += closed
        if signed and not self.quantity:
            self.opened_at = at
        self.quantity += signed
        self.cost += signed * price
        return realized


class Account:
    """Wallet, holdings and the list of everything that changed the wallet."""

    def __init__(self, symbols: list[str], wallet: Decimal) -> None:
        self.wallet = wallet
        self.holdings = {symbol: Holding() for symbol in symbols}
        self.realized_pnl = ZERO
        self.fees = ZERO
        self.funding = ZERO
        self.transfers = ZERO
        self.income: list[Income] = []
        self._ids = itertools.count(1)

    def book_trade(self, symbol: str, realized: Decimal, fee: Decimal, trade_id: int, at: int) -> None:
        self.wallet += realized - fee
        self.realized_pnl += realized
        self.fees += fee
        if realized:
            self._note(symbol, "REALIZED_PNL", realized, at, trade_id)
        if fee:
            self._note(symbol, "COMMISSION", -fee, at, trade_id)

    def book_funding(self, symbol: str, amount: Decimal, at: int) -> None:
        self.wallet += amount
        self.funding += amount
        self._note(symbol, "FUNDING_FEE", amount, at)

    def book_transfer(self, amount: Decimal, at: int) -> None:
        self.wallet += amount
        self.transfers += amount
        self._note("", "TRANSFER", amount, at)

    def _note(self, symbol: str, kind: str, amount: Decimal, at: int, trade_id: int | None = None) -> None:
        self.income.append(
            Income(income_id=next(self._ids), symbol=symbol, kind=kind, amount=amount, at=at, trade_id=trade_id)
        )


def money(amount: Decimal) -> Decimal:
    return amount.quantize(MONEY, ROUND_HALF_EVEN)
