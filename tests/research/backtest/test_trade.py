"""One entry walked to its end, by hand: fees, funding, slippage, latency, liquidation, gaps, the worse order."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from bot.messages import ExitPlan, Position, PositionStatus, Side
from bot.research.backtest.trade import Terms, Trade, walk
from bot.strategy.walk import NEVER
from tests.research.backtest.scenes import CALM, FIVE, FREE, HOUR, MINUTE, USUAL, Bar, intent, market, played


def of(*rows: Bar, terms: Terms = FREE, **changes: Any) -> Trade:
    return walk(intent(**changes), market(*rows), terms, 0.01)


def told(position: Position) -> tuple[Decimal | None, Decimal | None, str | None, int | None]:
    return position.entry_price, position.exit_price, position.exit_reason, position.closed_at


RISES: Bar = (100.0, 103.5, 99.9, 103.2)


def test_a_target_is_met_on_its_tick() -> None:
    found = of(CALM, RISES)
    assert told(found.position) == (Decimal("100.00"), Decimal("103.00"), "target", FIVE + FIVE // 2)
    assert (found.position.opened_at, found.ends_at) == (3 * MINUTE, FIVE + FIVE // 2)
    assert found.position.gross_pnl == Decimal("3.00")


def test_levels_stand_on_the_tick_away_from_the_price() -> None:
    entry = (100.37, 100.37, 100.37, 100.37)
    long = of(entry, (100.37, 100.37, 90, 95), exits=ExitPlan(stop_pct=1.5))
    assert long.position.exit_price == Decimal("98.86")  # 98.86445 down
    short = of(entry, (100.37, 110, 100.37, 105), side=Side.SHORT, exits=ExitPlan(stop_pct=1.5))
    assert short.position.exit_price == Decimal("101.88")  # 101.87555 up


def test_of_two_levels_in_one_bar_the_stop_is_met_first_unless_the_bar_is_walked_as_played() -> None:
    both = (100.0, 104.0, 97.0, 99.0)  # it fell, so that the simulator plays its high first
    assert of(CALM, both).position.exit_reason == "stop_loss"
    assert of(CALM, both, terms=played()).position.exit_reason == "target"


def test_slippage_worsens_both_ends_and_goes_to_the_next_tick() -> None:
    long = of((100.05, 100.05, 100.05, 100.05), RISES, terms=USUAL).position
    # 100.05 x 1.0001 = 100.060005, up to the tick; the target 103.0721 up to 103.08, out at 103.08 x 0.9999 = 103.0696
    assert (long.entry_price, long.exit_price) == (Decimal("100.07"), Decimal("103.06"))
    assert long.fees == Decimal("0.05003500") + Decimal("0.05153000")
    assert long.net_pnl == Decimal("2.99") - long.fees


def test_a_resting_limit_pays_the_makers_fee_and_fills_at_itself() -> None:
    found = of(CALM, (100, 100, 98.9, 99), (99, 102.5, 99, 102.5), limit_price=Decimal("99.00"), terms=USUAL)
    assert found.maker
    assert found.position.entry_price == Decimal("99.00")
    # out at 101.97 x 0.9999 = 101.9598, down to the tick
    assert found.position.exit_price == Decimal("101.95")
    assert found.position.fees == Decimal("0.01980000") + Decimal("0.05097500")


def test_a_limit_beyond_the_price_is_a_takers_never_worse_than_itself() -> None:
    fell = (98.0, 98.0, 98.0, 98.0)
    found = of(fell, fell, limit_price=Decimal("98.005"), terms=USUAL, expires_at=HOUR)
    assert not found.maker
    assert found.position.entry_price == Decimal("98.00")  # 98.0098 up is 98.01, beyond the limit's own tick 98.00
    rejected = of(fell, limit_price=Decimal("98.01"), post_only=True)
    assert told(rejected.position)[2:] == ("rejected", 3 * MINUTE)


def test_a_limit_whose_stop_would_trigger_at_once_is_not_sent() -> None:
    crashed = (97.0, 97.0, 97.0, 97.0)
    found = of(crashed, limit_price=Decimal("99.00"))
    assert (found.position.filled, found.position.exit_reason) == (0, "rejected")


@pytest.mark.parametrize(("last", "filled"), [(12, True), (11, False)])
def test_the_price_of_the_very_moment_that_a_limit_expires_still_fills_it(last: int, filled: bool) -> None:
    """Twelve five-minute bars make the hour; what opens at its end is met before the cancel."""
    rows = [CALM] * last + [(98.0, 98.0, 98.0, 98.0)] * 2
    found = of(*rows, limit_price=Decimal("99.00"), expires_at=12 * FIVE)
    assert found.position.filled == 1
    late = of(*rows, limit_price=Decimal("99.00"), expires_at=12 * FIVE - 1)
    assert (late.position.filled == 1) is not filled


def test_a_gap_over_the_stop_is_filled_at_the_open() -> None:
    found = of(CALM, (95.0, 96.0, 94.0, 95.5))
    assert told(found.position) == (Decimal("100.00"), Decimal("95.00"), "stop_loss", FIVE)


def test_a_gap_over_the_target_is_a_gift_at_the_open() -> None:
    assert of(CALM, (105.0, 106.0, 104.0, 105.5)).position.exit_price == Decimal("105.00")


def test_funding_is_paid_on_the_price_before_it_while_the_position_is_open() -> None:
    rows = (CALM, (101.0, 101.0, 101.0, 101.0), (101.0, 104.0, 101.0, 104.0))
    # at the entry's own moment, while it is open (before which 101 stood), and after its end
    there = market(*rows, funding=((3 * MINUTE, "0.5"), (2 * FIVE, "0.001"), (HOUR, "0.5")))
    long = walk(intent(), there, FREE, 0.01).position
    assert long.funding == Decimal("-0.10100000")
    short = walk(intent(side=Side.SHORT, exits=ExitPlan(stop_pct=3.5)), there, FREE, 0.01).position
    assert short.funding == Decimal("0.10100000")


def test_latency_moves_the_entry_and_the_guards_exit_to_the_price_that_stands_then() -> None:
    late = msgspec.structs.replace(FREE, latency_ms=10)
    jumps = (101.0, 101.0, 101.0, 101.0)
    decided = 5 * MINUTE - 5  # five milliseconds before the next bar opens at 101
    assert of(CALM, jumps, created_at=decided).position.entry_price == Decimal("100.00")
    assert of(CALM, jumps, created_at=decided, terms=late).position.entry_price == Decimal("101.00")
    held = {"exits": ExitPlan(stop_pct=5.0, max_hold_ms=2 * MINUTE - 1), "created_at": 3 * MINUTE}
    assert told(of(CALM, jumps, **held).position) == (Decimal("100.00"), Decimal("100.00"), "max_hold", FIVE - 1)
    found = of(CALM, jumps, **held, terms=late).position
    assert found.exit_price == Decimal("101.00")


@pytest.mark.parametrize("terms", [FREE, played()])
@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize(
    ("bar", "minute", "price"),
    [
        ((100.0, 101.0, 99.5, 100.2), 0, "100.00"),
        ((100.0, 101.0, 99.5, 100.2), 2, "99.50"),
        ((100.0, 101.0, 99.5, 100.2), 3, "101.00"),
        ((100.0, 101.0, 99.5, 99.8), 2, "101.00"),
        ((100.0, 101.0, 99.5, 99.8), 3, "99.50"),
    ],
)
def test_an_entry_inside_a_bar_meets_the_extreme_that_stands_as_it_is_played_whichever_side_it_takes(
    terms: Terms, side: Side, bar: Bar, minute: int, price: str
) -> None:
    found = of(bar, CALM, terms=terms, side=side, created_at=minute * MINUTE).position
    assert found.entry_price == Decimal(price)


def test_a_stop_that_moves_late_leaves_the_old_one_standing_meanwhile() -> None:
    plan = ExitPlan(stop_pct=4.0, trail_arm_pct=1.0, trail_pct=0.5)
    rows = (CALM, (100, 102, 100, 102), (101.0, 101.2, 100.9, 101.1))
    prompt = of(*rows, exits=plan).position
    assert told(prompt)[1:3] == (Decimal("101.00"), "trailing_stop")  # 101.50, and the next bar opens below it
    # asked for at the high, in force 50 s into the next bar, where 101 stands: it would trigger at once
    late = of(*rows, exits=plan, terms=msgspec.structs.replace(FREE, latency_ms=200_000)).position
    assert told(late)[1:] == (Decimal("101.00"), "trailing_stop", 2 * FIVE + 50_000)
    never = of(*rows, exits=plan, terms=msgspec.structs.replace(FREE, latency_ms=FIVE * 2))
    assert never.position.status is PositionStatus.OPEN


def test_a_position_is_liquidated_where_that_comes_before_its_stop() -> None:
    terms = msgspec.structs.replace(FREE, liquidates=True)
    plan = ExitPlan(stop_pct=20.0)
    found = of(CALM, (100, 100, 70, 75), exits=plan, terms=terms).position
    # at leverage 10: (10 - 100) / (0.005 - 1) = 90.4523
    assert found.exit_reason == "liquidated"
    assert found.exit_price == Decimal("90.45")
    near = of(CALM, (100, 100, 70, 75), exits=ExitPlan(stop_pct=5.0), terms=terms).position
    assert told(near)[1:3] == (Decimal("95.00"), "stop_loss")


def test_time_is_up_at_the_price_that_stood() -> None:
    found = of(*[(100.0, 101.0, 100.0, 101.0)] * 20, exits=ExitPlan(stop_pct=5.0, max_hold_ms=HOUR))
    assert told(found.position)[2:] == ("max_hold", HOUR + 3 * MINUTE)
    assert found.by_bot


def test_the_bars_end_before_the_position_does() -> None:
    found = of(CALM, CALM)
    assert (found.position.status, found.ends_at, found.torn) == (PositionStatus.OPEN, NEVER, False)


def test_a_missing_bar_is_told() -> None:
    there = market(CALM, CALM, CALM)
    there.path.at[2] += FIVE
    found = walk(intent(), there, FREE, 0.01)
    assert found.torn
    assert found.ends_at == 2 * FIVE
    assert walk(intent(created_at=10 * HOUR), there, FREE, 0.01).position.exit_reason == "no_bars"
