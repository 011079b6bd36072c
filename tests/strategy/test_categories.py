"""Fifteen votes, computed by hand on a market that rises by one a bar; and the columns that they fill."""

from typing import Any

import msgspec
import numpy as np
import pytest

from bot.hookspecs import Categories
from bot.messages import Bars, ForecastRefused, Signal
from bot.strategy import indicators
from bot.strategy.categories import CATEGORIES, INDICATORS, SETS, categorise, vote
from bot.strategy.cycle import decide
from bot.strategy.risk import Exposure
from tests.strategy.scenes import make_bars, make_seen, make_variant, zigzag

COUNT = 192
COLUMNS = ("cat_trend", "cat_momentum", "cat_strength", "cat_volume", "cat_volatility")
UNKNOWN = (None,) * len(COLUMNS)
RISE = make_bars([101.0 + index for index in range(COUNT)], spread=1.0)  # highs one above, lows one below the closes
LAST = 101.0 + COUNT - 1


def judged(bars: Bars) -> Categories:
    return categorise(bars, indicators.rsi(bars.close))


# The average of n numbers that rise by one lies (n - 1) / 2 behind, the simple as the exponential one.
DEVIATION = float(np.sqrt((20**2 - 1) / 12))  # of 20 successive whole numbers, by the whole population
MEASURED = [
    ("close", LAST),
    ("ema20", LAST - 9.5),
    ("ema50", LAST - 24.5),
    ("macd", 12.5 - 5.5),
    ("macd_signal", 7.0),
    ("rsi", 100.0),
    ("stochastic_k", 100 * 14 / 15),  # the lowest low is 13 bars and 1 below, the highest high 1 above
    ("roc_pct", 100 * 10 / (LAST - 10)),
    ("adx", 100.0),
    ("minus_di", 0.0),
    ("plus_di", 50.0),  # each bar gains 1 and has a true range of 2
    ("aroon_up", 100.0),
    ("aroon_down", 0.0),
    ("slope", 1.0),
    ("r_squared", 1.0),
    ("obv_over_ema", 9.5),
    ("chaikin", 0.0),  # the close is in the middle of its bar
    ("force", 1 / LAST),
    ("percent_b", (9.5 + 2 * DEVIATION) / (4 * DEVIATION)),
    ("keltner_upper", LAST - 9.5 + 2 * 2.0),
    ("keltner_lower", LAST - 9.5 - 2 * 2.0),
    ("donchian_high", LAST - 1 + 1),
    ("donchian_low", LAST - 20 - 1),
]


@pytest.mark.parametrize(("name", "value"), MEASURED)
def test_each_measure_is_what_its_definition_says(name: str, value: float) -> None:
    assert judged(RISE).measures[name] == pytest.approx(value)


def test_accumulation_counts_where_a_bar_closes() -> None:
    """A close at the high adds the whole volume: the line rises by one a bar, and its averages lie 1 and 4.5 behind."""
    at_high = msgspec.structs.replace(RISE, high=RISE.close)
    assert judged(at_high).measures["chaikin"] == pytest.approx(3.5)


def test_the_votes_and_scores_of_a_steady_rise() -> None:
    categories = judged(RISE)
    up = {name for name, one in categories.votes.items() if one == 1}
    assert {name for name, one in categories.votes.items() if one == 0} == {"macd", "chaikin", "donchian"}
    assert up == {one.name for one in INDICATORS} - {"macd", "chaikin", "donchian"}
    assert scores(categories) == pytest.approx((2 / 3, 1, 1, 2 / 3, 2 / 3))


def scores(categories: Categories) -> tuple[float | None, ...]:
    return tuple(getattr(categories, category) for category in CATEGORIES)


def row(**measures: float) -> dict[str, float | None]:
    return dict(judged(RISE).measures) | measures


@pytest.mark.parametrize(
    ("name", "measures", "expected"),
    [
        ("ema", {"ema20": 100.0, "ema50": 100.0}, 0),
        ("ema", {"ema20": 99.9, "ema50": 100.0}, -1),
        ("macd", {"macd": -1.0, "macd_signal": -2.0}, 1),
        ("macd", {"macd": 1.0, "macd_signal": 2.0}, -1),
        ("sar", {"close": 100.0, "sar": 100.1}, -1),
        ("rsi", {"rsi": 50.0}, 0),
        ("rsi", {"rsi": 49.0}, -1),
        ("stochastic", {"stochastic_k": 51.0}, 1),
        ("stochastic", {"stochastic_k": 10.0}, -1),
        ("roc", {"roc_pct": -0.1}, -1),
        ("adx", {"adx": 25.0, "plus_di": 20.0, "minus_di": 21.0}, -1),
        ("adx", {"adx": 24.9, "plus_di": 20.0, "minus_di": 21.0}, 0),
        ("adx", {"adx": 40.0, "plus_di": 20.0, "minus_di": 20.0}, 0),
        ("aroon", {"aroon_up": 72.0, "aroon_down": 28.0}, 1),
        ("aroon", {"aroon_up": 28.0, "aroon_down": 72.0}, -1),
        ("aroon", {"aroon_up": 68.0, "aroon_down": 28.0}, 0),
        ("aroon", {"aroon_up": 100.0, "aroon_down": 32.0}, 0),
        ("regression", {"slope": -0.5, "r_squared": 0.27}, -1),
        ("regression", {"slope": -0.5, "r_squared": 0.26}, 0),
        ("obv", {"obv_over_ema": -0.1}, -1),
        ("chaikin", {"chaikin": 0.1}, 1),
        ("force", {"force": -0.1}, -1),
        ("bollinger", {"percent_b": 0.81}, 1),
        ("bollinger", {"percent_b": 0.8}, 0),
        ("bollinger", {"percent_b": 0.2}, 0),
        ("bollinger", {"percent_b": 0.19}, -1),
        ("keltner", {"close": 100.0, "keltner_upper": 99.0, "keltner_lower": 95.0}, 1),
        ("keltner", {"close": 100.0, "keltner_upper": 101.0, "keltner_lower": 95.0}, 0),
        ("keltner", {"close": 94.0, "keltner_upper": 101.0, "keltner_lower": 95.0}, -1),
        ("donchian", {"close": 94.0, "donchian_high": 101.0, "donchian_low": 95.0}, -1),
        ("donchian", {"close": 102.0, "donchian_high": 101.0, "donchian_low": 95.0}, 1),
    ],
)
def test_each_vote_is_what_its_rule_says(name: str, measures: dict[str, float], expected: int) -> None:
    assert vote(row(**measures))[name] == expected


