"""Runs over made markets: every cycle is a row, in live's order, and what is held counts while it is held."""

from collections import Counter
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from bot.config import GUARDS_OFF
from bot.exchange.simulator.market import FundingRates
from bot.messages import Bars, Floats, Forecast, ForecastRefused
from bot.research.backtest.engine import Outcome, Setup, run
from bot.research.backtest.market import SymbolMarket
from bot.strategy.variant import Variant
from bot.strategy.walk import in_ticks
from tests.research.backtest.scenes import FREE, HOUR, MINUTE
from tests.strategy.scenes import BTC, make_variant

CONTEXT = 64
DAYS = 3
START = 1_741_564_800_000  # 2025-03-10, a Monday
END = START + DAYS * 24 * HOUR
NO_LIMITS = {"volume_share_pct": 0.0, "funding_share_pct": 0.0, "margin_usdt": 100.0}


class Says:
    """Predicts the same of one symbol at every bar but those it leaves out or refuses."""

    def __init__(
        self, symbol: str, predicted: Floats, close_at: npt.NDArray[np.int64], refused: int | None = None
    ) -> None:
        self.symbol, self.predicted, self.bar_close_at, self._refused = symbol, predicted, close_at, refused

    @property
    def quantiles(self) -> tuple[Floats, Floats]:
        return self.predicted - 0.01, self.predicted + 0.01

    def answer(self, at: int, bar_close_at: int) -> Forecast | ForecastRefused:
        if bar_close_at == self._refused:
            return ForecastRefused(self.symbol, "absurd_forecast")
        found = np.flatnonzero(self.bar_close_at == bar_close_at)
        if not len(found):
            return ForecastRefused(self.symbol, "forecast_missing")
        value = float(self.predicted[found[0]])
        return Forecast(self.symbol, "made", bar_close_at, 4, value, value - 0.01, value + 0.01)


class Source:
    interval_ms = HOUR

    def __init__(self, said: Says) -> None:
        self._said = said

    def offsets_ms(self, variant: Variant) -> tuple[int, ...]:
        return tuple(minute * MINUTE for minute in variant.minutes)

    def said(self, variant: Variant, symbol: str) -> Says:
        return self._said


def market_of(bars: Bars) -> SymbolMarket:
    played = bars.open_time >= START
    columns = {name: getattr(bars, name)[played] for name in ("open_time", "open", "high", "low", "close", "volume")}
    path = in_ticks(msgspec.structs.replace(bars, **columns), float(BTC.tick_size))
    return SymbolMarket(
        bars=bars, path=path, instrument=BTC, funding=FundingRates(np.zeros(0, np.int64), ()), began_at=START
    )


def wandering(seed: int = 1) -> Bars:
    count = CONTEXT + DAYS * 24
    random = np.random.default_rng(seed)
    close = np.round(50_000 * np.exp(np.cumsum(random.normal(0, 0.004, count))), 1)
    opened = np.concatenate([close[:1], close[:-1]])
    high, low = np.maximum(opened, close) + 60.0, np.minimum(opened, close) - 60.0
    at = START + HOUR * (np.arange(count, dtype=np.int64) - CONTEXT)
    return Bars("BTCUSDT", HOUR, at, opened, high, low, close, np.full(count, 5.0))


def a_variant(**tables: dict[str, Any]) -> Variant:
    sizing = NO_LIMITS | tables.pop("sizing", {})
    variant = {"minutes": [3, 33], "threshold_pct": 0.2, "entry": "market"} | tables.pop("variant", {})
    return make_variant(variant=variant, sizing=sizing, **tables)


def go(variants: list[Variant], bars: Bars, said: Says, **changes: Any) -> Outcome:
    setup = Setup(start=START, end=END, context=CONTEXT, wallet=Decimal(10_000), terms=FREE, guards=GUARDS_OFF)
    return run(variants, {"BTCUSDT": market_of(bars)}, Source(said), msgspec.structs.replace(setup, **changes))


def mixed(bars: Bars) -> Says:
    close_at = bars.open_time + HOUR
    predicted = np.random.default_rng(3).normal(0, 0.003, len(close_at))
    predicted[90] = 0.0
    keep = np.ones(len(close_at), dtype=np.bool_)
    keep[100] = False
    refused = int(close_at[95])
    predicted[95] = np.nan
    return Says("BTCUSDT", predicted[keep], close_at[keep], refused)


