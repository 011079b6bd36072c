"""A desk that trades while its real database is gone: exits and stops go on, entries stop, the rows are there after."""

import contextlib
import shutil
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path

import anyio
import pytest

from bot.clock import HOUR_MS, ReplayClock
from bot.config import JournalTable
from bot.exchange.matching import Engine
from bot.exchange.paper import PaperTrading
from bot.journal import embedded
from bot.journal.durable import Outage
from bot.journal.opening import Journal, open_for_bot
from bot.journal.store import Store
from bot.messages import EntryIntent, ExitIntent, ExitPlan, Side, SignalOutcome, StandingOrder, StandingReleased
from bot.messages import TradingState as State
from bot.orders.book import PositionBook
from bot.orders.desk import Desk, DeskMessage
from bot.streams import Activity, Overflow, Stream
from bot.venue import UserStreamUp
from tests.orders.world import BTC, CALM, START

pytestmark = pytest.mark.anyio


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    if embedded.exists(tmp_path) and (place := embedded.locate(tmp_path)).account:
        shutil.rmtree(place.folder)


class World:
    """One desk on PostgreSQL, its venue in the process."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.clock = ReplayClock(START)
        self.engine = Engine({"BTCUSDT": BTC}, Decimal(10_000), CALM)
        self.activity = Activity()
        self.inbox: Stream[DeskMessage] = Stream("desk", 1_000, Overflow.HALT, self.activity)
        self.port = PaperTrading(self.engine, self.inbox.send_nowait)
        self.news: list[object] = []
        self.back = anyio.Event()
        self.journal: Journal | None = None
        self.move(50_000)

    def move(self, price: int) -> None:
        self.engine.step(self.clock.now())
        self.engine.on_price("BTCUSDT", Decimal(price))
        self.engine.on_mark("BTCUSDT", Decimal(price))
        self.port.flush()

    @contextlib.asynccontextmanager
    async def trading(self) -> AsyncIterator[Desk]:
        table = JournalTable(answer_seconds=1.0)
        async with open_for_bot(self.state, table, {}) as self.journal, anyio.create_task_group() as group:
            group.start_soon(self.journal.run, self._hear)
            store, book = self.journal.durable.store, PositionBook("tsb", {"BTCUSDT": BTC})
            desk = Desk(self.inbox, self.news.append, self.port, store, self.clock, book, ["BTCUSDT"])
            await group.start(desk.run)
            await self.tell(UserStreamUp(self.clock.now()))
            yield desk
            group.cancel_scope.cancel()

    def _hear(self, outage: Outage) -> None:
        """As the session does."""
        if outage.away:
            order = StandingOrder(state=State.REDUCING, reason="database_away", by="database", detail=outage.why)
            self.inbox.send_nowait(order)
        else:
            self.inbox.send_nowait(StandingReleased(reason="database_away", by="database"))
            self.back.set()

    async def tell(self, message: DeskMessage) -> None:
        self.inbox.send_nowait(message)
        with anyio.fail_after(30):
            await self.activity.wait_quiet()

    async def enter(self, signal_id: str, limit: int | None = None) -> None:
        now = self.clock.now()
        intent = EntryIntent(
            signal_id=signal_id,
            variant="BTC",
            tier="t1",
            symbol="BTCUSDT",
            side=Side.LONG,
            quantity=Decimal("0.010"),
            limit_price=None if limit is None else Decimal(limit),
            post_only=False,
            created_at=now,
            expires_at=now + HOUR_MS,
            leverage=10,
            exits=ExitPlan(stop_pct=2.0, target_pct=None),
        )
        await self.tell(intent)

    def outcome(self, signal_id: str) -> SignalOutcome:
        return [n for n in self.news if isinstance(n, SignalOutcome) and n.signal_id == signal_id][-1]

    def live(self) -> list[str]:
        ids = [o.client_id for o in self.engine.orders.values() if o.is_open]
        return sorted(ids + [a.client_id for a in self.engine.algos.values() if a.is_open])

    async def stop_database(self) -> None:
        place = embedded.locate(self.state)
        await embedded._run_in_thread(place, "pg_ctl", "stop", "-D", str(place.data), "-m", "immediate", "-w")

    async def rows(self) -> dict[str, tuple[str, str | None, Decimal]]:
        assert self.journal is not None
        found = await self.journal.database.fetch("SELECT position_id, status, exit_reason, closed FROM bot.positions")
        return {row["position_id"]: (row["status"], row["exit_reason"], row["closed"]) for row in found}


async def assert_ledgers_agree(world: World, desk: Desk) -> None:
    assert world.journal is not None
    ledger = await Store(world.journal.database).ledger()
    assert ledger.wallet == desk.ledger.wallet == world.engine.wallet
    assert ledger.fills == len(world.engine.fills)


async def test_a_fill_is_covered_and_an_exit_is_sent_while_the_database_is_gone(state: Path) -> None:
    world = World(state)
    async with world.trading() as desk:
        await world.enter("kept")
        await world.enter("rests", limit=49_900)
        await world.stop_database()
        world.move(49_890)
        await world.activity.wait_quiet()
        assert "tsb-rests-s0" in world.live(), "the fill was covered"
        await world.tell(ExitIntent("kept", "time", world.clock.now()))
        assert world.journal is not None
        assert world.journal.durable.waiting > 0
        await world.enter("new")
        assert world.outcome("new").fill_status == "denied"
        with anyio.fail_after(30):
            await world.back.wait()
        await world.activity.wait_quiet()
        assert await world.rows() == {
            "kept": ("closed", "time", Decimal("0.010")),
            "rests": ("open", None, Decimal(0)),
        }
        await assert_ledgers_agree(world, desk)
        await world.enter("later")
        assert world.outcome("later").fill_status == "filled"


async def test_an_entry_whose_own_commit_meets_the_outage_is_not_sent(state: Path) -> None:
    world = World(state)
    async with world.trading() as desk:
        await world.stop_database()
        await world.enter("unlucky")
        assert world.outcome("unlucky").fill_status in ("denied", "rejected")
        assert world.live() == []
        assert world.engine.fills == []
        with anyio.fail_after(30):
            await world.back.wait()
        await assert_ledgers_agree(world, desk)


async def test_a_desk_that_dies_in_the_outage_knows_all_of_it_at_its_next_start(state: Path) -> None:
    world = World(state)
    async with world.trading():
        await world.enter("kept")
        await world.enter("rests", limit=49_900)
        await world.stop_database()
        world.move(49_890)
        await world.activity.wait_quiet()
        await world.tell(ExitIntent("kept", "time", world.clock.now()))
        assert world.journal is not None
        assert world.journal.durable.waiting > 0
    again = World(state)
    again.engine, again.port = world.engine, PaperTrading(world.engine, again.inbox.send_nowait)
    async with again.trading() as desk:
        assert {p.position_id: p.open_quantity for p in desk.book.open_positions()} == {"rests": Decimal("0.010")}
        assert (await again.rows())["kept"] == ("closed", "time", Decimal("0.010"))
        await assert_ledgers_agree(again, desk)
        assert again.live() == ["tsb-rests-s0"]
