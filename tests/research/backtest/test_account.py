"""The account of a backtest: what it affords, and when it is ruined, whether or not a guard reads its equity."""

from decimal import Decimal

import pytest

from bot.config import GUARDS_OFF, GuardsTable
from bot.messages import Position, PositionStatus
from bot.research.backtest.account import Account
from bot.research.backtest.trade import Trade
from bot.strategy.guards import rules_of
from bot.strategy.walk import NEVER
from tests.research.backtest.scenes import COIN, HOUR, MINUTE, intent

D = Decimal
LOOSE = GuardsTable(day_drawdown_pct=0, drawdown_pct=99, daily_loss_pct=0, losing_streak=0)


def account(guards: GuardsTable, price: float = 100.0) -> Account:
    return Account(rules_of(guards), 5 * MINUTE, 0, D(10_000), lambda symbol, moment: price)


def trade(net: int | None, *, quantity: int = 1, ends_at: int = HOUR) -> Trade:
    """Opened at 100 three minutes in; closed with `net`, or open to the end."""
    asked = intent(quantity=D(quantity))
    position = Position.of(asked)
    position.status, position.filled, position.opened_at = PositionStatus.OPEN, asked.quantity, asked.created_at
    position.entry_price = D(100)
    if net is None:
        return Trade(intent=asked, position=position, predicted=0.01, ends_at=NEVER)
    position.status, position.closed, position.closed_at = PositionStatus.CLOSED, asked.quantity, ends_at
    position.gross_pnl = D(net)
    return Trade(intent=asked, position=position, predicted=0.01, ends_at=ends_at)


def affords(one: Account, notional: int, now: int) -> bool:
    one.pass_time(now)
    return one.affords(D(notional), "BTCUSDT", 10, COIN.brackets, now)


@pytest.mark.parametrize("guards", [GUARDS_OFF, LOOSE])
def test_what_was_lost_is_no_margin_whether_or_not_a_guard_reads(guards: GuardsTable) -> None:
    one = account(guards)
    assert affords(one, 60_000, 4 * MINUTE)
    one.add(trade(-9_000), 100.0)
    assert affords(one, 60_000, 5 * MINUTE)  # it has not happened yet
    assert not affords(one, 60_000, 2 * HOUR)
    assert affords(one, 9_000, 2 * HOUR)
    assert one.ruined_at is None


@pytest.mark.parametrize("guards", [GUARDS_OFF, LOOSE])
def test_what_open_positions_have_lost_is_no_margin(guards: GuardsTable) -> None:
    one = account(guards, price=20.0)
    one.add(trade(None, quantity=100), 10_000.0)  # 8,000 down; it binds 200 at the price of now
    assert not affords(one, 20_000, 2 * HOUR)
    assert affords(one, 10_000, 2 * HOUR)


@pytest.mark.parametrize("guards", [GUARDS_OFF, LOOSE])
def test_an_account_that_has_lost_everything_is_ruined_and_affords_nothing(guards: GuardsTable) -> None:
    one = account(guards)
    one.add(trade(-10_500), 100.0)
    assert not affords(one, 10, 2 * HOUR)
    assert one.ruined_at is not None
    assert HOUR <= one.ruined_at < HOUR + 6 * MINUTE
