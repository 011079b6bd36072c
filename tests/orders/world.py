"""One desk against the matching engine in one process, with a venue that can be told to fail."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal

import anyio
import msgspec
import trio.testing

from bot.clock import HOUR_MS, ReplayClock
from bot.errors import OperatorError, OutcomeUnknown, VenueRejected, VenueUnavailable
from bot.exchange.matching import Engine, Settings
from bot.exchange.paper import PaperTrading, user_events
from bot.messages import BotEvent, EntryIntent, ExitPlan, Position, PositionStatus, Side, SignalOutcome
from bot.orders.book import PositionBook
from bot.orders.desk import Desk, DeskMessage
from bot.orders.states import LIVE
from bot.streams import Activity, Overflow, Stream
from bot.venue import (
    Book,
    Fill,
    FundingPaid,
    Instrument,
    OrderReport,
    OrderRequest,
    UserEvent,
    UserStreamUp,
    VenuePosition,
)
from tests.orders.memory_store import MemoryStore

D = Decimal
START = 1_740_787_200_000
BTC = Instrument(
    symbol="BTCUSDT",
    tick_size=D("0.10"),
    step_size=D("0.001"),
    min_quantity=D("0.001"),
    max_quantity=D(1000),
    max_market_quantity=D(120),
    min_notional=D(50),
)


CALM = Settings(partial_fill_probability=0.0)


class FaultyTrading(PaperTrading):
    """Fails on command. `lose` says of each order whether it is lost "before" or "after" the venue acted."""

    def __init__(self, engine: Engine, publish: Callable[[object], None]) -> None:
        super().__init__(engine, publish)
        self.lose: dict[str, str] = {}  # by the client id's end
        self.refuse: dict[str, int] = {}
        self.deaf_to_cancels = False
        self.refuse_countdown = False
        self.hedge_mode = False
        self.fills_down = False
        self.down = False  # nothing is reached
        self.down_after = ""  # from this order on
        self.orders_down = False  # reads are
        self.blind_to: set[str] = set()  # orders that a query does not see yet
        self.unaskable: set[str] = set()  # orders that no query is answered about
        self.cancels = 0
        self.sent: list[str] = []
        self.asked: list[str] = []  # the account's calls
        self.failing: dict[str, int] = {}  # by call: how many fail from here on
        self.unnamed = False  # executions that are asked for carry no client id, as the real venue's
        self.old_answers = 0  # answers without any execution
        self.closed_until = 0  # the venue wants no calls before
        self.through: Callable[[list[UserEvent]], list[UserEvent]] = list  # what the stream makes of each frame

    def flush(self) -> None:
        self.end_countdowns()
        for event in self.engine.take_events():
            frame = user_events(event)
            for told in self.through(frame) if frame else []:
                self._publish(told)

    async def place(self, request: OrderRequest) -> OrderReport:
        end = request.client_id.rsplit("-", 1)[1]
        self.sent.append(end)
        if self.down or self.orders_down:
            raise VenueUnavailable("refused by the test")
        if end in self.refuse:
            raise VenueRejected(self.refuse[end], "refused by the test")
        if self.lose.get(end) == "before":
            raise OutcomeUnknown("lost before the venue acted")
        report = await super().place(request)
        self.down = self.down or end == self.down_after
        if self.lose.get(end) == "after":
            raise OutcomeUnknown("lost after the venue acted")
        return report

    async def cancel(self, symbol: str, client_id: str, book: Book) -> OrderReport | None:
        self.cancels += 1
        if self.down or self.orders_down:
            raise VenueUnavailable("refused by the test")
        if self.deaf_to_cancels:
            raise OutcomeUnknown("lost before the venue acted")
        return await super().cancel(symbol, client_id, book)

    async def find(self, symbol: str, client_id: str, book: Book) -> OrderReport | None:
        self._reach("find")
        if client_id.rsplit("-", 1)[1] in self.unaskable:
            raise VenueUnavailable("refused by the test")
        if client_id.rsplit("-", 1)[1] in self.blind_to:
            return None
        return await super().find(symbol, client_id, book)

    async def open_orders(self) -> Sequence[OrderReport]:
        self._reach("open_orders")
        return await super().open_orders()

    async def positions(self) -> Sequence[VenuePosition]:
        self._reach("positions")
        return await super().positions()

    async def fills(self, symbol: str, from_trade_id: int) -> Sequence[Fill]:
        self._reach("fills")
        if self.fills_down:
            raise VenueUnavailable("refused by the test")
        if self.old_answers:
            self.old_answers -= 1
            return []
        found = await super().fills(symbol, from_trade_id)
        return [msgspec.structs.replace(fill, client_id="") for fill in found] if self.unnamed else found

    async def find_by_id(self, symbol: str, venue_id: int) -> OrderReport | None:
        self._reach("find_by_id")
        return await super().find_by_id(symbol, venue_id)

    async def wallet(self) -> Decimal:
        self._reach("wallet")
        return await super().wallet()

    async def funding(self, since: int) -> Sequence[FundingPaid]:
        self._reach("funding")
        return await super().funding(since)

    async def check_account(self) -> None:
        self._reach("check_account")
        if self.hedge_mode:
            raise OperatorError("the account is in hedge mode")

    async def set_countdown(self, symbol: str, ms: int) -> None:
        if self.down or self.refuse_countdown:
            raise VenueUnavailable("refused by the test")
        await super().set_countdown(symbol, ms)

    def _reach(self, call: str) -> None:
        self.asked.append(call)
        if self.closed_until > self.engine.now:
            raise VenueUnavailable("banned by the test", retry_at=self.closed_until)
        if self.down or self.failing.get(call, 0) > 0:
            self.failing[call] = self.failing.get(call, 0) - 1
            raise VenueUnavailable("refused by the test")


class World:
    """One desk, its venue and its database; `desk` is made anew by each `trading` block."""

    def __init__(
        self,
        *,
        arms: bool = False,
        settings: Settings = CALM,
        check_ms: int | None = None,
        watch_ms: int = 5_000,
        countdown_ms: int = 0,
    ) -> None:
        self.arms = arms
        self.clock = ReplayClock(START)
        self.engine = Engine({"BTCUSDT": BTC}, D(10_000), settings)
        self.store = MemoryStore()
        self.activity = Activity()
        self.news: list[object] = []
        self.inbox: Stream[DeskMessage] | None = None
        self.desk: Desk | None = None
        self.port = FaultyTrading(self.engine, self._tell_desk)
        self.deaf = False  # events get lost
        self.check_ms = check_ms
        self.watch_ms = watch_ms
        self.countdown_ms = countdown_ms
        self.move(50_000)

    def _tell_desk(self, event: object) -> None:
        if self.inbox is not None and not self.deaf:
            self.inbox.send_nowait(event)  # type: ignore[arg-type]  # the port's events are desk messages

    def move(self, price: float, minutes: int = 0) -> None:
        self.clock.advance(self.clock.now() + minutes * 60_000)
        self.engine.step(self.clock.now())
        self.engine.on_price("BTCUSDT", D(str(price)))
        self.engine.on_mark("BTCUSDT", D(str(price)))
        self.port.flush()

    def gap(self, price: float) -> None:
        """The price jumps there without trading in between."""
        self.engine.on_price("BTCUSDT", D(str(price)), gap=True)
        self.engine.on_mark("BTCUSDT", D(str(price)))
        self.port.flush()

    @asynccontextmanager
    async def trading(self) -> AsyncIterator[Desk]:
        """A desk that has reconciled; leaving the block kills it wherever it is."""
        self.inbox = Stream("desk", 1_000, Overflow.HALT, self.activity)
        desk = self.desk = Desk(
            self.inbox,
            self.news.append,
            self.port,
            self.store,
            self.clock,
            PositionBook("tsb", {"BTCUSDT": BTC}),
            ["BTCUSDT"],
            check_ms=self.check_ms,
            watch_ms=self.watch_ms,
            countdown_ms=self.countdown_ms,
            arms=self.arms,
        )
        async with anyio.create_task_group() as group:
            await group.start(desk.run)
            self.inbox.send_nowait(UserStreamUp(self.clock.now()))
            await self.quiet()
            yield desk
            group.cancel_scope.cancel()
        self.inbox = self.desk = None
        self.activity = Activity()

    async def quiet(self) -> None:
        for _ in range(3):
            await trio.testing.wait_all_tasks_blocked()
            await self.activity.wait_quiet()

    async def wait(self, seconds: int) -> None:
        """Let domain time pass at the price that stands, second by second."""
        for _ in range(seconds):
            self.clock.advance(self.clock.now() + 1_000)
            self.engine.step(self.clock.now())
            await self.quiet()

    async def tell(self, message: DeskMessage) -> None:
        assert self.inbox is not None
        self.inbox.send_nowait(message)
        await self.quiet()

    async def enter(self, signal_id: str = "sig1", limit: str | None = "49900.0", side: Side = Side.LONG) -> None:
        now = self.clock.now()
        await self.tell(
            EntryIntent(
                signal_id=signal_id,
                variant="BTC",
                tier="t1",
                symbol="BTCUSDT",
                side=side,
                quantity=D("0.010"),
                limit_price=None if limit is None else D(limit),
                post_only=False,
                created_at=now,
                expires_at=now + HOUR_MS,
                leverage=10,
                exits=ExitPlan(stop_pct=2.0, target_pct=2.0),
            )
        )

    def net(self) -> Decimal:
        return sum((p.quantity for p in self.engine.positions()), D(0))

    def stops(self) -> list[tuple[Decimal, Decimal]]:
        """(quantity, trigger) of the live stops on the venue."""
        algos = self.engine.algos.values()
        return [(a.quantity, a.trigger_price) for a in algos if a.is_open and a.type == "STOP_MARKET"]

    def live(self) -> list[str]:
        ids = [o.client_id for o in self.engine.orders.values() if o.is_open]
        return sorted(i.rsplit("-", 1)[1] for i in ids + [a.client_id for a in self.engine.algos.values() if a.is_open])

    def position(self, signal_id: str = "sig1") -> Position:
        return self.store.positions[signal_id]

    def events(self) -> list[str]:
        return [n.name for n in self.news if isinstance(n, BotEvent)]

    def outcome(self, signal_id: str = "sig1") -> SignalOutcome:
        return [n for n in self.news if isinstance(n, SignalOutcome) and n.signal_id == signal_id][-1]


def agrees(world: World, desk: Desk) -> bool:
    """Wallet, net, order states and cover are the venue's, and every live order has an owner that needs it."""
    open_ids = {o.client_id for o in world.engine.orders.values() if o.is_open}
    open_ids |= {a.client_id for a in world.engine.algos.values() if a.is_open}
    live_rows = {row.client_id for row in world.store.orders.values() if row.state in LIVE}
    held = [p for p in world.store.positions.values() if p.status is not PositionStatus.CLOSED]
    owned = {row.client_id for row in world.store.orders.values() if row.position_id in {p.position_id for p in held}}
    covered = sum((quantity for quantity, _ in world.stops()), D(0))
    net = sum((p.open_quantity * p.side.sign for p in held), D(0))
    return (
        same_account(world, desk)
        and net == world.net() == desk.book.net("BTCUSDT")
        and open_ids == live_rows <= owned
        and covered >= abs(net)
    )


def same_account(world: World, desk: Desk) -> bool:
    return desk.ledger.wallet == world.engine.wallet and sum(desk.ledger.net.values(), D(0)) == world.net()
