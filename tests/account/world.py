"""The account guards' actor on the matching engine in one process, with a venue that can be told to fail."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal

import anyio
import msgspec

from bot.account.guards import AccountGuards, GuardsMessage, GuardsNews, GuardStore
from bot.clock import MINUTE_MS, ReplayClock
from bot.config import GuardsTable
from bot.errors import VenueUnavailable
from bot.exchange.matching import Engine, Settings
from bot.exchange.matching.records import NewOrder
from bot.exchange.paper import PaperTrading
from bot.messages import BotEvent, ExitPlan, GuardsChanged, GuardState, Position, PositionChanged, PositionStatus, Side
from bot.metrics import Metrics
from bot.strategy.guards import Track, rules_of
from bot.streams import Activity, Overflow, Stream
from bot.venue import Worth
from tests.orders.world import BTC

D = Decimal
NOON = 1_740_830_400_000  # 2025-03-01 12:00 UTC


class Memory:
    """A GuardStore in memory: what the database keeps."""

    def __init__(self) -> None:
        self.track: bytes | None = None
        self.asked: list[tuple[int, str]] = []
        self.trades: list[tuple[int, Decimal]] = []  # closed at, net result; oldest first

    async def load(self) -> Track | None:
        return None if self.track is None else msgspec.convert(msgspec.json.decode(self.track), Track)

    async def save(self, track: Track, taken: Sequence[int] = ()) -> None:
        self.track = msgspec.json.encode(track)
        self.asked = [one for one in self.asked if one[0] not in taken]

    async def releases(self) -> Sequence[tuple[int, str]]:
        return list(self.asked)

    async def results(self, since: int, limit: int) -> Sequence[Decimal]:
        return [result for at, result in reversed(self.trades) if at > since][:limit]


class FickleTrading(PaperTrading):
    """`down`: nobody answers; `wobble`: every other reading is so much higher."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, lambda event: None)
        self.down = False
        self.wobble = D(0)
        self.readings = 0

    async def worth(self) -> Worth:
        if self.down:
            raise VenueUnavailable("refused by the test")
        told = await super().worth()
        self.readings += 1
        return msgspec.structs.replace(told, equity=told.equity + self.wobble * (self.readings % 2))


class World:
    """One account; the actor is made anew by each `guarding` block."""

    def __init__(self, store: GuardStore | None = None, **table: object) -> None:
        self.clock = ReplayClock(NOON)
        self.engine = Engine({"BTCUSDT": BTC}, D(10_000), Settings(partial_fill_probability=0.0))
        self.port = FickleTrading(self.engine)
        self.memory = Memory()
        self.store: GuardStore = self.memory if store is None else store
        self.table = msgspec.convert(table, GuardsTable)
        self.activity = Activity()
        self.inbox: Stream[GuardsMessage] = Stream("account", 1_000, Overflow.HALT, self.activity)
        self.news: list[GuardsNews] = []
        self.metrics = Metrics()
        self.engine.step(NOON)
        self.price(50_000)

    @property
    def ledger(self) -> Decimal:
        return D(10_000) + self.engine.realized_pnl - self.engine.fees + self.engine.funding

    @asynccontextmanager
    async def guarding(self) -> AsyncIterator[None]:
        """The actor runs; its first reading has been made at the end of the first two seconds."""
        actor = AccountGuards(
            rules_of(self.table),
            self.table.check_minutes * MINUTE_MS,
            self.inbox,
            self.port,
            self.store,
            lambda: self.ledger,
            self.clock,
            self.news.append,
            self.metrics,
        )
        async with anyio.create_task_group() as group:
            await group.start(actor.run)
            await self.settle()
            yield
            group.cancel_scope.cancel()

    def price(self, price: int) -> None:
        self.engine.on_price("BTCUSDT", D(price), True)
        self.engine.on_mark("BTCUSDT", D(price))

    def buy(self, quantity: str) -> None:
        self.engine.place(
            NewOrder(symbol="BTCUSDT", side="BUY", type="MARKET", quantity=D(quantity), client_id="tsb-1-e0")
        )

    async def wait(self, ms: int) -> None:
        """Let so much time pass, with everything that is due in it."""
        end = self.clock.now() + ms
        while True:
            wake = self.clock.next_wake()
            self.clock.advance(end if wake is None else min(max(wake, self.clock.now()), end))
            self.engine.step(self.clock.now())
            await self.settle()
            if self.clock.now() >= end and (self.clock.next_wake() or end + 1) > end:
                return

    async def closed(self, net: int) -> None:
        """A trade is over, and the desk says so."""
        self.memory.trades.append((self.clock.now(), D(net)))
        self.inbox.send_nowait(PositionChanged(closed_position(self.clock.now())))
        await self.settle()

    async def settle(self) -> None:
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        await self.activity.wait_quiet()
        for _ in range(20):
            await anyio.lowlevel.checkpoint()

    @property
    def state(self) -> GuardState:
        """What was said last."""
        return [news.guards for news in self.news if isinstance(news, GuardsChanged)][-1]

    def tripped(self) -> list[str]:
        return [trip.guard for trip in self.state.tripped]

    def gauge(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)

    def events(self) -> list[str]:
        return [news.name for news in self.news if isinstance(news, BotEvent)]


def closed_position(at: int) -> Position:
    return Position(
        position_id=f"p{at}",
        variant="BTC",
        tier="t1",
        symbol="BTCUSDT",
        side=Side.LONG,
        status=PositionStatus.CLOSED,
        intended=D(1),
        filled=D(1),
        closed=D(1),
        created_at=at,
        expires_at=at,
        closed_at=at,
        exits=ExitPlan(stop_pct=2.0),
    )
