"""One entry followed through bars, computed by hand: when it fills, what ends it, what it earns."""

import subprocess
import sys
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.messages import Bars, ExitPlan, Side
from bot.strategy.follow import Costs, Ending, Followed, FollowStatus, Path, Trial, ending, follow

MINUTE = 60_000
FIVE = 5 * MINUTE
FREE = Costs(maker_fee=0.0, taker_fee=0.0, slippage=0.0)
USUAL = Costs(maker_fee=0.0002, taker_fee=0.0005, slippage=0.0001)
Row = tuple[float, float, float, float]  # open, high, low, close
CALM: Row = (100.0, 100.0, 100.0, 100.0)


def make(*rows: Row, interval_ms: int = FIVE) -> Bars:
    opened, high, low, close = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    times = np.arange(len(rows), dtype=np.int64) * interval_ms
    return Bars("BTCUSDT", interval_ms, times, opened, high, low, close, np.ones(len(rows)))


def trial(**changes: Any) -> Trial:
    wanted = Trial(
        side=Side.LONG,
        quantity=1.0,
        market=100.0,
        limit=None,
        post_only=False,
        from_at=0,
        expires_at=60 * MINUTE,
        exits=ExitPlan(stop_pct=2.0, target_pct=3.0, max_hold_ms=240 * MINUTE),
    )
    return msgspec.structs.replace(wanted, **changes)


def mirrored(bars: Bars) -> Bars:
    """Prices turned about 100."""
    turned = {name: 200.0 - getattr(bars, name) for name in ("open", "high", "low", "close")}
    turned["high"], turned["low"] = turned["low"], turned["high"]
    return msgspec.structs.replace(bars, **turned)


def result(found: Followed) -> tuple[str, float | None, str | None, float | None]:
    return found.status, found.fill_price, found.exit_reason, found.exit_price


@pytest.mark.parametrize(
    ("rows", "changes", "expected"),
    [
        # the second bar falls to the stop at 98
        ([CALM, (100, 100, 97, 97)], {}, ("closed", 100.0, "stop_loss", 98.0)),
        # both levels lie in one bar: the stop comes first
        ([CALM, (100, 104, 97, 100)], {}, ("closed", 100.0, "stop_loss", 98.0)),
        ([CALM, (100, 103.5, 99, 103)], {}, ("closed", 100.0, "target", 103.0)),
        # it opens beyond the stop, so the stop fills at the opening price
        ([CALM, (96, 97, 95, 96)], {}, ("closed", 100.0, "stop_loss", 96.0)),
        # a limit that is met fills at itself, and waits where it is not
        ([CALM, (100, 100, 98.9, 99), (99, 102.5, 99, 102.5)], {"limit": 99.0}, ("closed", 99.0, "target", 101.97)),
        ([CALM] * 12, {"limit": 99.0}, ("expired", None, None, None)),
        ([CALM] * 11, {"limit": 99.0}, ("open", None, None, None)),
        # the price is below the limit already: a taker's fill, or none where only a maker's would do
        ([CALM, (100, 104, 100, 104)], {"limit": 101.0}, ("closed", 100.0, "target", 103.0)),
        ([CALM], {"limit": 101.0, "post_only": True}, ("rejected", None, None, None)),
        # after four hours, at the price that stood then
        ([(100, 101, 100, 101)] * 60, {}, ("closed", 100.0, "max_hold", 100.0)),
        ([(100, 101, 100, 101)] * 40, {}, ("open", 100.0, None, None)),
        ([], {}, ("unknown", None, None, None)),
    ],
)
@pytest.mark.parametrize("side", list(Side))
def test_one_entry_by_hand(
    rows: list[Row], changes: dict[str, Any], expected: tuple[str, float | None, str | None, float | None], side: Side
) -> None:
    bars = make(*rows) if rows else make(CALM, interval_ms=FIVE)
    wanted = trial(**changes) if rows else trial(from_at=10 * FIVE)
    if side is Side.SHORT:
        limit = None if wanted.limit is None else 200.0 - wanted.limit
        bars, wanted = mirrored(bars), msgspec.structs.replace(wanted, side=side, limit=limit)
        expected = _mirrored(expected)
    found = result(follow(wanted, bars, FREE))
    assert found[0] == expected[0]
    assert found[1:] == pytest.approx(expected[1:], abs=0.1 if side is Side.SHORT else 1e-9)


def _mirrored(expected: tuple[str, float | None, str | None, float | None]) -> Any:
    status, fill, reason, out = expected
    return status, None if fill is None else 200.0 - fill, reason, None if out is None else 200.0 - out


