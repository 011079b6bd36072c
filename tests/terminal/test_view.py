"""The terminal view: what it shows of the messages it was sent, on a terminal and off one."""

import io
import re
from collections.abc import Sequence
from decimal import Decimal

import anyio
import pytest
from anyio.lowlevel import checkpoint
from rich.console import Console

from bot.clock import DAY_MS, HOUR_MS, MINUTE_MS
from bot.messages import (
    BalanceChanged,
    BotEvent,
    ExitPlan,
    MarkChanged,
    Position,
    PositionChanged,
    PositionStatus,
    PriceChanged,
    Progress,
    Severity,
    Side,
    Signal,
)
from bot.terminal.board import POINTS_KEPT, Board, TerminalMessage, sparkline
from bot.terminal.screen import screen
from bot.terminal.view import TerminalView, terminal_stream

pytestmark = pytest.mark.anyio
START = 1_740_787_200_000  # 2025-03-01


def position(name: str = "p1", status: PositionStatus = PositionStatus.OPEN, **changes: object) -> PositionChanged:
    values: dict[str, object] = {
        "position_id": name,
        "variant": "BTC",
        "tier": "t1",
        "symbol": "BTCUSDT",
        "side": Side.LONG,
        "status": status,
        "intended": Decimal("0.02"),
        "filled": Decimal("0.02"),
        "entry_price": Decimal("84000.5"),
        "stop_price": Decimal("82320.4"),
        "target_price": Decimal("85680.5"),
        "created_at": START,
        "expires_at": START + HOUR_MS,
        "exits": ExitPlan(stop_pct=2.0),
    }
    return PositionChanged(Position(**(values | changes)))  # type: ignore[arg-type]


def signal(number: int, decision: str = "refuse", reason: str = "below_threshold") -> Signal:
    return Signal(
        signal_id=f"s{number}",
        cycle_at=START + number * 30 * MINUTE_MS,
        variant="BTC",
        tier="t1",
        symbol="BTCUSDT",
        predicted_return=0.0042,
        threshold=0.003,
        side=Side.LONG,
        decision=decision,
        decision_reason=reason,
        entry_method="atr05",
        mark_price=Decimal(84_500),
    )


MESSAGES: Sequence[TerminalMessage] = (
    BalanceChanged(at=START, wallet=Decimal(10_000)),
    signal(1),
    signal(2, "enter", "long, +0.42 % over 0.30 %"),
    position(),
    position("p2", PositionStatus.PENDING, filled=Decimal(0), entry_price=None),
    BotEvent(at=START, name="user_stream_lost", severity=Severity.WARNING, detail={"reason": "silence"}),
    Progress(START + 3 * DAY_MS, 0.25, START),
)


def board(messages: Sequence[TerminalMessage] = MESSAGES) -> Board:
    made = Board()
    for message in messages:
        made.take(message)
    return made


def shown(made: Board, width: int = 120, height: int = 40) -> str:
    console = Console(file=io.StringIO(), record=True, width=width, height=height)
    console.print(screen(made, title="replay", pace=12_345.0, width=width, height=height))
    return console.export_text()


def test_the_screen_shows_time_progress_equity_positions_decisions_and_events() -> None:
    text = shown(board())
    for words in (
        "2025-03-04 00:00",
        "day 3.0",
        "12,345 times real time",
        "25%",
        "0:",
        "Open positions 1, 1 waiting for a fill",
        "84,000.5",
        "82,320.4",
        "85,680.5",
        "+9.99",  # 0.02 x (84500 - 84000.5)
        "10,009.99",
        "long, +0.42 % over 0.30 %",
        "below_threshold",
        "Signals 2, 1 entered",
        "user_stream_lost",
        "reason=silence",
    ):
        assert words in text


def test_a_wide_screen_shows_the_forecasts_range_too() -> None:
    ranged = signal(3)
    ranged.predicted_q10, ranged.predicted_q90 = -0.018, 0.0241
    made = board([ranged])
    assert "-1.8% to +2.4%" in shown(made)
    assert "q10" not in shown(made, width=80)


def test_an_open_position_without_a_stop_is_seen_at_once() -> None:
    assert re.search(r"84,000.5 +none +85,680.5", shown(board([position(stop_price=None)])))


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (200, 60)])
def test_a_full_board_fits_the_screen(width: int, height: int) -> None:
    made = board(MESSAGES)
    for number in range(60):
        made.take(position(f"x{number}"))
        made.take(signal(number, reason="a reason that is far too long for one line " * 5))
        made.take(BotEvent(at=START, name="event", detail={"text": "long " * 60}))
    lines = shown(made, width, height).rstrip("\n").split("\n")
    assert len(lines) <= height
    assert max(len(line) for line in lines) <= width


