"""The whole process trades two simulated days through the simulator; every number is held against the simulator's."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from bot.clock import DAY_MS, HOUR_MS, MINUTE_MS
from bot.config import CostsTable
from bot.exchange.simulator.generator import GeneratedMarket
from bot.exchange.simulator.server import market_of
from bot.messages import Bars, Signal
from bot.replay import MarketOptions
from bot.strategy.counterfactual import costs_of, pursue, pursuit_of
from bot.strategy.follow import Costs, FollowStatus, Path, follow
from bot.strategy.recheck import disagreements
from tests.flow.journeys import Journey
from tests.flow.processes import remove, run, simulator
from tests.flow.variants import busy, write
from tests.strategy.judges import JUDGES

pytestmark = [pytest.mark.flow, pytest.mark.timeout(600)]

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
DAYS = 2
HORIZON_MS = 4 * HOUR_MS
CYCLES_PER_HOUR = {"MARKET": 3, "PULLBACK": 3, "PATIENT": 2, "HOLDER": 2}
ALWAYS_SEEN = (
    "bar_close_at",
    "checkpoint",
    "mark_price",
    "predicted_return",
    "predicted_q10",
    "predicted_q90",
    "side",
    "rsi",
    "atr",
)
PROMISED = {
    *("venue", "started_at", "ended_at", "simulated_days", "symbols", "variants", "signals", "orders"),
    *("entries_filled", "exits", "fees", "funding", "net_pnl", "max_drawdown", "naked_seconds", "ledger_equal"),
    *("restarts", "wall_seconds"),
}
SYMBOLS_OF = {"MARKET": 2, "PULLBACK": 2, "PATIENT": 2, "HOLDER": 1}


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journey]:
    folder = tmp_path_factory.mktemp("two-days")
    variants = write(folder / "variants", busy())
    state = folder / "state"
    with simulator(SYMBOLS, "--days", DAYS, "--seed", 5, "--profile", "stress") as exchange:
        left = run(state, variants, "--simulator", exchange.url)
        yield Journey(left, exchange.report(), exchange.ledger(), exchange.log())
    remove(state)


def test_every_kind_of_entry_and_end_happens(journey: Journey) -> None:
    ends = {row["exit_reason"] for row in journey.positions if row["status"] == "closed"}
    assert ends >= {"stop_loss", "target", "trailing_stop", "profit_floor", "max_hold", "not_filled"}
    statuses = {row["fill_status"] for row in journey.signals}
    assert statuses >= {None, "filled", "partial", "expired"}
    kinds = {(row["leg"], row["kind"]) for row in journey.orders if row["filled"] > 0}
    assert kinds == {
        ("e", "LIMIT"),
        ("e", "MARKET"),
        ("s", "STOP_MARKET"),
        ("t", "TAKE_PROFIT_MARKET"),
        ("x", "MARKET"),
    }
    assert len(journey.left.rows("SELECT * FROM bot.funding")) > 3
    assert journey.report["entries_filled"] > 300


def test_the_ledgers_were_equal_at_every_quiet_moment(journey: Journey) -> None:
    assert journey.report["ledger_equal"] is True
    assert journey.report["ledger_checks"] > 300
    assert journey.left.rows("SELECT * FROM bot.bot_events WHERE name = 'ledger_differs'") == []


def test_the_fills_are_the_exchanges_to_the_last_digit(journey: Journey) -> None:
    assert journey.left.fills_digest() == journey.ledger["fills_digest"]
    ours = {
        (row["symbol"], row["trade_id"]): (
            row["client_id"],
            row["venue_id"],
            row["buy"],
            row["price"],
            row["quantity"],
            row["fee"],
            row["realized_pnl"],
            row["maker"],
            row["at"],
        )
        for row in journey.fills
    }
    theirs = {
        (fill["symbol"], fill["trade_id"]): (
            fill["client_id"],
            fill["order_id"],
            fill["buy"],
            Decimal(fill["price"]),
            Decimal(fill["quantity"]),
            Decimal(fill["fee"]),
            Decimal(fill["realized_pnl"]),
            fill["maker"],
            fill["at"],
        )
        for fill in journey.ledger["fills_list"]
    }
    assert ours == theirs
    assert len(ours) == journey.ledger["fills"] > 600


def test_every_fill_belongs_to_a_position(journey: Journey) -> None:
    booked: defaultdict[tuple[str, bool], Decimal] = defaultdict(Decimal)
    for fill in journey.fills:
        assert fill["client_id"].startswith(f"tsb-{fill['position_id']}-{fill['leg']}")
        booked[fill["position_id"], fill["leg"] == "e"] += fill["quantity"]
    for position in journey.positions:
        assert booked[position["position_id"], True] == position["filled"]
    assert sum(booked.values()) == sum(p["filled"] + p["closed"] for p in journey.positions)


def test_positions_add_up_to_the_wallet(journey: Journey) -> None:
    net: defaultdict[str, Decimal] = defaultdict(Decimal)
    for position in journey.positions:
        sign = 1 if position["side"] == "LONG" else -1
        net[position["symbol"]] += sign * (position["filled"] - position["closed"])
    assert {symbol: quantity for symbol, quantity in net.items() if quantity} == {
        symbol: Decimal(quantity) for symbol, quantity in journey.ledger["positions"].items() if Decimal(quantity)
    }
    by_symbol: defaultdict[str, Decimal] = defaultdict(Decimal)
    for position in journey.positions:
        by_symbol[position["symbol"]] += position["net_pnl"]
    wallet: defaultdict[str, Decimal] = defaultdict(Decimal)
    for fill in journey.fills:
        wallet[fill["symbol"]] += fill["realized_pnl"] - fill["fee"]
    for payment in journey.left.rows("SELECT * FROM bot.funding"):
        wallet[payment["symbol"]] += payment["amount"]
    for symbol in SYMBOLS:
        if not net[symbol]:  # while one is open, the exchange's averaged entry price spreads profit differently
            assert by_symbol[symbol] == pytest.approx(wallet[symbol], abs=Decimal("1e-9"))
    change = Decimal(journey.ledger["wallet"]) - Decimal(journey.exchange["starting_wallet"])
    assert sum(wallet.values()) == change
    assert Decimal(journey.report["net_pnl"]) == change


def test_each_intent_is_executed_at_most_once(journey: Journey) -> None:
    intended = {row["signal_id"]: row["quantity"] for row in journey.signals if row["decision"] == "enter"}
    entered: defaultdict[str, Decimal] = defaultdict(Decimal)
    for entry in journey.log:
        if entry["what"] == "fill" and entry["client_id"].split("-")[2].startswith("e"):
            entered[entry["client_id"].split("-")[1]] += Decimal(entry["quantity"])
    assert entered.keys() <= intended.keys()
    assert all(quantity <= intended[signal_id] for signal_id, quantity in entered.items())
    entries = [row["position_id"] for row in journey.orders if row["leg"] == "e"]
    assert sorted(entries) == sorted(intended)


def test_no_position_was_ever_without_a_stop(journey: Journey) -> None:
    assert journey.exchange["naked_seconds"] == 0.0
    assert journey.report["naked_seconds"] == 0.0


def test_no_order_is_left_without_an_owner(journey: Journey) -> None:
    live = {row["client_id"] for row in journey.orders if row["state"] in journey.LIVE_STATES}
    open_orders = set(journey.ledger["open_orders"])
    open_algos = {algo["client_id"] for algo in journey.ledger["open_algos"]}
    assert live == open_orders | open_algos
    status = {row["position_id"]: row["status"] for row in journey.positions}
    assert {status[client_id.split("-")[1]] for client_id in live} <= {"open", "pending"}
    for position in journey.positions:
        if position["status"] == "open":
            stops = [a for a in journey.ledger["open_algos"] if f"-{position['position_id']}-s" in a["client_id"]]
            assert [Decimal(stop["quantity"]) for stop in stops] == [position["filled"] - position["closed"]]


def test_every_variant_symbol_and_cycle_has_exactly_one_row(journey: Journey) -> None:
    rows = [(row["variant"], row["symbol"], row["cycle_at"]) for row in journey.signals]
    assert len(rows) == len(set(rows))
    counted: defaultdict[str, int] = defaultdict(int)
    for variant, _, _ in rows:
        counted[variant] += 1
    assert counted == {name: per_hour * SYMBOLS_OF[name] * 24 * DAYS for name, per_hour in CYCLES_PER_HOUR.items()}


def test_no_row_lacks_a_value_that_is_due(journey: Journey) -> None:
    for row in journey.signals:
        assert [name for name in ALWAYS_SEEN if row[name] is None] == []
        assert row["cycle_at"] - row["bar_close_at"] == row["cycle_at"] % HOUR_MS
        assert row["predicted_q10"] <= row["predicted_return"] <= row["predicted_q90"]
        if row["decision"] == "enter":
            limit = row["variant"] in ("PULLBACK", "PATIENT")
            assert (row["quantity"] is not None, row["entry_price"] is not None) == (True, limit)
            assert row["decision_reason"] == "allowed"
        else:
            assert row["fill_status"] in (None, "cf_filled", "cf_expired")


def test_every_entry_has_its_outcome_in_its_row(journey: Journey) -> None:
    positions = {row["position_id"]: row for row in journey.positions}
    for row in journey.signals:
        if row["decision"] != "enter":
            continue
        position = positions[row["signal_id"]]
        over = position["status"] == "closed" and position["filled"] > 0
        expected = (position["exit_price"], position["exit_reason"], position["net_pnl"]) if over else (None,) * 3
        assert (row["exit_price"], row["exit_reason"], row["net_pnl"]) == expected
        assert row["fill_price"] == position["entry_price"]
        assert row["fill_status"] == journey.fill_status(position)


def test_the_actual_return_is_known_once_the_horizon_has_passed(journey: Journey) -> None:
    closes: dict[tuple[str, int], float] = {}
    for row in journey.signals:
        known = row["bar_close_at"] + HORIZON_MS <= journey.exchange["now"]
        assert (row["actual_return"] is not None) == known, row
        if known:
            same = closes.setdefault((row["symbol"], row["bar_close_at"]), row["actual_return"])
            assert row["actual_return"] == same
    assert len(set(closes.values())) > 100


def test_the_days_are_summed_up(journey: Journey) -> None:
    days = journey.left.rows("SELECT * FROM bot.daily_log ORDER BY day")
    busy_days = [day for day in days if day["signals"]]
    assert [str(day["day"]) for day in busy_days] == ["2026-01-05", "2026-01-06"]
    first, second = busy_days
    assert first["signals"] + second["signals"] == len(journey.signals)
    assert first["entries"] + second["entries"] == journey.report["entries_filled"]
    assert first["exits"] + second["exits"] == sum(journey.report["exits"].values())
    assert second["wallet"] == Decimal(journey.ledger["wallet"])
    assert first["wallet"] + second["net_pnl"] == second["wallet"]
    assert str(days[0]["day"]) == "2026-01-05"


def test_nothing_went_wrong_on_the_way(journey: Journey) -> None:
    rows = journey.left.rows("SELECT name, detail FROM bot.bot_events WHERE severity <> 'info'")
    told = {"order_rejected", "entry_not_sent", "audit_finding", "guard_tripped", "guard_released"}
    told |= {"parity_differs"}  # entries fill in part here, which a backtest does not know
    assert {row["name"] for row in rows} <= told
    expected = ("-2021", "-4016")  # a stop that was passed at once, a limit too far from the mark
    rejected = [row["detail"]["error"] for row in rows if row["name"] == "order_rejected"]
    assert all(error.startswith(expected) for error in rejected)
    assert {row["detail"]["rule"] for row in rows if row["name"] == "audit_finding"} <= {"filter_never_vetoes"}


@pytest.fixture(scope="module")
def signals(journey: Journey) -> list[Signal]:
    return [msgspec.convert(row, Signal) for row in journey.signals]


def test_every_decision_follows_from_its_row_alone(signals: list[Signal]) -> None:
    assert [wrong for signal in signals for wrong in disagreements(signal, JUDGES)] == []


@pytest.fixture(scope="module")
def played() -> dict[str, Bars]:
    """The very market that the run was played on: the finest bars of the same seed."""
    options = MarketOptions(days=DAYS, seed=5, profile="stress").options(SYMBOLS, "1", 0, until_stdin_closes=False)
    market = market_of(options)
    assert isinstance(market, GeneratedMarket)
    return {symbol: market.bars[symbol, 5 * MINUTE_MS] for symbol in SYMBOLS}


def test_following_an_entered_signal_gives_what_really_came_of_it(
    journey: Journey, signals: list[Signal], played: dict[str, Bars]
) -> None:
    """On the same bars, walked as the simulator plays them: every fill, every reason, every price but where the entry's
    own print had passed the stop already (the bot was out at the print, a followed one is out at its stop), or where a
    sibling's stop, which stands for all that its entry asks for, has taken a part: the venue nets its positions."""
    positions = {row["position_id"]: row for row in journey.positions}
    costs = Costs(maker_fee=0.0002, taker_fee=0.0005, slippage=0.0001)
    compared, beyond = 0, 0
    closed_by_its_own: Counter[str] = Counter()
    for order in journey.orders:
        if order["leg"] != "e":
            closed_by_its_own[order["position_id"]] += order["filled"]
    for signal in signals:
        pursuit = pursuit_of(signal)
        if signal.decision != "enter" or pursuit is None:
            continue
        position = positions[signal.signal_id]
        found = follow(pursuit.trial, played[signal.symbol], costs, Path.PLAYED)
        if position["closed_at"] is None:
            assert found.status is FollowStatus.OPEN
            continue
        if not position["filled"]:
            sent = position["exit_reason"] != "rejected"  # else its stop would have triggered at once
            assert found.status is FollowStatus.EXPIRED or not sent
            continue
        assert found.exit_reason == position["exit_reason"]
        assert found.fill_price == pytest.approx(float(position["entry_price"]), rel=1e-4)
        compared += 1
        if found.exit_price != pytest.approx(float(position["exit_price"]), rel=2e-4):
            shared = closed_by_its_own[signal.signal_id] != position["filled"]
            assert found.exit_reason == "stop_loss"
            assert shared or found.fill_at == found.exit_at
            beyond += 1
    assert compared > 300
    assert beyond < 0.04 * compared


