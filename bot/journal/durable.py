"""The journal as the bot writes it: rows in the database, and on the disk while the database is away.

Records go by two lanes, the desk's and the journal actor's; each is in order in itself, and neither needs the other's
rows. A lane that has spooled goes on spooling until all of it was written, so that no row is overtaken.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import anyio
import msgspec

from bot.errors import DatabaseAway
from bot.journal.database import Database
from bot.journal.lanes import Lane
from bot.journal.records import Records
from bot.journal.spool import Spool
from bot.journal.store import AttributedFill, Ledger, Store
from bot.messages import BotEvent, JournalEntry, Position, ReturnKnown, Signal, SignalOutcome
from bot.venue import Fill, FundingPaid, Leg, OrderRow

T = TypeVar("T")

PROBE_SECONDS = 1.0  # real time, between two attempts to reach a database that is away


class Saved(msgspec.Struct, frozen=True, tag=True):
    """One save of the desk's."""

    orders: Sequence[OrderRow] = ()
    positions: Sequence[Position] = ()
    fills: Sequence[tuple[Fill, str | None, Leg | None]] = ()
    funding: Sequence[FundingPaid] = ()


class Fact(msgspec.Struct, frozen=True, tag=True):
    key: str
    value: Any


class _Signal(msgspec.Struct, frozen=True, tag="signal"):
    entry: Signal


class _Outcome(msgspec.Struct, frozen=True, tag="outcome"):
    entry: SignalOutcome


class _Return(msgspec.Struct, frozen=True, tag="return"):
    entry: ReturnKnown


class _Event(msgspec.Struct, frozen=True, tag="event"):
    entry: BotEvent


_WRAP: dict[type, Callable[[Any], "_Signal | _Outcome | _Return | _Event"]] = {
    Signal: _Signal,
    SignalOutcome: _Outcome,
    ReturnKnown: _Return,
    BotEvent: _Event,
}


class Batch(msgspec.Struct, frozen=True):
    """What the journal actor writes as one transaction; numbered, so that its events are not written twice."""

    number: int
    entries: Sequence[_Signal | _Outcome | _Return | _Event]


class DurableStore:
    """The desk's store. Reads, and they alone, raise DatabaseAway."""

    def __init__(self, store: Store, database: Database, lane: Lane[Saved | Fact]) -> None:
        self._store = store
        self._database = database
        self._lane = lane
        self.at_hand = True

    async def save(
        self,
        orders: Sequence[OrderRow] = (),
        positions: Sequence[Position] = (),
        fills: Sequence[AttributedFill] = (),
        funding: Sequence[FundingPaid] = (),
    ) -> None:
        self.at_hand, _ = await self._lane.put(Saved(orders, positions, fills, funding))

    async def set_fact(self, key: str, value: Any) -> None:
        await self._lane.put(Fact(key, value))

    async def load_open_positions(self) -> list[Position]:
        return await self._ask(self._store.load_open_positions)

    async def load_position(self, position_id: str) -> Position | None:
        return await self._ask(lambda: self._store.load_position(position_id))

    async def load_live_orders(self) -> list[OrderRow]:
        return await self._ask(self._store.load_live_orders)

    async def load_untold(self) -> list[Position]:
        return await self._ask(self._store.load_untold)

    async def load_lost_intents(self) -> list[str]:
        return await self._ask(self._store.load_lost_intents)

    async def load_orders(self, position_ids: Sequence[str]) -> list[OrderRow]:
        return await self._ask(lambda: self._store.load_orders(position_ids))

    async def find_order(self, client_id: str) -> OrderRow | None:
        return await self._ask(lambda: self._store.find_order(client_id))

    async def ledger(self) -> Ledger:
        return await self._ask(self._store.ledger)

    async def fill_ids(self, since: Mapping[str, int]) -> set[tuple[str, int]]:
        return await self._ask(lambda: self._store.fill_ids(since))

    async def income_ids(self, since: int) -> set[int]:
        return await self._ask(lambda: self._store.income_ids(since))

    async def get_fact(self, key: str) -> Any:
        return await self._ask(lambda: self._store.get_fact(key))

    async def _ask(self, ask: Callable[[], Awaitable[T]]) -> T:
        """While records wait in the spool the database does not know what we know."""
        if self._database.away:
            raise DatabaseAway(self._database.away_because)
        return await ask()


