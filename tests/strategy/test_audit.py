"""Each rule of the audit on rows that break it and on rows that do not; and the faults of an earlier system, aloud."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pytest

from bot.messages import Bars, ExitPlan, Position, PositionStatus, Severity, Side, Signal
from bot.strategy.audit import Expected, Finding, Returns, findings
from bot.strategy.drift import drift, drifted
from bot.strategy.exit_review import missed_exit, review
from bot.strategy.tally import Tally
from tests.strategy.days import DAY, rows, walk
from tests.strategy.scenes import CONTEXT, HOUR, MONDAY, make_variant

END = MONDAY + 10 * HOUR


def audit(signals: Iterable[Signal], days: int = 1, **changes: Any) -> list[Finding]:
    """What is found on the last of `days` days, of which `signals` are the rows."""
    tally = Tally()
    tally.update(signals)
    expected = Expected(symbols={"BTC": 1}, since=MONDAY + (days - 1) * DAY, until=MONDAY + days * DAY)
    return findings(tally, msgspec.structs.replace(expected, **changes))


def told(found: Iterable[Finding]) -> set[tuple[str, str, str]]:
    return {(one.rule, str(one.severity), one.subject) for one in found}


def changed(signals: Iterable[Signal], **columns: Any) -> list[Signal]:
    return [msgspec.structs.replace(signal, **columns) for signal in signals]


@pytest.fixture(scope="module")
def week() -> list[Signal]:
    return list(rows(4))


def test_honest_rows_of_a_lively_market_are_free_of_errors(week: list[Signal]) -> None:
    assert len({signal.decision for signal in week}) == 2
    assert not [one for one in audit(week, 4) if one.severity is Severity.ERROR]


# The faults of an earlier system


def test_a_threshold_above_anything_the_model_can_say_is_an_error() -> None:
    loud = rows(12, predict=lambda chance: float(chance.uniform(-0.0012, 0.0012)))
    [found] = [one for one in audit(loud, 12) if one.rule == "threshold_out_of_reach"]
    assert found.severity is Severity.ERROR
    assert found.words.startswith(
        "nothing passed in 12 days: the threshold is 0.200%, and the largest of 576 forecasts"
    )


def test_it_is_a_warning_on_the_first_day_already() -> None:
    found = audit(rows(1, predict=lambda chance: float(chance.uniform(-0.0012, 0.0012))))
    assert ("threshold_out_of_reach", "warning", "BTC") in told(found)


def test_indicators_of_other_bars_than_the_recorded_ones_are_an_error(week: list[Signal]) -> None:
    recorded = walk(4)
    newest = week[-1]
    assert drift(newest, recorded, CONTEXT) is None
    other = msgspec.structs.replace(recorded, close=recorded.close * np.linspace(1, 1.05, len(recorded)))
    found = drift(newest, other, CONTEXT)
    assert found is not None
    [finding] = drifted([found])
    assert (finding.rule, finding.severity) == ("indicators_differ", Severity.ERROR)
    assert f"{newest.rsi} in the row" in finding.words


def test_an_indicator_that_a_filter_computed_otherwise_than_the_row_is_an_error(week: list[Signal]) -> None:
    candidate = next(signal for signal in week if any(verdict.filter == "rsi" for verdict in signal.filter_verdicts))
    other = tuple(
        msgspec.structs.replace(verdict, values={**verdict.values, "rsi": 49.0}) if verdict.filter == "rsi" else verdict
        for verdict in candidate.filter_verdicts
    )
    found = audit([*week, msgspec.structs.replace(candidate, filter_verdicts=other)], 1)
    assert ("row_disagrees", "error", "BTC") in told(found)


@pytest.mark.parametrize(("value", "rule"), [(0.0, "column_constant"), (None, "column_null")])
def test_zeros_or_nothing_in_a_category_column_for_days_are_an_error(
    week: list[Signal], value: float | None, rule: str
) -> None:
    found = audit(changed(week, cat_volume=value), 4)
    assert (rule, "error", "BTC cat_volume") in told(found)
    assert not [one for one in audit(week, 4) if one.rule == rule]


def test_a_category_that_stands_still_for_one_day_is_a_warning(week: list[Signal]) -> None:
    last = [signal for signal in week if signal.cycle_at >= MONDAY + 3 * DAY]
    found = audit([*week[: -len(last)], *changed(last, cat_strength=0.0)], 4)
    assert ("column_constant", "warning", "BTC cat_strength") in told(found)


def rising_then_falling() -> Bars:
    close = np.array([100.0, 101.0, 102.0, 103.0, 101.0, 100.5, 100.4, 100.3, 100.2, 100.1])
    opened = np.concatenate(([100.0], close[:-1]))
    times = MONDAY + HOUR * np.arange(len(close))
    return Bars("BTCUSDT", HOUR, times, opened, np.maximum(opened, close), np.minimum(opened, close), close, close)


def held_to_the_end(**changes: Any) -> Position:
    values: dict[str, Any] = {
        "position_id": "p1",
        "variant": "BTC",
        "tier": "t1",
        "symbol": "BTCUSDT",
        "side": Side.LONG,
        "status": PositionStatus.CLOSED,
        "intended": Decimal(1),
        "filled": Decimal(1),
        "closed": Decimal(1),
        "entry_price": Decimal(100),
        "created_at": MONDAY,
        "expires_at": MONDAY + HOUR,
        "opened_at": MONDAY,
        "closed_at": MONDAY + 9 * HOUR,
        "exit_reason": "max_hold",
        "exits": ExitPlan(stop_pct=5.0, trail_arm_pct=1.0, trail_pct=0.5, max_hold_ms=9 * HOUR),
    }
    return Position(**values | changes)


def test_an_exit_rule_that_never_fired_although_it_should_have_is_an_error() -> None:
    missed = missed_exit(held_to_the_end(), rising_then_falling(), END)
    assert missed is not None
    assert missed.rule == "trailing_stop"
    [found] = review([missed], {("BTC", "max_hold"): 1})
    assert (found.rule, found.severity, found.subject) == ("exit_rule_missed", Severity.ERROR, "BTC trailing_stop")
    assert found.words.startswith("trailing_stop never fired, and the recorded prices say it should have")
    [found] = review([missed], {("BTC", "trailing_stop"): 3})
    assert found.severity is Severity.WARNING
    assert review([missed], {("BTC", "trailing_stop"): 30}) == []


def test_an_exit_that_the_prices_bear_out_is_not_told_of() -> None:
    bars = rising_then_falling()
    assert missed_exit(held_to_the_end(exit_reason="trailing_stop"), bars, END) is None
    early = held_to_the_end(closed_at=MONDAY + 4 * HOUR + 1)
    assert missed_exit(early, bars, END) is None, "it ended before it was due"
    assert missed_exit(held_to_the_end(exits=ExitPlan(stop_pct=5.0, max_hold_ms=9 * HOUR)), bars, END) is None


def test_a_position_that_no_rule_ended_at_all_is_held_against_the_prices_too() -> None:
    """A rule that never fires may leave a position open for good."""
    forgotten = held_to_the_end(status=PositionStatus.OPEN, closed=Decimal(0), closed_at=None, exit_reason=None)
    missed = missed_exit(forgotten, rising_then_falling(), END)
    assert missed is not None
    assert missed.rule == "trailing_stop"
    [found] = review([missed], {})
    assert (found.severity, found.subject, found.detail["ended_by"]) == (Severity.ERROR, "BTC trailing_stop", None)
    assert missed_exit(forgotten, rising_then_falling(), missed.due_at + HOUR) is None, "it may yet be closed"


# The other rules


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("rsi", 50.0, "column_constant"),
        ("predicted_q90", 0.01, "column_constant"),
        ("atr", None, "column_null"),
        ("mark_price", None, "column_null"),
        ("checkpoint", None, "column_null"),
        ("bar_close_at", MONDAY, "column_constant"),
    ],
)
def test_a_column_that_holds_one_value_or_none_for_a_day_is_an_error(
    week: list[Signal], column: str, value: object, rule: str
) -> None:
    if column == "bar_close_at":
        day = [msgspec.structs.replace(signal, bar_close_at=value) for signal in week]
    else:
        day = changed(week, **{column: value})
    assert (rule, "error", f"BTC BTCUSDT {column}") in told(audit(day, 4))


def test_a_few_rows_make_no_constant_column(week: list[Signal]) -> None:
    few = changed(week[:6], rsi=50.0)
    assert not [one for one in audit(few) if one.rule == "column_constant"]


def test_a_variant_without_a_row_and_one_that_passes_nothing_are_told_of() -> None:
    stubborn = make_variant(variant={"filters": ["session"]}, filter={"session": {"skip_weekdays": [0, 1, 2, 3]}})
    found = audit(rows(3, stubborn), 3, symbols={"BTC": 1, "ETH": 1})
    assert ("no_signal", "error", "ETH") in told(found)
    assert ("no_pass", "warning", "BTC") in told(found)
    assert ("filter_always_vetoes", "error", "BTC session") in told(found)
    fresh = audit([], symbols={"BTC": 1}, up_since=MONDAY + 23 * HOUR)
    assert fresh == [], "who came up an hour ago has had no cycle to speak of"


def test_a_variant_that_stopped_within_the_day_is_told_of(week: list[Signal]) -> None:
    until_noon = [signal for signal in week if signal.cycle_at < MONDAY + 12 * HOUR]
    [found] = [one for one in audit(until_noon) if one.rule == "no_signal"]
    assert (found.severity, found.subject) == (Severity.ERROR, "BTC")
    assert found.words == "not one row in 12 hours: the variant did not run"
    assert found.detail["since_at"] == max(signal.cycle_at for signal in until_noon)
    pause = [signal for signal in week if not MONDAY + 5 * HOUR <= signal.cycle_at < MONDAY + 8 * HOUR]
    [found] = [one for one in audit(pause) if one.rule == "no_signal"]
    assert found.detail["since_at"] == MONDAY + 4 * HOUR + 33 * 60_000
    assert not [one for one in audit(pause, up_since=MONDAY + 8 * HOUR) if one.rule == "no_signal"]


def test_a_variant_that_is_given_no_forecast_all_day_is_an_error(week: list[Signal]) -> None:
    mute = changed(week, predicted_return=None, decision="refuse", decision_reason="input_unlike_training")
    [found] = [one for one in audit(mute, 4) if one.rule == "no_pass"]
    assert (found.severity, found.subject) == (Severity.ERROR, "BTC")
    assert found.words == "nothing passed in 4 days; mostly for input_unlike_training (192 of 192 rows)"


def test_a_filter_that_vetoes_nothing_is_told_of_and_one_in_shadow_is_judged_mildly() -> None:
    idle = make_variant(variant={"filters": ["rsi"]}, filter={"rsi": {"long_above": 99.9, "short_below": 0.1}})
    assert ("filter_never_vetoes", "info", "BTC rsi") in told(audit(rows(3, idle), 3))
    dark = make_variant(
        variant={"filters": ["session"]}, filter={"session": {"skip_weekdays": [0, 1, 2, 3], "shadow": True}}
    )
    found = told(audit(rows(3, dark), 3))
    assert ("filter_always_vetoes", "warning", "BTC session") in found
    assert not [one for one in found if one[0] == "no_pass"]


def test_a_cycle_with_a_row_too_few_or_too_many_is_an_error(week: list[Signal]) -> None:
    found = audit(week, 4, symbols={"BTC": 2})
    [wrong] = [one for one in found if one.rule == "rows_per_cycle"]
    assert (wrong.detail["rows"], wrong.detail["symbols"], wrong.detail["cycles"]) == (1, 2, 48)


def test_returns_that_do_not_come_are_told_of(week: list[Signal]) -> None:
    tally = Tally()
    tally.update(week)
    expected = Expected(symbols={"BTC": 1}, since=MONDAY, until=MONDAY + 4 * DAY)
    returns = [Returns("BTC", 9, 10), Returns("ETH", 1, 1_000), Returns("SOL", 0, 50)]
    found = told(findings(tally, expected, returns))
    assert ("return_missing", "error", "BTC") in found
    assert ("return_missing", "warning", "ETH") in found
    assert not [one for one in found if one[2] == "SOL"]


def test_tallies_of_single_days_add_up_to_the_tally_of_all(week: list[Signal]) -> None:
    whole, parts = Tally(), []
    whole.update(week)
    for day in range(4):
        part = Tally()
        part.update([signal for signal in week if signal.cycle_at // DAY == MONDAY // DAY + day])
        parts.append(part)
    expected = Expected(symbols={"BTC": 2}, since=MONDAY, until=MONDAY + 4 * DAY)
    assert findings(Tally.merged(parts), expected) == findings(whole, expected)
