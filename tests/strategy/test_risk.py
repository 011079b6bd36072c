"""What an entry may not cost, by hand: caps, the day's volume, the next funding payment, the liquidation price."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.messages import Bars, Side
from bot.strategy.liquidation import liquidation_check, liquidation_price
from bot.strategy.reasons import Reason
from bot.strategy.risk import Caps, Exposure, Held, caps_check, funding_check, volume_check
from tests.strategy.scenes import BTC, HOUR, MONDAY

D = Decimal
LONG, SHORT = Side.LONG, Side.SHORT
CAPS = Caps(symbol=2, variant=3, tier=4, account=5)
WANTED = Held("BTC", "t1", "BTCUSDT", LONG)


def held(*rows: tuple[str, str, str]) -> Exposure:
    return Exposure(tuple(Held(variant, tier, symbol, LONG) for variant, tier, symbol in rows))


MINE, ELSEWHERE = ("BTC", "t1", "BTCUSDT"), ("BTC", "t1", "ETHUSDT")
SIBLING, STRANGER = ("ETH", "t1", "ETHUSDT"), ("T2", "t2", "SUIUSDT")


@pytest.mark.parametrize(
    ("exposure", "reason"),
    [
        (held(), "allowed"),
        (held(MINE), "allowed"),
        (held(MINE, MINE), Reason.CAP_SYMBOL),
        (held(MINE, ELSEWHERE, ELSEWHERE), Reason.CAP_VARIANT),
        (held(MINE, SIBLING, SIBLING), "allowed"),
        (held(MINE, SIBLING, SIBLING, SIBLING), Reason.CAP_TIER),
        (held(MINE, STRANGER, STRANGER, STRANGER), "allowed"),
        (held(MINE, STRANGER, STRANGER, STRANGER, STRANGER), Reason.CAP_ACCOUNT),
        (Exposure((Held("ETH", "t2", "BTCUSDT", SHORT),)), Reason.OPPOSITE_POSITION),
        (Exposure((Held("BTC", "t1", "ETHUSDT", SHORT),)), "allowed"),
    ],
)
def test_caps_hold_per_symbol_variant_tier_and_account(exposure: Exposure, reason: str) -> None:
    verdict = caps_check(WANTED, exposure, CAPS)
    assert (verdict.reason, verdict.allow) == (reason, reason == "allowed")


def test_the_caps_verdict_says_what_was_counted() -> None:
    values = caps_check(WANTED, held(MINE, ELSEWHERE, SIBLING, STRANGER), CAPS).values
    assert [values[f"{of}_held"] for of in ("symbol", "variant", "tier", "account")] == [1, 2, 3, 4]
    assert [values[f"{of}_cap"] for of in ("symbol", "variant", "tier", "account")] == [2, 3, 4, 5]


def traded(bars: int, volume: float, close: float, interval: int = HOUR) -> Bars:
    flat = np.full(bars, close)
    return Bars("BTCUSDT", interval, MONDAY + interval * np.arange(bars), flat, flat, flat, flat, np.full(bars, volume))


@pytest.mark.parametrize(
    ("bars", "notional", "share", "allow"),
    [
        # 24 bars x 2 BTC x 50,000 = 2,400,000 a day; 1 % of it is 24,000
        (traded(192, 2.0, 50_000.0), "24000", 0.01, True),
        (traded(192, 2.0, 50_000.0), "24000.01", 0.01, False),
        (traded(192, 2.0, 50_000.0), "5000", 0.002, False),
        (traded(192, 2.0, 50_000.0), "9999999", None, True),  # not looked at
        (traded(12, 2.0, 50_000.0), "12000.01", 0.01, False),  # half a day is known
        (traded(192, 0.5, 50_000.0, HOUR // 4), "24000", 0.01, True),  # 96 bars of 15 minutes make the day
        (traded(192, 0.0, 50_000.0), "50", 0.01, False),
    ],
)
def test_an_entry_is_at_most_a_share_of_the_days_volume(
    bars: Bars, notional: str, share: float | None, allow: bool
) -> None:
    verdict = volume_check(D(notional), bars, share)
    assert (verdict.allow, verdict.reason) == (allow, "allowed" if allow else Reason.VOLUME_CAP)


NOON = MONDAY + 12 * HOUR
IN_FOUR_HOURS = NOON + 4 * HOUR


@pytest.mark.parametrize(
    ("side", "predicted", "rate", "held_until", "share", "reason"),
    [
        # a LONG at a rate of 0.05 % pays a quarter of a predicted 0.2 %
        (LONG, 0.002, "0.0005", NOON + 4 * HOUR, 0.25, "allowed"),
        (LONG, 0.002, "0.00051", NOON + 4 * HOUR, 0.25, Reason.FUNDING_COST),
        (SHORT, -0.002, "0.00051", NOON + 4 * HOUR, 0.25, "allowed"),  # is paid
        (SHORT, -0.002, "-0.00051", NOON + 4 * HOUR, 0.25, Reason.FUNDING_COST),
        (LONG, 0.002, "-0.02", NOON + 4 * HOUR, 0.25, "allowed"),
        (LONG, 0.002, "0.00051", NOON + 4 * HOUR - 1, 0.25, "allowed"),  # out before it is due
        (LONG, 0.002, "0.00051", None, 0.25, Reason.FUNDING_COST),  # held without end
        (LONG, 0.004, "0.00051", None, 0.25, "allowed"),
        (LONG, 0.002, "0.00051", None, None, "allowed"),  # not looked at
    ],
)
def test_the_next_funding_costs_at_most_a_share_of_the_predicted_move(
    side: Side, predicted: float, rate: str, held_until: int | None, share: float | None, reason: str
) -> None:
    verdict = funding_check(side, predicted, D(rate), IN_FOUR_HOURS, held_until, share)
    assert (verdict.reason, verdict.allow) == (reason, reason == "allowed")


def test_a_funding_that_is_not_known_refuses_where_it_matters() -> None:
    assert funding_check(LONG, 0.01, None, None, None, 0.25).reason == Reason.FUNDING_UNKNOWN
    assert funding_check(LONG, 0.01, None, None, None, None).allow


@pytest.mark.parametrize(
    ("side", "quantity", "leverage", "positions", "price", "distance_pct"),
    [
        # (500 - 5,000) / (0.1 x 0.004 - 0.1)
        (LONG, "0.1", 10, 1, 45_180.7229, 9.63855),
        # (500 + 5,000) / (0.1 x 0.004 + 0.1)
        (SHORT, "0.1", 10, 1, 54_780.8765, 9.56175),
        # 100,000 USDT fall into the second bracket: (10,000 + 50 - 100,000) / (2 x 0.005 - 2)
        (LONG, "2", 10, 1, 45_201.0050, 9.59799),
        # the same as one of four positions of half a bitcoin
        (LONG, "0.5", 10, 4, 45_201.0050, 9.59799),
        # (1,000 - 5,000) / (0.1 x 0.004 - 0.1)
        (LONG, "0.1", 5, 1, 40_160.6426, 19.67871),
    ],
)
def test_the_liquidation_price_by_binances_formula(
    side: Side, quantity: str, leverage: int, positions: int, price: float, distance_pct: float
) -> None:
    verdict = liquidation_check(side, D(50_000), D(quantity), leverage, positions, 2.0, 1.0, BTC.brackets)
    assert verdict.values["liquidation_price"] == pytest.approx(price, abs=1e-4)
    assert verdict.values["distance_pct"] == pytest.approx(distance_pct, abs=1e-5)


@pytest.mark.parametrize(
    ("leverage", "stop_pct", "buffer_pct", "reason"),
    [
        (10, 8.6, 1.0, "allowed"),  # liquidation is 9.63855 % away
        (10, 8.7, 1.0, Reason.LIQUIDATION_NEAR),
        (10, 9.6, 0.0, "allowed"),
        (20, 4.0, 1.0, Reason.LIQUIDATION_NEAR),  # 4.61847 %
        (126, 0.1, 0.0, Reason.LEVERAGE_ABOVE_BRACKET),
    ],
)
def test_the_stop_comes_before_the_liquidation_with_a_buffer(
    leverage: int, stop_pct: float, buffer_pct: float, reason: str
) -> None:
    verdict = liquidation_check(LONG, D(50_000), D("0.1"), leverage, 1, stop_pct, buffer_pct, BTC.brackets)
    assert (verdict.reason, verdict.allow) == (reason, reason == "allowed")


def test_without_brackets_nothing_is_entered() -> None:
    assert liquidation_check(LONG, D(50_000), D("0.1"), 10, 1, 2.0, 1.0, ()).reason == Reason.BRACKETS_MISSING


@given(
    side=st.sampled_from(Side),
    entry=st.decimals("0.01", 100_000, places=2),
    leverage=st.integers(1, 100),
    rate=st.decimals("0.004", "0.005", places=4),
)
def test_at_the_liquidation_price_what_is_left_is_the_maintenance_margin(
    side: Side, entry: Decimal, leverage: int, rate: Decimal
) -> None:
    quantity, amount = D(3), D("0.01")
    margin = quantity * entry / leverage
    price = liquidation_price(entry, side, quantity, margin, rate, amount)
    left = margin + side.sign * quantity * (price - entry)
    assert float(left) == pytest.approx(float(quantity * price * rate - amount), abs=1e-9, rel=1e-9)