def test_a_screen_with_nothing_known_is_drawn() -> None:
    assert "starting" in shown(Board())


def test_a_closed_position_leaves_the_table_and_counts_as_an_exit_once() -> None:
    made = board()
    for _ in range(2):
        made.take(position(status=PositionStatus.CLOSED, closed=Decimal("0.02"), exit_reason="target"))
    assert made.open_positions == []
    assert "Exits 1: target 1" in shown(made)


def test_an_entry_that_expired_unfilled_is_no_exit() -> None:
    made = board()
    made.take(position("p2", PositionStatus.CLOSED, filled=Decimal(0), entry_price=None, exit_reason="expired"))
    assert made.exits.total() == 0
    assert list(made.positions) == ["p1"]


def test_equity_follows_prices_and_marks() -> None:
    made = board()
    made.take(PriceChanged("BTCUSDT", Decimal("83000.5"), START))
    assert made.net == -20
    made.take(MarkChanged("BTCUSDT", Decimal("85000.5"), Decimal(0), START, START))
    assert made.net == 20


def test_the_sparkline_spans_low_to_high_and_keeps_the_newest() -> None:
    assert sparkline([Decimal(value) for value in range(8)], 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([Decimal(value) for value in range(1000)], 4)[-1] == "█"
    assert sparkline([Decimal(5)] * 3, 10) == "▁▁▁"
    assert sparkline([], 10) == ""


def test_equity_points_stay_bounded_and_span_the_whole_run() -> None:
    made = Board()
    for number in range(10_000):
        made.take(BalanceChanged(at=START, wallet=Decimal(number)))
        made.take(Progress(START + number, number / 10_000, START))
    assert POINTS_KEPT / 3 < len(made.equities) <= POINTS_KEPT
    assert made.equities[0] < 200
    assert made.equities[-1] > 9_900


async def watch(console: Console, messages: Sequence[TerminalMessage], seconds: float = 0.0) -> TerminalView:
    inbox = terminal_stream()
    view = TerminalView(inbox, console, "replay")
    async with anyio.create_task_group() as group:
        group.start_soon(view.run)
        for message in messages:
            await inbox.send(message)
            while len(inbox):
                await checkpoint()
            await checkpoint()
        await anyio.sleep(seconds)
        group.cancel_scope.cancel()
    return view


async def test_off_a_terminal_a_line_comes_every_five_percent() -> None:
    out = io.StringIO()
    steps = [Progress(START + i * HOUR_MS, i / 1000, START) for i in range(1001)]
    await watch(Console(file=out, width=60), [*MESSAGES[:-1], *steps])
    lines = out.getvalue().splitlines()
    assert len(lines) == 21
    assert lines[10].startswith("2025-03-21 20:00  50%  equity 10,009.99  open 1  signals 2 (1 entered)  exits 0")
    assert "\x1b" not in out.getvalue()


async def test_off_a_terminal_a_run_without_an_end_gets_a_line_an_hour() -> None:
    out = io.StringIO()
    await watch(Console(file=out), [Progress(START + i * 10 * MINUTE_MS, None, START) for i in range(13)])
    assert len(out.getvalue().splitlines()) == 3


async def test_on_a_terminal_it_draws_at_most_four_times_a_second_and_gives_the_screen_back() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100, height=30)
    steps = [Progress(START + i * HOUR_MS, i / 200, START) for i in range(200)]
    await watch(console, [*MESSAGES, *steps], seconds=0.6)
    text = out.getvalue()
    assert 1 <= text.count("Last decisions") <= 5
    assert text.count("\x1b[?1049h") == text.count("\x1b[?1049l") == 1


async def test_an_inbox_that_nobody_reads_never_overflows_and_keeps_the_newest() -> None:
    inbox = terminal_stream()
    for number in range(20_000):
        inbox.send_nowait(signal(number))
        inbox.send_nowait(position(f"p{number}"))
        inbox.send_nowait(BotEvent(at=number, name="event"))
        inbox.send_nowait(Progress(START + number, 0.5, START))
    assert len(inbox) <= inbox.capacity
    newest = [message for message in inbox.receive_waiting() if isinstance(message, Progress)]
    assert newest == [Progress(START + 19_999, 0.5, START)]