def test_a_vote_without_its_measure_is_none_and_so_is_its_category() -> None:
    categories = judged(make_bars(RISE.close[:49], spread=1.0))
    assert categories.votes["ema"] is None
    assert categories.trend is None
    assert None not in scores(categories)[1:]
    still = msgspec.structs.replace(RISE, volume=np.zeros(COUNT))
    assert judged(still).volume is None


@pytest.mark.parametrize("price", [7.0, 0.1, 50_000.1, 0.000_012_3, 98_765.4])
def test_a_market_that_stands_still_is_neutral_and_not_unknown(price: float) -> None:
    assert scores(judged(make_bars([price] * COUNT, spread=0.0))) == (0, 0, 0, 0, 0)
    then_still = [price * (1 + index % 7 / 100) for index in range(COUNT - 60)] + [price] * 60
    measures = judged(make_bars(then_still, spread=0.0)).measures
    assert (measures["percent_b"], measures["stochastic_k"]) == (0.5, 50)


def test_no_indicator_votes_on_bars_that_are_not_there() -> None:
    assert set(judged(make_bars(RISE.close[:9], spread=1.0)).votes.values()) <= {None, 0.0, 1.0}
    needs = {
        "ema": 50, "macd": 34, "rsi": 15, "stochastic": 16, "roc": 11, "adx": 28, "aroon": 26,
        "regression": 14, "obv": 20, "chaikin": 10, "force": 14, "bollinger": 20, "keltner": 20, "donchian": 21,
    }  # fmt: skip
    for name, count in needs.items():
        for given in (count - 1, count):
            known = judged(make_bars(RISE.close[:given], spread=1.0)).votes[name] is not None
            assert known == (given == count), (name, given)


def test_the_three_ask_some_of_the_same_indicators() -> None:
    assert SETS[3] == {"trend": ("ema",), "momentum": ("rsi", "stochastic"), "strength": ("adx",)}
    assert [len(names) for names in SETS[5].values()] == [3, 3, 3, 3, 3]
    assert all(set(names) <= set(SETS[5][category]) for category, names in SETS[3].items())


# ---- the columns


def columns(signal: Signal) -> tuple[float | None, ...]:
    return tuple(getattr(signal, name) for name in COLUMNS)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"mark_price": None},
        {"instrument": None},
        {"forecast": ForecastRefused("BTCUSDT", "forecast_missing")},
    ],
)
def test_every_row_with_bars_has_its_categories_entered_or_not(changes: dict[str, Any]) -> None:
    bars = zigzag(count=COUNT)
    for predicted in (0.004, 0.0):
        signal, _ = decide(make_variant(), make_seen(bars, predicted, **{} if predicted else changes), Exposure())
        assert columns(signal) == scores(judged(bars))
        assert None not in columns(signal)


def test_a_row_without_bars_has_nulls_and_no_zeros() -> None:
    bars = zigzag(count=COUNT)
    refused = make_seen(bars, forecast=ForecastRefused("BTCUSDT", "bar_missing"))
    signal, _ = decide(make_variant(), msgspec.structs.replace(refused, bars=None), Exposure())
    assert columns(signal) == UNKNOWN


def test_the_filter_judges_the_very_scores_that_the_row_shows() -> None:
    bars = msgspec.structs.replace(zigzag(count=COUNT), volume=np.arange(1.0, COUNT + 1))
    variant = make_variant(variant={"filters": ["categories"]}, filter={"categories": {"set": 5, "need": 1}})
    signal, _ = decide(variant, make_seen(bars), Exposure())
    [verdict] = [one for one in signal.filter_verdicts if one.filter == "categories"]
    assert tuple(verdict.values[name] for name in CATEGORIES) == columns(signal)


def test_the_measures_in_a_verdict_give_its_scores_again() -> None:
    variant = make_variant(variant={"filters": ["categories"]}, filter={"categories": {"set": 5, "need": 1}})
    signal, _ = decide(variant, make_seen(RISE), Exposure())
    [verdict] = [one for one in signal.filter_verdicts if one.filter == "categories"]
    again = vote(verdict.values)  # type: ignore[arg-type]  # its other values are not read
    for category, names in SETS[5].items():
        assert verdict.values[category] == sum(again[name] or 0.0 for name in names) / 3
