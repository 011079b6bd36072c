"""Trades of a real venue: as near as bars can tell, and what is left out."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from bot.clock import DAY_MS
from bot.messages import Position, PositionStatus, Signal
from bot.research.backtest.parity import Compared, Parity, check, market_of
from bot.research.backtest.trade import simulators_terms, walk
from bot.strategy.cycle import decide
from bot.strategy.risk import Exposure
from bot.strategy.walk import in_ticks
from bot.strategy.window import tail, upto
from tests.strategy.days import walk as bars_of_days
from tests.strategy.scenes import CONTEXT, HOUR, MONDAY, make_forecast, make_seen, make_variant

VARIANT = make_variant(variant={"entry": "market"})
BARS = bars_of_days(1)
AT = MONDAY + 5 * HOUR + 180_000
TERMS = simulators_terms()


def entered() -> tuple[Signal, Position, Compared]:
    """One row that entered at market, and its trade as the rules walk it."""
    window = tail(upto(BARS, MONDAY + 5 * HOUR), CONTEXT)
    seen = make_seen(window, forecast=make_forecast(window, 0.004), cycle_at=AT, now=AT)
    seen = msgspec.structs.replace(seen, mark_price=Decimal(round(window.close[-1] * 10)) / 10)
    row, intent = decide(VARIANT, seen, Exposure())
    market = market_of("BTCUSDT", [row], BARS, lambda tick: in_ticks(upto(BARS, MONDAY + DAY_MS), tick))
    assert intent is not None
    assert market is not None
    position = walk(intent, market, TERMS, 0.004).position
    against = Compared(
        variants={VARIANT.name: VARIANT},
        markets={"BTCUSDT": market},
        context=CONTEXT,
        horizon=4,
        terms=TERMS,
        exact=False,
    )
    return row, position, against


def found(exact: bool = False, **changes: Any) -> Parity:
    row, position, against = entered()
    against = msgspec.structs.replace(against, exact=exact)
    return check([row], [msgspec.structs.replace(position, **changes)], against, MONDAY, MONDAY + DAY_MS)


def test_the_trade_itself_is_equal_to_the_digit() -> None:
    told = found(exact=True)
    assert (told.rows, told.trades, told.excluded, told.differences) == (1, 1, {}, [])


@pytest.mark.parametrize(("away", "differs"), [("1.001", False), ("1.004", True)])
def test_at_a_real_venue_a_price_may_be_a_quarter_of_a_percent_away(away: str, differs: bool) -> None:
    _, position, _ = entered()
    assert position.exit_price is not None
    moved = position.exit_price * Decimal(away)
    assert [one.what for one in found(exit_price=moved).differences] == ["exit_price"] * differs
    assert [one.what for one in found(exact=True, exit_price=moved).differences] == ["exit_price"]


def test_another_end_is_a_difference_and_a_persons_is_left_out() -> None:
    other = found(exit_reason="session_end")
    assert [one.what for one in other.differences] == ["exit_reason"]
    person = found(exit_reason="flatten")
    assert (person.trades, person.excluded) == (0, {"ended_by:flatten": 1})


def test_what_cannot_be_compared_is_counted() -> None:
    assert found(status=PositionStatus.OPEN, closed_at=None).excluded == {"still_open": 1}
    assert found(filled=Decimal("0.001")).excluded == {"filled_in_part": 1}
