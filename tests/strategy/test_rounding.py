"""Prices and quantities on the venue's grid."""

from decimal import Decimal

import pytest

from bot.messages import Side
from bot.strategy import rounding


def test_a_quantity_is_rounded_down() -> None:
    assert rounding.quantity_on_step(Decimal("0.0779"), Decimal("0.001")) == Decimal("0.077")
    assert str(rounding.quantity_on_step(Decimal(12), Decimal("0.100"))) == "12.000"


@pytest.mark.parametrize(
    ("rule", "long", "short"),
    [
        (rounding.limit_on_tick, "100.1", "100.2"),
        (rounding.stop_on_tick, "100.1", "100.2"),
        (rounding.target_on_tick, "100.2", "100.1"),
    ],
)
def test_each_price_is_rounded_the_way_that_asks_for_no_worse(rule: object, long: str, short: str) -> None:
    assert callable(rule)
    assert rule(Decimal("100.17"), Side.LONG, Decimal("0.1")) == Decimal(long)
    assert rule(Decimal("100.17"), Side.SHORT, Decimal("0.1")) == Decimal(short)
    assert (
        rule(Decimal("100.10"), Side.LONG, Decimal("0.1"))
        == rule(Decimal("100.10"), Side.SHORT, Decimal("0.1"))
        == Decimal("100.1")
    )


def test_float_noise_does_not_cost_a_tick() -> None:
    assert rounding.limit_on_tick(rounding.decimal_of(0.1 + 0.2), Side.SHORT, Decimal("0.1")) == Decimal("0.3")
    assert rounding.limit_on_tick(rounding.decimal_of(1.1 * 3), Side.SHORT, Decimal("0.1")) == Decimal("3.3")
