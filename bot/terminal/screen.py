"""Draws a board as one rich renderable that fits a screen."""

import datetime
from decimal import Decimal

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bot.messages import BotEvent, Position, Severity, Side, Signal
from bot.terminal.board import Board, sparkline, unrealised

FRAMES = 14  # lines that are not rows of the three tables
WITH_RANGES = 100  # columns from which decisions show the forecast's quantiles too
SEVERITY_STYLES = {Severity.INFO: "dim", Severity.WARNING: "yellow", Severity.ERROR: "bold red"}


def screen(board: Board, *, title: str, pace: float | None, width: int, height: int) -> RenderableType:
    """`pace` is how many times faster than real time the run goes, None while it is not known."""
    rows = max(6, height - FRAMES)
    positions = min(max(1, len(board.open_positions)), max(2, rows * 2 // 5))
    events = min(len(board.events), max(2, rows // 5))
    decisions = max(1, rows - positions - events)
    return Group(
        _head(board, title, pace, width),
        _account(board, width),
        Panel(_positions(board, positions), title=_positions_title(board), title_align="left", border_style="dim"),
        Panel(
            _decisions(board, decisions, ranges=width >= WITH_RANGES),
            title="Last decisions",
            title_align="left",
            border_style="dim",
        ),
        Panel(_events(board, events), title="Last events", title_align="left", border_style="dim"),
    )


def plain_line(board: Board, pace: float | None) -> str:
    """The same in one line, for logs and pipes."""
    progress = board.progress
    parts = [moment(progress.now) if progress else "starting"]
    if progress and progress.fraction is not None:
        parts.append(f"{progress.fraction:.0%}")
    if board.equity is not None:
        parts.append(f"equity {board.equity:,.2f}")
    parts.append(f"open {len(board.open_positions)}")
    parts.append(f"signals {board.signals.total()} ({board.signals['enter']} entered)")
    parts.append(f"exits {board.exits.total()}")
    if pace is not None:
        parts.append(f"{pace:,.0f}x")
    return "  ".join(parts)


def _head(board: Board, title: str, pace: float | None, width: int) -> RenderableType:
    progress = board.progress
    if progress is None:
        return Text(f"{title}  starting", style="bold")
    days = (progress.now - progress.started_at) / 86_400_000
    line = Text.assemble((title, "bold"), "   ", (moment(progress.now), "cyan"), f"   day {days:.1f}")
    if pace is not None:
        line.append(f"   {pace:,.0f} times real time", style="dim")
    line.no_wrap = True
    if progress.fraction is None:
        return line
    bar = Table.grid(padding=(0, 1))
    bar.add_row(
        ProgressBar(
            total=1.0,
            completed=progress.fraction,
            width=max(10, width - 22),
            complete_style="cyan",
            finished_style="green",
        ),
        f"{progress.fraction:4.0%}",
        Text(_left(progress.fraction, pace, progress.now - progress.started_at), style="dim"),
    )
    return Group(line, bar)


def _left(fraction: float, pace: float | None, elapsed_ms: int) -> str:
    """Real time that the rest will take."""
    if not pace or not fraction:
        return ""
    seconds = round(elapsed_ms * (1 - fraction) / fraction / pace / 1000)
    return f"{seconds // 60}:{seconds % 60:02d} left"


def _account(board: Board, width: int) -> RenderableType:
    equity, net = board.equity, board.net
    table = Table.grid(padding=(0, 3))
    figures = Text.assemble("Equity ", ("waiting" if equity is None else f"{equity:,.2f}", "bold"))
    if net is not None:
        figures.append(f"  {net:+,.2f}", style=_tone(net))
    counts = Text(f"Signals {board.signals.total():,}, {board.signals['enter']:,} entered", style="dim")
    exits = ", ".join(f"{reason} {count}" for reason, count in board.exits.most_common(4))
    counts.append(f"   Exits {board.exits.total():,}" + (f": {exits}" if exits else ""))
    table.add_row(
        figures, Text(sparkline(board.equities, max(10, min(72, width - 44))), style=_tone(net or Decimal(0)))
    )
    counts.no_wrap = True
    return Group(Text(), table, counts)


def _positions_title(board: Board) -> str:
    shown = board.open_positions
    waiting = len(board.positions) - len(shown)
    return f"Open positions {len(shown)}" + (f", {waiting} waiting for a fill" if waiting else "")


def _positions(board: Board, rows: int) -> RenderableType:
    shown = sorted(board.open_positions, key=lambda one: one.opened_at or one.created_at, reverse=True)
    if not shown:
        return Text("none", style="dim")
    table = _table("Symbol", "Variant", "Side")
    for name in ("Size", "Entry", "Stop", "Target", "Unreal."):
        table.add_column(name, justify="right", no_wrap=True)
    for position in shown[:rows]:
        table.add_row(*_position(position, unrealised(position, board.prices)))
    if len(shown) > rows:
        table.add_row(Text(f"and {len(shown) - rows} more", style="dim"))
    return table


def _position(position: Position, result: Decimal | None) -> list[RenderableType]:
    return [
        position.symbol,
        position.variant,
        _side(position.side),
        number(position.open_quantity),
        number(position.entry_price),
        number(position.stop_price) if position.stop_price is not None else Text("none", style="bold red"),
        number(position.target_price),
        Text("-" if result is None else f"{result:+,.2f}", style=_tone(result or Decimal(0))),
    ]


def _decisions(board: Board, rows: int, *, ranges: bool) -> RenderableType:
    if not board.decisions:
        return Text("none yet", style="dim")
    table = _table("At", "Variant", "Symbol", "Side")
    table.add_column("Predicted", justify="right", no_wrap=True)
    if ranges:
        table.add_column("q10 to q90", justify="right", no_wrap=True, style="dim")
    table.add_column("Decision", no_wrap=True)
    table.add_column("Reason", no_wrap=True, overflow="ellipsis", ratio=1)
    for signal in list(board.decisions)[: -rows - 1 : -1]:
        table.add_row(*_decision(signal, ranges=ranges))
    return table


def _decision(signal: Signal, *, ranges: bool) -> list[RenderableType]:
    entered = signal.decision == "enter"
    predicted = "-" if signal.predicted_return is None else f"{signal.predicted_return:+.2%}"
    low, high = signal.predicted_q10, signal.predicted_q90
    between = "" if low is None or high is None else f"{low:+.1%} to {high:+.1%}"
    return [
        moment(signal.cycle_at)[5:],
        signal.variant,
        signal.symbol,
        Text("-") if signal.side is None else _side(signal.side),
        predicted,
        *([between] if ranges else []),
        Text(signal.decision, style="bold cyan" if entered else "dim"),
        Text(signal.decision_reason, style="default" if entered else "dim"),
    ]


def _events(board: Board, rows: int) -> RenderableType:
    if not board.events:
        return Text("none", style="dim")
    table = _table()
    table.show_header = False
    table.add_column("At", no_wrap=True, style="dim")
    table.add_column("Event", no_wrap=True)
    table.add_column("Detail", no_wrap=True, overflow="ellipsis", ratio=1)
    for event in list(board.events)[: -rows - 1 : -1]:
        table.add_row(moment(event.at)[5:], Text(event.name, style=SEVERITY_STYLES[event.severity]), _detail(event))
    return table


def _detail(event: BotEvent) -> Text:
    return Text(" ".join(f"{key}={_value(key, value)}" for key, value in event.detail.items()), style="dim")


def _value(key: str, value: object) -> str:
    if isinstance(value, int) and key.endswith("_at"):
        return moment(value).replace(" ", "T")
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _table(*names: str) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold", expand=True)
    for name in names:
        table.add_column(name, no_wrap=True)
    return table


def _side(side: Side) -> Text:
    return Text(side.value.lower(), style="green" if side is Side.LONG else "red")


def _tone(value: Decimal) -> str:
    return "green" if value > 0 else "red" if value < 0 else "default"


def number(value: Decimal | None) -> str:
    """At most seven significant digits, no exponent."""
    return "-" if value is None else f"{Decimal(f'{value:.7g}').normalize():,f}"


def moment(at: int) -> str:
    return datetime.datetime.fromtimestamp(at / 1000, datetime.UTC).strftime("%Y-%m-%d %H:%M")
