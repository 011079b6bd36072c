"""The gate: the live process on the simulator and the backtest over the same days are the same, to the last digit."""

import json
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from bot.clock import DAY_MS, HOUR_MS, MINUTE_MS
from bot.config import BotFile, JournalTable
from bot.history.bars import BarFiles
from bot.journal.audit import AuditRows
from bot.journal.connection import read_journal
from bot.messages import Position, PositionStatus, Signal
from bot.plugin_host import PluginHost
from bot.replay import GENERATED_START, MarketOptions
from bot.research.backtest.engine import Outcome, Setup, run
from bot.research.backtest.logged import LoggedSignals
from bot.research.backtest.market import load_symbol
from bot.research.backtest.trade import simulators_terms
from bot.variants.files import load_variants
from tests.flow.processes import CHECKOUT, Bot, Left, remove
from tests.flow.variants import WHOLE_FILLS, busy, variant, write

pytestmark = [pytest.mark.flow, pytest.mark.timeout(600)]

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
DAYS = 1
FAR = 4_000_000_000_000
TOLD = ("decision", "decision_reason", "side", "entry_price", "quantity", "mark_price")
TRADED = ("filled", "opened_at", "entry_price", "closed_at", "exit_price", "exit_reason", "status")


class Days(msgspec.Struct, frozen=True):
    left: Left
    folder: Path
    rows: list[Signal]
    positions: list[Position]
    outcome: Outcome


def files() -> dict[str, str]:
    """The busy book, and cycles that fall on played prices."""
    on_prices = variant(
        "ONPRICES", ("BTCUSDT", "SOLUSDT"), minutes="5, 10, 30", entry="atr05", stop=1.0, target=1.2, trail_arm=0.4,
        trail=0.3, hold=35, options="[entry.atr05]\natr_multiple = 0.2",
    )  # fmt: skip
    return busy() | {"onprices": on_prices}


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Days]:
    folder = tmp_path_factory.mktemp("parity")
    variants = write(folder / "variants", files())
    (folder / "whole.toml").write_text(WHOLE_FILLS, encoding="utf-8")
    market = ("--days", DAYS, "--seed", 11, "--profile", "stress")
    left = Bot(folder / "state", variants, *market, "--scenario", folder / "whole.toml").end()
    rows, positions = anyio.run(journal, folder / "state")
    start = MarketOptions.first_day(GENERATED_START)
    named = [word for symbol in symbols(variants) for word in ("--symbol", symbol)]
    words = ("generate", folder / "bars", *named, *market, "--from", start)
    subprocess.run([sys.executable, "-m", "bot", *map(str, words)], cwd=CHECKOUT, check=True, capture_output=True)
    yield Days(left, folder, rows, positions, backtested(folder, rows))
    remove(folder / "state")


def symbols(variants: Path) -> list[str]:
    """In the bot's order, which the generated market depends on in nothing but its speed."""
    loaded = load_variants([variants], PluginHost.load().plugins, 44)
    return list(dict.fromkeys(symbol for one in loaded for symbol in one.symbols))


async def journal(state: Path) -> tuple[list[Signal], list[Position]]:
    async with read_journal(state, JournalTable(), {}) as pool:
        rows = AuditRows(pool)
        return [row async for page in rows.signals(0, FAR) for row in page], list(await rows.alive(0, FAR))


def backtested(folder: Path, rows: list[Signal]) -> Outcome:
    """From the forecasts that the run logged, and nothing else of it."""
    variants = load_variants([folder / "variants"], PluginHost.load().plugins, 44)
    end = GENERATED_START + DAYS * DAY_MS
    bars = BarFiles(folder / "bars")
    markets = {symbol: load_symbol(bars, symbol, GENERATED_START, end) for symbol in SYMBOLS}
    offsets = {one.name: tuple(minute * MINUTE_MS for minute in one.minutes) for one in variants}
    settings = BotFile()
    setup = Setup(
        start=GENERATED_START,
        end=end,
        context=settings.model.context,
        wallet=Decimal(10_000),
        guards=settings.guards,
        terms=simulators_terms(),
        every_row=True,
    )
    known = {symbol: market for symbol, market in markets.items() if market is not None}
    return run(variants, known, LoggedSignals(rows, offsets, settings.model.horizon), setup)


