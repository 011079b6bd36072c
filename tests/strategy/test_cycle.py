"""A cycle's decision, computed by hand; and that nothing from the future reaches it."""

from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.errors import PluginFault
from bot.hookspecs import Candidate, EntryPlan, Options
from bot.messages import Bars, FilterVerdict, Forecast, ForecastRefused, Side, TradingState
from bot.strategy.cycle import Seen, decide, next_cycle, signal_id
from bot.strategy.risk import Exposure, Held
from bot.strategy.variant import EntryPlugin, FilterPlugin, Variant
from bot.strategy.window import FIELDS, tail, upto
from tests.strategy.scenes import BTC, CONTEXT, HOUR, MONDAY, make_bars, make_seen, make_variant, words, zigzag

NOTHING = Exposure()
FLAT = [50_000.0] * (CONTEXT - 15)


def reason(variant: Variant, seen: Seen, exposure: Exposure = NOTHING) -> str:
    signal, intent = decide(variant, seen, exposure)
    assert (signal.decision == "enter") == (intent is not None)
    return signal.decision_reason


def test_a_market_entry_is_sized_at_the_mark() -> None:
    signal, intent = decide(make_variant(), make_seen(zigzag()), NOTHING)
    assert intent is not None
    assert (signal.decision, signal.decision_reason, signal.fill_status) == ("enter", "allowed", "pending")
    assert signal.signal_id == intent.signal_id
    assert signal.entry_price is None
    assert signal.side is intent.side is Side.LONG
    assert signal.quantity == intent.quantity == Decimal("0.099")  # 500 x 10 / 50001 = 0.09999
    assert intent.limit_price is None
    assert (intent.created_at, intent.expires_at) == (signal.cycle_at + 500, signal.cycle_at + 500 + HOUR)
    assert (signal.threshold, signal.predicted_return) == (0.002, 0.004)


@pytest.mark.parametrize(("predicted", "price"), [(0.004, "49989.8"), (-0.004, "50010.2")])
def test_atr05_asks_for_half_an_atr_better_than_the_last_price(predicted: float, price: str) -> None:
    bars = make_bars([50_000.0] * CONTEXT, spread=10.15)  # true range and ATR 20.3; the tick rounds away
    variant = make_variant(variant={"entry": "atr05", "post_only": True})
    signal, intent = decide(variant, make_seen(bars, predicted), NOTHING)
    assert intent is not None
    assert signal.atr == pytest.approx(20.3)
    assert signal.entry_price == intent.limit_price == Decimal(price)
    assert intent.post_only


def swing(*, up: bool) -> Bars:
    """Flat, then a leg of 100 that ends five bars ago, then a little back; the legs' bars have a spread of 10."""
    leg = [50_000.0, 50_020, 50_040, 50_060, 50_080, 50_100, 50_095, 50_090, 50_085, 50_095]
    flat = [50_010.0 + 3 * index for index in range(CONTEXT - len(leg), 0, -1)]
    closes = [*flat, *leg]
    return make_bars(closes if up else [100_000.0 - close for close in closes])


@pytest.mark.parametrize(("up", "predicted", "price"), [(True, 0.004, "50064.1"), (False, -0.004, "49935.9")])
def test_fib_asks_for_the_retracement_of_the_last_swing(up: bool, predicted: float, price: str) -> None:
    # the leg runs from 49990 to 50110: 50110 - 0.382 x 120 = 50064.16
    signal, _ = decide(make_variant(variant={"entry": "fib"}), make_seen(swing(up=up), predicted), NOTHING)
    assert (signal.decision_reason, signal.entry_price) == ("allowed", Decimal(price))


def test_fib_without_a_swing_or_after_it_has_given_back_enters_nothing() -> None:
    variant = make_variant(variant={"entry": "fib"})
    assert reason(variant, make_seen(make_bars([50_000.0 + index for index in range(CONTEXT)]))) == "no_entry:no_swing"
    spent = swing(up=True)
    closes = spent.close.copy()
    closes[-1] = 50_050.0
    later = msgspec.structs.replace(spent, close=closes)
    assert reason(variant, make_seen(later)) == "no_entry:retraced_already"


def with_changes(changes: dict[str, Any]) -> Seen:
    return msgspec.structs.replace(make_seen(zigzag()), **changes)


