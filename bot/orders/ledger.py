"""The bot's own account: totals of what was executed, pure."""

from decimal import Decimal

import msgspec

from bot.venue import Fill, FundingPaid

ZERO = Decimal(0)
QUOTE = "USDT"


class Ledger(msgspec.Struct, kw_only=True):
    """wallet = starting wallet + realized - fees + funding, in USDT, exactly."""

    starting_wallet: Decimal
    realized_pnl: Decimal = ZERO
    fees: Decimal = ZERO
    funding: Decimal = ZERO
    fills: int = 0
    net: dict[str, Decimal] = {}  # signed quantity by symbol, from the fills
    last_funding_at: int = 0

    @property
    def wallet(self) -> Decimal:
        return self.starting_wallet + self.realized_pnl - self.fees + self.funding

    def book_fill(self, fill: Fill) -> None:
        self.realized_pnl += fill.realized_pnl
        self.fees += fee_in_quote(fill)
        self.fills += 1
        signed = fill.quantity if fill.buy else -fill.quantity
        self.net[fill.symbol] = self.net.get(fill.symbol, ZERO) + signed

    def book_funding(self, payment: FundingPaid) -> None:
        self.funding += payment.amount
        self.last_funding_at = max(self.last_funding_at, payment.at)

    def positions(self) -> dict[str, Decimal]:
        """Signed open quantities, without the flat symbols."""
        return {symbol: quantity for symbol, quantity in self.net.items() if quantity != 0}


def fee_in_quote(fill: Fill) -> Decimal:
    """The fee where it was paid in USDT; a fee in another asset is on record with its fill and in no sum."""
    return fill.fee if fill.fee_asset == QUOTE else ZERO