def test_what_is_counted_without_a_row_is_what_the_rows_say() -> None:
    bars = wandering()
    holed = msgspec.structs.replace(
        bars,
        **{
            name: np.delete(getattr(bars, name), 110)
            for name in ("open_time", "open", "high", "low", "close", "volume")
        },
    )
    said = mixed(bars)
    variants = [a_variant(variant={"filters": ["rsi"]})]
    counted, written = go(variants, holed, said), go(variants, holed, said, every_row=True)
    assert +counted.decisions == +written.decisions
    assert counted.candidates == written.candidates
    none_said = sum(counted.decisions["BTC", "refuse", reason] for reason in ("absurd_forecast", "forecast_missing"))
    assert counted.unforecast == written.unforecast == none_said > 0
    assert sum(written.decisions.values()) == len(written.rows) == DAYS * 48
    reasons = {reason for _, _, reason in +counted.decisions}
    assert reasons >= {"allowed", "below_threshold", "absurd_forecast", "forecast_missing", "bar_missing", "window_gap"}
    assert [trade.position for trade in counted.trades] == [trade.position for trade in written.trades]


def test_a_position_counts_against_the_caps_until_it_ends() -> None:
    bars = wandering()
    said = Says("BTCUSDT", np.full(len(bars), 0.01), bars.open_time + HOUR)
    variants = [a_variant(sizing={"max_positions_per_symbol": 1})]
    found = go(variants, bars, said)
    spans = [(trade.position.opened_at or 0, trade.ends_at) for trade in found.trades]
    assert len(spans) > 10
    assert all(end <= begin for (_, end), (begin, _) in zip(spans, spans[1:], strict=False))
    assert Counter(found.decisions)["BTC", "refuse", "cap_symbol"] > 0


def test_an_opposite_entry_is_refused_while_another_variant_holds_the_symbol() -> None:
    bars = wandering()
    close_at = bars.open_time + HOUR
    said = Says("BTCUSDT", np.where(np.arange(len(bars)) % 2 == 0, 0.01, -0.01), close_at)
    found = go([a_variant(), a_variant(variant={"name": "OTHER", "minutes": [7]})], bars, said)
    assert found.decisions["OTHER", "refuse", "opposite_position"] > 0
    for one in found.trades:
        for other in found.trades:
            together = other.position.created_at < one.position.created_at < other.ends_at
            assert not together or one.intent.side is other.intent.side


def test_a_losing_streak_stops_entries_for_its_time() -> None:
    bars = wandering()
    said = Says("BTCUSDT", np.full(len(bars), 0.01), bars.open_time + HOUR)
    dear = msgspec.structs.replace(FREE, taker_fee=Decimal("0.02"))  # every trade loses
    rules = msgspec.structs.replace(GUARDS_OFF, losing_streak=3, losing_streak_release=600)
    found = go([a_variant()], bars, said, terms=dear, guards=rules)
    ends = sorted(trade.ends_at for trade in found.trades)
    third = ends[2]
    assert found.decisions["BTC", "refuse", "guard_losing_streak"] > 10
    assert not [trade for trade in found.trades if third < trade.position.created_at < third + 600 * MINUTE]


def test_a_drawdown_is_read_every_ten_minutes_with_what_is_open() -> None:
    bars = wandering()
    said = Says("BTCUSDT", np.full(len(bars), 0.01), bars.open_time + HOUR)
    dear = msgspec.structs.replace(FREE, taker_fee=Decimal("0.02"))
    rules = msgspec.structs.replace(GUARDS_OFF, drawdown_pct=0.5)
    found = go([a_variant(sizing={"margin_usdt": 500.0})], bars, said, terms=dear, guards=rules)
    assert len(found.trades) < 4
    assert found.decisions["BTC", "refuse", "guard_drawdown"] > 100


def test_the_venue_takes_no_entry_that_the_account_cannot_carry() -> None:
    bars = wandering()
    said = Says("BTCUSDT", np.full(len(bars), 0.01), bars.open_time + HOUR)
    found = go([a_variant(sizing={"margin_usdt": 600.0})], bars, said, wallet=Decimal(1_000))
    reasons = [trade.position.exit_reason for trade in found.trades]
    assert "rejected" in reasons
    assert any(trade.position.filled for trade in found.trades)


@pytest.mark.parametrize("seed", range(3))
def test_equal_runs_are_equal(seed: int) -> None:
    bars = wandering(seed)
    first, second = (go([a_variant()], bars, mixed(bars)) for _ in range(2))
    assert [trade.position for trade in first.trades] == [trade.position for trade in second.trades]
