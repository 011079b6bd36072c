"""`audit`, `filters` and `why` on a journal that a variant's own decisions filled."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from bot.clock import DAY_MS, HOUR_MS
from bot.commands.audit import end_of_days, print_audit
from bot.commands.filters import print_filters
from bot.commands.why import print_why
from bot.config import JournalTable
from bot.errors import OperatorError
from bot.history.bars import BarFiles
from bot.journal.audit import AuditRows
from bot.journal.connection import open_journal
from bot.journal.records import Records
from bot.journal.store import VENUE, Store
from bot.messages import Bar, ExitPlan, PositionStatus, Side, Signal, SignalOutcome
from bot.strategy.audit import Expectations
from bot.venue import Leg
from tests.flow.processes import remove
from tests.journal.rows import fill, order, position
from tests.strategy.days import rows, walk
from tests.strategy.scenes import CONTEXT, MONDAY, make_variant

DAYS = 2


def refused_and_entered() -> list[Signal]:
    return list(rows(DAYS, make_variant(variant={"filters": ["rsi", "session"]})))


@pytest.fixture(scope="module")
def signals() -> list[Signal]:
    return refused_and_entered()


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory, signals: list[Signal]) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("audited")
    entered = next(one for one in signals if one.decision == "enter")
    vetoed = [one for one in signals if one.decision_reason == "filter:rsi"]
    assert len(vetoed) > 3

    async def make() -> None:
        async with open_journal(folder, JournalTable(), {}) as pool:
            store, records = Store(pool), Records(pool)
            await store.set_fact(VENUE, "replay")
            await AuditRows(pool).expect(
                Expectations(symbols={"BTC": 1}, context=CONTEXT, horizon_ms=4 * HOUR_MS, up_since=MONDAY)
            )
            await records.write(signals)
            outcome = SignalOutcome(
                signal_id=vetoed[0].signal_id,
                fill_status="cf_filled",
                fill_price=Decimal(50_001),
                exit_price=Decimal(49_000),
                exit_reason="stop_loss",
                net_pnl=Decimal("-3.5"),
            )
            await records.write([outcome, SignalOutcome(signal_id=vetoed[1].signal_id, fill_status="cf_expired")])
            await store.save([order(client_id="tsb-1-e0", position_id=entered.signal_id)], [closed(entered)],
                             [(fill(), entered.signal_id, Leg.ENTRY)])  # fmt: skip

    anyio.run(make)
    bars = walk(DAYS)
    columns = (bars.open_time, bars.open, bars.high, bars.low, bars.close, bars.volume)
    recorded = [Bar("BTCUSDT", HOUR_MS, *row) for row in zip(*(column.tolist() for column in columns), strict=True)]
    BarFiles(folder / "bars" / "replay").append(recorded)
    yield folder
    remove(folder)


def closed(signal: Signal) -> Any:
    return position(
        signal.signal_id,
        status=PositionStatus.CLOSED,
        side=Side.LONG,
        filled=Decimal("0.020"),
        closed=Decimal("0.020"),
        entry_price=Decimal("84350.10"),
        exit_price=Decimal("84000.00"),
        opened_at=signal.cycle_at,
        closed_at=signal.cycle_at + HOUR_MS,
        exit_reason="stop_loss",
        gross_pnl=Decimal("-7.002"),
        fees=Decimal("0.7"),
    )


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("BOT_DSN", raising=False)


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_the_audit_lists_findings_and_its_status_says_whether_one_is_an_error(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert print_audit(DAYS, state, state / "absent.toml", as_json=False) == 1
    text = printed(capsys)
    assert "return_missing" in text, "nobody wrote a return into this journal"
    assert "indicators_differ" not in text
    assert "row_disagrees" not in text
    assert text.splitlines()[-1].endswith("of them errors")
    print_audit(DAYS, state, state / "absent.toml", as_json=True)
    told = json.loads(printed(capsys))
    assert {one["rule"] for one in told["findings"]} >= {"return_missing"}
    assert told["until_at"].endswith("Z")


def test_the_days_of_an_account_end_now_and_those_of_a_replay_with_its_last_row(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else the audit of a bot that died a week ago would praise the week before."""
    assert end_of_days("replay", MONDAY, MONDAY + DAY_MS) == MONDAY + 1
    assert end_of_days("live", MONDAY, MONDAY + DAY_MS) == MONDAY + DAY_MS - 5 * 60_000, "what is being written waits"
    set_venue(state, "live")
    printed(capsys)
    try:
        assert print_audit(DAYS, state, state / "absent.toml", as_json=True) == 1
    finally:
        set_venue(state, "replay")
    told = json.loads(printed(capsys))
    assert ("no_signal", "BTC") in {(one["rule"], one["subject"]) for one in told["findings"]}


def set_venue(state: Path, venue: str) -> None:
    async def bind() -> None:
        async with open_journal(state, JournalTable(), {}) as pool:
            await Store(pool).set_fact(VENUE, venue)

    anyio.run(bind)


