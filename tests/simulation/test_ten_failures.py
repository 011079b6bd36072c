"""The ten failures in which real bots lost money, each with the assertions that only it needs.

Every world here is held to all invariants besides (`unbroken`): ledger and venue equal, cover in time, no order without
its owner, one execution per intent, no call during a ban, restarts that change nothing.
"""

from collections import Counter
from functools import cache

import pytest

from bot.config import OrdersTable
from bot.exchange.fault_kinds import LOST_FORMS, FaultKind
from bot.exchange.faults import Fault
from bot.messages import PositionStatus
from bot.venue import VenueStatus
from tests.simulation.life import Crash
from tests.simulation.scenes import SHARED, fault, lived, only_better, results, stops_of, unbroken
from tests.simulation.world import World

K = FaultKind
ORDERS = "POST /fapi/v1/*rder"
ENTRIES = "POST /fapi/v1/order"
STOPS = "POST /fapi/v1/algoOrder"
READS = "GET /fapi/*"


def executions(world: World) -> Counter[str]:
    """Entry orders at the venue by position."""
    orders = world.exchange.engine.orders.values()
    return Counter(order.client_id.split("-")[1] for order in orders if order.client_id.endswith("-e0"))


# 1 Ambiguous submit


@pytest.mark.parametrize("form", LOST_FORMS)
@pytest.mark.parametrize("kind", [K.LOST_BEFORE, K.LOST_AFTER])
def test_an_order_whose_answer_is_lost_is_neither_lost_nor_doubled(kind: FaultKind, form: str) -> None:
    world = unbroken(lived(fault(kind, on=ORDERS, form=form, every=2), hours=2))
    assert world.lived.fired[str(kind)] > 3
    assert world.lived.entries > 1
    assert max(executions(world).values()) == 1
    unresolved = [row for row in world.tables.orders.values() if row.state == "unresolved"]
    assert unresolved == []


# 2 Naked position


@pytest.mark.parametrize(
    "wrong",
    [
        fault(K.TRIGGER_STUCK, on="STOP_MARKET", every=2),
        fault(K.TRIGGER_REJECTED, on="STOP_MARKET", every=2),
        fault(K.TRIGGER_LATE, on="STOP_MARKET", seconds=20, every=2),
        fault(K.STOP_VANISHES, symbol="BTCUSDT", form="silent", upon="ALGO_UPDATE", every=7),
        fault(K.STOP_VANISHES, symbol="BTCUSDT", form="expired", upon="ALGO_UPDATE", every=7),
    ],
    ids=lambda wrong: f"{wrong.kind} {wrong.form or ''}",
)
def test_a_stop_that_does_not_do_its_work_is_replaced_or_the_position_is_closed(wrong: Fault) -> None:
    world = unbroken(lived(wrong, hours=5))
    assert world.lived.fired[str(wrong.kind)] > 0
    assert world.lived.longest_ms <= 3_000


def test_an_account_that_cannot_be_read_is_not_read_as_one_without_stops() -> None:
    blind = fault(K.UNAVAILABLE, on=READS, after_seconds=3_600, until_seconds=14_400)
    world, seeing = unbroken(lived(blind, hours=6)), unbroken(lived(hours=6))
    assert world.lived.fired["unavailable"] > 10
    for position_id in results(world).keys() & results(seeing).keys():
        assert len(stops_of(world, position_id)) == len(stops_of(seeing, position_id)), position_id
    assert not [p for p in world.tables.positions.values() if p.exit_reason == "unprotected"]


# 3 The child of a conditional order is not linked


@pytest.mark.parametrize(
    "wrong",
    [
        fault(K.EVENT_REORDERED, on="ALGO_UPDATE", every=2),
        fault(K.EVENT_REORDERED, on="ORDER_TRADE_UPDATE", every=2),
        fault(K.EVENT_DELAYED, on="ALGO_UPDATE", seconds=4, every=2),
        fault(K.EVENT_DELAYED, on="ORDER_TRADE_UPDATE", seconds=2, every=3),
        fault(K.EVENT_REPEATED, on="*"),
        fault(K.EVENT_LOST, on="ALGO_UPDATE"),
    ],
    ids=lambda wrong: f"{wrong.kind} {wrong.on}",
)
def test_whatever_the_order_of_events_what_came_of_each_position_is_the_same(wrong: Fault) -> None:
    world, orderly = unbroken(lived(wrong, hours=5)), unbroken(lived(hours=5))
    assert world.lived.fired[str(wrong.kind)] > 3
    assert {result[3] for result in results(orderly).values()} >= {"target", "stop_loss"}
    assert results(world) == results(orderly)


# 4 Restart


def points() -> list[Crash]:
    calls = [Crash(call=n, after=after, outage_seconds=1) for n in range(1, 26) for after in (False, True)]
    return calls + [Crash(commit=n, after=after, outage_seconds=1) for n in range(1, 26) for after in (False, True)]


@cache
def alive_all_along() -> World:
    return unbroken(lived(hours=0.25, still=True, threshold=0.001))