def stale() -> Forecast:
    older = make_seen(upto(zigzag(), MONDAY + 11 * HOUR)).forecast
    assert isinstance(older, Forecast)
    return older


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"bars": None, "forecast": ForecastRefused("BTCUSDT", "window_gap")}, "window_gap"),
        ({"bars": None, "forecast": ForecastRefused("BTCUSDT", "bar_missing")}, "bar_missing"),
        ({"forecast": ForecastRefused("BTCUSDT", "unknown_checkpoint")}, "unknown_checkpoint"),
        ({"mark_price": None}, "mark_missing"),
        ({"instrument": None}, "instrument_missing"),
        ({"instrument": msgspec.structs.replace(BTC, trading=False)}, "instrument_not_trading"),
        ({"forecast": stale()}, "forecast_stale"),
        ({"bars": tail(zigzag(), 10)}, "indicator_missing"),
        ({"state": TradingState.REDUCING}, "state_reducing"),
        ({"state": TradingState.HALTED}, "state_halted"),
        ({"instrument": msgspec.structs.replace(BTC, min_quantity=Decimal(1))}, "quantity_below_minimum"),
        ({"instrument": msgspec.structs.replace(BTC, step_size=Decimal(1))}, "quantity_below_minimum"),
        ({"instrument": msgspec.structs.replace(BTC, max_market_quantity=Decimal("0.01"))}, "quantity_above_maximum"),
        ({"instrument": msgspec.structs.replace(BTC, min_notional=Decimal(5000))}, "notional_below_minimum"),
    ],
)
def test_each_fault_of_the_data_refuses_by_name(changes: dict[str, Any], expected: str) -> None:
    assert reason(make_variant(), with_changes(changes)) == expected


@pytest.mark.parametrize(
    ("predicted", "expected", "side"),
    [
        (0.002, "allowed", Side.LONG),
        (-0.002, "allowed", Side.SHORT),
        (0.0019999, "below_threshold", Side.LONG),
        (-0.0019999, "below_threshold", Side.SHORT),
        (0.0, "below_threshold", None),
        (float("nan"), "forecast_not_finite", None),
    ],
)
def test_the_threshold_is_reached_from_either_side(predicted: float, expected: str, side: Side | None) -> None:
    signal, _ = decide(make_variant(), make_seen(zigzag(), predicted), NOTHING)
    assert (signal.decision_reason, signal.side) == (expected, side)


def test_every_filter_is_judged_and_the_first_veto_is_the_reason() -> None:
    variant = make_variant(variant={"filters": ["session", "rsi"]}, filter={"session": {"skip_hours": [12]}})
    overbought = make_bars([*FLAT, *(50_000.0 + 7 * index for index in range(15))])
    signal, intent = decide(variant, make_seen(overbought), NOTHING)
    assert intent is None
    assert signal.decision_reason == "filter:session"
    assert [(verdict.filter, verdict.reason) for verdict in words(signal)] == [
        ("session", "hour_skipped"),
        ("rsi", "overbought"),
    ]
    assert words(signal)[1].values == {"rsi": signal.rsi, "limit": 60.0}


@pytest.mark.parametrize(
    ("day", "hour", "expected"),
    [
        (0, 5, "in_session"),
        (0, 6, "hour_skipped"),
        (0, 7, "in_session"),
        (4, 12, "weekday_skipped"),
        (5, 0, "in_session"),
    ],
)
def test_session_skips_the_tiers_fridays_and_the_six_oclock_hour(day: int, hour: int, expected: str) -> None:
    bars = make_bars([50_000.0] * CONTEXT, end=MONDAY + day * 24 * HOUR + hour * HOUR)
    signal, _ = decide(make_variant(variant={"filters": ["session"]}), make_seen(bars), NOTHING)
    assert words(signal)[0].reason == expected


@pytest.mark.parametrize(
    ("ups", "predicted", "allowed"),
    [(8, 0.004, True), (9, 0.004, False), (9, -0.004, True), (6, -0.004, True), (5, -0.004, False), (5, 0.004, True)],
)
def test_rsi_blocks_a_long_above_60_and_a_short_below_40(ups: int, predicted: float, allowed: bool) -> None:
    # 15 closes make one RSI: 14 steps of which `ups` go up, so RSI = 100 x ups / 14 (57, 64, 43, 36)
    closes = np.cumsum([50_000.0, *[1.0] * ups, *[-1.0] * (14 - ups)])
    seen = make_seen(make_bars(closes.tolist()), predicted)
    signal, _ = decide(make_variant(variant={"filters": ["rsi"]}), seen, NOTHING)
    assert signal.rsi == pytest.approx(100 * ups / 14)
    assert words(signal)[0].allow is allowed


