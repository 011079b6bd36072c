from collections.abc import Sequence
from typing import Any

import anyio
import asyncpg
import pytest
import structlog

from bot.clock import DAY_MS
from bot.journal.queries import Queries
from bot.journal.records import Records
from bot.journal.store import Store
from bot.journal.writer import JournalWriter
from bot.messages import BotEvent, JournalEntry, ReturnKnown, Severity, SignalOutcome
from bot.streams import Activity, Overflow, Stream
from tests.journal.rows import AT, signal

pytestmark = pytest.mark.anyio


class Paper:
    """Records in a list, slowly; the simulation's twin of the database."""

    def __init__(self) -> None:
        self.batches: list[list[JournalEntry]] = []
        self.days: list[int] = []

    async def write(self, entries: Sequence[JournalEntry]) -> list[str]:
        await anyio.sleep(0.01)
        self.batches.append(list(entries))
        return []

    async def write_days(self, through: int) -> None:
        self.days.append(through // DAY_MS)


def inbox() -> Stream[JournalEntry]:
    return Stream("journal", 1000, Overflow.HALT, Activity())


def events(*times: int) -> list[BotEvent]:
    return [BotEvent(at=at, name=f"event_{number}") for number, at in enumerate(times)]


async def test_rows_outcomes_returns_and_events_reach_the_database_in_order(pool: asyncpg.Pool) -> None:
    await Store(pool).set_fact("starting_wallet", "1000")
    activity = Activity()
    stream: Stream[JournalEntry] = Stream("journal", 1000, Overflow.HALT, activity)
    bar = signal().bar_close_at
    assert bar is not None
    async with anyio.create_task_group() as group:
        await group.start(JournalWriter(stream, Records(pool)).run)
        for number in range(50):
            stream.send_nowait(signal(f"s{number}"))
            stream.send_nowait(SignalOutcome(signal_id=f"s{number}", fill_status="filled"))
        stream.send_nowait(ReturnKnown(symbol="BTCUSDT", bar_close_at=bar, actual_return=0.25))
        stream.send_nowait(BotEvent(at=AT, name="done"))
        await activity.wait_quiet()
        assert len(await Queries(pool).events(name="done")) == 1
        group.cancel_scope.cancel()
    rows = await Queries(pool).signals(limit=100)
    assert {(row.fill_status, row.actual_return) for row in rows} == {("filled", 0.25)}
    assert len(rows) == 50
    assert [day.signals for day in await Queries(pool).days()] == [50]


async def test_what_waits_is_written_as_one_batch() -> None:
    stream, records = inbox(), Paper()
    for event in events(*[AT] * 20):
        stream.send_nowait(event)
    async with anyio.create_task_group() as group:
        await group.start(JournalWriter(stream, records).run)
        await anyio.sleep(0.005)
        for event in events(AT, AT):
            stream.send_nowait(event)
        await anyio.sleep(0.05)
        group.cancel_scope.cancel()
    assert [len(batch) for batch in records.batches] == [20, 2]


async def test_what_was_sent_before_the_shutdown_is_written_before_it_ends() -> None:
    stream, records = inbox(), Paper()
    async with anyio.create_task_group() as group:
        await group.start(JournalWriter(stream, records).run)
        stream.send_nowait(events(AT)[0])
        await anyio.sleep(0.002)  # the first batch is being written now
        for event in events(*[AT + DAY_MS] * 5):
            stream.send_nowait(event)
        group.cancel_scope.cancel()
    assert [len(batch) for batch in records.batches] == [1, 5]
    assert records.days[-1] == AT // DAY_MS + 1
    assert len(stream) == 0


async def test_a_new_day_writes_the_days_before_it_once() -> None:
    stream, records = inbox(), Paper()
    async with anyio.create_task_group() as group:
        await group.start(JournalWriter(stream, records).run)
        for at in (AT, AT + 1, AT + DAY_MS, AT + 5, AT + DAY_MS + 1, AT + 4 * DAY_MS):
            await stream.send(signal(f"s{at}", cycle_at=at))
            await anyio.sleep(0.03)
        group.cancel_scope.cancel()
    first = AT // DAY_MS
    assert records.days == [first - 1, first, first + 3, first + 4]


async def test_an_entry_that_cannot_be_written_ends_the_process(pool: asyncpg.Pool) -> None:
    stream = inbox()
    stream.send_nowait(signal(decision="maybe"))
    with pytest.raises(BaseExceptionGroup) as caught:
        async with anyio.create_task_group() as group:
            await group.start(JournalWriter(stream, Records(pool)).run)
    assert caught.group_contains(asyncpg.CheckViolationError)


async def test_every_event_is_a_log_line_of_its_severity() -> None:
    stream, records = inbox(), Paper()
    with structlog.testing.capture_logs() as lines:
        async with anyio.create_task_group() as group:
            await group.start(JournalWriter(stream, records).run)
            for severity in Severity:
                stream.send_nowait(BotEvent(at=AT, name="stop_moved", severity=severity, detail={"event": "x"}))
            await anyio.sleep(0.05)
            group.cancel_scope.cancel()
    expected: list[dict[str, Any]] = [
        {"event": "stop_moved", "log_level": severity.value, "at": AT, "detail": {"event": "x"}}
        for severity in Severity
    ]
    assert lines == expected
