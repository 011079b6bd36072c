"""The terminal view's actor: reads messages, redraws at most four times a second, and stands in nobody's way."""

import zlib
from collections import deque
from collections.abc import Hashable

import anyio
from rich.console import Console
from rich.live import Live

from bot.clock import HOUR_MS
from bot.messages import BalanceChanged, BotEvent, MarkChanged, PositionChanged, PriceChanged, Progress, Signal
from bot.streams import Activity, Overflow, Stream
from bot.terminal.board import Board, TerminalMessage
from bot.terminal.screen import plain_line, screen

REDRAW_SECONDS = 0.25
SHARE_OF_TIME = 0.05  # that drawing may take of the process
PACE_SECONDS = 5.0  # that the shown pace is measured over
PLAIN_STEPS = 20  # lines of a run that has an end, where there is no terminal
SLOTS = 256  # keys of each kind of message
KINDS = 7


def terminal_stream(name: str = "terminal") -> Stream[TerminalMessage]:
    """An inbox for the view that can never be full: a late view loses older messages, nobody waits for it.

    It counts into an activity of its own, so that a replay does not wait for the screen.
    """
    return Stream(name, KINDS * SLOTS, Overflow.REPLACE, Activity(), key=_key)


def _key(message: TerminalMessage) -> Hashable:
    match message:
        case Signal():
            return "signal", _slot(message.signal_id)
        case PositionChanged(position):
            return "position", _slot(position.position_id)
        case BotEvent():
            return "event", _slot(f"{message.name}{message.at}")
        case PriceChanged() | MarkChanged():
            return "price", _slot(message.symbol)
        case BalanceChanged() | Progress():
            return type(message).__name__


def _slot(name: str) -> int:
    return zlib.crc32(name.encode()) % SLOTS


class TerminalView:
    """Shows a run on `console`: a live screen where it is a terminal, else a line for every 5 % (or every hour)."""

    def __init__(self, inbox: Stream[TerminalMessage], console: Console, title: str = "") -> None:
        self.board = Board()
        self._inbox = inbox
        self._console = console
        self._title = title
        self._marks: deque[tuple[float, int]] = deque()  # real seconds, domain ms
        self._changed = False
        self._line = -1

    async def run(self) -> None:
        """Until cancelled; leaves the terminal as it was."""
        if not self._console.is_terminal:
            await self._read()
            return
        with Live(console=self._console, screen=True, auto_refresh=False, vertical_overflow="crop") as live:
            async with anyio.create_task_group() as group:
                group.start_soon(self._draw, live)
                await self._read()

    async def _read(self) -> None:
        async for message in self._inbox:
            self.board.take(message)
            self._changed = True
            if isinstance(message, Progress):
                self._mark(message.now)
                if not self._console.is_terminal:
                    self._print(message)

    async def _draw(self, live: Live) -> None:
        while True:
            began = anyio.current_time()
            if self._changed:
                self._changed = False
                width, height = self._console.size
                live.update(
                    screen(self.board, title=self._title, pace=self.pace, width=width, height=height), refresh=True
                )
            took = anyio.current_time() - began
            await anyio.sleep(max(REDRAW_SECONDS, took / SHARE_OF_TIME))

    def _print(self, progress: Progress) -> None:
        if progress.fraction is None:
            line = (progress.now - progress.started_at) // HOUR_MS
        else:
            line = int(progress.fraction * PLAIN_STEPS)
        if line > self._line:
            self._line = line
            self._console.print(plain_line(self.board, self.pace), highlight=False, markup=False, soft_wrap=True)

    def _mark(self, now: int) -> None:
        at = anyio.current_time()
        self._marks.append((at, now))
        while at - self._marks[0][0] > PACE_SECONDS and len(self._marks) > 2:
            self._marks.popleft()

    @property
    def pace(self) -> float | None:
        """Domain time over real time, lately."""
        if len(self._marks) < 2:
            return None
        (first, since), (last, now) = self._marks[0], self._marks[-1]
        return (now - since) / 1000 / (last - first) if last - first > 0.1 else None