def test_an_opposite_position_and_each_cap_refuse() -> None:
    variant = make_variant(sizing={"max_positions_per_symbol": 2, "max_positions": 3})
    seen = make_seen(zigzag())
    own, elsewhere = Held("BTC", "t1", "BTCUSDT", Side.LONG), Held("BTC", "t1", "ETHUSDT", Side.SHORT)
    foreign_short = Held("OTHER", "t2", "BTCUSDT", Side.SHORT)
    foreign_long = Held("OTHER", "t2", "BTCUSDT", Side.LONG)
    assert reason(variant, seen, Exposure((foreign_short,))) == "opposite_position"
    assert reason(variant, seen, Exposure((own, foreign_long, foreign_long))) == "allowed"
    assert reason(variant, seen, Exposure((own, own))) == "cap_symbol"
    assert reason(variant, seen, Exposure((elsewhere,) * 3)) == "cap_variant"
    capped = msgspec.structs.replace(variant.caps, variant=None, tier=5, account=6)
    loose = msgspec.structs.replace(variant, caps=capped)
    assert reason(loose, seen, Exposure((elsewhere,) * 5)) == "cap_tier"
    assert (
        reason(loose, seen, Exposure((msgspec.structs.replace(foreign_long, symbol="XRPUSDT"),) * 6)) == "cap_account"
    )


def fault(candidate: Candidate, options: Options) -> Any:
    raise PluginFault("broken", "raised ValueError: no")


def test_a_faulty_filter_or_entry_refuses_with_its_name() -> None:
    seen = make_seen(zigzag())
    good = make_variant(variant={"filters": ["rsi"]})
    broken = FilterPlugin(name="broken", options={}, judge=fault)
    signal, intent = decide(msgspec.structs.replace(good, filters=(broken, *good.filters)), seen, NOTHING)
    assert (intent, signal.decision_reason) == (None, "plugin:broken")
    assert [verdict.allow for verdict in words(signal)] == [False, True]
    entry = EntryPlugin(name="broken", options={}, propose=fault)
    assert reason(msgspec.structs.replace(good, entry=entry), seen) == "plugin:broken"


@pytest.mark.parametrize(("price", "predicted"), [("50000.1", 0.004), ("49999.9", -0.004)])
def test_a_limit_on_the_wrong_side_of_the_last_price_is_refused(price: str, predicted: float) -> None:
    def propose(candidate: Candidate, options: Options) -> EntryPlan:
        return EntryPlan(price=Decimal(price))

    entry = EntryPlugin(name="eager", options={}, propose=propose)
    variant = msgspec.structs.replace(make_variant(), entry=entry)
    assert reason(variant, make_seen(zigzag(), predicted)) == "entry_wrong_side"


def test_an_entrys_words_become_the_reason() -> None:
    entry = EntryPlugin(name="shy", options={}, propose=lambda candidate, options: "Not today, thanks!")
    assert reason(msgspec.structs.replace(make_variant(), entry=entry), make_seen(zigzag())) == (
        "no_entry:not_today_thanks"
    )


def test_a_signals_id_is_the_same_in_every_process() -> None:
    assert signal_id("BTC", "BTCUSDT", MONDAY) == signal_id("BTC", "BTCUSDT", MONDAY) == "zx5muufmcun6w"
    ids = {signal_id(name, symbol, MONDAY + at) for name in "AB" for symbol in "XY" for at in range(50)}
    assert len(ids) == 200
    assert all(len(one) == 13 and one.isalnum() and one.islower() for one in ids)


def test_the_next_cycle_lies_strictly_ahead() -> None:
    minute = 60_000
    assert next_cycle([3, 33], MONDAY) == MONDAY + 3 * minute
    assert next_cycle([3, 33], MONDAY + 3 * minute) == MONDAY + 33 * minute
    assert next_cycle([3, 33], MONDAY + 33 * minute) == MONDAY + 63 * minute
    assert next_cycle([0], MONDAY) == MONDAY + 60 * minute


WALKS = st.lists(st.integers(-80, 80), min_size=CONTEXT, max_size=CONTEXT).map(
    lambda steps: (50_000.0 + np.cumsum(steps)).tolist()
)
ENTRIES = st.sampled_from(["market", "atr05", "fib"])


@settings(max_examples=60, deadline=None)
@given(closes=WALKS, entry=ENTRIES, predicted=st.sampled_from([0.004, -0.004]), noise=st.floats(0.1, 9.0))
def test_a_bar_of_the_future_changes_nothing(closes: list[float], entry: str, predicted: float, noise: float) -> None:
    known = make_bars(closes)
    variant = make_variant(variant={"entry": entry, "filters": ["rsi"]})

    def with_future(factor: float) -> Bars:
        everything = make_bars([*closes, *[closes[-1] * factor] * 5], end=known.close_at + 5 * HOUR)
        return tail(upto(everything, known.close_at + 3 * 60_000), CONTEXT)

    decisions = [decide(variant, make_seen(bars, predicted), NOTHING) for bars in (known, with_future(noise))]
    assert decisions[0] == decisions[1]


