"""Entry methods on the same signals: what each fills at, what it ends with, and the sums by hand."""

import math
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import pytest

from bot.clock import MINUTE_MS
from bot.history.forecasts import Forecasts
from bot.messages import Bars
from bot.research.entries import NO_ENTRY, Ground, Tried, entries_tried, scores
from bot.strategy.follow import Costs, Followed, FollowStatus
from bot.strategy.variant import EntryPlugin
from bot.strategy.window import FIELDS
from tests.strategy.scenes import BTC, CONTEXT, HOUR, MONDAY, make_variant, shipped

FREE = Costs(maker_fee=0.0, taker_fee=0.0, slippage=0.0)
LAST = 50_000.0
BEGIN = MONDAY + 13 * HOUR  # the close of the last bar before the signal


def hours(after: list[tuple[float, float, float, float]]) -> Bars:
    """A calm zigzag up to BEGIN at 50,000, then these bars (open, high, low, close)."""
    calm = [LAST - 5.0 * ((CONTEXT - 1 - index) % 2) for index in range(CONTEXT)]
    rows = [(close, close + 10, close - 10, close) for close in calm] + after
    open_time = BEGIN + HOUR * np.arange(-CONTEXT, len(after))
    columns = dict(zip(("open", "high", "low", "close"), np.array(rows, dtype=float).T, strict=True))
    return Bars("BTCUSDT", HOUR, open_time, **columns, volume=np.full(len(rows), 1e4))


def said(predicted: Mapping[int, float]) -> Forecasts:
    at = np.array(sorted(predicted), dtype=np.int64)
    path = np.array([[0.0, 0.0, 0.0, predicted[one]] for one in at.tolist()])
    count = np.zeros(len(at))
    return Forecasts(
        symbol="BTCUSDT",
        checkpoint="nano",
        horizon=4,
        bar_close_at=at,
        last_close=count,
        path=path,
        q10=path[:, -1] - 0.01,
        q90=path[:, -1] + 0.01,
        distance=count,
        refused=("",) * len(at),
        window_crc32=np.zeros(len(at), dtype=np.uint32),
    )


def ground(bars: Bars, *finer: Bars, **changes: Any) -> Ground:
    whole = Ground(hours=bars, paths=[*finer, bars], funding=(), instrument=BTC)
    return msgspec.structs.replace(whole, **changes)


def tried(bars: Bars, predicted: float, *finer: Bars, costs: Costs = FREE, **tables: Any) -> dict[str, Tried]:
    exits = {"stop_pct": 2.0, "target_pct": 1.0}
    variant = make_variant(exits=exits, **tables)
    entries = shipped().plugins.entries
    found = entries_tried(variant, "BTCUSDT", entries, said({BEGIN: predicted}), ground(bars, *finer), costs, CONTEXT)
    return {one.entry: one for one in found}


RISES = [(LAST, LAST + 700, LAST - 5, LAST + 600)] + [(LAST + 600, LAST + 650, LAST + 550, LAST + 600)] * 5


def test_every_method_gets_the_same_signal() -> None:
    found = tried(hours(RISES), 0.01, variant={"entry": "fib"})
    assert sorted(found) == sorted(shipped().plugins.entries)
    assert {one.at for one in found.values()} == {BEGIN + 3 * MINUTE_MS}
    assert [name for name, one in found.items() if one.own] == ["fib"]


def test_a_market_entry_ends_at_its_target_and_a_limit_below_is_left_behind() -> None:
    found = tried(hours(RISES), 0.01)
    market = found["market"].followed
    assert market is not None
    assert (market.status, market.fill_price, market.exit_reason) == (FollowStatus.CLOSED, LAST, "target")
    assert market.exit_price == pytest.approx(LAST * 1.01)
    assert found["market"].notional == pytest.approx(market.gross * 100)
    assert found["atr05"].status == FollowStatus.EXPIRED
    assert found["atr05"].notional == 0


def test_a_method_that_sees_no_entry_is_counted_as_such() -> None:
    never = EntryPlugin(name="never", options={}, propose=lambda candidate, options: "not_now")
    variant = make_variant()
    rows = entries_tried(variant, "BTCUSDT", {"never": never}, said({BEGIN: 0.01}), ground(hours(RISES)), FREE, CONTEXT)
    assert [(one.entry, one.status) for one in rows] == [("never", NO_ENTRY), ("market", FollowStatus.CLOSED)]


