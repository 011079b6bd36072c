"""The database goes away under a bot that writes, and comes back: nothing is lost, nothing is there twice."""

import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from pathlib import Path

import anyio
import anyio.lowlevel
import asyncpg
import pytest
import structlog.testing

from bot.clock import Stopwatch
from bot.config import JournalTable
from bot.errors import DatabaseAway, OperatorError
from bot.journal import embedded
from bot.journal.connection import Address
from bot.journal.database import Patient
from bot.journal.durable import Outage
from bot.journal.embedded import Place
from bot.journal.instance import InstanceLock, account_lock
from bot.journal.opening import Journal, open_for_bot
from bot.journal.store import Store
from bot.messages import BotEvent, PositionStatus, SignalOutcome
from bot.venue import Leg, OrderState
from tests.journal.conftest import remove
from tests.journal.rows import AT, fill, funding, order, position
from tests.journal.rows import signal as signal_row

pytestmark = pytest.mark.anyio

TABLE = JournalTable(answer_seconds=0.5, spool_mb=2)
ACCOUNT = account_lock("key", "tsb")


class Bot:
    """What writes, and what it heard of the outage."""

    def __init__(self, journal: Journal, place: Place) -> None:
        self.journal = journal
        self.place = place
        self.store, self.records = journal.durable.store, journal.durable.records
        self.told: list[tuple[bool, int]] = []

    def hear(self, outage: Outage) -> None:
        assert outage.away == bool(outage.why)
        self.told.append((outage.away, outage.records))

    @property
    def back(self) -> bool:
        return bool(self.told) and not self.told[-1][0]

    async def rows(self, query: str) -> list[asyncpg.Record]:
        return await self.journal.database.fetch(query)

    async def stop_server(self) -> None:
        await self.stop_server_of(self.place)

    @staticmethod
    async def stop_server_of(place: Place) -> None:
        await embedded._run_in_thread(place, "pg_ctl", "stop", "-D", str(place.data), "-m", "immediate", "-w")

    @contextlib.contextmanager
    def hung_server(self) -> Iterator[None]:
        """Every process of the server is stopped in its tracks, and goes on where it was."""
        postmaster = int((self.place.data / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        everyone = [postmaster, *map(int, children)]
        for pid in everyone:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in reversed(everyone):
                os.kill(pid, signal.SIGCONT)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    if embedded.exists(tmp_path):
        remove(embedded.locate(tmp_path))


@contextlib.asynccontextmanager
async def running(state: Path, *, kept: bool = True) -> AsyncIterator[Bot]:
    """`kept`: with the one who starts a server anew and writes what waits."""
    async with open_for_bot(state, TABLE, {}, account=ACCOUNT) as journal, anyio.create_task_group() as group:
        bot = Bot(journal, embedded.locate(state))
        if kept:
            group.start_soon(journal.run, bot.hear)
        yield bot
        group.cancel_scope.cancel()


async def until(true: Callable[[], bool]) -> None:
    with anyio.fail_after(30):
        while not true():  # noqa: ASYNC110  # what is waited for happens in another process
            await anyio.sleep(0.02)


def event(name: str) -> BotEvent:
    return BotEvent(at=AT, name=name, detail={"quantity": Decimal("0.020"), "symbols": ("BTCUSDT",)})


async def live_a_trade(bot: Bot) -> None:
    """Writes of both actors, each of which the next one supersedes or needs."""
    await bot.records.write([signal_row(), event("one")])
    await bot.store.save(orders=[order()], positions=[position()])
    opened = position(status=PositionStatus.OPEN, filled=Decimal("0.020"), entry_price=Decimal("84350.10"))
    filled = order(state=OrderState.FILLED, filled=Decimal("0.020"))
    await bot.store.save([filled], [opened], [(fill(), "p1", Leg.ENTRY)], [funding()])
    await bot.store.save([filled], [opened], [(fill(), "p1", Leg.ENTRY)], [funding()])
    await bot.records.write([SignalOutcome(signal_id="s1", fill_status="filled"), event("two")])
    await bot.store.set_fact("synced", {"BTCUSDT": 1})
    await bot.records.write([event("three")])
    await bot.records.write_days(AT)


async def assert_written(bot: Bot) -> None:
    assert [tuple(row) for row in await bot.rows("SELECT status, filled FROM bot.positions")] == [
        ("open", Decimal("0.020"))
    ]
    assert [row["state"] for row in await bot.rows("SELECT state FROM bot.orders")] == ["filled"]
    assert len(await bot.rows("SELECT * FROM bot.fills")) == len(await bot.rows("SELECT * FROM bot.funding")) == 1
    assert [row["fill_status"] for row in await bot.rows("SELECT fill_status FROM bot.signal_log")] == ["filled"]
    names = [row["name"] for row in await bot.rows("SELECT name FROM bot.bot_events ORDER BY id")]
    assert names == ["one", "two", "three"]
    assert (await bot.rows("SELECT value FROM bot.account WHERE key = 'synced'"))[0]["value"] == {"BTCUSDT": 1}


async def test_a_server_that_stops_is_started_again_and_gets_what_waited(state: Path) -> None:
    async with running(state) as bot:
        await bot.stop_server()
        await live_a_trade(bot)
        assert not bot.store.at_hand
        await until(lambda: bot.back)
        await assert_written(bot)
        assert bot.told == [(True, 0), (False, 7)]
        assert bot.journal.durable.waiting == 0
        await bot.store.save(positions=[position("p2")])
        assert bot.store.at_hand


async def test_nobody_waits_for_a_server_that_hangs_and_what_it_executes_late_does_no_harm(state: Path) -> None:
    async with running(state) as bot:
        with bot.hung_server():
            watch = Stopwatch()
            await bot.records.write([signal_row(), event("one")])
            await bot.store.save(orders=[order()], positions=[position()])
            first = watch.seconds
            await anyio.sleep(2.5)
            assert bot.told == [(True, 0)], "a server that hangs is not started a second time"
            watch = Stopwatch()
            opened = position(status=PositionStatus.OPEN, filled=Decimal("0.020"))
            filled = order(state=OrderState.FILLED, filled=Decimal("0.020"))
            await bot.store.save([filled], [opened], [(fill(), "p1", Leg.ENTRY)], [funding()])
            await bot.records.write([SignalOutcome(signal_id="s1", fill_status="filled"), event("two")])
            await bot.store.set_fact("synced", {"BTCUSDT": 1})
            await bot.records.write([event("three")])
            later = watch.seconds
        assert first < 10
        assert later < 5
        await until(lambda: bot.back)
        await assert_written(bot)


async def test_what_a_process_left_in_its_spool_is_written_before_anything_else(state: Path) -> None:
    async with running(state, kept=False) as bot:
        await bot.stop_server()
        await live_a_trade(bot)
        assert bot.journal.durable.waiting == 7
    async with running(state) as bot:
        await assert_written(bot)
        await bot.records.write([event("four")])
        assert len(await bot.rows("SELECT * FROM bot.bot_events")) == 4, "numbers go on where they ended"
        assert bot.told == []


async def test_a_batch_that_was_written_without_an_answer_is_not_written_again(state: Path) -> None:
    async with running(state) as bot:
        number = await bot.journal.durable.records._records.last_batch()
        for _ in range(2):
            await bot.journal.durable.records._records.write_once(number + 1, [event("once")])
        assert len(await bot.rows("SELECT * FROM bot.bot_events")) == 1


async def test_meanwhile_questions_of_the_desk_are_refused_at_once_and_others_wait(state: Path) -> None:
    async with running(state) as bot, anyio.create_task_group() as group:
        await bot.store.save(positions=[position()])
        await bot.stop_server()
        with pytest.raises(DatabaseAway):
            await bot.store.load_open_positions()
        with pytest.raises(DatabaseAway):
            await bot.store.find_order("tsb-1-e0")
        answers: list[object] = []

        async def ask() -> None:
            answers.append(await Patient(bot.journal.database).fetchval("SELECT count(*) FROM bot.positions"))

        group.start_soon(ask)
        await until(lambda: bool(answers))
        assert answers == [1]
        assert bot.back
        assert await bot.store.load_open_positions() == [position()]


async def end_lock_session(bot: Bot) -> None:
    session = bot.journal.lock.connection.get_server_pid()
    await bot.journal.database.fetchval("SELECT pg_terminate_backend($1, 5000)", session)


async def test_a_lost_lock_is_taken_again_and_nothing_is_written_without_it(state: Path) -> None:
    async with running(state) as bot:
        await end_lock_session(bot)
        await until(lambda: bot.back)
        other = InstanceLock(address_of(bot.place), ACCOUNT)
        with pytest.raises(OperatorError, match=rf"another bot \(tsfm-bot pid {os.getpid()} on .*\) is running"):
            await other.claim()
        await bot.store.save(positions=[position()])
        assert await Store(bot.journal.database).load_open_positions() == [position()]


async def test_a_lock_that_another_bot_took_meanwhile_ends_this_one(state: Path) -> None:
    with pytest.RaisesGroup(
        pytest.RaisesExc(OperatorError, match="another bot .* is running on this database"), flatten_subgroups=True
    ):
        async with running(state) as bot:
            other = InstanceLock(address_of(bot.place))
            await end_lock_session(bot)
            await other.claim()
            try:
                await anyio.sleep(30)
            finally:
                other.release()


async def test_one_account_serves_one_bot_of_a_prefix(state: Path) -> None:
    async with running(state) as bot:
        address = address_of(bot.place)
        connection = await address.connect()
        assert not await connection.fetchval("SELECT pg_try_advisory_lock($1)", ACCOUNT)
        assert await connection.fetchval("SELECT pg_try_advisory_lock($1)", account_lock("key", "other"))
        connection.terminate()


async def test_a_database_that_does_not_answer_at_the_start_is_waited_for(state: Path) -> None:
    async with running(state) as bot:
        place = bot.place
        await bot.store.save(positions=[position()])
    async with embedded.running(state):
        await Bot.stop_server_of(place)
        dsn = f"postgresql://postgres@/postgres?host={place.sockets}"
        async with anyio.create_task_group() as group:
            found: list[object] = []

            async def start() -> None:
                async with open_for_bot(state, TABLE, {"BOT_DSN": dsn}) as journal:
                    found.extend(await journal.durable.store.load_open_positions())

            with structlog.testing.capture_logs() as lines:
                group.start_soon(start)
                await until(lambda: any(line["event"] == "database_does_not_answer" for line in lines))
            assert found == []
            await embedded.revive(place)
        assert found == [position()]


async def test_a_database_that_never_answers_is_away_and_one_that_refuses_us_is_the_operators_matter(
    state: Path,
) -> None:
    async with embedded.running(state) as place:
        for names in ("nobody-here@/postgres", "postgres@/no-such-database"):
            where = Address("BOT_DSN", {"dsn": f"postgresql://{names}?host={place.sockets}"}, anyio.lowlevel.checkpoint)
            watch = Stopwatch()
            with pytest.raises(OperatorError, match="^BOT_DSN: cannot connect to the database: "):
                await InstanceLock(where).claim(60)
            assert watch.seconds < 5
        await Bot.stop_server_of(place)
        with pytest.raises(DatabaseAway, match="cannot connect to the database"):
            await InstanceLock(address_of(place)).claim(0.4)


async def test_two_bots_cannot_share_a_state_directory(state: Path) -> None:
    async with running(state):
        with pytest.raises(OperatorError, match=rf"in use by bot, pid {os.getpid()}"):
            async with open_for_bot(state, TABLE, {"BOT_DSN": "postgresql://nobody@127.0.0.1:1/x"}):
                pass


def address_of(place: Place) -> Address:
    async def revive() -> None:
        pass

    arguments = {"host": str(place.sockets), "port": 5432, "user": "postgres", "database": "postgres"}
    return Address(str(place.data), arguments, revive)
