"""What a filter saved or cost, added up by hand."""

from decimal import Decimal
from typing import Any

import pytest

from bot.messages import FilterVerdict, Side, Signal
from bot.strategy.worth import Worth, Worths


def row(*verdicts: FilterVerdict, net: float | None = None, status: str | None = None, number: int = 0) -> Signal:
    refused = any(not verdict.allow and not verdict.shadow for verdict in verdicts)
    values: dict[str, Any] = {"cycle_at": number, "variant": "BTC", "tier": "t1", "symbol": "BTCUSDT", "threshold": 0.1}
    return Signal(
        signal_id=f"s{number}",
        side=Side.LONG,
        filter_verdicts=(*verdicts, FilterVerdict("entry", True, "allowed")),
        decision="refuse" if refused else "enter",
        decision_reason="",
        entry_method="market",
        fill_status=status or ("cf_filled" if refused else "filled") if net is not None else status,
        net_pnl=None if net is None else Decimal(str(net)),
        **values,
    )


def said(name: str, allow: bool, shadow: bool = False) -> FilterVerdict:
    return FilterVerdict(name, allow, "because", shadow=shadow)


def worth_of(name: str, rows: list[Signal]) -> Worth:
    worths = Worths()
    worths.update(rows)
    [found] = [worth for worth in worths.told() if worth.name == name]
    return found


def test_a_filter_saved_what_the_signals_it_alone_refused_would_have_lost() -> None:
    rows = [
        row(said("rsi", False), said("session", True), net=-3.0),
        row(said("rsi", False), said("session", True), net=1.0),
        row(said("rsi", False), said("session", False), net=-50.0),  # the session would have refused it too
        row(said("rsi", False), said("session", True), status="cf_expired"),
        row(said("rsi", False), said("session", True)),  # not followed yet
        row(said("rsi", True), said("session", True), net=2.0),
    ]
    rsi = worth_of("rsi", rows)
    assert (rsi.asked, rsi.vetoed.signals, rsi.alone.signals) == (6, 5, 4)
    assert (rsi.alone.followed, rsi.alone.filled, rsi.alone.won) == (3, 2, 1)
    assert rsi.saved == 2.0
    assert rsi.vetoed.net == -52.0
    assert (rsi.alone.mean, rsi.passed.mean, rsi.passed.win_rate) == (-1.0, 2.0, 1.0)
    assert rsi.caution == "only 2 results"
    session = worth_of("session", rows)
    assert (session.alone.signals, session.caution) == (0, "never alone")


def test_a_veto_in_shadow_is_judged_by_what_really_came_of_the_trade() -> None:
    rows = [row(said("dark", False, shadow=True), net=-4.0), row(said("dark", True, shadow=True), net=1.0)]
    dark = worth_of("dark", rows)
    assert dark.shadow
    assert (dark.alone.signals, dark.saved) == (1, 4.0)


@pytest.mark.parametrize(
    ("results", "caution"),
    [
        ([], "no result yet"),
        ([-1.0] * 5, "only 5 results"),
        ([-1.0, 1.0] * 20, "within chance"),
        ([-1.0, -2.0] * 20, ""),
    ],
)
def test_few_or_scattered_results_are_said_to_be_so(results: list[float], caution: str) -> None:
    rows = [row(said("rsi", False), net=result) for result in results] or [row(said("rsi", False))]
    assert worth_of("rsi", rows).caution == caution


def test_what_can_have_no_result_is_not_said_to_have_none_yet() -> None:
    assert worth_of("rsi", [row(said("rsi", True), net=1.0)]).caution == "never refused"
    assert worth_of("size", [row(said("size", False))]).caution == "cannot be followed"


def test_a_row_that_was_no_candidate_counts_for_nobody() -> None:
    worths = Worths()
    below = row(said("data", True))
    below.filter_verdicts = below.filter_verdicts[:1]
    worths.update([below])
    assert worths.told() == []
