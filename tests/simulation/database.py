"""The journal in memory: what is committed outlives the process, and each process has a connection of its own."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import anyio
import msgspec
from anyio.lowlevel import checkpoint
from msgspec.structs import replace

from bot.errors import DatabaseAway
from bot.hookspecs import Recent
from bot.journal.database import Database
from bot.messages import BotEvent, JournalEntry, Position, PositionStatus, ReturnKnown, Signal, SignalOutcome
from bot.orders.states import LIVE
from bot.orders.store import AttributedFill
from bot.strategy.audit import Expectations, Returns
from bot.strategy.guards import Track
from bot.venue import FundingPaid, OrderRow
from tests.simulation.life import Life

COMMIT_SECONDS = 0.002
ANSWER_SECONDS = 0.5  # until a database that is away is given up on
AWAY = "the day's outage"


class Totals(msgspec.Struct):
    realized_pnl: Decimal
    fees: Decimal
    funding: Decimal
    fills: int
    last_funding_at: int | None
    net: Mapping[str, Decimal]


class Tables:
    """What is committed. Rows are copies; nobody but a commit changes them."""

    def __init__(self) -> None:
        self.orders: dict[str, OrderRow] = {}
        self.positions: dict[str, Position] = {}
        self.fills: dict[tuple[str, int], AttributedFill] = {}
        self.funding: dict[int, FundingPaid] = {}
        self.facts: dict[str, bytes] = {}
        self.signals: dict[str, Signal] = {}
        self.events: Counter[str] = Counter()
        self.releases: dict[int, str] = {}
        self.version = 0
        self.last_batch = 0
        self.closed_until = 0
        self.away = False

    def live_orders(self) -> Iterator[OrderRow]:
        return (row for row in self.orders.values() if row.state in LIVE)

    def open_positions(self) -> Iterator[Position]:
        return (p for p in self.positions.values() if p.status is not PositionStatus.CLOSED)

    def totals(self) -> Totals:
        fills = [fill for fill, _, _ in self.fills.values()]
        net: dict[str, Decimal] = {}
        for fill in fills:
            net[fill.symbol] = net.get(fill.symbol, Decimal(0)) + (fill.quantity if fill.buy else -fill.quantity)
        return Totals(
            realized_pnl=sum((f.realized_pnl for f in fills), Decimal(0)),
            fees=sum((f.fee for f in fills if f.fee_asset == "USDT"), Decimal(0)),
            funding=sum((p.amount for p in self.funding.values()), Decimal(0)),
            fills=len(fills),
            last_funding_at=max((p.at for p in self.funding.values()), default=None),
            net=net,
        )


class Link(Database):
    """Whether one process thinks that it has its database."""

    def __init__(self, tables: Tables) -> None:
        super().__init__(None, ANSWER_SECONDS)
        self._tables = tables

    async def reach(self) -> None:
        if self._tables.away:
            raise DatabaseAway(AWAY)

    async def fence(self) -> None:
        await self.reach()


class Connection:
    """Store, GuardStore, Records and AuditStore of one process. Each write is one commit, all of it or nothing.

    Who is `patient` waits while the database is away; the others hear so.
    """

    at_hand = True

    def __init__(self, tables: Tables, life: Life, link: Link, *, patient: bool = False) -> None:
        self._tables = tables
        self._life = life
        self._link = link
        self._patient = patient

    async def _reached(self) -> None:
        while self._tables.away:
            await anyio.sleep(ANSWER_SECONDS)
            self._life.alive()
            self._link.lose(AWAY)
            if not self._patient:
                raise DatabaseAway(AWAY)
            await self._link.wait_back()

    async def _read(self) -> Tables:
        self._life.alive()
        await checkpoint()
        await self._reached()
        self._life.alive()
        return self._tables

    async def _begin(self) -> Tables:
        """What follows without an await is one transaction."""
        self._life.before_commit()
        await anyio.sleep(COMMIT_SECONDS)
        await self._reached()
        self._life.alive()
        self._tables.version += 1
        return self._tables

    def _committed(self) -> None:
        self._life.after_commit()

    # -- the desk's

    async def save(
        self,
        orders: Sequence[OrderRow] = (),
        positions: Sequence[Position] = (),
        fills: Sequence[AttributedFill] = (),
        funding: Sequence[FundingPaid] = (),
    ) -> None:
        rows = [replace(row) for row in orders]
        copies = [replace(position) for position in positions]
        tables = await self._begin()
        tables.orders |= {row.client_id: row for row in rows}
        tables.positions |= {position.position_id: position for position in copies}
        for fill in fills:
            tables.fills.setdefault((fill[0].symbol, fill[0].trade_id), fill)
        for payment in funding:
            tables.funding.setdefault(payment.income_id, payment)
        self._committed()

    async def load_open_positions(self) -> list[Position]:
        return [replace(p) for p in (await self._read()).open_positions()]

    async def load_position(self, position_id: str) -> Position | None:
        found = (await self._read()).positions.get(position_id)
        return None if found is None else replace(found)

    async def load_live_orders(self) -> list[OrderRow]:
        return [replace(row) for row in (await self._read()).live_orders()]

    async def load_untold(self) -> list[Position]:
        tables = await self._read()
        closed = [p for p in tables.positions.values() if p.status is PositionStatus.CLOSED]
        return [replace(p) for p in closed if _untold(p, tables.signals.get(p.position_id))]

    async def load_lost_intents(self) -> list[str]:
        tables = await self._read()
        pending = [s.signal_id for s in tables.signals.values() if s.fill_status == "pending"]
        return [signal_id for signal_id in pending if signal_id not in tables.positions]

    async def load_orders(self, position_ids: Sequence[str]) -> list[OrderRow]:
        tables, wanted = await self._read(), set(position_ids)
        return [replace(row) for row in tables.orders.values() if row.position_id in wanted]

    async def find_order(self, client_id: str) -> OrderRow | None:
        found = (await self._read()).orders.get(client_id)
        return None if found is None else replace(found)

    async def ledger(self) -> Totals:
        return (await self._read()).totals()

    async def fill_ids(self, since: Mapping[str, int]) -> set[tuple[str, int]]:
        return {key for key in (await self._read()).fills if key[1] >= since.get(key[0], 0)}

    async def income_ids(self, since: int) -> set[int]:
        return {p.income_id for p in (await self._read()).funding.values() if p.at >= since}

    async def get_fact(self, key: str) -> Any:
        value = (await self._read()).facts.get(key)
        return None if value is None else msgspec.json.decode(value)

    async def set_fact(self, key: str, value: object) -> None:
        encoded = msgspec.json.encode(value)
        (await self._begin()).facts[key] = encoded
        self._committed()

    # -- the account guards'

    async def load(self) -> Track | None:
        value = (await self._read()).facts.get("guards")
        return None if value is None else msgspec.json.decode(value, type=Track)

    async def results(self, since: int, limit: int) -> Sequence[Decimal]:
        closed = [
            (p.closed_at, p.position_id, p.net_pnl)
            for p in (await self._read()).positions.values()
            if p.closed_at is not None and p.filled > 0 and p.closed_at > since and p.status is PositionStatus.CLOSED
        ]
        return [result for _, _, result in sorted(closed, reverse=True)[:limit]]

    async def releases(self) -> Sequence[tuple[int, str]]:
        return sorted((await self._read()).releases.items())

    async def keep_track(self, track: Track, taken: Sequence[int]) -> None:
        encoded = msgspec.json.encode(track)
        tables = await self._begin()
        tables.facts["guards"] = encoded
        for release_id in taken:
            tables.releases.pop(release_id, None)
        self._committed()

    # -- the journal writer's

    async def last_batch(self) -> int:
        return (await self._read()).last_batch

    async def write_once(self, number: int, entries: Sequence[JournalEntry]) -> list[str]:
        tables = await self._begin()
        if number <= tables.last_batch:
            return []
        tables.last_batch = number
        missing = [signal_id for entry in entries if (signal_id := _write(tables, entry)) is not None]
        self._committed()
        return sorted(set(missing))

    async def write_days(self, through: int) -> None:
        """The daily log is made of the other tables and nobody here reads it."""

    # -- the audit's

    async def signals(self, since: int, until: int) -> AsyncIterator[list[Signal]]:
        yield [row for row in (await self._read()).signals.values() if since <= row.cycle_at < until]

    async def to_follow(self, since: int, until: int) -> AsyncIterator[list[Signal]]:
        yield [
            row
            for row in (await self._read()).signals.values()
            if since <= row.cycle_at < until
            and (row.decision, row.fill_status) == ("refuse", None)
            and row.quantity is not None
        ]

    async def returns(self, since: int, until: int) -> Sequence[Returns]:
        counts: Counter[tuple[str, bool]] = Counter()
        for row in (await self._read()).signals.values():
            if row.bar_close_at is not None and since <= row.bar_close_at < until:
                counts[row.variant, row.actual_return is None] += 1
        variants = sorted({variant for variant, _ in counts})
        return [Returns(one, counts[one, True], counts[one, True] + counts[one, False]) for one in variants]

    async def held_positions(self, since: int, until: int) -> Sequence[Position]:
        held = [
            replace(p)
            for p in (await self._read()).positions.values()
            if p.opened_at is not None
            and p.opened_at < until
            and (p.status is not PositionStatus.CLOSED or since <= (p.closed_at or 0) < until)
        ]
        return sorted(held, key=lambda p: (p.opened_at, p.position_id))

    async def fired(self, since: int, until: int) -> Mapping[tuple[str, str], int]:
        return Counter(
            (p.variant, p.exit_reason)
            for p in (await self._read()).positions.values()
            if p.status is PositionStatus.CLOSED
            and p.filled > 0
            and p.exit_reason is not None
            and since <= (p.closed_at or 0) < until
        )

    async def expectations(self) -> Expectations | None:
        value = (await self._read()).facts.get("audit")
        return None if value is None else msgspec.json.decode(value, type=Expectations)

    async def expect(self, expectations: Expectations) -> None:
        await self.set_fact("audit", expectations)

    # -- the start's

    async def recent(self) -> dict[tuple[str, str], Recent]:
        found: dict[tuple[str, str], Recent] = {}
        for p in sorted((await self._read()).positions.values(), key=lambda p: p.opened_at or p.created_at):
            place = (p.variant, p.symbol)
            known = found.get(place, Recent())
            lost = p.status is PositionStatus.CLOSED and p.filled > 0 and p.net_pnl < 0
            last_loss = max(known.last_loss_at or 0, p.closed_at or 0) if lost else known.last_loss_at
            found[place] = Recent(last_entry_at=p.opened_at or known.last_entry_at, last_loss_at=last_loss)
        return found


class GuardRows:
    """The guards' part of a connection: their `save` is another one than the desk's."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.load = connection.load
        self.releases = connection.releases
        self.results = connection.results

    async def save(self, track: Track, taken: Sequence[int] = ()) -> None:
        await self._connection.keep_track(track, taken)


def _untold(position: Position, signal: Signal | None) -> bool:
    if signal is None:
        return False
    return signal.fill_status == "pending" or position.filled > 0 and signal.net_pnl != position.net_pnl


def _write(tables: Tables, entry: JournalEntry) -> str | None:
    """Take one entry; the id of an outcome whose signal is not there."""
    match entry:
        case Signal():
            tables.signals.setdefault(entry.signal_id, replace(entry))
        case SignalOutcome():
            stored = tables.signals.get(entry.signal_id)
            if stored is None:
                return entry.signal_id
            for name, value in msgspec.structs.asdict(entry).items():
                if value is not None:
                    setattr(stored, name, value)
        case ReturnKnown(symbol=symbol, bar_close_at=bar_close_at, actual_return=known):
            for row in tables.signals.values():
                if row.symbol == symbol and row.bar_close_at == bar_close_at and row.actual_return is None:
                    row.actual_return = known
        case BotEvent(name=name):
            tables.events[name] += 1
    return None
