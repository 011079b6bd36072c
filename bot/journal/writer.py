"""The journal actor: entries in, rows and log lines out, in order and in batches."""

from collections.abc import Sequence
from typing import Protocol

import anyio
import structlog
from anyio.abc import TaskStatus

from bot.clock import DAY_MS
from bot.messages import BotEvent, JournalEntry, Severity, Signal
from bot.streams import Stream

log = structlog.get_logger(__name__)


class Ledgers(Protocol):
    """Where the rows go: the database, or a list in a simulation."""

    async def write(self, entries: Sequence[JournalEntry]) -> list[str]: ...

    async def write_days(self, through: int) -> None: ...


class JournalWriter:
    """Writes all that waits as one transaction; what was received before a cancellation is still written.

    The daily log is brought up to yesterday by the first entry of a new UTC day, and up to today at the end.
    """

    def __init__(self, inbox: Stream[JournalEntry], records: Ledgers) -> None:
        self._inbox = inbox
        self._records = records
        self._latest: int | None = None  # domain time of the newest entry

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        try:
            async for entry in self._inbox:
                with anyio.CancelScope(shield=True):
                    await self._write([entry, *self._inbox.receive_waiting()])
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await self._finish()
            raise

    async def _finish(self) -> None:
        while waiting := self._inbox.receive_waiting():
            await self._write(waiting)
            self._inbox.done()
        if self._latest is not None:
            await self._records.write_days(self._latest)

    async def _write(self, entries: Sequence[JournalEntry]) -> None:
        for entry in entries:
            if isinstance(entry, BotEvent):
                _log_event(entry)
        for signal_id in await self._records.write(entries):
            log.warning("outcome_without_signal", signal_id=signal_id)
        times = [time for time in map(_time_of, entries) if time is not None]
        if times:
            await self._move_on(max(times))

    async def _move_on(self, at: int) -> None:
        if self._latest is None or at // DAY_MS > self._latest // DAY_MS:
            await self._records.write_days(at - DAY_MS)
        self._latest = at if self._latest is None else max(at, self._latest)


def _time_of(entry: JournalEntry) -> int | None:
    match entry:
        case Signal():
            return entry.cycle_at
        case BotEvent():
            return entry.at
        case _:
            return None


def _log_event(event: BotEvent) -> None:
    write = {Severity.INFO: log.info, Severity.WARNING: log.warning, Severity.ERROR: log.error}[event.severity]
    write(event.name, at=event.at, detail=event.detail)
