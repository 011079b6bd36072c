"""What the account is worth and what was moved into it or out of it, as Binance's REST tells it."""

from decimal import Decimal

from bot.errors import VenueDisagrees
from bot.exchange.payload import Payload
from bot.exchange.wire import Income
from bot.venue import Transfer, Worth

# Kinds of income that change the wallet without a trade (docs of /fapi/v1/income, 2026-10).
TRANSFERS = (
    "TRANSFER",
    "INTERNAL_TRANSFER",
    "CROSS_COLLATERAL_TRANSFER",
    "STRATEGY_UMFUTURES_TRANSFER",
    "COIN_SWAP_DEPOSIT",
    "COIN_SWAP_WITHDRAW",
    "WELCOME_BONUS",
)


class AccountAsset(Payload, frozen=True, kw_only=True):
    asset: str
    wallet_balance: Decimal
    margin_balance: Decimal


class AccountInformation(Payload, frozen=True, kw_only=True):
    """/fapi/v3/account."""

    assets: list[AccountAsset]

    def worth(self) -> Worth:
        for asset in self.assets:
            if asset.asset == "USDT":
                return Worth(wallet=asset.wallet_balance, equity=asset.margin_balance)
        raise VenueDisagrees("the account has no row for USDT")


def transfers(rows: list[Income]) -> list[Transfer]:
    """The deposits and withdrawals in USDT, oldest first; a transaction's id counts within its kind."""
    moved = [
        Transfer(transfer_id=f"{row.income_type}:{row.tran_id}", amount=row.income, at=row.time)
        for row in rows
        if row.income_type in TRANSFERS and row.asset == "USDT"
    ]
    return sorted(moved, key=lambda transfer: (transfer.at, transfer.transfer_id))