def test_what_the_variant_would_not_enter_is_no_signal() -> None:
    assert tried(hours(RISES), 0.001) == {}
    overbought = hours(RISES)
    overbought.close[CONTEXT - 20 : CONTEXT] = LAST + 40 * np.arange(20)
    assert tried(overbought, 0.01, variant={"filters": ["rsi"]}) == {}


def test_without_bars_after_it_nothing_is_known_of_a_signal() -> None:
    found = tried(hours([]), 0.01)
    assert {one.status for one in found.values()} == {FollowStatus.UNKNOWN}


def test_a_short_signal_gains_as_the_price_falls() -> None:
    falls = [(LAST, LAST + 5, LAST - 700, LAST - 600)] * 2
    market = tried(hours(falls), -0.01)["market"].followed
    assert market is not None
    assert (market.exit_reason, market.gross > 0) == ("target", True)


def test_the_finest_bars_that_reach_to_the_end_are_followed() -> None:
    bars = hours(RISES)
    count = 12
    opened = BEGIN + 5 * MINUTE_MS * np.arange(count)
    drop = np.where(np.arange(count) == 3, LAST * 0.97, LAST)
    level = np.full(count, LAST)
    finer = Bars("BTCUSDT", 5 * MINUTE_MS, opened, level, level, drop, level, np.ones(count))
    found = tried(bars, 0.01, finer)
    market = found["market"].followed
    assert market is not None
    assert (market.exit_reason, found["market"].path_ms) == ("stop_loss", 5 * MINUTE_MS)
    kept = np.arange(count) != 2
    gapped = msgspec.structs.replace(finer, **{name: getattr(finer, name)[kept] for name in ("open_time", *FIELDS)})
    found = tried(bars, 0.01, gapped)
    market = found["market"].followed
    assert market is not None
    assert (market.exit_reason, found["market"].path_ms) == ("target", HOUR)


def test_funding_is_paid_while_it_is_open() -> None:
    flat = [(LAST, LAST + 5, LAST - 5, LAST)] * 8
    variant = make_variant(exits={"stop_pct": 2.0})
    paid = ground(hours(flat), funding=((BEGIN - HOUR, 0.0001), (BEGIN + HOUR, 0.0001), (BEGIN + 30 * HOUR, 0.5)))
    rows = {one.entry: one for one in entries_tried(variant, "BTCUSDT", {}, said({BEGIN: 0.01}), paid, FREE, CONTEXT)}
    market = rows["market"].followed
    assert market is not None
    assert market.funding == pytest.approx(-0.0001 * rows["market"].notional)


def row(net: float, status: str = FollowStatus.CLOSED, day: int = 0, entry: str = "market") -> Tried:
    at = MONDAY + day * 24 * HOUR
    ended = Followed(status=FollowStatus.CLOSED, fill_at=at, exit_at=at + HOUR, gross=net + 1, fees=1.0)
    closed = status == FollowStatus.CLOSED
    return Tried(
        variant="V",
        tier="t1",
        symbol="BTCUSDT",
        entry=entry,
        own=entry == "market",
        at=at,
        status=status,
        notional=1_000.0 if closed else 0.0,
        path_ms=HOUR if day else 5 * MINUTE_MS,
        followed=ended if closed else None,
    )


def test_scores_are_sums_by_hand() -> None:
    rows = [row(6.0), row(-2.0), row(2.0, day=1), row(0, FollowStatus.EXPIRED), row(0, FollowStatus.OPEN)]
    [score, other] = scores([*rows, row(0, NO_ENTRY, entry="fib")], lambda one: one.tier)
    assert (score.group, score.entry, score.own, score.signals) == ("t1", "market", True, 5)
    assert score.outcomes == {"closed": 3, "expired": 1, "open": 1}
    assert score.known == 0.8
    assert (score.fill_rate, score.trades, score.win_rate) == (0.75, 3, pytest.approx(2 / 3))
    assert (score.profit_factor, score.net, score.fees) == (4.0, 6.0, 3.0)
    assert score.hourly == pytest.approx(1 / 3)
    assert (score.net_bps, score.net_per_signal, score.mean_hours) == (pytest.approx(20), 1.5, 1.0)
    assert (other.entry, other.fill_rate, other.trades) == ("fib", 0.0, 0)
    assert math.isnan(other.profit_factor)