def test_every_decision_is_the_same(days: Days) -> None:
    live = {row.signal_id: tuple(getattr(row, name) for name in TOLD) for row in days.rows}
    ours = {row.signal_id: tuple(getattr(row, name) for name in TOLD) for row in days.outcome.rows}
    assert ours == live
    assert len(live) > 500
    reasons = {row.decision_reason for row in days.rows}
    assert reasons >= {"allowed", "below_threshold", "cap_symbol", "opposite_position", "guard_losing_streak"}


def test_every_trade_is_the_same_to_the_digit(days: Days) -> None:
    live = {one.position_id: tuple(getattr(one, name) for name in TRADED) for one in days.positions}
    closed = {one.position_id for one in days.positions if one.status is PositionStatus.CLOSED}
    ours = {
        trade.position.position_id: tuple(getattr(trade.position, name) for name in TRADED)
        for trade in days.outcome.trades
    }
    assert ours.keys() == live.keys()
    assert {key: ours[key] for key in closed} == {key: live[key] for key in closed}
    assert len(closed) > 100
    ends = {one.exit_reason for one in days.positions}
    assert ends >= {"stop_loss", "target", "trailing_stop", "profit_floor", "max_hold", "not_filled"}


def test_what_the_trades_earned_is_the_same(days: Days) -> None:
    """Funding is shared out among positions of one symbol, so that its last digits may differ."""
    live = {one.position_id: one.net_pnl for one in days.positions if one.status is PositionStatus.CLOSED}
    ours = {trade.position.position_id: trade.position.net_pnl for trade in days.outcome.trades}
    assert all(abs(ours[key] - result) < Decimal("0.000001") for key, result in live.items())
    assert any(one.funding for one in days.positions)


def parity(days: Days, *words: object) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "bot", "parity", "--state", days.folder / "state", *words, "--json"]
    ended = subprocess.run(map(str, command), cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert ended.returncode in (0, 1), ended.stderr
    return ended.returncode, json.loads(ended.stdout)


def test_the_command_finds_no_difference_and_names_those_of_another_book(days: Days) -> None:
    first = MarketOptions.first_day(GENERATED_START)
    words = ("--day", first, "--days", DAYS, "--bars", days.folder / "bars")
    status, told = parity(days, *words, "--variants", days.folder / "variants")
    assert (status, told["found"]["differences"]) == (0, [])
    assert told["found"]["rows"] == len(days.rows)
    assert told["found"]["trades"] > 100

    other = write(days.folder / "other", files() | {"holder": variant("HOLDER", ("SOLUSDT",), minutes="2, 32", stop=4)})
    status, told = parity(days, *words, "--variants", other)
    assert status == 1
    assert {one["variant"] for one in told["found"]["differences"]} == {"HOLDER"}


def test_without_the_played_bars_decisions_are_compared_and_trades_left_out(days: Days) -> None:
    first = MarketOptions.first_day(GENERATED_START)
    status, told = parity(days, "--day", first, "--variants", days.folder / "variants")
    assert (status, told["found"]["differences"], told["found"]["trades"]) == (0, [], 0)
    assert told["found"]["rows"] == len(days.rows)
    assert told["found"]["excluded"]["bars_not_played"] > 100
    assert told["not_played"] == sorted(SYMBOLS)


def test_the_bot_told_so_itself_each_day(days: Days) -> None:
    events = days.left.rows("SELECT name, detail FROM bot.bot_events WHERE name LIKE 'parity%' ORDER BY id")
    assert [event["name"] for event in events] == ["parity_ok"] * DAYS
    assert sum(event["detail"]["rows"] for event in events) == len(days.rows)
    assert sum(event["detail"]["trades"] for event in events) > 100


def test_the_hours_that_the_bot_kept_are_the_markets(days: Days) -> None:
    kept = BarFiles(days.folder / "state" / "bars" / "replay").load("BTCUSDT", HOUR_MS, start=GENERATED_START)
    made = BarFiles(days.folder / "bars").load("BTCUSDT", HOUR_MS, start=GENERATED_START)
    assert kept.close.tolist() == made.close.tolist()
