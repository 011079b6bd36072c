from decimal import Decimal

import msgspec

from bot.strategy.reasons import Reason
from bot.strategy.sizing import size
from tests.strategy.scenes import BTC


def test_what_could_not_be_left_in_one_market_order_is_not_entered_by_a_limit_either() -> None:
    tight = msgspec.structs.replace(BTC, max_quantity=Decimal(1000), max_market_quantity=Decimal("0.05"))
    assert size(Decimal(500), 10, Decimal(50_000), tight) is Reason.QUANTITY_ABOVE_MAXIMUM
    assert size(Decimal(250), 10, Decimal(50_000), tight) == Decimal("0.05")
