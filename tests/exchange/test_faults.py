"""The fault plan: what strikes, when, how often, and that it hangs on nothing but the seed and its own matches."""

from pathlib import Path
from typing import Any

import pytest

from bot.clock import MINUTE_MS, SECOND_MS
from bot.config import decode
from bot.errors import OperatorError
from bot.exchange.fault_kinds import RULES, FaultKind, Moment
from bot.exchange.faults import Fault, FaultPlan, Scenario, Subject, read_scenario

START = 1_735_689_600_000
ORDER = Subject(name="POST /fapi/v1/order", symbol="BTCUSDT", client_id="bot-1-e", order_type="LIMIT")


def fault(**table: Any) -> Fault:
    return decode({"name": "one", "description": "", "fault": [table]}, Scenario, "one.toml").fault[0]


def plan(*tables: dict[str, Any], seed: int = 0) -> FaultPlan:
    return FaultPlan([fault(**table) for table in tables], seed, START)


def struck(tested: FaultPlan, subject: Subject = ORDER, calls: int = 6, at: int = START) -> list[int]:
    """The numbers of the calls that were struck, from 1."""
    return [number for number in range(1, calls + 1) if tested.on_call(subject, at) is not None]


@pytest.mark.parametrize(
    ("when", "numbers"),
    [
        ({}, [1, 2, 3, 4, 5, 6]),
        ({"nth": 3}, [3]),
        ({"every": 2}, [2, 4, 6]),
        ({"times": 2}, [1, 2]),
        ({"every": 2, "times": 2}, [2, 4]),
        ({"probability": 0.0}, []),
        ({"probability": 1.0, "nth": 6}, [6]),
    ],
)
def test_a_call_is_struck_as_often_as_was_asked(when: dict[str, Any], numbers: list[int]) -> None:
    assert struck(plan({"kind": "lost_after"} | when)) == numbers


@pytest.mark.parametrize(
    ("where", "strikes"),
    [
        ({"on": "POST /fapi/v1/order"}, True),
        ({"on": "GET /fapi/v1/order"}, False),
        ({"on": "POST *"}, True),
        ({"symbol": "BTCUSDT"}, True),
        ({"symbol": "ETHUSDT"}, False),
        ({"client_id": "bot-*-e"}, True),
        ({"client_id": "bot-*-s"}, False),
        ({"order_type": "LIMIT"}, True),
        ({"order_type": "STOP*"}, False),
    ],
)
def test_only_what_was_named_is_struck(where: dict[str, Any], strikes: bool) -> None:
    assert (plan({"kind": "unavailable"} | where).on_call(ORDER, START) is not None) == strikes


def test_a_window_of_time_is_counted_from_the_start_and_ends() -> None:
    tested = plan({"kind": "too_many", "after_seconds": 60, "until_seconds": 120})
    times = [START, START + MINUTE_MS, START + 2 * MINUTE_MS - 1, START + 2 * MINUTE_MS]
    assert [tested.on_call(ORDER, at) is not None for at in times] == [False, True, True, False]


def test_chance_follows_from_the_seed_and_from_matching_calls_alone() -> None:
    table = {"kind": "lost_before", "probability": 0.5, "symbol": "BTCUSDT"}
    expected = struck(plan(table, seed=7), calls=40)
    assert 8 < len(expected) < 32
    assert expected != struck(plan(table, seed=8), calls=40)
    busy, other = plan(table, {"kind": "unavailable", "probability": 0.3, "symbol": "ETHUSDT"}, seed=7), []
    for number in range(1, 41):
        busy.on_call(Subject(name="POST /fapi/v1/order", symbol="ETHUSDT"), START)
        if busy.on_call(ORDER, START) is not None:
            other.append(number)
    assert other == expected


def test_of_two_faults_on_one_call_the_first_strikes_and_both_count_it() -> None:
    tested = plan({"kind": "lost_after", "nth": 1}, {"kind": "unavailable", "every": 2})
    kinds = [found and found.kind for found in (tested.on_call(ORDER, START) for _ in range(3))]
    assert kinds == [FaultKind.LOST_AFTER, FaultKind.UNAVAILABLE, None]


@pytest.mark.parametrize(
    "call",
    [
        Subject(name="POST /fapi/v1/order", reduce_only=True),
        Subject(name="DELETE /fapi/v1/order"),
    ],
)
def test_overload_spares_what_reduces(call: Subject) -> None:
    assert plan({"kind": "throttled"}).on_call(call, START) is None
    assert plan({"kind": "throttled"}).on_call(ORDER, START) is not None


def test_a_read_lags_only_so_long_behind_its_write() -> None:
    tested = plan({"kind": "lag", "seconds": 3})
    read = Subject(name="GET /fapi/v1/order", changed_at=START)
    assert tested.on_call(read, START + 2_999) is not None
    assert tested.on_call(read, START + 3_000) is None
    assert tested.on_call(Subject(name="GET /fapi/v1/order"), START) is None