@pytest.mark.parametrize("crash", points(), ids=str)
def test_a_process_that_dies_anywhere_leaves_what_one_that_lived_would_have(crash: Crash) -> None:
    """The market stands still, and the day ends before the position does."""
    world = unbroken(lived(hours=0.25, crashes=(crash,), still=True, threshold=0.001))
    alive = alive_all_along()
    found, wanted = results(world), results(alive)
    assert len(wanted) == 1
    if executions(world):
        assert found == wanted
        assert world.exchange.held() == alive.exchange.held()
    else:  # it died before the entry was sent, and an entry is never sent by whoever comes after
        assert {result[3] for result in found.values()} <= {"rejected"}
        assert world.exchange.held() == {}


def test_what_happens_while_no_process_runs_is_found_at_the_next_start() -> None:
    away = tuple(Crash(at_seconds=3_000.0, outage_seconds=2_400.0) for _ in range(4))
    by_hand = fault(K.FOREIGN_ORDER, symbol="BTCUSDT", value=0.5, after_seconds=4_000)
    world = unbroken(lived(by_hand, hours=8, crashes=away))
    assert world.lived.deaths == 4
    foreign = [o for o in world.exchange.engine.orders.values() if o.client_id.startswith("web_")]
    assert [o.status for o in foreign] == [VenueStatus.NEW]


def test_a_read_that_fails_at_the_start_is_asked_for_again_and_ends_no_process() -> None:
    often = tuple(Crash(at_seconds=3_000.0) for _ in range(3))
    flaky = fault(K.LOST_AFTER, on=READS, every=3, form="dropped")
    world = unbroken(lived(flaky, hours=4, crashes=often))
    assert (world.lived.deaths, world.lived.fired["process not started"]) == (3, 0)
    assert world.tables.events["start_goes_on"] > 0


def test_a_start_whose_bars_do_not_come_looks_after_what_is_held_all_the_same() -> None:
    no_bars = fault(K.UNAVAILABLE, on="GET /fapi/v1/klines", after_seconds=2_990, until_seconds=3_600)
    world = unbroken(lived(no_bars, hours=2, crashes=(Crash(at_seconds=3_000.0),)))
    second = world.trace.lines[next(n for n, line in enumerate(world.trace.lines) if "2 starts" in line) :]
    assert second[0].startswith("00:50:30")
    assert next(line for line in second if "  bot          reconciled" in line).startswith("00:50:3")
    assert next(line for line in second if "  bot          started" in line).startswith("01:0")


# 5 The user stream is lost


@pytest.mark.parametrize("nth", range(1, 13))
def test_any_single_frame_may_be_lost_on_a_healthy_socket(nth: int) -> None:
    world = unbroken(lived(fault(K.EVENT_LOST, nth=nth, on="*"), hours=4))
    assert world.lived.fired["event_lost"] == 1


@pytest.mark.parametrize(
    "kind", [K.LISTEN_KEY_EXPIRES, K.SOCKET_RESET, K.SOCKET_CLOSED, K.DAY_CUT, K.SOCKET_SILENT, K.NO_PONG]
)
def test_nothing_is_opened_between_the_loss_of_the_user_stream_and_the_next_reconciliation(kind: FaultKind) -> None:
    parameters = {} if kind is K.LISTEN_KEY_EXPIRES else {"on": "/private"}
    world = unbroken(lived(fault(kind, upon="ORDER_TRADE_UPDATE", every=4, **parameters), hours=6))
    assert world.lived.fired[str(kind)] > 0
    blind = opened_blind = losses = 0
    for line in world.trace.lines:
        if "user stream lost" in line:
            blind, losses = 1, losses + 1
        elif "  bot  " in line and " reconciled " in line:
            blind = 0
        elif "-e0" in line and line.endswith(": NEW"):
            opened_blind += blind
    assert losses > 0
    assert opened_blind == 0


# 6 Silent market data


def test_a_market_stream_that_is_acknowledged_and_silent_is_noticed_and_its_bars_are_fetched() -> None:
    world = unbroken(lived(fault(K.MARKET_SILENT, on="*", seconds=5_000, after_seconds=6_000), hours=4))
    assert world.tables.events["market_stream_lost"] >= 1
    lost = next(line for line in world.trace.lines if "market_stream_lost" in line)
    assert "01:41:" <= lost[:6] <= "01:42:"
    assert not [s for s in world.tables.signals.values() if s.decision_reason == "bar_missing"]


def test_no_forecast_is_made_over_a_bar_that_does_not_exist() -> None:
    world = unbroken(lived(fault(K.KLINE_GAP, nth=3), hours=6))
    after = [s for s in world.tables.signals.values() if s.cycle_at > world.exchange.tape.start + 3 * 3_600_000]
    assert after
    assert {s.decision for s in after} == {"refuse"}
    assert {s.predicted_return for s in after} == {None}


def test_a_late_or_missing_last_frame_costs_no_cycle() -> None:
    world = unbroken(lived(fault(K.KLINE_LATE, seconds=30, every=2), fault(K.KLINE_MISSING, every=3), hours=6))
    assert {s.decision_reason for s in world.tables.signals.values()}.isdisjoint({"bar_missing", "window_gap"})


