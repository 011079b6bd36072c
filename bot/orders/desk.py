"""The desk actor: the single writer to the venue. In: intents and the account's events. Out: positions and outcomes."""

from collections.abc import Callable, Sequence

import anyio
import msgspec
from anyio.abc import TaskStatus

from bot.clock import SECOND_MS, Alarm, Clock, Turn
from bot.errors import DatabaseAway, OutcomeUnknown, VenueRejected, VenueUnavailable
from bot.exchange.insistence import Insistence
from bot.exchange.port import TradingPort
from bot.messages import (
    EntryIntent,
    ExitIntent,
    Flatten,
    Position,
    PositionStatus,
    Settle,
    Severity,
    SignalOutcome,
    StandingOrder,
    StandingReleased,
    StopMove,
    TradingState,
)
from bot.metrics import Metrics
from bot.orders.book import PositionBook
from bot.orders.checks import Checks
from bot.orders.cover import Cover
from bot.orders.dead_man import DeadMan
from bot.orders.gate import Gate
from bot.orders.intake import Intake
from bot.orders.ledger import Ledger
from bot.orders.news import DeskNews, News
from bot.orders.protection import Protection
from bot.orders.reconcile import Reconciler
from bot.orders.sender import CHECK, COVER, FILLS, FLATTEN, FUNDING, RECHECK_MS, RECONCILE, WATCH, Sender
from bot.orders.states import LIVE
from bot.orders.store import OrderStore
from bot.orders.strangers import Strangers
from bot.orders.tending import Tending
from bot.orders.unfinished import bare, on_its_way
from bot.streams import Stream
from bot.venue import Fill, FundingDue, InstrumentsChanged, OrderReport, UserEvent, UserStreamLost, UserStreamUp

WATCH_MS = 5 * SECOND_MS


class AlarmRang(msgspec.Struct, frozen=True):
    """An entry's time to live has ended, or an order must be asked for again."""


DeskMessage = (
    EntryIntent
    | ExitIntent
    | StopMove
    | StandingOrder
    | StandingReleased
    | Flatten
    | Settle
    | UserEvent
    | InstrumentsChanged
    | AlarmRang
)


