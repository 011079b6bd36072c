"""Nothing after the decision's time reaches a filter, an entry or a column of the row."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.messages import Bars
from bot.strategy.cycle import decide
from bot.strategy.risk import Exposure
from bot.strategy.variant import Variant
from bot.strategy.window import PRICES, tail, upto
from tests.strategy.scenes import HOUR, MONDAY, make_bars, make_seen, make_variant, shipped

CONTEXT, LATER = 128, 12
NOW = MONDAY + 10 * HOUR + 33 * 60_000  # two hours into a bar of four
PLUGINS = shipped().plugins


def market(seed: int) -> Bars:
    random = np.random.default_rng(seed)
    close = np.round(50_000 * np.exp(np.cumsum(random.normal(0, 0.005, CONTEXT + LATER))), 1)
    reach = np.round(np.abs(random.normal(0, 100, (2, len(close)))), 1)
    bars = make_bars(close.tolist(), spread=0.0, end=MONDAY + (10 + LATER) * HOUR)
    return msgspec.structs.replace(
        bars, high=close + reach[0], low=close - reach[1], volume=random.uniform(10, 100, len(close))
    )


def with_another_future(bars: Bars, factor: float) -> Bars:
    """The same bars up to the decision; after it all prices and volumes times `factor`."""
    later = bars.open_time + bars.interval_ms > NOW
    assert later.sum() == LATER
    changed = {name: np.where(later, getattr(bars, name) * factor, getattr(bars, name)) for name in (*PRICES, "volume")}
    return msgspec.structs.replace(bars, **changed)


def variant(entry: str) -> Variant:
    filters = {"session": {"skip_hours": [3]}, "categories": {"set": 5, "need": 2}}
    return make_variant(variant={"entry": entry, "filters": sorted(PLUGINS.filters)}, filter=filters)


VARIANTS = {entry: variant(entry) for entry in PLUGINS.entries}


@pytest.mark.parametrize("entry", sorted(VARIANTS))
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), factor=st.floats(0.1, 10.0), predicted=st.sampled_from([0.004, -0.004]))
def test_another_future_gives_the_same_row(entry: str, seed: int, factor: float, predicted: float) -> None:
    bars = market(seed)
    rows = []
    for one in (bars, with_another_future(bars, factor)):
        window = tail(upto(one, NOW), CONTEXT)
        rows.append(decide(VARIANTS[entry], make_seen(window, predicted, cycle_at=NOW, now=NOW), Exposure()))
    assert rows[0] == rows[1]
    assert {verdict.filter for verdict in rows[0][0].filter_verdicts} >= set(PLUGINS.filters)


def test_another_past_gives_another_row() -> None:
    """Else the test above would hold of a decision that looks at no bar at all."""
    first, second = (
        decide(VARIANTS["fib"], make_seen(tail(upto(market(seed), NOW), CONTEXT), cycle_at=NOW, now=NOW), Exposure())[0]
        for seed in (1, 2)
    )
    assert first.rsi != second.rsi
    assert first.filter_verdicts != second.filter_verdicts