def test_refused_signals_are_followed_to_what_would_have_been_their_end(
    signals: list[Signal], played: dict[str, Bars]
) -> None:
    costs, followed = costs_of(CostsTable()), 0
    for signal in signals:
        pursuit = None if signal.decision == "enter" else pursuit_of(signal)
        if pursuit is None:
            continue
        outcome = pursue(pursuit, played[signal.symbol], costs)
        if signal.fill_status is None:
            assert outcome is None or pursuit.due_at > signals[-1].cycle_at - 6 * HOUR_MS
            continue
        assert outcome is not None
        assert (signal.fill_status, signal.exit_reason) == (outcome.fill_status, outcome.exit_reason)
        assert (signal.fill_price, signal.exit_price, signal.net_pnl) == (
            outcome.fill_price,
            outcome.exit_price,
            outcome.net_pnl,
        )
        followed += 1
    assert followed > 250


def test_each_day_was_audited(journey: Journey) -> None:
    spans = journey.left.rows("SELECT detail FROM bot.bot_events WHERE name = 'audit_done' ORDER BY id")
    started = journey.report["started_at"]
    assert [(row["detail"]["since_at"], row["detail"]["until_at"]) for row in spans] == [
        (started + day * DAY_MS, started + (day + 1) * DAY_MS) for day in range(DAYS)
    ]
    assert journey.report["audit"] == [one for one in journey.report["audit"] if one["severity"] != "error"]


def test_the_report_has_its_keys(journey: Journey) -> None:
    report = journey.report
    assert report.keys() >= PROMISED
    assert (report["venue"], report["simulated_days"], report["restarts"]) == ("replay", DAYS, 0)
    assert report["ended_at"] - report["started_at"] == DAYS * DAY_MS
    assert sorted(report["symbols"]) == sorted(SYMBOLS)
    assert sum(report["signals"].values()) == len(journey.signals)
    assert report["orders"] == len(journey.orders)
    assert Decimal(report["fees"]) == Decimal(journey.ledger["fees"])
    assert Decimal(report["funding"]) == Decimal(journey.ledger["funding"])
    assert "plotly" in (journey.left.state / "report" / "report.html").read_text(encoding="utf-8").lower()


def test_an_entry_lives_no_longer_than_its_time(journey: Journey) -> None:
    ended: dict[str, dict[str, Any]] = {row["client_id"]: row for row in journey.orders if row["state"] == "canceled"}
    entries = [row for row in ended.values() if row["leg"] == "e"]
    assert entries
    for row in entries:
        minutes = 25 if row["position_id"] in journey.ids_of("PATIENT") else 60
        assert row["updated_at"] - row["created_at"] <= minutes * MINUTE_MS
