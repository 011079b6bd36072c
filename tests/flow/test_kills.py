"""The bot is killed at random moments of a replay and started again; the exchange meanwhile goes on without it."""

import random
import time
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal

import pytest

from bot.clock import DAY_MS
from tests.flow.journeys import Journey
from tests.flow.processes import DEADLINE_SECONDS, Bot, Simulator, remove, simulator
from tests.flow.variants import busy, write

pytestmark = [pytest.mark.flow, pytest.mark.timeout(600)]

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
KILLS = 5
SEED = 11


def kill_at(bot: Bot, exchange: Simulator, progress: float, real_delay: float) -> None:
    """Kill the bot in the session that passes `progress` of the market, at whatever it is doing just then."""
    sessions = exchange.report()["sessions"]
    deadline = time.monotonic() + DEADLINE_SECONDS
    while bot.running and time.monotonic() < deadline:
        report = exchange.report()
        if report["sessions"] > sessions:
            began = began_at(exchange, report["sessions"])
            share = (report["now"] - report["started_at"]) / DAY_MS
            if report["now"] > began and share >= progress:
                time.sleep(real_delay)
                break
        time.sleep(0.01)
    assert bot.running, bot.output.read_text()[-3000:]
    bot.kill()


def began_at(exchange: Simulator, session: int) -> int:
    connected = [entry for entry in exchange.log() if entry["what"] == "lockstep_connected"]
    at: int = connected[session - 1]["at"]
    return at


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journey]:
    folder = tmp_path_factory.mktemp("kills")
    variants = write(folder / "variants", busy())
    state = folder / "state"
    dice = random.Random(SEED)
    moments = sorted(dice.uniform(0.02, 0.9) for _ in range(KILLS))
    options = ("--days", 1, "--seed", SEED, "--profile", "stress", "--outage-minutes", 20)
    with simulator(SYMBOLS, *options) as exchange:
        words = (variants, "--simulator", exchange.url, "--keep")
        for progress in moments:
            kill_at(Bot(state, *words), exchange, progress, dice.uniform(0, 0.1))
        left = Bot(state, *words).end()
        yield Journey(left, exchange.report(), exchange.ledger(), exchange.log())
    remove(state)


def test_the_market_was_played_to_its_end_in_six_lives(journey: Journey) -> None:
    assert journey.exchange["ended"] is True
    assert journey.exchange["sessions"] == KILLS + 1
    assert journey.report["restarts"] == KILLS
    assert journey.report["entries_filled"] > 50


def test_no_intent_was_executed_twice(journey: Journey) -> None:
    intended = {row["position_id"]: row["intended"] for row in journey.positions}
    entered: defaultdict[str, Decimal] = defaultdict(Decimal)
    for entry in journey.log:
        if entry["what"] == "fill" and entry["client_id"].split("-")[2].startswith("e"):
            entered[entry["client_id"].split("-")[1]] += Decimal(entry["quantity"])
    assert entered.keys() <= intended.keys()
    assert [one for one, quantity in entered.items() if quantity > intended[one]] == []
    filled = {row["position_id"]: row["filled"] for row in journey.positions if row["filled"]}
    assert entered == filled
    entries = [row["position_id"] for row in journey.orders if row["leg"] == "e"]
    assert len(entries) == len(set(entries))


def test_no_position_was_without_a_stop_while_a_bot_was_there(journey: Journey) -> None:
    assert journey.exchange["naked_seconds_connected"] == 0.0


def test_the_ledger_equals_the_exchanges_at_the_end(journey: Journey) -> None:
    assert journey.report["ledger_equal"] is True
    assert journey.report["ledger_checks"] > 0
    assert journey.left.fills_digest() == journey.ledger["fills_digest"]
    sums = journey.left.rows(
        """SELECT (SELECT sum(realized_pnl) FROM bot.fills) AS realized_pnl, (SELECT sum(fee) FROM bot.fills) AS fees,
           (SELECT coalesce(sum(amount), 0) FROM bot.funding) AS funding"""
    )[0]
    assert sums == {name: Decimal(journey.ledger[name]) for name in ("realized_pnl", "fees", "funding")}
    assert [row for row in journey.fills if row["position_id"] is None] == []


def test_positions_and_orders_are_the_exchanges_at_the_end(journey: Journey) -> None:
    net: defaultdict[str, Decimal] = defaultdict(Decimal)
    for position in journey.positions:
        sign = 1 if position["side"] == "LONG" else -1
        net[position["symbol"]] += sign * (position["filled"] - position["closed"])
    positions = {symbol: Decimal(quantity) for symbol, quantity in journey.ledger["positions"].items()}
    assert {symbol: quantity for symbol, quantity in net.items() if quantity} == {
        symbol: quantity for symbol, quantity in positions.items() if quantity
    }
    live = {row["client_id"] for row in journey.orders if row["state"] in journey.LIVE_STATES}
    assert live == {*journey.ledger["open_orders"], *(algo["client_id"] for algo in journey.ledger["open_algos"])}


def test_no_cycle_has_two_rows_and_each_entry_one_outcome(journey: Journey) -> None:
    rows = [(row["variant"], row["symbol"], row["cycle_at"]) for row in journey.signals]
    assert len(rows) == len(set(rows))
    positions = {row["position_id"]: row for row in journey.positions}
    for row in journey.signals:
        if row["decision"] != "enter":
            continue
        position = positions.get(row["signal_id"])
        if position is None:  # killed between the decision and the order's commit
            assert (row["fill_status"], row["exit_reason"]) == ("denied", "process_ended")
            continue
        over = position["status"] == "closed" and position["filled"] > 0
        expected = (position["exit_reason"], position["net_pnl"]) if over else (None, None)
        assert (row["exit_reason"], row["net_pnl"]) == expected
        assert row["fill_status"] == journey.fill_status(position)
