"""Sizes, computed by hand: margin x leverage x scale / price, down to the step, within what the venue takes."""

import math
from decimal import Decimal

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.strategy.reasons import Reason
from bot.strategy.sizing import Volatility, VolatilityTarget, size
from bot.strategy.volatility import realised_volatility
from tests.strategy.scenes import BTC, HOUR

D = Decimal
FORTY = VolatilityTarget(target=0.4, bars=168, least=0.25, most=1.5)
NAN = math.nan


@pytest.mark.parametrize(
    ("margin", "leverage", "price", "filter_scale", "quantity"),
    [
        ("500", 10, "50000", 1.0, "0.100"),  # 5,000 / 50,000
        ("500", 10, "49999", 1.0, "0.100"),  # 0.10000200, down to the step of 0.001
        ("500", 10, "50001", 1.0, "0.099"),  # 0.09999800
        ("375", 10, "60000", 1.0, "0.062"),  # 0.0625
        ("1000", 2, "40000", 1.0, "0.050"),
        ("500", 10, "50000", 0.25, "0.025"),
        ("500", 10, "50000", 0.3, "0.030"),  # 0.3 is meant, not the float's 0.29999999999999998
    ],
)
def test_the_size_is_margin_times_leverage_over_price(
    margin: str, leverage: int, price: str, filter_scale: float, quantity: str
) -> None:
    sized = size(D(margin), leverage, D(price), BTC, filter_scale)
    assert (sized.quantity, sized.verdict.allow) == (D(quantity), True)
    assert sized.verdict.values["notional"] == float(D(quantity) * D(price))


@pytest.mark.parametrize(
    ("margin", "leverage", "price", "reason"),
    [
        ("4", 10, "50000", Reason.QUANTITY_BELOW_MINIMUM),  # 0.0008 rounds to nothing
        ("4", 10, "30000", Reason.NOTIONAL_BELOW_MINIMUM),  # 0.001 x 30,000 = 30, the least is 50
        ("700000", 10, "50000", Reason.QUANTITY_ABOVE_MAXIMUM),  # 140, one market order takes 120
    ],
)
def test_what_the_venue_would_refuse_is_refused(margin: str, leverage: int, price: str, reason: Reason) -> None:
    sized = size(D(margin), leverage, D(price), BTC)
    assert (sized.quantity, sized.verdict.reason) == (None, reason)


def test_what_could_not_be_left_in_one_market_order_is_not_entered_by_a_limit_either() -> None:
    tight = msgspec.structs.replace(BTC, max_quantity=D(1000), max_market_quantity=D("0.05"))
    assert size(D(500), 10, D(50_000), tight).verdict.reason == Reason.QUANTITY_ABOVE_MAXIMUM
    assert size(D(250), 10, D(50_000), tight).quantity == D("0.050")


@pytest.mark.parametrize(
    ("realised", "strength", "scale", "quantity"),
    [
        (0.4, 1.0, 1.0, "0.100"),
        (0.8, 1.0, 0.5, "0.050"),  # twice as wild, half as much
        (0.8, 1.5, 0.75, "0.075"),  # a forecast of 1.5 thresholds
        (0.2, 1.0, 1.5, "0.150"),  # 2, at most 1.5
        (4.0, 1.0, 0.25, "0.025"),  # 0.1, at least 0.25
        (0.0, 1.0, 1.5, "0.150"),  # a market that stands still
    ],
)
def test_a_volatility_target_scales_the_margin(realised: float, strength: float, scale: float, quantity: str) -> None:
    sized = size(D(500), 10, D(50_000), BTC, 1.0, Volatility(FORTY, realised, strength))
    assert sized.quantity == D(quantity)
    assert sized.verdict.values["volatility_scale"] == pytest.approx(scale)


def test_the_scales_of_filters_and_volatility_multiply() -> None:
    assert size(D(500), 10, D(50_000), BTC, 0.5, Volatility(FORTY, 0.8, 1.0)).quantity == D("0.025")


def test_a_volatility_that_is_not_known_sizes_nothing() -> None:
    sized = size(D(500), 10, D(50_000), BTC, 1.0, Volatility(FORTY, NAN, 1.0))
    assert (sized.quantity, sized.verdict.reason) == (None, Reason.VOLATILITY_UNKNOWN)


@given(
    margin=st.decimals(1, 5_000, places=2),
    leverage=st.integers(1, 125),
    price=st.decimals(1, 200_000, places=1),
    scale=st.floats(0.01, 1.0),
)
def test_a_size_never_costs_more_than_was_given(margin: Decimal, leverage: int, price: Decimal, scale: float) -> None:
    sized = size(margin, leverage, price, BTC, scale)
    if sized.quantity is not None:
        assert sized.quantity % BTC.step_size == 0
        assert float(sized.quantity * price) <= float(margin) * leverage * scale * (1 + 1e-9)


def test_realised_volatility_is_the_annualised_deviation_of_log_returns() -> None:
    closes = np.array([50.0, 100.0, 110.0, 100.0])
    # the newest two returns are +ln 1.1 and -ln 1.1: mean 0, deviation ln 1.1 x sqrt(2 / 1) = 0.1347889
    assert realised_volatility(closes, 2, HOUR) == pytest.approx(0.1347889 * math.sqrt(24 * 365), rel=1e-6)
    assert math.isnan(realised_volatility(closes, 4, HOUR))