class Desk:
    """Owns the book and the ledger. `publish` takes what others may want to know and never blocks.

    `check_ms`: how often the venue's orders, positions, trades and payments are held against the book, because a user
    stream may lose single frames or go deaf without a word, also about what is not ours. None where it cannot (a
    replay). `watch_ms`: how often, meanwhile, the stops of what is open are looked for.
    `arms`: a resting entry gets its stop before it is sent. `countdown_ms`: the venue cancels resting entries when it
    has not heard of us for so long; 0: it does not.
    """

    def __init__(
        self,
        inbox: Stream[DeskMessage],
        publish: Callable[[DeskNews], None],
        port: TradingPort,
        store: OrderStore,
        clock: Clock,
        book: PositionBook,
        symbols: Sequence[str],
        *,
        check_ms: int | None = None,
        watch_ms: int = WATCH_MS,
        arms: bool = False,
        countdown_ms: int = 0,
        metrics: Metrics | None = None,
    ) -> None:
        self._inbox = inbox
        self._port = port
        self._store = store
        self._clock = clock
        self._alarm = Alarm(clock, Turn.ORDERS)
        self._leverage: dict[str, int] = {}
        self._check_ms = check_ms
        self._watch_ms = watch_ms
        self.book = book
        self._news = news = News(publish, clock)
        self._reconciler = Reconciler(port, store, book, symbols, clock, Insistence(clock, publish))
        self._gate = gate = Gate(store, news, clock)
        self._cover = cover = Cover(book, arms=arms)
        self._sender = sender = Sender(port, book, self._reconciler, clock, news)
        self._protection = protection = Protection(book, cover, gate, store, sender, news, clock)
        self._tending = Tending(book, cover, gate, protection, sender, news, metrics or Metrics())
        self._strangers = strangers = Strangers(book, sender, gate, store, news)
        self._intake = Intake(book, self._reconciler, sender, self._tending, strangers, news, clock)
        self._checks = Checks(
            book, self._reconciler, sender, self._tending, self._intake, strangers, gate, cover, news, clock
        )
        self._dead_man = DeadMan(port, book, sender, news, clock, countdown_ms)
        self._flatten: Flatten | None = None
        self._settle: Settle | None = None

    @property
    def ledger(self) -> Ledger:
        return self._intake.ledger

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        self._intake.ledger = await self._reconciler.load(self._clock.now())
        await self._gate.load()
        await self._strangers.load()
        await self._protection.load()
        self._tending.adopted(self.book.positions.values())
        await self._tell_missed()
        task_status.started()
        async with anyio.create_task_group() as group:
            group.start_soon(self._alarm.run, self._ring)
            async for message in self._inbox:
                await self._handle(message)
                await self._face_surprises()
                await self._push_flatten()
                self._see_what_is_settled()
                await self._dead_man.tend()
                self._set_alarm()
            group.cancel_scope.cancel()

    async def _tell_missed(self) -> None:
        """What an earlier process knew or was about to do, and did not live to tell."""
        for position in await self._store.load_untold():
            self._tending.announce(position)
        for signal_id in await self._store.load_lost_intents():
            self._deny(signal_id, "process_ended")

    async def _ring(self) -> None:
        self._inbox.send_nowait(AlarmRang())

    async def _handle(self, message: DeskMessage) -> None:
        match message:
            case EntryIntent():
                await self._enter(message)
            case ExitIntent():
                await self._exit(message)
            case StopMove():
                await self._move_stop(message)
            case OrderReport() | Fill():
                await self._take_in(message)
            case FundingDue():
                await self._intake.on_funding_due(message.at)
            case UserStreamUp():
                await self._checks.on_stream_up()
            case UserStreamLost():
                self._checks.on_stream_lost(message.reason)
            case StandingOrder():
                await self._gate.order(message)
                await self._tending.tend(list(self.book.open_positions()))
            case StandingReleased():
                await self._gate.release(message)
                await self._tending.tend(list(self.book.open_positions()))
            case Flatten():
                await self._begin_flatten(message)
            case Settle():
                self._settle = message
                self._gate.hold("stopping")
            case InstrumentsChanged(instruments):
                self.book.adopt_rules(instruments)
            case AlarmRang():
                await self._on_alarm()

    async def _take_in(self, told: OrderReport | Fill) -> None:
        try:
            if isinstance(told, Fill):
                await self._intake.on_fill(told)
            else:
                await self._intake.on_report(told)
        except DatabaseAway:  # whose order this is only the database knows: the venue is asked for it again
            self._sender.recheck(RECONCILE, RECHECK_MS)

    async def _face_surprises(self) -> None:
        """What the venue said and no rule explains: trade no more than needed, and look at the account anew."""
        surprises, self.book.surprises = self.book.surprises, []
        for surprise in surprises:
            self._news.tell("contract_surprise", Severity.ERROR, detail=surprise)
            await self._gate.order(
                StandingOrder(state=TradingState.REDUCING, reason="contract_surprise", by="desk", detail=surprise)
            )
            self._sender.recheck(RECONCILE, 0)

    # -- intents

    async def _enter(self, intent: EntryIntent) -> None:
        denied = await self._denial(intent)
        if denied:
            self._deny(intent.signal_id, denied)
            self._news.tell("entry_denied", Severity.WARNING, signal_id=intent.signal_id, reason=denied)
            return
        try:
            await self._use_leverage(intent)
        except (VenueRejected, VenueUnavailable, OutcomeUnknown) as error:
            self._deny(intent.signal_id, "leverage")
            self._news.tell("leverage_refused", Severity.ERROR, symbol=intent.symbol, error=str(error))
            return
        self._tending.forget_closed()
        position, row = self.book.enter(intent)
        self._news.publish(SignalOutcome(signal_id=intent.signal_id, fill_status="pending"))
        await self._tending.tend([position], new=[row])

    async def _denial(self, intent: EntryIntent) -> str:
        """Why the intent may not be executed; empty when it may."""
        if self._gate.why_no_entry:
            return self._gate.why_no_entry
        if intent.expires_at <= self._clock.now():
            return "expired"
        if self._cover.is_full():
            return "conditional_orders_full"
        if any(p.side is not intent.side for p in self.book.open_positions(intent.symbol)):
            return "opposite_position"
        if intent.signal_id in self.book.positions:
            return "duplicate"
        try:
            return "" if await self._store.load_position(intent.signal_id) is None else "duplicate"
        except DatabaseAway:
            return "database_away"

    def _deny(self, signal_id: str, reason: str) -> None:
        self._news.publish(SignalOutcome(signal_id=signal_id, fill_status="denied", exit_reason=reason))

    async def _use_leverage(self, intent: EntryIntent) -> None:
        if self._leverage.get(intent.symbol) != intent.leverage:
            await self._port.set_leverage(intent.symbol, intent.leverage)
            self._leverage[intent.symbol] = intent.leverage

    async def _exit(self, intent: ExitIntent) -> None:
        position = self.book.positions.get(intent.position_id)
        if position is None or position.status is not PositionStatus.OPEN:
            return  # it closed meanwhile, or is being closed
        await self._leave(position, intent.reason)

    async def _leave(self, position: Position, reason: str) -> None:
        """Ask the venue to close the position; while trading is halted, as soon as it is not."""
        self.book.leave(position, reason)
        await self._tending.tend([position])

    async def _move_stop(self, move: StopMove) -> None:
        position = self.book.positions.get(move.position_id)
        if position is not None and self.book.move_stop(position, move.stop_price, move.reason):
            await self._tending.tend([position])

    # -- leaving everything

    async def _begin_flatten(self, flatten: Flatten) -> None:
        if self._gate.halted:
            self._news.tell("flatten_refused", Severity.ERROR, by=flatten.by, reason="trading is halted")
            flatten.done.set()
            return
        if self._flatten is not None:
            self._flatten.done.set()
        self._flatten = flatten
        self._gate.hold("flattening", f"asked for by {flatten.by}")
        self._sender.recheck(FLATTEN, flatten.within_ms)

    async def _push_flatten(self) -> None:
        """Ask each position to leave, once; a cancel of an entry may cross with a fill, so look after every message."""
        if self._flatten is None:
            return
        for position in list(self.book.open_positions()):
            if position.status is PositionStatus.OPEN:
                await self._leave(position, self._flatten.reason)
            elif self._cover.withdraw(position):
                await self._tending.tend([position])
        if not any(self.book.open_positions()):
            self._news.tell("flat", Severity.INFO)
            self._flatten.done.set()
            self._flatten = None
            self._sender.recheck_at.pop(FLATTEN, None)
            self._gate.lift("flattening")

    def _tell_not_flat(self) -> None:
        left = [f"{p.symbol} {p.side} {p.open_quantity}" for p in self.book.open_positions()]
        self._news.tell("not_flat", Severity.ERROR, left=left)

    # -- being stopped

    def unfinished(self) -> list[str]:
        """What is on its way or bare, a line each."""
        return [*on_its_way(self.book, self._cover), *bare(self.book, self._cover, self._clock.now())]

    def _see_what_is_settled(self) -> None:
        """While trading is halted only cancels are sent, so that nothing bare will be covered."""
        if self._settle is None or any(on_its_way(self.book, self._cover)):
            return
        if self._gate.halted or not any(bare(self.book, self._cover, self._clock.now())):
            self._settle.done.set()

    # -- time

    def _set_alarm(self) -> None:
        if self._check_ms is not None:
            self._sender.recheck_within(CHECK, self._check_ms)
            if self.book.positions:
                self._sender.recheck_within(WATCH, self._watch_ms)
        recheck = self._sender.next_recheck()
        expiry = self.book.next_expiry(asked_again=self._sender.recheck_at)
        self._alarm.set(min([at for at in (recheck, expiry) if at is not None], default=None))

    async def _on_alarm(self) -> None:
        now = self._clock.now()
        for key in [key for key, at in self._sender.recheck_at.items() if at <= now]:
            if self._sender.recheck_at.pop(key, None) is not None:
                await self._recheck(key)
        for row in self.book.expired_entries(now):
            if row.client_id not in self._sender.recheck_at:
                await self._tending.tend([self.book.positions[row.position_id]], drop=[row])
        self._tending.forget_closed()

    async def _recheck(self, key: str) -> None:
        if key == RECONCILE:
            await self._checks.reconcile()
        elif key == FUNDING:
            await self._intake.on_funding()
        elif key == FILLS:
            for symbol in self.book.owed_symbols():
                await self._intake.pull(symbol)
            if self.book.owed_symbols():
                self._sender.recheck(FILLS, RECHECK_MS)
        elif key == CHECK:
            await self._checks.check()
        elif key == WATCH:
            await self._checks.watch()
        elif key == FLATTEN:
            self._tell_not_flat()
        elif key == COVER:
            now = self._clock.now()
            await self._tending.tend([p for p in self.book.open_positions() if self._cover.lacking(p, now)])
        elif (row := self.book.orders.get(key)) is not None and row.state in LIVE:
            if await self._sender.ask(row):
                await self._intake.pull(row.request.symbol)
            await self._tending.tend([self.book.positions[row.position_id]])