class DurableRecords:
    """Where the journal actor's rows go."""

    def __init__(self, records: Records, database: Database, lane: Lane[Batch]) -> None:
        self._records = records
        self._database = database
        self._lane = lane
        self._number = 0
        self._day_due: int | None = None

    def begin_after(self, number: int) -> None:
        self._number = number

    async def write(self, entries: Sequence[JournalEntry]) -> list[str]:
        """The ids of outcomes whose signal is not there, as far as that is known at once."""
        self._number += 1
        _, missing = await self._lane.put(Batch(self._number, [_WRAP[type(entry)](entry) for entry in entries]))
        return missing if isinstance(missing, list) else []

    async def write_days(self, through: int) -> None:
        if not self._database.away:
            with contextlib.suppress(DatabaseAway):
                await self._records.write_days(through)
                return
        self._day_due = through

    async def write_day_due(self) -> None:
        if self._day_due is not None:
            await self._records.write_days(self._day_due)
            self._day_due = None


class Outage(msgspec.Struct, frozen=True):
    """The database went away, or is back."""

    away: bool
    why: str = ""
    records: int = 0  # that had waited and are written now


class Durable:
    """Both lanes over one database, and the one task that brings the database back."""

    def __init__(
        self,
        store: Store,
        records: Records,
        database: Database,
        desk: Spool,
        journal: Spool,
        reach: Callable[[], Awaitable[None]],
    ) -> None:
        self._database = database
        self._reach = reach
        self._records = records
        self._desk_lane = Lane[Saved | Fact](desk, database, Saved | Fact, lambda record: _save(store, record))
        self._journal_lane = Lane[Batch](journal, database, Batch, self._write_batch)
        self.store = DurableStore(store, database, self._desk_lane)
        self.records = DurableRecords(self._records, database, self._journal_lane)

    @property
    def waiting(self) -> int:
        return self._desk_lane.waiting + self._journal_lane.waiting

    async def begin(self) -> int:
        """Write what an earlier process left in the spool, before anything else; how many records that were."""
        count = await self._drain()
        self.records.begin_after(await self._records.last_batch())
        return count

    async def run(self, tell: Callable[[Outage], None]) -> None:
        while True:
            await self._database.wait_gone()
            tell(Outage(away=True, why=self._database.away_because))
            tell(Outage(away=False, records=await self._bring_back()))

    async def _bring_back(self) -> int:
        count = 0
        while self._database.away:
            await anyio.sleep(PROBE_SECONDS)
            with contextlib.suppress(DatabaseAway):
                await self._reach()
                await self._database.fence()
                count += await self._drain()
                await self.records.write_day_due()
                if not self.waiting:  # no wait between this look and the next line: a record put now would be overtaken
                    self._database.came_back()
        return count

    async def _drain(self) -> int:
        return await self._desk_lane.drain() + await self._journal_lane.drain()

    async def _write_batch(self, batch: Batch) -> list[str]:
        return await self._records.write_once(batch.number, [wrapped.entry for wrapped in batch.entries])


async def _save(store: Store, record: Saved | Fact) -> None:
    if isinstance(record, Fact):
        await store.set_fact(record.key, record.value)
    else:
        await store.save(record.orders, record.positions, record.fills, record.funding)


@contextlib.asynccontextmanager
async def open_durable(
    database: Database, folder: Path, limit_mb: int, reach: Callable[[], Awaitable[None]]
) -> AsyncIterator[Durable]:
    """The lanes over `database`, their spools below `folder`; what an earlier process left there is written first.

    `reach` gets a database that is away to where it can be asked, or raises DatabaseAway.
    """
    limit = limit_mb * 1_000_000 // 2
    with (
        contextlib.closing(Spool(folder / "desk", limit)) as desk,
        contextlib.closing(Spool(folder / "journal", limit)) as journal,
    ):
        durable = Durable(Store(database), Records(database), database, desk, journal, reach)
        await durable.begin()
        yield durable