@settings(max_examples=60, deadline=None)
@given(closes=WALKS, entry=ENTRIES)
def test_mirrored_prices_give_the_mirrored_decision(closes: list[float], entry: str) -> None:
    variant = make_variant(variant={"entry": entry, "filters": ["rsi"]})
    bars = make_bars(closes)
    mirror = {name: 100_000.0 - getattr(bars, name) for name in FIELDS[:4]}
    mirror["high"], mirror["low"] = mirror["low"], mirror["high"]
    long, _ = decide(variant, make_seen(bars, 0.004), NOTHING)
    short, _ = decide(variant, make_seen(msgspec.structs.replace(bars, **mirror), -0.004), NOTHING)
    assert long.rsi == pytest.approx(100 - short.rsi)
    if abs(long.rsi - 60) < 1e-6:
        return
    assert long.decision_reason == short.decision_reason
    assert (long.entry_price is None) == (short.entry_price is None)
    if long.entry_price is not None and short.entry_price is not None:
        assert abs(long.entry_price + short.entry_price - 100_000) <= Decimal("0.1")


def test_a_filter_that_allows_says_so_in_the_row() -> None:
    signal, intent = decide(make_variant(variant={"filters": ["rsi"]}), make_seen(zigzag()), NOTHING)
    assert intent is not None
    [verdict] = words(signal)
    assert isinstance(verdict, FilterVerdict)
    assert (verdict.filter, verdict.allow, verdict.reason) == ("rsi", True, "within_limits")


def judging(name: str, *, allow: bool = True, shadow: bool = False, scale: float = 1.0) -> FilterPlugin:
    verdict = FilterVerdict(name, allow, "because", scale=scale)
    return FilterPlugin(name=name, options={}, judge=lambda candidate, options: verdict, shadow=shadow)


def with_filters(*filters: FilterPlugin, **tables: Any) -> Variant:
    return msgspec.structs.replace(make_variant(**tables), filters=filters)


def test_a_refused_row_says_what_would_have_been_entered_and_what_every_check_said() -> None:
    variant = with_filters(judging("never", allow=False), variant={"entry": "atr05"})
    bars = make_bars([50_000.0] * CONTEXT, spread=10.15)
    held = Exposure((Held("OTHER", "t2", "BTCUSDT", Side.SHORT),))
    signal, intent = decide(variant, make_seen(bars, state=TradingState.HALTED), held)
    assert (signal.decision_reason, intent) == ("filter:never", None)
    assert (signal.side, signal.entry_price, signal.quantity) == (Side.LONG, Decimal("49989.8"), Decimal("0.100"))
    reasons = {verdict.filter: verdict.reason for verdict in words(signal, checks=True)}
    assert (reasons["state"], reasons["caps"]) == ("state_halted", "opposite_position")
    assert reasons["data"] == reasons["size"] == "allowed"


def test_the_first_reason_in_the_documented_order_decides() -> None:
    halted = make_seen(zigzag(), state=TradingState.HALTED)
    shy = EntryPlugin(name="shy", options={}, propose=lambda candidate, options: "no")
    opposite = Exposure((Held("OTHER", "t2", "BTCUSDT", Side.SHORT),))
    assert reason(with_filters(judging("a", allow=False)), halted, opposite) == "filter:a"
    assert reason(msgspec.structs.replace(with_filters(judging("a")), entry=shy), halted, opposite) == "state_halted"
    active = make_seen(zigzag())
    assert reason(msgspec.structs.replace(make_variant(), entry=shy), active, opposite) == "no_entry:no"
    assert reason(make_variant(), active, opposite) == "opposite_position"


def test_a_filter_in_shadow_is_logged_and_has_no_say() -> None:
    variant = with_filters(judging("dark", allow=False, shadow=True, scale=0.5))
    signal, intent = decide(variant, make_seen(zigzag()), NOTHING)
    assert intent is not None
    assert signal.quantity == Decimal("0.099")
    assert [(verdict.allow, verdict.shadow) for verdict in words(signal)] == [(False, True)]


def test_the_scales_of_the_filters_shrink_the_margin() -> None:
    variant = with_filters(judging("a", scale=0.5), judging("b", scale=0.5), judging("c", shadow=True, scale=0.1))
    signal, intent = decide(variant, make_seen(zigzag()), NOTHING)
    assert intent is not None
    assert signal.quantity == intent.quantity == Decimal("0.024")  # 125 x 10 / 50001 = 0.02499


def test_every_row_names_the_checkpoint_that_serves_its_tier() -> None:
    missing = make_seen(zigzag(), forecast=ForecastRefused("BTCUSDT", "forecast_missing"), checkpoint="t1/a@1a2b3c4d")
    signal, _ = decide(make_variant(), missing, NOTHING)
    assert (signal.decision_reason, signal.checkpoint) == ("forecast_missing", "t1/a@1a2b3c4d")
    signal, _ = decide(make_variant(), make_seen(zigzag(), checkpoint="t1/a@1a2b3c4d"), NOTHING)
    assert signal.checkpoint == "nano", "what really forecast has the last word"
