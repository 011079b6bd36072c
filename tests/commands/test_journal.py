"""The command `journal` on a journal with rows: what a person reads, and what a tool gets."""

import json
import re
from decimal import Decimal
from pathlib import Path

import anyio
import pytest

from bot.commands.journal import Reading, print_events, print_fills, print_orders, print_positions, print_signals
from bot.config import JournalTable
from bot.journal.connection import open_journal
from bot.journal.records import Records
from bot.journal.store import Store
from bot.messages import BotEvent, PositionStatus, Severity, Side
from bot.venue import Leg
from tests.journal.rows import AT, fill, order, position, signal

CLOSED = {
    "status": PositionStatus.CLOSED,
    "side": Side.SHORT,
    "filled": Decimal("0.020"),
    "closed": Decimal("0.020"),
    "entry_price": Decimal("84350.10"),
    "exit_price": Decimal("84000.00"),
    "opened_at": AT,
    "closed_at": AT + 60_000,
    "exit_reason": "target",
    "gross_pnl": Decimal("7.002"),
    "fees": Decimal("0.7"),
}


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("state")

    async def make() -> None:
        async with open_journal(folder, JournalTable(), {}) as pool:
            await Store(pool).save([order()], [position("p1", **CLOSED)], [(fill(), "p1", Leg.ENTRY)])
            event = BotEvent(at=AT, name="gap_filled", severity=Severity.WARNING, detail={"bars": 3, "since_at": AT})
            refused = signal("s2", decision="refuse", decision_reason="below_threshold", symbol="ETHUSDT")
            await Records(pool).write([signal(), refused, event])

    anyio.run(make)
    return folder


@pytest.fixture
def reading(state: Path, monkeypatch: pytest.MonkeyPatch) -> Reading:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("BOT_DSN", raising=False)
    return Reading(state=state, config=state / "absent.toml")


def test_tables_show_rows_of_every_kind_with_times_in_utc(reading: Reading, capsys: pytest.CaptureFixture[str]) -> None:
    print_signals(reading, None, None, None)
    print_positions(reading, None, None, None)
    print_orders(reading, None, None, None)
    print_fills(reading, None, None)
    print_events(reading, None, None)
    text = capsys.readouterr().out
    for line in (
        r"2025-03-01 00:03 +s1 +BTC +BTCUSDT +long +\+1\.23% +enter +pending",
        r"2025-03-01 00:03 +s2 +BTC +ETHUSDT +long +\+1\.23% +below_threshold",
        r"2025-03-01 00:03 +2025-03-01 00:04 +BTC +BTCUSDT +short +closed +0\.020 .* target +\+6\.30",
        r"2025-03-01 00:03:00 +tsb-1-e0 +BTCUSDT +entry +buy +limit +0\.020 +84350\.10 +0 +intended",
        r"2025-03-01 00:03:00 +BTCUSDT +1 +entry +buy +0\.020 +84350\.10 +0\.3374 +\+0\.00 +p1",
        r"2025-03-01 00:03:00 +warning +gap_filled +bars=3 +since_at=2025-03-01T00:03:00\.123Z",
    ):
        assert re.search(line, text), line


def test_filters_and_the_limit_choose_rows(reading: Reading, capsys: pytest.CaptureFixture[str]) -> None:
    print_signals(reading, None, "ethusdt", "refuse")
    assert capsys.readouterr().out.count("2025-03-01") == 1
    print_positions(reading, None, None, "open")
    assert capsys.readouterr().out == "no rows\n"
    print_events(reading, "gap_filled", "warning")
    assert "bars=3" in capsys.readouterr().out


def test_json_has_every_column_money_as_text_and_times_in_iso_8601(
    reading: Reading, capsys: pytest.CaptureFixture[str]
) -> None:
    tool = Reading(state=reading.state, config=reading.config, limit=1, as_json=True)
    print_signals(tool, None, "BTCUSDT", None)
    [row] = json.loads(capsys.readouterr().out)
    assert len(row) == 32
    assert row["cycle_at"] == "2025-03-01T00:03:00.123Z"
    assert row["entry_price"] == "84300.10"
    assert row["filter_verdicts"][0]["filter"] == "rsi"


def test_a_narrow_terminal_leaves_out_columns_whole_and_says_which(
    reading: Reading, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    print_positions(reading, None, None, None)
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert re.search(r"2025-03-01 00:03 +BTCUSDT .*84350\.10 .*target +\+6\.30", text)
    assert "left out for want of room, --json has all: Variant, Closed UTC" in text
    assert "…" not in text