def test_what_happens_at_a_time_is_told_once_and_the_next_time_is_known() -> None:
    tested = plan(
        {"kind": "hedge_mode", "after_seconds": 90},
        {"kind": "socket_reset", "after_seconds": 60, "every_seconds": 60, "until_seconds": 200},
    )
    assert tested.next_due == START + 60 * SECOND_MS
    assert tested.due(START + 59 * SECOND_MS) == []
    assert [found.kind for found in tested.due(START + 60 * SECOND_MS)] == [FaultKind.SOCKET_RESET]
    assert tested.next_due == START + 90 * SECOND_MS
    later = tested.due(START + 400 * SECOND_MS)
    assert [found.kind for found in later] == [FaultKind.HEDGE_MODE, FaultKind.SOCKET_RESET, FaultKind.SOCKET_RESET]
    assert tested.next_due is None


def test_what_happens_upon_a_call_is_due_right_after_it() -> None:
    tested = plan({"kind": "listen_key_expires", "upon": "POST /fapi/v1/order", "nth": 2})
    due = []
    for _ in range(3):
        tested.happened(ORDER, START)
        due.append([found.kind for found in tested.due(START)])
    assert due == [[], [FaultKind.LISTEN_KEY_EXPIRES], []]
    assert tested.next_due is None


def test_every_strike_is_told_with_what_it_struck() -> None:
    tested = plan({"kind": "event_lost", "on": "ORDER_*", "every": 2}, {"kind": "adl", "symbol": "BTCUSDT"})
    event = Subject(name="ORDER_TRADE_UPDATE", symbol="BTCUSDT")
    for _ in range(2):
        tested.on_event(event, START)
    tested.due(START + 5)
    strikes = tested.take_strikes()
    assert [(strike.at, strike.number, strike.nth) for strike in strikes] == [(START, 0, 2), (START + 5, 1, 1)]
    assert [strike.subject for strike in strikes] == [event, None]
    assert tested.take_strikes() == []
    assert (tested.struck(0), tested.struck(1)) == (1, 1)


def test_faults_come_and_go_and_no_number_is_given_twice() -> None:
    tested = plan({"kind": "lost_after"})
    tested.clear()
    assert tested.on_call(ORDER, START) is None
    assert tested.add(fault(kind="unavailable")) == 1
    assert list(tested.faults) == [1]
    assert tested.on_call(ORDER, START) == tested.faults[1]


def test_every_kind_has_a_rule_and_can_be_written_with_what_it_needs() -> None:
    values: dict[str, Any] = {"symbol": "BTCUSDT", "seconds": 1, "value": 1, "key": "min_notional"}
    for kind, rule in RULES.items():
        made = fault(kind=kind.value, **{name: values[name] for name in rule.needs})
        assert made.shape in (*rule.forms, "")
        assert bool(rule.says)
        assert rule.on or rule.at is Moment.TIME
    assert set(RULES) == set(FaultKind)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"kind": "lost"}, 'key fault[0].kind: \'lost\' is not allowed; expected one of "lost_after", "lost_before"'),
        ({"kind": "lag"}, "key fault[0]: lag needs seconds: how long after the write"),
        ({"kind": "lost_after", "form": "506"}, 'form "506" of lost_after is unknown; expected one of dropped'),
        ({"kind": "lost_after", "value": 1}, "lost_after takes no value"),
        ({"kind": "lost_after", "tims": 1}, 'key fault[0].tims is unknown; did you mean "times"?'),
        ({"kind": "lost_after", "nth": 0}, "key fault[0].nth: 0 is not allowed; expected a whole number from 1"),
        ({"kind": "lost_after", "nth": 1, "every": 2}, "nth and every exclude each other"),
        ({"kind": "lost_after", "probability": 2}, "expected a number from 0 up to 1"),
        ({"kind": "lost_after", "symbol": "btc"}, 'expected a symbol of the venue such as "BTCUSDT"'),
        ({"kind": "lost_after", "upon": "POST *"}, "upon and every_seconds are for kinds of time"),
        ({"kind": "lag", "seconds": -1}, "seconds of lag must not be below 0"),
        ({"kind": "funding_interval"}, "funding_interval needs value: hours"),
        (
            {"kind": "filter_change", "value": 1, "key": "lot"},
            'key "lot" of filter_change is unknown; expected one of tick_size',
        ),
        ({"kind": "leverage_lowered", "value": 0}, "value 0 of leverage_lowered: expected 1 to 125"),
        ({"kind": "hedge_mode", "nth": 2}, "nth and every need upon"),
        ({"kind": "hedge_mode", "after_seconds": 5, "until_seconds": 5}, "until_seconds must be more"),
        ({"on": "POST *"}, "key fault[0].kind is missing"),
    ],
)
def test_a_wrong_table_is_told_in_one_line_with_its_key(tmp_path: Path, table: dict[str, Any], said: str) -> None:
    lines = [f"{key} = {value if not isinstance(value, str) else repr(value)}" for key, value in table.items()]
    path = tmp_path / "wrong.toml"
    path.write_text("\n".join(['name = "wrong"', 'description = ""', "[[fault]]", *lines]))
    with pytest.raises(OperatorError) as error:
        read_scenario(path)
    text = str(error.value)
    assert text.startswith(f"{path}: ")
    assert said in text
    assert "\n" not in text


def test_a_scenario_without_a_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "nameless.toml"
    path.write_text('description = ""')
    with pytest.raises(OperatorError, match="key name is missing; expected a name of a-z"):
        read_scenario(path)