def test_costs_are_paid_on_both_ends_and_funding_while_it_is_held() -> None:
    bars = make(CALM, CALM, (100, 103.5, 99.9, 103))
    funding = ((0, 0.5), (FIVE, 0.001), (10 * FIVE, 0.5))  # at the entry, while it is held, after the end
    found = follow(trial(quantity=2.0), bars, USUAL, funding=funding)
    fill, out = 100.0 * 1.0001, 100.0 * 1.0001 * 1.03 * 0.9999
    assert (found.fill_price, found.exit_price) == pytest.approx((fill, out))
    assert found.fees == pytest.approx(2 * (fill + out) * 0.0005)
    assert found.funding == pytest.approx(-2 * fill * 0.001)
    assert found.net == pytest.approx(2 * (out - fill) - found.fees + found.funding)


def test_a_resting_limit_pays_the_makers_fee_and_no_slippage() -> None:
    bars = make(CALM, (100, 100, 98.9, 99), (99, 102.5, 99, 102.5))
    found = follow(trial(limit=99.0), bars, USUAL)
    assert found.maker
    assert found.fill_price == 99.0
    assert found.fees == pytest.approx(99.0 * 0.0002 + 101.97 * 0.9999 * 0.0005)


def test_a_limit_that_fills_in_a_bar_meets_no_better_price_in_it() -> None:
    """A bar that rose to the target and fell to the limit: nobody knows in which order, so the worse one is taken."""
    bars = make(CALM, (100, 104, 98.9, 100), CALM)
    assert follow(trial(limit=99.0), bars, FREE).status is FollowStatus.OPEN
    assert follow(trial(limit=99.0), bars, FREE, Path.PLAYED).exit_reason == "target", "played: the low came first"


def test_a_missing_bar_is_no_answer() -> None:
    bars = make(CALM, CALM, (100, 100, 97, 97))
    times = bars.open_time.copy()
    times[2] += FIVE
    torn = msgspec.structs.replace(bars, open_time=times)
    assert follow(trial(), torn, FREE).status is FollowStatus.UNKNOWN
    assert follow(trial(limit=90.0), torn, FREE).status is FollowStatus.UNKNOWN


def test_a_trailing_stop_trails_from_bar_to_bar() -> None:
    plan = ExitPlan(stop_pct=2.0, trail_arm_pct=1.0, trail_pct=0.5)
    bars = make(CALM, (100, 102, 100, 102), (102, 103, 102, 103), (103, 103, 101, 101))
    end = ending(Side.LONG, 100.0, 0, plan, bars, Path.PESSIMISTIC)
    assert isinstance(end, Ending)
    assert (end.reason, end.price) == ("trailing_stop", pytest.approx(102.5))


def test_red_after_two_hours_is_out_at_the_price_that_stood() -> None:
    plan = ExitPlan(stop_pct=5.0, red_after_ms=2 * 60 * MINUTE)
    bars = make(*[(100, 100, 99, 99)], *[(99, 99.2, 99, 99.1)] * 30)
    end = ending(Side.LONG, 100.0, 0, plan, bars, Path.PESSIMISTIC)
    assert isinstance(end, Ending)
    assert (end.reason, end.at) == ("red_after", 2 * 60 * MINUTE)


STEPS = st.lists(st.tuples(st.floats(-1.5, 1.5), st.floats(0, 1.0), st.floats(0, 1.0)), min_size=30, max_size=80)


@settings(max_examples=80, deadline=None)
@given(steps=STEPS, limit=st.none() | st.floats(97.0, 100.0), seconds=st.integers(0, 1_500))
def test_what_comes_after_the_end_changes_nothing(
    steps: list[tuple[float, float, float]], limit: float | None, seconds: int
) -> None:
    rows, last = [], 100.0
    for step, up, down in steps:
        close = last + step
        rows.append((last, max(last, close) + up, min(last, close) - down, close))
        last = close
    bars, wanted = (
        make(*rows),
        trial(limit=limit, from_at=seconds * 1_000, exits=ExitPlan(stop_pct=1.0, target_pct=1.0)),
    )
    found = follow(wanted, bars, USUAL)
    if found.exit_at is None:
        return
    seen = int(found.exit_at // FIVE) + 1
    cut = {name: getattr(bars, name)[:seen] for name in ("open_time", "open", "high", "low", "close", "volume")}
    assert follow(wanted, msgspec.structs.replace(bars, **cut), USUAL) == found
    assert found.fill_at is not None
    assert wanted.from_at <= found.fill_at <= found.exit_at


COMPILED = """
from bot.strategy import exits, follow
from tests.strategy.test_follow import CALM, USUAL, make, trial
exits.prepare()
follow.prepare()
known = [len(function.signatures) for function in (follow.wait, follow.hold)]
for wanted in (trial(limit=99.5), trial(), trial(limit=100.0)):
    follow.follow(wanted, make(CALM, (100.0, 103.5, 97.5, 99.0)), USUAL)
print(known, [len(function.signatures) for function in (follow.wait, follow.hold)])
"""


def test_nothing_is_left_to_compile_for_the_event_loop() -> None:
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "[1, 1] [1, 1]"
