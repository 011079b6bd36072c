"""Figures of a run of two trades, by hand."""

from collections import Counter
from decimal import Decimal

import numpy as np
import pytest

from bot.messages import ExitPlan, PositionStatus, Side
from bot.research.backtest.engine import Outcome
from bot.research.backtest.results import equity_curve, prices_on, results_of
from bot.research.backtest.trade import Trade, walk
from tests.research.backtest.scenes import CALM, FIVE, HOUR, MINUTE, USUAL, intent, market

RISES = (100.0, 103.5, 100.0, 103.5)
THERE = market(CALM, RISES, (103.5, 103.5, 103.5, 103.5), (103.5, 103.5, 99.0, 99.0), (99.0, 99.0, 99.0, 99.0))
END = 5 * FIVE


def trades() -> list[Trade]:
    won = walk(intent(), THERE, USUAL, 0.01)
    lost = walk(intent(signal_id="b", created_at=2 * FIVE + MINUTE, exits=ExitPlan(stop_pct=2.0)), THERE, USUAL, 0.01)
    return [won, lost]


def outcome(made: list[Trade]) -> Outcome:
    return Outcome(trades=made, decisions=Counter(), candidates=2, rows=[], ruined_at=None)


def test_the_figures_are_those_of_the_trades() -> None:
    results, closed = results_of(outcome(trades()), {"BTCUSDT": THERE}, 0, END, Decimal(1_000))
    won, lost = closed
    # in at 100.01, target 103.0103 up to 103.02, out at 103.00; in at 103.52, stop 101.4496 down, out at 101.42
    assert (won.entry_price, won.exit_price) == (Decimal("100.01"), Decimal("103.00"))
    assert (lost.entry_price, lost.exit_price) == (Decimal("103.52"), Decimal("101.42"))
    figures = results.figures
    assert figures.gross_pnl == Decimal("2.99") - Decimal("2.10")
    assert figures.fees == sum(one.fees for one in closed)
    assert figures.net_pnl == figures.gross_pnl - figures.fees
    assert (figures.trades, figures.won, figures.entries, figures.filled) == (2, 1, 2, 2)
    assert figures.profit_factor == pytest.approx(float(won.net_pnl / -lost.net_pnl))
    assert figures.fees_of_gross == pytest.approx(float(figures.fees / Decimal("2.99")))
    assert results.by_exit.keys() == {"target", "stop_loss"}
    assert results.by_hour.keys() == {"00"}
    assert results.by_month.keys() == {"1970-01"}


def test_the_equity_stands_at_the_prices_that_stood_and_ends_with_what_was_earned() -> None:
    made = trades()
    at, equity = equity_curve(made, {"BTCUSDT": THERE}, 0, END, 1_000.0)
    assert at.tolist() == [0, FIVE, 2 * FIVE, 3 * FIVE, 4 * FIVE, END]
    # at the second bar's open 100 stands: the slippage and the entry's fee are gone
    assert equity[1] == pytest.approx(1_000 - 0.01 - 0.050005)
    assert equity[-1] == pytest.approx(1_000 + float(sum(one.position.net_pnl for one in made)))
    assert prices_on(THERE, np.array([FIVE - 1, FIVE, HOUR])).tolist() == [100.0, 100.0, 99.0]


def test_what_is_open_at_the_end_counts_in_the_equity_and_is_no_trade() -> None:
    held = walk(intent(side=Side.SHORT, exits=ExitPlan(stop_pct=50.0)), THERE, USUAL, -0.01)
    assert held.position.status is PositionStatus.OPEN
    results, closed = results_of(outcome([held]), {"BTCUSDT": THERE}, 0, END, Decimal(1_000))
    assert closed == []
    assert results.figures.return_pct == pytest.approx((99.99 - 99.0 - 0.049995) / 10, abs=1e-3)
