"""The kernel against the exact backtest, trade by trade, over whatever prices and plans hypothesis makes up."""

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.clock import HOUR_MS, MINUTE_MS
from bot.messages import ExitPlan, PositionStatus, Side
from bot.research.backtest.trade import walk as walk_exactly
from bot.research.sweep.columns import CLOSED, LAST_TIME, NO_FILL, UNTOLD, coded
from bot.research.sweep.kernel import trade, walk
from bot.research.sweep.signals import dealing_of, join
from bot.strategy.exits import OFF, scalars
from bot.strategy.walk import ENDS, NEVER
from tests.research.sweep.made import FIVE, START, TERMS, intent, market, signals_at, walk_ticks

PERCENT = st.sampled_from([0.3, 0.5, 1.0, 2.0, 4.0])
MAYBE = st.none() | PERCENT
HOLD = st.none() | st.integers(1, 90).map(lambda count: count * 7 * MINUTE_MS // 3)


@st.composite
def plans(draw: st.DrawFn) -> ExitPlan:
    trail, floor = draw(MAYBE), draw(MAYBE)
    return ExitPlan(
        stop_pct=draw(PERCENT),
        target_pct=draw(MAYBE),
        trail_arm_pct=None if trail is None else draw(PERCENT),
        trail_pct=trail,
        floor_arm_pct=None if floor is None else floor,
        floor_keep_pct=None if floor is None else floor / 2,
        max_hold_ms=draw(HOLD),
        red_after_ms=draw(HOLD),
    )


def rules_of(some: list[ExitPlan]) -> Any:
    rows = [(one.stop_pct, OFF if one.target_pct is None else one.target_pct, *scalars(one)[:6]) for one in some]
    return coded(np.array(rows, dtype=np.float64))


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    swing=st.sampled_from([5.0, 30.0, 120.0]),
    some=st.lists(plans(), min_size=1, max_size=5),
    side=st.sampled_from(list(Side)),
    away=st.none() | st.integers(-60, 200),
    post_only=st.booleans(),
    begin=st.integers(0, 60),
    seconds=st.sampled_from([0, 75, 180, 299]),
    missing=st.lists(st.integers(70, 199), max_size=2),
    path=st.sampled_from([0, 2]),
    session=st.none() | st.integers(1, 100),
)
def test_every_walk_is_the_exact_backtests(
    seed: int,
    swing: float,
    some: list[ExitPlan],
    side: Side,
    away: int | None,
    post_only: bool,
    begin: int,
    seconds: int,
    missing: list[int],
    path: int,
    session: int | None,
) -> None:
    from msgspec.structs import replace

    terms = replace(TERMS, path=type(TERMS.path)(path))
    one = market(walk_ticks(200, seed, swing), missing=missing)
    at = START + begin * FIVE + seconds * 1_000
    end_at = None if session is None else at - at % FIVE + session * FIVE
    last = one.ticks_at(at)
    assert last is not None
    limit = None if away is None else (int(last) - side.sign * away) * one.instrument.tick_size
    wanted = [
        intent(one, at, side, replace(plan, session_end_at=end_at), limit_price=limit, post_only=post_only)
        for plan in some
    ]
    signals, entries = signals_at(one, wanted[:1])
    prices, _ = join([one])
    rules, dealing = rules_of(some), dealing_of(terms)
    shape = len(some), 1
    net, ends, status = np.zeros(shape), np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int8)
    walk(0, 1, prices, signals, entries, rules, dealing, path, net, ends, status)
    for number, sent in enumerate(wanted):
        exact = walk_exactly(sent, one, terms, 0.01)
        position = exact.position
        became, maker, fill, fill_at, out, out_at, ended = trade(
            0, prices, signals, entries, rules, number, dealing, path
        )
        assert became == status[number, 0]
        tick = one.instrument.tick_size
        if became == CLOSED:
            assert position.status is PositionStatus.CLOSED
            assert (int(fill) * tick, fill_at, maker) == (position.entry_price, position.opened_at, exact.maker)
            assert (int(out) * tick, out_at) == (position.exit_price, position.closed_at)
            assert ENDS[ended] == position.exit_reason
            worth = float(position.net_pnl) / float(position.entry_price)
            assert net[number, 0] == pytest.approx(worth, abs=2e-9)
            assert ends[number, 0] == out_at + exact.by_bot
        elif became == NO_FILL:
            assert position.opened_at is None
            assert ends[number, 0] == exact.ends_at
        else:
            assert became == UNTOLD
            assert ends[number, 0] == (LAST_TIME if exact.ends_at == NEVER else exact.ends_at)


def test_a_walk_computed_by_hand() -> None:
    calm = [10_000, 10_010, 9_990, 10_000]
    rise = [10_000, 10_310, 9_995, 10_300]
    one = market([calm] * 12 + [calm, calm, rise, calm], funding=True)
    plan = ExitPlan(stop_pct=2.0, target_pct=3.0, max_hold_ms=4 * HOUR_MS)
    at = START + 11 * FIVE
    signals, entries = signals_at(one, [intent(one, at, Side.LONG, plan)])
    prices, _ = join([one])
    net, ends, status = np.zeros((1, 1)), np.zeros((1, 1), dtype=np.int64), np.zeros((1, 1), dtype=np.int8)
    walk(0, 1, prices, signals, entries, rules_of([plan]), dealing_of(TERMS), 0, net, ends, status)
    # bought at 10,000 worsened by 1 bp to 10,001; the target of 10,301.03 stands on the tick above, 10,302, and is
    # sold 1 bp and up to a tick worse, at 10,300; one payment of 0.01 % on the close before the hour
    fill, out = 10_001, 10_302 - 2
    costs = 0.0005 + 0.0005 * out / fill + 0.0001 * 10_000 / fill
    assert status[0, 0] == CLOSED
    assert net[0, 0] == pytest.approx(out / fill - 1 - costs, abs=1e-12)
    assert Decimal(int(ends[0, 0]) - START) == 14 * FIVE + FIVE // 2


def test_plans_that_share_a_level_get_what_each_gets_alone() -> None:
    one = market(walk_ticks(400, 7, 60.0))
    some = [
        ExitPlan(stop_pct=stop, target_pct=target, max_hold_ms=hold * FIVE, red_after_ms=red * FIVE if red else None)
        for stop in (1.0, 2.0, 3.0)
        for target in (1.0, 2.0)
        for hold, red in ((20, 0), (40, 0), (40, 15))
    ]
    wanted = [intent(one, START + bar * FIVE, side, some[0]) for bar in range(0, 300, 5) for side in Side]
    signals, entries = signals_at(one, wanted)
    prices, _ = join([one])
    together = [np.zeros((len(some), len(wanted)), dtype=kind) for kind in (np.float64, np.int64, np.int8)]
    walk(0, len(wanted), prices, signals, entries, rules_of(some), dealing_of(TERMS), 0, *together)
    for number, plan in enumerate(some):
        alone = [np.zeros((1, len(wanted)), dtype=kind) for kind in (np.float64, np.int64, np.int8)]
        walk(0, len(wanted), prices, signals, entries, rules_of([plan]), dealing_of(TERMS), 0, *alone)
        for shared, own in zip(together, alone, strict=True):
            assert np.array_equal(shared[number], own[0])
