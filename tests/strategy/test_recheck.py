"""Every decision computed again from its row alone; and a row in which anything was altered is found out."""

from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.messages import FilterVerdict, ForecastRefused, GuardState, GuardTrip, Side, Signal, TradingState
from bot.strategy.cycle import Seen, decide
from bot.strategy.recheck import disagreements, recheck
from bot.strategy.risk import Exposure, Held, Limits
from bot.strategy.sizing import VolatilityTarget
from bot.strategy.variant import Variant
from tests.strategy.judges import JUDGES
from tests.strategy.scenes import BTC, CONTEXT, make_bars, make_forecast, make_seen, make_variant, shipped, zigzag

FILTERS = sorted(shipped().plugins.filters)
ENTRIES = sorted(shipped().plugins.entries)

SUSPENDED = msgspec.structs.replace(BTC, trading=False)
UNBRACKETED = msgspec.structs.replace(BTC, brackets=())
WALKS = st.lists(st.integers(-400, 400), min_size=CONTEXT, max_size=CONTEXT).map(
    lambda steps: (50_000.0 + np.cumsum(steps)).tolist()
)
PREDICTED = st.sampled_from([0.0, float("nan"), 0.0019999, 0.002, -0.002, 0.004, -0.004, 0.03, -0.03])
HELD = st.builds(
    Held,
    variant=st.sampled_from(["BTC", "OTHER"]),
    tier=st.sampled_from(["t1", "t2"]),
    symbol=st.sampled_from(["BTCUSDT", "ETHUSDT"]),
    side=st.sampled_from(list(Side)),
)
TRIPS = st.sampled_from(["day_drawdown", "drawdown", "daily_loss", "losing_streak"]).map(
    lambda name: GuardTrip(name, 0, 6.0, 5.0, None)
)
GUARDS = st.builds(
    GuardState,
    tripped=st.lists(TRIPS, max_size=2, unique_by=lambda trip: trip.guard).map(
        lambda trips: tuple(sorted(trips, key=lambda trip: NAMES.index(trip.guard)))
    ),
    equity_at=st.none() | st.integers(1_741_600_000_000, 1_741_608_180_000),
    unknown_after_ms=st.none() | st.just(60_000),
)
NAMES = ["day_drawdown", "drawdown", "daily_loss", "losing_streak"]


@st.composite
def variants(draw: st.DrawFn) -> Variant:
    filters = draw(st.lists(st.sampled_from(FILTERS), unique=True))
    shadows = {name: {"shadow": draw(st.booleans())} for name in filters}
    entry = draw(st.sampled_from(ENTRIES))
    margin = draw(st.sampled_from([1.0, 55.5, 500.0, 900_000.0]))
    variant = make_variant(variant={"entry": entry, "filters": filters}, filter=shadows, sizing={"margin_usdt": margin})
    limits = Limits(
        volume_share=draw(st.none() | st.sampled_from([0.0001, 0.01])),
        liquidation_buffer_pct=draw(st.sampled_from([0.0, 1.0, 9.0])),
        funding_share=draw(st.none() | st.sampled_from([0.01, 0.25])),
    )
    target = st.none() | st.sampled_from([20, 200]).map(
        lambda bars: VolatilityTarget(target=0.2, bars=bars, least=0.25, most=1.0)
    )
    return msgspec.structs.replace(variant, limits=limits, volatility=draw(target))


@st.composite
def scenes(draw: st.DrawFn) -> Seen:
    bars = make_bars(draw(WALKS), spread=draw(st.sampled_from([10.0, 150.0])))
    stale = msgspec.structs.replace(make_forecast(bars, 0.004), bar_close_at=bars.close_at - 3_600_000)
    forecast = draw(
        PREDICTED.map(lambda predicted: make_forecast(bars, predicted))
        | st.sampled_from([ForecastRefused("BTCUSDT", "window_gap"), stale])
    )
    funding: dict[str, Any] = draw(
        st.sampled_from([{}, {"funding_rate": None, "next_funding_at": None}, {"funding_rate": Decimal("-0.0021")}])
    )
    instrument = draw(st.sampled_from([BTC, BTC, BTC, None, SUSPENDED, UNBRACKETED]))
    return make_seen(
        bars,
        forecast=forecast,
        mark_price=draw(st.sampled_from([None, Decimal("50001.0"), Decimal("49990.1")])),
        instrument=instrument,
        state=draw(st.sampled_from([TradingState.ACTIVE, TradingState.ACTIVE, *TradingState])),
        guards=draw(st.just(GuardState()) | GUARDS),
        **funding,
    )


@settings(max_examples=400, deadline=None)
@given(variant=variants(), seen=scenes(), held=st.lists(HELD, max_size=4).map(lambda held: Exposure(tuple(held))))
def test_each_decision_follows_from_its_row_alone(variant: Variant, seen: Seen, held: Exposure) -> None:
    signal, intent = decide(variant, seen, held)
    assert recheck(signal, JUDGES) == (signal.decision, signal.decision_reason)
    assert disagreements(signal, JUDGES) == []
    assert (intent is not None) == (signal.decision == "enter")


def entered() -> Signal:
    variant = make_variant(variant={"entry": "atr05", "filters": ["rsi", "session", "volatility"]})
    signal, intent = decide(variant, make_seen(make_bars([50_000.0 + 5 * (i % 2) for i in range(CONTEXT)])), Exposure())
    assert intent is not None, signal.decision_reason
    return signal


def refused(**changes: Any) -> Signal:
    signal, intent = decide(make_variant(variant={"filters": ["rsi"]}), make_seen(zigzag(), **changes), Exposure())
    assert intent is None
    return signal


