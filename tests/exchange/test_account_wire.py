"""What the account is worth, and which rows of income are deposits and withdrawals."""

from decimal import Decimal

import pytest

from bot.errors import VenueDisagrees
from bot.exchange.account_wire import AccountInformation, transfers
from bot.exchange.payload import decode
from bot.exchange.wire import Income
from bot.venue import Transfer, Worth


def income(kind: str, amount: str, number: int, at: int = 1_000, asset: str = "USDT") -> Income:
    return Income(symbol="", income_type=kind, income=Decimal(amount), asset=asset, time=at, tran_id=number)


def test_the_worth_is_the_usdt_row_of_the_account() -> None:
    raw = b"""{"totalWalletBalance": "23.7", "assets": [
        {"asset": "BNB", "walletBalance": "1", "unrealizedProfit": "0", "marginBalance": "1"},
        {"asset": "USDT", "walletBalance": "23.72469206", "unrealizedProfit": "-0.5", "marginBalance": "23.22469206"}],
        "positions": []}"""
    told = decode(raw, AccountInformation).worth()
    assert told == Worth(wallet=Decimal("23.72469206"), equity=Decimal("23.22469206"))
    with pytest.raises(VenueDisagrees):
        decode(b'{"assets": []}', AccountInformation).worth()


def test_only_moved_money_in_usdt_is_a_transfer() -> None:
    rows = [
        income("TRANSFER", "-50", 7, at=2_000),
        income("COMMISSION", "-1", 8),
        income("REALIZED_PNL", "3", 9),
        income("FUNDING_FEE", "-2", 10),
        income("TRANSFER", "1", 11, asset="BNB"),
        income("WELCOME_BONUS", "10", 7),
    ]
    assert transfers(rows) == [
        Transfer(transfer_id="WELCOME_BONUS:7", amount=Decimal(10), at=1_000),
        Transfer(transfer_id="TRANSFER:7", amount=Decimal(-50), at=2_000),
    ]
