"""Every shipped entry: hand-computed cases, the side its limit must lie on, and the mirror of each."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.errors import OperatorError
from bot.hookspecs import Candidate, Categories, EntryPlan, Recent
from bot.messages import Bars, Side
from bot.strategy.pivots import floor_pivots
from tests.strategy.scenes import BTC, HOUR, MONDAY, make_bars, make_forecast, make_variant, shipped

DAY = 24 * HOUR
LONG, SHORT = Side.LONG, Side.SHORT
UNKNOWN = Categories(
    trend=None, momentum=None, strength=None, volume=None, volatility=None, votes={}, measures={}
)  # no entry asks for them


def candidate(bars: Bars, side: Side, atr: float) -> Candidate:
    return Candidate(
        variant="BTC",
        symbol="BTCUSDT",
        side=side,
        now=bars.close_at,
        bars=bars,
        last_price=float(bars.close[-1]),
        mark_price=float(bars.close[-1]),
        forecast=make_forecast(bars, 0.01 * side.sign),
        instrument=BTC,
        rsi=50.0,
        atr=atr,
        categories=UNKNOWN,
        recent=Recent(),
    )


def propose(name: str, bars: Bars, side: Side, atr: float = 4.0, **options: Any) -> float | str | None:
    """The limit of the entry `name`, None for a market entry, or its words."""
    plugin = shipped().plugins.entries[name]
    plan = plugin.propose(candidate(bars, side, atr), {**plugin.options, **options})
    if not isinstance(plan, EntryPlan):
        return plan
    return None if plan.price is None else float(plan.price)


def flat(last: float, count: int = 41) -> Bars:
    """Closes of 100 and then `last`."""
    return make_bars([100.0] * (count - 1) + [last], spread=1.0)


def a_day(last: float, hours: int = 3, missing: int = 0) -> Bars:
    """A Sunday with high 112, low 94 and close 103, and `hours` of the Monday after it, which end at `last`."""
    closes = [100.0] * 23 + [103.0] + [last] * hours
    bars = make_bars(closes, spread=1.0, end=MONDAY + hours * HOUR)
    bars.high[5], bars.low[9] = 112.0, 94.0
    columns = ("open_time", "open", "high", "low", "close", "volume")
    return msgspec.structs.replace(bars, **{name: getattr(bars, name)[missing:] for name in columns})


def a_leg(last: float, side: Side) -> Bars:
    """Swings of width 2: from 100 up to 110 for a LONG, from 110 down to 100 for a SHORT; the last close is `last`."""
    bars = make_bars([105.0] * 11 + [last], spread=1.0)
    first, second = (bars.low, bars.high) if side is LONG else (bars.high, bars.low)
    first[3], second[6] = (100.0, 110.0) if side is LONG else (110.0, 100.0)
    bars.high[-1], bars.low[-1] = last, last
    return bars


@pytest.mark.parametrize(
    ("name", "bars", "side", "atr", "options", "expected"),
    [
        ("market", flat(110.0), LONG, 4.0, {}, None),
        ("market", flat(110.0), SHORT, 4.0, {}, None),
        # last - 0.5 x ATR
        ("atr05", flat(110.0), LONG, 4.0, {}, 108.0),
        ("atr05", flat(110.0), SHORT, 4.0, {}, 112.0),
        ("atr05", flat(110.0), LONG, 4.0, {"atr_multiple": 2.0}, 102.0),
        # 110 - 0.382 x (110 - 100); 100 + 0.382 x (110 - 100)
        ("fib", a_leg(109.0, LONG), LONG, 4.0, {"width": 2}, 106.18),
        ("fib", a_leg(101.0, SHORT), SHORT, 4.0, {"width": 2}, 103.82),
        ("fib", a_leg(109.0, LONG), LONG, 4.0, {"width": 2, "ratio": 0.5}, 105.0),
        ("fib", a_leg(106.0, LONG), LONG, 4.0, {"width": 2}, "retraced_already"),
        ("fib", flat(110.0), LONG, 4.0, {}, "no_swing"),
        # EMA = 100 + 2 / 21 x (110 - 100): the average of the first 20 is 100, and so is every close but the last
        ("ema20_touch", flat(110.0), LONG, 4.0, {}, 100.952380952),
        ("ema20_touch", flat(110.0), SHORT, 4.0, {}, "beyond_average"),
        ("ema20_touch", flat(90.0), SHORT, 4.0, {}, 99.0476190476),
        ("ema20_touch", flat(90.0), LONG, 4.0, {}, "beyond_average"),
        ("ema20_touch", flat(100.0), LONG, 4.0, {}, 100.0),
        ("ema20_touch", flat(110.0), LONG, 4.0, {"period": 9}, 102.0),  # 100 + 2 / 10 x 10
        ("ema20_touch", flat(110.0, count=19), LONG, 4.0, {}, "no_average"),
        # P = (112 + 94 + 103) / 3 = 103, S1 = 206 - 112 = 94, R1 = 206 - 94 = 112
        ("pivot_retrace", a_day(105.0), LONG, 4.0, {}, 103.0),
        ("pivot_retrace", a_day(105.0), SHORT, 4.0, {}, 112.0),
        ("pivot_retrace", a_day(103.0), LONG, 4.0, {}, 103.0),
        ("pivot_retrace", a_day(103.0), SHORT, 4.0, {}, 103.0),
        ("pivot_retrace", a_day(100.0), LONG, 4.0, {}, 94.0),
        ("pivot_retrace", a_day(113.0), LONG, 4.0, {}, 112.0),
        ("pivot_retrace", a_day(113.0), SHORT, 4.0, {}, "beyond_pivots"),
        ("pivot_retrace", a_day(93.0), LONG, 4.0, {}, "beyond_pivots"),
        ("pivot_retrace", a_day(109.0), LONG, 2.0, {}, 103.0),  # 6 away, 3 x 2 are allowed
        ("pivot_retrace", a_day(109.5), LONG, 2.0, {}, "pivot_too_far"),
        ("pivot_retrace", a_day(109.5), LONG, 2.0, {"max_atr": 3.5}, 103.0),
        ("pivot_retrace", a_day(105.0, missing=1), LONG, 4.0, {}, "no_whole_day"),
        ("pivot_retrace", a_day(105.0, hours=24), LONG, 4.0, {}, 105.0),  # Monday is whole: 106, 104 and 105
        # (106.18 + 109 - 0.5 x 4) / 2, and its mirror (103.82 + 101 + 0.5 x 4) / 2
        ("hybrid", a_leg(109.0, LONG), LONG, 4.0, {"width": 2}, 106.59),
        ("hybrid", a_leg(101.0, SHORT), SHORT, 4.0, {"width": 2}, 103.41),
        ("hybrid", a_leg(109.0, LONG), LONG, 1.0, {"width": 2}, "levels_apart"),  # 106.18 and 108.5
        ("hybrid", a_leg(109.0, LONG), LONG, 1.0, {"width": 2, "agree_atr": 2.4}, 107.34),
        ("hybrid", a_leg(106.0, LONG), LONG, 4.0, {"width": 2}, "retraced_already"),
        ("hybrid", flat(110.0), LONG, 4.0, {}, "no_swing"),
    ],
)
def test_an_entry_waits_where_its_definition_says(
    name: str, bars: Bars, side: Side, atr: float, options: dict[str, Any], expected: float | str | None
) -> None:
    told = propose(name, bars, side, atr, **options)
    assert told == (pytest.approx(expected, abs=1e-9) if isinstance(expected, float) else expected)


def test_floor_pivots_of_a_day_worked_out_by_hand() -> None:
    told = floor_pivots(high=1.2297, low=1.2213, close=1.2249)
    assert (told.pivot, told.support, told.resistance) == pytest.approx((1.2253, 1.2209, 1.2293))


STEPS = st.lists(st.integers(-30, 30), min_size=60, max_size=90)
WICKS = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=90, max_size=90)


def walk(steps: Sequence[int], wicks: Sequence[tuple[int, int]]) -> Bars:
    bars = make_bars(10_000.0 + np.cumsum(np.array(steps, dtype=float)), spread=0.0)  # type: ignore[arg-type]
    up, down = np.array(wicks[: len(steps)], dtype=float).T
    return msgspec.structs.replace(bars, high=bars.close + up, low=bars.close - down)


def mirrored(bars: Bars) -> Bars:
    turned = {name: 2 * bars.close[-1] - getattr(bars, name) for name in ("open", "high", "low", "close")}
    turned["high"], turned["low"] = turned["low"], turned["high"]
    return msgspec.structs.replace(bars, **turned)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, wicks=WICKS, side=st.sampled_from([LONG, SHORT]))
@pytest.mark.parametrize("name", ["atr05", "fib", "ema20_touch", "pivot_retrace", "hybrid"])
def test_a_limit_is_never_worse_than_the_last_price_and_a_short_is_the_mirror_of_a_long(
    name: str, steps: list[int], wicks: list[tuple[int, int]], side: Side
) -> None:
    bars = walk(steps, wicks)
    last = float(bars.close[-1])
    told = propose(name, bars, side, atr=20.0)
    turned = propose(name, mirrored(bars), SHORT if side is LONG else LONG, atr=20.0)
    if isinstance(told, str):
        assert turned == told
    else:
        assert told is not None
        assert side.sign * (last - told) >= 0
        assert turned == pytest.approx(2 * last - told, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("atr05", {"atr_multiple": -0.5}, "atr_multiple is -0.5; expected 0 or more"),
        ("fib", {"ratio": -0.382}, "ratio is -0.382; expected 0 up to 1"),
        ("fib", {"ratio": 38.2}, "ratio is 38.2; expected 0 up to 1"),
        ("fib", {"width": 0}, "width is 0; expected 1 or more"),
        ("ema20_touch", {"period": 1}, "period is 1; expected 2 or more"),
        ("pivot_retrace", {"max_atr": 0.0}, "max_atr is 0.0; expected above 0"),
        ("hybrid", {"atr_multiple": -1.0}, "atr_multiple is -1.0; expected 0 or more"),
        ("hybrid", {"agree_atr": -1.0}, "agree_atr is -1.0; expected 0 or more"),
        ("hybrid", {"ratio": 1.5}, "ratio is 1.5; expected 0 up to 1"),
        ("hybrid", {"width": 0}, "width is 0; expected 1 or more"),
    ],
)
def test_options_that_would_never_give_a_limit_end_the_start(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(OperatorError) as caught:
        make_variant(variant={"entry": name}, entry={name: options})
    assert str(caught.value) == f"btc.toml: key entry.{name}: {words}"


def test_every_shipped_entry_is_in_the_table() -> None:
    parameters = test_an_entry_waits_where_its_definition_says.pytestmark[0].args[1]  # type: ignore[attr-defined]
    assert {case[0] for case in parameters} == set(shipped().plugins.entries)


def test_a_plan_carries_the_decimal_of_its_level() -> None:
    plugin = shipped().plugins.entries["ema20_touch"]
    plan = plugin.propose(candidate(flat(110.0), LONG, 4.0), plugin.options)
    assert isinstance(plan, EntryPlan)
    assert plan.price == Decimal("100.952380952")