def test_other_bars_on_disk_than_the_bot_decided_on_are_found(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = walk(DAYS, seed=2)
    monkeypatch.setattr(BarFiles, "load", lambda self, symbol, interval_ms, **range_of: whole)
    assert print_audit(DAYS, state, state / "absent.toml", as_json=False) == 1
    assert "indicators_differ" in printed(capsys)


def test_filters_say_what_each_veto_would_have_come_to(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_filters(DAYS, state, state / "absent.toml", as_json=True)
    found = {one["name"]: one for one in json.loads(printed(capsys))}
    assert (found["rsi"]["saved"], found["rsi"]["alone"]["followed"], found["rsi"]["caution"]) == (
        3.5,
        2,
        "only 1 result",
    )
    assert found["session"]["vetoed"]["signals"] >= 0
    print_filters(DAYS, state, state / "absent.toml", as_json=False)
    text = printed(capsys)
    assert "+3.50" in text
    assert "caps (check)" in text


def test_why_tells_a_refused_signals_story_by_the_beginning_of_its_id(
    state: Path, signals: list[Signal], capsys: pytest.CaptureFixture[str]
) -> None:
    vetoed = next(one for one in signals if one.decision_reason == "filter:rsi")
    print_why(vetoed.signal_id[:9], state, state / "absent.toml", as_json=False)
    text = printed(capsys)
    for words in (
        f"Signal {vetoed.signal_id}: variant BTC of tier t1 looked at BTCUSDT",
        "which reaches the threshold of 0.200%",
        "Filter rsi vetoed it:",
        "Check size allowed it (",
        "max_hold 240 min",
        "Decision: refused, for filter:rsi.",
        "Had it been entered: filled at 50001, ended by stop_loss at 49000, net -3.5000 USDT, on recorded bars.",
        "The row agrees with itself",
    ):
        assert words in text, text


def test_why_says_of_a_signal_below_the_threshold_that_nobody_was_asked(
    state: Path, signals: list[Signal], capsys: pytest.CaptureFixture[str]
) -> None:
    below = next(one for one in signals if one.decision_reason == "below_threshold")
    print_why(below.signal_id, state, state / "absent.toml", as_json=False)
    assert "It was no candidate: no filter was asked, and no entry was looked for." in printed(capsys)


def test_why_tells_an_entered_signals_story_with_its_orders_and_its_end(
    state: Path, signals: list[Signal], capsys: pytest.CaptureFixture[str]
) -> None:
    entered = next(one for one in signals if one.decision == "enter")
    print_why(entered.signal_id, state, state / "absent.toml", as_json=True)
    told = json.loads(printed(capsys))
    assert told.keys() == {"signal", "position", "orders", "fills", "sentences"}
    text = "\n".join(told["sentences"])
    for words in ("entry order tsb-1-e0, limit buy", "filled 0.020 at 84350.10 as maker", "it ended by stop_loss, net"):
        assert words in text, text


def test_an_id_that_is_none_or_not_enough_says_so(state: Path, signals: list[Signal]) -> None:
    with pytest.raises(OperatorError, match="nosuch: no signal's id begins so"):
        print_why("nosuch", state, state / "absent.toml", as_json=False)
    with pytest.raises(OperatorError, match="signals' ids begin so: .* give more of it"):
        print_why("", state, state / "absent.toml", as_json=False)


def test_a_journal_without_a_signal_has_nothing_to_audit(tmp_path: Path) -> None:
    async def make() -> None:
        async with open_journal(tmp_path, JournalTable(), {}):
            pass

    anyio.run(make)
    with pytest.raises(OperatorError, match="nothing to audit"):
        print_audit(1, tmp_path, tmp_path / "absent.toml", as_json=False)


def test_a_position_that_no_rule_ended_is_found_while_it_is_open(
    state: Path, signals: list[Signal], capsys: pytest.CaptureFixture[str]
) -> None:
    first = next(one for one in signals if one.decision == "enter")
    ended = closed(first)
    forgotten = msgspec.structs.replace(
        ended, position_id="forgotten", variant="LOST", status=PositionStatus.OPEN, closed_at=None, exit_reason=None,
        closed=Decimal(0), exits=ExitPlan(stop_pct=90.0, max_hold_ms=HOUR_MS), entry_price=Decimal(50_000),
    )  # fmt: skip

    async def hold() -> None:
        async with open_journal(state, JournalTable(), {}) as pool:
            await Store(pool).save([], [forgotten])

    anyio.run(hold)
    printed(capsys)
    print_audit(DAYS, state, state / "absent.toml", as_json=True)
    found = {one["subject"]: one for one in json.loads(printed(capsys))["findings"]}
    assert found["LOST max_hold"]["severity"] == "error"
    assert "max_hold never fired" in found["LOST max_hold"]["words"]


def test_the_database_keeps_counterfactuals_and_results_apart(state: Path, signals: list[Signal]) -> None:
    async def write(signal_id: str, status: str) -> None:
        async with open_journal(state, JournalTable(), {}) as pool:
            await Records(pool).write([SignalOutcome(signal_id=signal_id, fill_status=status)])

    entered = next(one for one in signals if one.decision == "enter")
    refused = next(one for one in signals if one.decision == "refuse")
    for signal, status in ((entered, "cf_filled"), (refused, "filled")):
        with pytest.raises(Exception, match="signal_log_counterfactual_refused"):
            anyio.run(write, signal.signal_id, status)
    assert msgspec.structs.asdict(entered)["fill_status"] == "pending"