# 7 Partial fills and the quantities of brackets


@pytest.mark.parametrize("entry", ["market", "atr05"])
def test_each_part_of_an_entry_and_of_an_exit_is_covered_and_nothing_is_left_over(entry: str) -> None:
    parts = fault(K.CHILD_PARTIAL, on="*", value=0.3, every=2)
    world = unbroken(lived(parts, hours=5, entry=entry, settings=SHARED, exits={"max_hold_minutes": 45}))
    fills = Counter(fill.client_id for fill in world.exchange.engine.fills)
    assert max(fills.values()) > 1
    closed = [p for p in world.tables.positions.values() if p.status is PositionStatus.CLOSED and p.filled]
    assert closed
    assert all(p.filled == p.closed for p in closed)


# 8 A trailing stop is replaced


@pytest.mark.parametrize(
    "wrong",
    [
        fault(K.LOST_AFTER, on=STOPS, form="no_answer", every=3),
        fault(K.LOST_BEFORE, on=STOPS, form="408", every=3),
        fault(K.UNAVAILABLE, on="* /fapi/v1/algoOrder", every=3),
        fault(K.EVENT_LOST, on="ALGO_UPDATE", every=2),
    ],
    ids=lambda wrong: f"{wrong.kind}",
)
def test_a_trailing_stop_only_moves_towards_profit_and_never_leaves_a_gap(wrong: Fault) -> None:
    trail = {"trail_arm_pct": 0.1, "trail_pct": 0.1, "target_pct": 0, "stop_pct": 1.0}
    world = unbroken(lived(wrong, hours=5, exits=trail))
    moves = {p.position_id: stops_of(world, p.position_id) for p in world.tables.positions.values()}
    assert max(len(levels) for levels in moves.values()) > 2
    for position in world.tables.positions.values():
        assert only_better(moves[position.position_id], position.side), position.position_id


# 9 Limits, bans and clocks


@pytest.mark.parametrize(
    "wrong",
    [
        fault(K.TOO_MANY, on="* /fapi/*", every=60),
        fault(K.TOO_MANY, on="* /fapi/*", seconds=20, every=60),
        fault(K.BANNED, on="* /fapi/*", seconds=120, every=90),
        fault(K.CLOCK_STEP, seconds=8, upon="POST /fapi/v1/order", every=3),
        fault(K.THROTTLED, on=ENTRIES, every=2),
    ],
    ids=lambda wrong: f"{wrong.kind} {wrong.seconds or ''}",
)
def test_a_venue_that_wants_silence_gets_it_and_cover_comes_first_afterwards(wrong: Fault) -> None:
    world = unbroken(lived(wrong, hours=6, symbols=("BTCUSDT", "ETHUSDT")))
    assert world.lived.fired[str(wrong.kind)] > 1
    assert max(executions(world).values(), default=0) <= 1


# 10 Outside intervention


@pytest.mark.parametrize(
    ("kind", "told", "parameters"),
    [
        (K.LIQUIDATION, "liquidated", {}),
        (K.ADL, "adl", {"value": 1.0}),
        (K.ADL, "adl", {"value": 0.4}),
    ],
    ids=["liquidation", "adl", "adl of a part"],
)
def test_what_the_venue_closes_by_itself_is_booked_told_and_followed(
    kind: FaultKind, told: str, parameters: dict[str, float]
) -> None:
    wrong = fault(kind, symbol="BTCUSDT", upon="ALGO_UPDATE", nth=6, times=1, **parameters)
    world = unbroken(lived(wrong, hours=6))
    assert world.tables.events[told] >= 1
    assert told in {p.exit_reason for p in world.tables.positions.values()}


@pytest.mark.parametrize("kind", [K.SETTLING, K.FILTER_CHANGE])
def test_a_symbol_under_other_rules_is_told_and_not_entered(kind: FaultKind) -> None:
    parameters = {"key": "tick_size", "value": 1} if kind is K.FILTER_CHANGE else {}
    world = lived(fault(kind, symbol="BTCUSDT", after_seconds=7_000, **parameters), hours=6)
    if kind is K.FILTER_CHANGE:
        unbroken(world)
    told = "contract_surprise" if kind is K.FILTER_CHANGE else "listing_changed"
    assert world.tables.events[told] >= 1
    later = [s for s in world.tables.signals.values() if s.cycle_at > world.exchange.tape.start + 8_000_000]
    assert later
    assert {s.decision for s in later} == {"refuse"}


def test_orders_and_positions_of_others_are_told_and_never_touched() -> None:
    wrong = (
        fault(K.FOREIGN_ORDER, symbol="BTCUSDT", value=0.5, after_seconds=3_000),
        fault(K.FOREIGN_POSITION, symbol="XRPUSDT", value=500, after_seconds=4_000),
    )
    world = unbroken(lived(*wrong, hours=5, orders=OrdersTable(check_seconds=60)))
    assert world.exchange.held()["XRPUSDT"] == 500
    foreign = [o for o in world.exchange.engine.open_orders() if o.client_id.startswith("web_")]
    assert len(foreign) == 1
    assert world.tables.events["foreign_order"] >= 1
