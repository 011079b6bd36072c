"""Every shipped filter: cases computed by hand from docs/rules.md, and the mirror of each."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bot.errors import OperatorError
from bot.hookspecs import Candidate, Categories, Recent
from bot.messages import Bars, FilterVerdict, Side
from bot.strategy import indicators
from bot.strategy.categories import INDICATORS, categorise
from bot.strategy.cycle import decide
from bot.strategy.risk import Exposure
from tests.strategy.scenes import BTC, HOUR, MONDAY, make_bars, make_forecast, make_seen, make_variant, shipped

LONG, SHORT = Side.LONG, Side.SHORT
MINUTE, DAY = 60_000, 24 * HOUR
FOUR = 4 * HOUR
NONE = Categories(trend=None, momentum=None, strength=None, volume=None, volatility=None, votes={}, measures={})
STILL = make_bars([100.0] * 40, spread=1.0)


def candidate(bars: Bars = STILL, side: Side = LONG, **facts: Any) -> Candidate:
    last = float(bars.close[-1])
    values: dict[str, Any] = {
        "variant": "BTC",
        "symbol": "BTCUSDT",
        "side": side,
        "now": bars.close_at,
        "bars": bars,
        "last_price": last,
        "mark_price": last,
        "forecast": make_forecast(bars, 0.01 * side.sign),
        "instrument": BTC,
        "rsi": 50.0,
        "atr": 1.0,
        "categories": NONE,
        "recent": Recent(),
    }
    return Candidate(**(values | facts))


def judge(name: str, asked: Candidate, **options: Any) -> FilterVerdict:
    """The verdict of the shipped filter with `options` over its own."""
    plugin = shipped().plugins.filters[name]
    assert set(options) <= set(plugin.options)
    return plugin.judge(asked, {**plugin.options, **options})


def said(verdict: FilterVerdict) -> tuple[bool, str]:
    return verdict.allow, verdict.reason


# ---- rsi


@pytest.mark.parametrize(
    ("side", "rsi", "options", "expected"),
    [
        (LONG, 60.0, {}, (True, "within_limits")),
        (LONG, 60.01, {}, (False, "overbought")),
        (LONG, 5.0, {}, (True, "within_limits")),
        (SHORT, 40.0, {}, (True, "within_limits")),
        (SHORT, 39.99, {}, (False, "oversold")),
        (SHORT, 95.0, {}, (True, "within_limits")),
        (LONG, 65.0, {"long_above": 70.0}, (True, "within_limits")),
        (SHORT, 35.0, {"short_below": 30.0}, (True, "within_limits")),
    ],
)
def test_rsi(side: Side, rsi: float, options: dict[str, float], expected: tuple[bool, str]) -> None:
    verdict = judge("rsi", candidate(side=side, rsi=rsi), **options)
    assert said(verdict) == expected
    assert verdict.values["rsi"] == rsi


# ---- session


@pytest.mark.parametrize(
    ("at", "options", "expected"),
    [
        (MONDAY, {"skip_weekdays": [0]}, (False, "weekday_skipped")),
        (MONDAY - 1, {"skip_weekdays": [0]}, (True, "in_session")),
        (MONDAY + DAY - 1, {"skip_weekdays": [0]}, (False, "weekday_skipped")),
        (MONDAY + DAY, {"skip_weekdays": [0]}, (True, "in_session")),
        (MONDAY + 6 * HOUR, {"skip_hours": [6]}, (False, "hour_skipped")),
        (MONDAY + 7 * HOUR - 1, {"skip_hours": [6]}, (False, "hour_skipped")),
        (MONDAY + 7 * HOUR, {"skip_hours": [6]}, (True, "in_session")),
        (MONDAY + 23 * HOUR, {"skip_hours": [23, 0, 1]}, (False, "hour_skipped")),
        (MONDAY + 2 * HOUR, {"skip_hours": [23, 0, 1]}, (True, "in_session")),
        (MONDAY, {}, (True, "in_session")),
    ],
)
def test_session(at: int, options: dict[str, list[int]], expected: tuple[bool, str]) -> None:
    for side in (LONG, SHORT):
        assert said(judge("session", candidate(side=side, now=at), **options)) == expected


# ---- categories


def voting(**votes: float | None) -> Categories:
    """Votes of 0 but for those given."""
    return msgspec.structs.replace(NONE, votes={one.name: 0.0 for one in INDICATORS} | votes)


ALL_UP = {"ema": 1.0, "rsi": 1.0, "stochastic": 1.0, "adx": 1.0}
TWO_UP = {"ema": 1.0, "rsi": 1.0, "adx": 0.0}  # momentum is 0.5, strength neutral


@pytest.mark.parametrize(
    ("votes", "need", "side", "agree", "expected"),
    [
        (ALL_UP, 3, LONG, 3, (True, "agreed")),
        (ALL_UP, 1, SHORT, 0, (False, "disagreed")),
        (TWO_UP, 2, LONG, 2, (True, "agreed")),
        (TWO_UP, 3, LONG, 2, (False, "disagreed")),
        (ALL_UP | {"stochastic": -1.0}, 3, LONG, 2, (False, "disagreed")),  # (1 - 1) / 2 is neutral
        (ALL_UP | {"ema": -1.0}, 2, LONG, 2, (True, "agreed")),
        (ALL_UP | {"ema": -1.0}, 1, SHORT, 1, (True, "agreed")),
        (ALL_UP | {"ema": None}, 3, LONG, 2, (False, "unknown")),
        (ALL_UP | {"ema": None}, 2, LONG, 2, (True, "agreed")),
        (ALL_UP | {"macd": -1.0, "sar": -1.0}, 3, LONG, 3, (True, "agreed")),  # not of the three's trend
    ],
)
def test_three_categories(
    votes: dict[str, float], need: int, side: Side, agree: int, expected: tuple[bool, str]
) -> None:
    verdict = judge("categories", candidate(side=side, categories=voting(**votes)), set=3, need=need)
    assert said(verdict) == expected
    assert (verdict.values["agree"], verdict.values["need"], verdict.values["set"]) == (agree, need, 3)


@pytest.mark.parametrize(
    ("votes", "need", "side", "agree", "expected"),
    [
        ({"ema": 1.0, "obv": 1.0}, 2, LONG, 2, (True, "agreed")),  # trend 1/3, volume 1/3
        ({"ema": 1.0, "obv": 1.0}, 3, LONG, 2, (False, "disagreed")),
        ({"ema": 1.0, "macd": -1.0, "obv": 1.0}, 2, LONG, 1, (False, "disagreed")),  # trend (1 - 1) / 3
        ({"ema": 1.0, "macd": -1.0, "sar": -1.0, "roc": -1.0}, 2, SHORT, 2, (True, "agreed")),
        ({"donchian": -1.0, "aroon": -1.0}, 2, SHORT, 2, (True, "agreed")),
        ({"donchian": -1.0, "aroon": -1.0, "force": None}, 2, SHORT, 2, (True, "agreed")),
        ({"donchian": -1.0, "force": None}, 2, SHORT, 1, (False, "unknown")),
    ],
)
def test_five_categories(
    votes: dict[str, float], need: int, side: Side, agree: int, expected: tuple[bool, str]
) -> None:
    verdict = judge("categories", candidate(side=side, categories=voting(**votes)), set=5, need=need)
    assert said(verdict) == expected
    assert verdict.values["agree"] == agree


# ---- sides


@pytest.mark.parametrize(
    ("allow", "side", "expected"),
    [
        ("both", LONG, (True, "wanted")),
        ("long", LONG, (True, "wanted")),
        ("long", SHORT, (False, "unwanted")),
        ("short", SHORT, (True, "wanted")),
        ("short", LONG, (False, "unwanted")),
    ],
)
def test_sides(allow: str, side: Side, expected: tuple[bool, str]) -> None:
    assert said(judge("sides", candidate(STILL, side), allow=allow)) == expected


# ---- trend_agreement


def steps(highs: Sequence[float], end: int = MONDAY + 12 * HOUR) -> Bars:
    """Hourly bars of which each four make one of these highs, with lows 2 below and closes between."""
    return make_bars(np.repeat(np.array(highs) - 1.0, 4), spread=1.0, end=end)


RISE = steps([100.0 + index for index in range(48)])  # +DM is 1 and -DM 0 in every bar: ADX is 100
ZIGZAG = steps([100.0 + index % 2 for index in range(48)])  # ends on a rise of 1: DX is 100 x (1 - 13/14) / (1 + 13/14)
ADX_OF_ZIGZAG = 100 / 27


@pytest.mark.parametrize(
    ("bars", "side", "strength", "expected"),
    [
        (RISE, LONG, 25.0, (True, "not_against")),
        (RISE, SHORT, 25.0, (False, "strongly_against")),
        (RISE, SHORT, 100.0, (False, "strongly_against")),
        (ZIGZAG, LONG, 25.0, (True, "not_against")),
        (ZIGZAG, SHORT, 25.0, (True, "weakly_against")),
        (ZIGZAG, SHORT, 3.0, (False, "strongly_against")),
        (steps([100.0] * 48), LONG, 0.0, (True, "not_against")),
        (steps([100.0] * 27), LONG, 25.0, (False, "unknown")),  # ADX(14) needs 28 bars
        (steps([100.0] * 28), LONG, 25.0, (True, "not_against")),
    ],
)
def test_trend_agreement(bars: Bars, side: Side, strength: float, expected: tuple[bool, str]) -> None:
    assert said(judge("trend_agreement", candidate(bars, side), strength=strength)) == expected


def test_trend_agreement_measures_adx_as_wilder_defined_it() -> None:
    assert judge("trend_agreement", candidate(RISE, SHORT)).values["adx"] == pytest.approx(100)
    values = judge("trend_agreement", candidate(ZIGZAG, SHORT)).values
    assert values["adx"] == pytest.approx(ADX_OF_ZIGZAG, abs=0.5), "the seed of the averages has not died away"
    assert values["plus_di"] > values["minus_di"]  # type: ignore[operator]  # both are numbers


@pytest.mark.parametrize(
    ("age", "expected"),
    [(0, (False, "strongly_against")), (2 * FOUR, (False, "strongly_against")), (2 * FOUR + 1, (True, "stale"))],
)
def test_trend_agreement_is_neutral_beyond_two_intervals(age: int, expected: tuple[bool, str]) -> None:
    verdict = judge("trend_agreement", candidate(RISE, SHORT, now=RISE.close_at + age))
    assert said(verdict) == expected
    assert (verdict.values["age_ms"], verdict.values["stale_after_ms"]) == (age, 2 * FOUR)


def test_trend_agreement_leaves_out_what_is_no_whole_bar_yet() -> None:
    falling = make_bars([*RISE.close, 50.0, 40.0, 30.0], spread=1.0, end=RISE.close_at + 3 * HOUR)
    whole = judge("trend_agreement", candidate(RISE, SHORT, now=falling.close_at))
    assert judge("trend_agreement", candidate(falling, SHORT)) == whole


# ---- volatility


def swinging(move: float, count: int = 25) -> Bars:
    """Closes whose log returns are `move` and -`move` in turn; of 24 the sample deviation is move x sqrt(24 / 23)."""
    return make_bars([100.0 * float(np.exp(move * (index % 2))) for index in range(count)], spread=1.0)


RV = 0.956079  # of moves of 1 %: 0.01 x sqrt(24 / 23) x sqrt(8760)


@pytest.mark.parametrize(
    ("bars", "options", "scale", "reason"),
    [
        (swinging(0.01), {"cap_pct": 100.0}, 1.0, "within_cap"),
        (swinging(0.01), {"cap_pct": 50.0}, 0.5 / RV, "shrunk"),
        (swinging(0.01), {"cap_pct": 20.0}, 0.25, "shrunk"),  # 0.2 / RV is 0.209
        (swinging(0.01), {"cap_pct": 20.0, "min_scale": 0.1}, 0.2 / RV, "shrunk"),
        (swinging(0.02), {"cap_pct": 100.0}, 1.0 / (2 * RV), "shrunk"),
        (STILL, {}, 1.0, "within_cap"),
    ],
)
def test_volatility(bars: Bars, options: dict[str, float], scale: float, reason: str) -> None:
    for side in (LONG, SHORT):
        verdict = judge("volatility", candidate(bars, side), **options)
        assert said(verdict) == (True, reason)
        assert verdict.scale == pytest.approx(scale, rel=1e-5)


def test_volatility_that_cannot_be_measured_fails_closed() -> None:
    verdict = judge("volatility", candidate(swinging(0.01, count=24)))
    assert (*said(verdict), verdict.scale) == (False, "unknown", 1.0)
    assert verdict.values["realised_volatility"] is None


# ---- cooldown


@pytest.mark.parametrize(
    ("lost", "entered", "options", "expected"),
    [
        (None, None, {}, (True, "rested")),
        (0, None, {}, (False, "after_loss")),
        (59, None, {}, (False, "after_loss")),
        (60, None, {}, (True, "rested")),
        (60, None, {"after_loss_minutes": 90}, (False, "after_loss")),
        (None, 0, {}, (True, "rested")),  # no pause after an entry unless asked for
        (None, 29, {"after_entry_minutes": 30}, (False, "after_entry")),
        (None, 30, {"after_entry_minutes": 30}, (True, "rested")),
        (10, 10, {"after_entry_minutes": 30}, (False, "after_loss")),
        (10, 10, {"after_loss_minutes": 0, "after_entry_minutes": 30}, (False, "after_entry")),
    ],
)
def test_cooldown(lost: int | None, entered: int | None, options: dict[str, int], expected: tuple[bool, str]) -> None:
    now = STILL.close_at
    recent = Recent(
        last_loss_at=None if lost is None else now - lost * MINUTE,
        last_entry_at=None if entered is None else now - entered * MINUTE,
    )
    for side in (LONG, SHORT):
        assert said(judge("cooldown", candidate(side=side, recent=recent), **options)) == expected


# ---- options


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("rsi", {"long_above": 100.0}, "long_above is 100.0; expected above 0 and below 100"),
        ("categories", {"set": 4}, "set is 4; expected one of 3, 5"),
        ("categories", {"need": 4}, "need is 4; expected 1 up to 3"),
        ("categories", {"need": 0}, "need is 0; expected 1 up to 3"),
        ("categories", {"set": 5, "need": 6}, "need is 6; expected 1 up to 5"),
        ("sides", {"allow": "none"}, "allow is none; expected one of both, long, short"),
        ("trend_agreement", {"hours": 5}, "hours is 5; expected one of 2, 3, 4, 6, 8, 12, 24"),
        ("trend_agreement", {"hours": 1}, "hours is 1; expected one of"),
        ("trend_agreement", {"strength": 101.0}, "strength is 101.0; expected 0 up to 100"),
        ("volatility", {"cap_pct": 0.0}, "cap_pct is 0.0; expected above 0"),
        ("volatility", {"min_scale": 1.5}, "min_scale is 1.5; expected above 0 and at most 1"),
        ("volatility", {"bars": 1}, "bars is 1; expected 2 or more"),
        ("cooldown", {"after_loss_minutes": -1}, "after_loss_minutes is -1; expected 0 or more"),
        ("cooldown", {"after_loss_minutes": 0}, "are 0; expected one of them above"),
    ],
)
def test_options_that_would_never_or_always_veto_end_the_start(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(OperatorError) as caught:
        make_variant(variant={"filters": [name]}, filter={name: options})
    assert str(caught.value).startswith(f"btc.toml: key filter.{name}: ")
    assert words in str(caught.value)


# ---- the mirror

QUARTERS = st.lists(st.integers(-40, 40), min_size=127, max_size=127)  # exact in floats, turned too


def walk(moves: Sequence[int]) -> Bars:
    """120 hourly bars whose prices are whole quarters; each move goes to a close and, as a distance, to its high."""
    close = 1_000.0 + np.cumsum(np.array(moves[:120]) * 0.25)
    reach = np.abs(np.array([*moves[7:], 1, 2, 3, 4, 5, 6, 7])[:120]) * 0.25 + 0.25
    bars = make_bars(close, spread=0.0)
    volume = 1.0 + np.abs(np.array(moves[:120]))
    return msgspec.structs.replace(bars, high=close + reach, low=close - reach[::-1], volume=volume)


def turned(bars: Bars) -> Bars:
    last = 2 * bars.close[-1]
    return msgspec.structs.replace(
        bars, open=last - bars.open, high=last - bars.low, low=last - bars.high, close=last - bars.close
    )


def seen(bars: Bars, side: Side) -> Candidate:
    rsi = indicators.rsi(bars.close)
    return candidate(bars, side, rsi=rsi, categories=categorise(bars, rsi))


@settings(max_examples=80, deadline=None)
@given(moves=QUARTERS)
def test_the_mirrored_market_decides_the_same_for_the_other_side(moves: list[int]) -> None:
    bars = walk(moves)
    up, down = bars.high[1] - bars.high[0], bars.low[0] - bars.low[1]
    assume(up != down and max(up, down) > 0)  # else the parabolic begins upward in both markets
    assume(abs(abs(indicators.rsi(bars.close) - 50) - 10) > 1e-6)
    there, back = seen(bars, LONG), seen(turned(bars), SHORT)
    for name, options in (
        ("rsi", {}),
        ("session", {"skip_hours": [12]}),
        ("categories", {"set": 3, "need": 2}),
        ("categories", {"set": 5, "need": 2}),
        ("trend_agreement", {"strength": 20.0}),
        ("cooldown", {}),
    ):
        assert judge(name, there, **options).allow == judge(name, back, **options).allow, name
    for category in ("trend", "momentum", "strength", "volume", "volatility"):
        assert getattr(there.categories, category) == -getattr(back.categories, category), category


# ---- shadow


@pytest.mark.parametrize("shadow", [False, True])
def test_in_shadow_the_veto_of_the_higher_timeframe_is_logged_and_the_trade_passes(shadow: bool) -> None:
    falling = steps([50_000.0 - index for index in range(48)])
    variant = make_variant(
        variant={"filters": ["trend_agreement", "volatility"]},
        filter={"trend_agreement": {"shadow": shadow}, "volatility": {"shadow": shadow, "cap_pct": 0.01}},
    )
    signal, intent = decide(variant, make_seen(falling, 0.004), Exposure())
    trend, volatility = (one for one in signal.filter_verdicts if one.filter in ("trend_agreement", "volatility"))
    assert (*said(trend), trend.shadow) == (False, "strongly_against", shadow)
    assert (*said(volatility), volatility.scale, volatility.shadow) == (True, "shrunk", 0.25, shadow)
    assert (signal.decision_reason, intent is not None) == (
        ("allowed", True) if shadow else ("filter:trend_agreement", False)
    )
    full = make_variant(sizing={"margin_usdt": 500.0 if shadow else 125.0})
    assert signal.quantity == decide(full, make_seen(falling, 0.004), Exposure())[0].quantity