def with_value(signal: Signal, filter_name: str, **values: Any) -> Signal:
    """The row with values of one verdict altered; None for its place, so that a test cannot miss it by name."""
    assert any(
        set(values) <= set(verdict.values) for verdict in signal.filter_verdicts if verdict.filter == filter_name
    )
    verdicts = tuple(
        msgspec.structs.replace(verdict, values={**verdict.values, **values})
        if verdict.filter == filter_name
        else verdict
        for verdict in signal.filter_verdicts
    )
    return msgspec.structs.replace(signal, filter_verdicts=verdicts)


def with_verdict(signal: Signal, filter_name: str, **changes: Any) -> Signal:
    verdicts = tuple(
        msgspec.structs.replace(verdict, **changes) if verdict.filter == filter_name else verdict
        for verdict in signal.filter_verdicts
    )
    return msgspec.structs.replace(signal, filter_verdicts=verdicts)


COLUMNS = {
    "decision": "refuse",
    "decision_reason": "below_threshold",
    "threshold": 0.01,
    "predicted_return": -0.004,
    "side": Side.SHORT,
    "bar_close_at": 1_741_600_000_000,
    "mark_price": None,
    "entry_price": Decimal("49000.0"),
    "quantity": Decimal("0.5"),
    "rsi": None,
    "atr": None,
}


@pytest.mark.parametrize("column", COLUMNS)
def test_an_altered_column_is_found_out(column: str) -> None:
    signal = entered()
    assert disagreements(signal, JUDGES) == []
    assert disagreements(msgspec.structs.replace(signal, **{column: COLUMNS[column]}), JUDGES)


@pytest.mark.parametrize(
    ("check", "values"),
    [
        ("data", {"listed": False}),
        ("data", {"trading": False}),
        ("data", {"forecast_close_at": 1}),
        ("data", {"forecast_refused": "window_gap"}),
        ("rsi", {"limit": 10.0}),
        ("session", {"skip_hours": "12"}),
        ("volatility", {"realised_volatility": None}),
        ("state", {"state": "halted"}),
        ("guards", {"unknown_after_ms": 60_000}),
        ("entry", {"asked_price": 50_100.0}),
        ("entry", {"asked_price": 40_000.0}),
        ("entry", {"tick_size": 100.0}),
        ("entry", {"stop_pct": 5.0}),
        ("size", {"margin_usdt": 100.0}),
        ("size", {"leverage": 3}),
        ("size", {"step_size": 0.03}),
        ("size", {"price": 1.0}),
        ("size", {"quantity": 1.0}),
        ("size", {"notional": 1.0}),
        ("size", {"filter_scale": 0.5}),
        ("size", {"min_quantity": 5.0}),
        ("size", {"max_quantity": 0.001}),
        ("size", {"min_notional": 1e6}),
        ("volume_cap", {"day_volume_usdt": 1.0}),
        ("volume_cap", {"notional": 1.0}),
        ("volume_cap", {"share_max": 1e-9}),
        ("liquidation", {"maintenance_rate": 0.09}),
        ("liquidation", {"buffer_pct": 50.0}),
        ("liquidation", {"bracket_leverage": 1}),
        ("liquidation", {"leverage": 50}),
        ("liquidation", {"positions": 1_000}),
        ("liquidation", {"distance_pct": 80.0}),
        ("funding", {"funding_rate": 0.05, "next_funding_at": 1}),
        ("funding", {"funding_rate": None}),
        ("funding", {"predicted_return": 0.5}),
        ("caps", {"opposite": 1}),
        ("caps", {"symbol_held": 9}),
        ("caps", {"account_cap": 0}),
    ],
)
def test_an_altered_value_of_a_verdict_is_found_out(check: str, values: dict[str, Any]) -> None:
    assert disagreements(with_value(entered(), check, **values), JUDGES), (check, values)


def test_a_verdict_that_was_turned_round_or_left_out_is_found_out() -> None:
    signal = entered()
    for verdict in signal.filter_verdicts:
        assert disagreements(with_verdict(signal, verdict.filter, allow=False), JUDGES), verdict.filter
    for name in ("data", "state", "guards", "entry", "size", "volume_cap", "liquidation", "funding", "caps"):
        kept = tuple(verdict for verdict in signal.filter_verdicts if verdict.filter != name)
        lacking = msgspec.structs.replace(signal, filter_verdicts=kept)
        assert disagreements(lacking, JUDGES), name
    lacking_value = with_verdict(signal, "size", values={})
    assert "lacks what it was decided on" in disagreements(lacking_value, JUDGES)[0]


def test_a_refusal_that_its_numbers_do_not_bear_out_is_found_out() -> None:
    for signal in (refused(mark_price=None), refused(state=TradingState.HALTED)):
        pretended = msgspec.structs.replace(signal, decision_reason="filter:rsi")
        assert disagreements(pretended)
    dishonest = with_value(refused(state=TradingState.HALTED), "state", state="active")
    [found] = disagreements(dishonest)
    assert found == "decision: the row says refuse state_halted, recomputed enter allowed"


def test_a_veto_in_shadow_does_not_decide_in_the_row_either() -> None:
    signal = entered()
    dark = FilterVerdict("dark", False, "no", shadow=True)
    both = msgspec.structs.replace(signal, filter_verdicts=(*signal.filter_verdicts, dark))
    assert recheck(both, JUDGES) == ("enter", "allowed")
    loud = msgspec.structs.replace(dark, shadow=False)
    assert recheck(msgspec.structs.replace(signal, filter_verdicts=(*signal.filter_verdicts, loud))) == (
        "refuse",
        "filter:dark",
    )
