"""The desk actor: the single writer to the venue. In: intents and the account's events. Out: positions and outcomes."""

from collections.abc import Callable, Sequence
from decimal import Decimal

import anyio
import msgspec
from anyio.abc import TaskStatus

from bot.clock import MINUTE_MS, SECOND_MS, Alarm, Clock, Turn
from bot.errors import OutcomeUnknown, VenueRejected, VenueUnavailable
from bot.exchange.port import TradingPort
from bot.messages import (
    BalanceChanged,
    BotEvent,
    EntryIntent,
    ExitIntent,
    Position,
    PositionChanged,
    PositionStatus,
    Severity,
    SignalOutcome,
    StopMove,
    TradingState,
    TradingStateChanged,
)
from bot.orders.book import PositionBook
from bot.orders.ledger import Ledger
from bot.orders.outcomes import outcome_of
from bot.orders.protection import Protection
from bot.orders.reconcile import Reconciler
from bot.orders.sender import COVER, FUNDING, LOOK, RECHECK_MS, RECONCILE, Sender
from bot.orders.states import LIVE
from bot.orders.store import AttributedFill, OrderStore
from bot.streams import Stream
from bot.venue import (
    Book,
    Fill,
    FundingDue,
    FundingPaid,
    Leg,
    OrderReport,
    OrderRow,
    UserEvent,
    UserStreamLost,
    UserStreamUp,
)

BLIND_MS = 15 * SECOND_MS  # between two looks at the account while the user stream is down
LATE_FUNDING_MS = 30 * SECOND_MS  # for payments that were announced and are not on record yet


class AlarmRang(msgspec.Struct, frozen=True):
    """An entry's time to live has ended, or an order must be asked for again."""


DeskMessage = EntryIntent | ExitIntent | StopMove | UserEvent | AlarmRang
DeskNews = PositionChanged | SignalOutcome | BalanceChanged | BotEvent | TradingStateChanged


class Desk:
    """Owns the book and the ledger. `publish` takes what others may want to know and never blocks.

    `look_ms`: how often the venue's positions are held against the book while there is something to lose, because a
    user stream may go deaf without a word. None where it cannot (a replay).
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
        look_ms: int | None = None,
    ) -> None:
        self._inbox = inbox
        self._publish = publish
        self._port = port
        self._store = store
        self._clock = clock
        self._alarm = Alarm(clock, Turn.ORDERS)
        self._outcomes: dict[str, SignalOutcome] = {}  # the last one told of each position in the book
        self._leverage: dict[str, int] = {}
        self._why_closed = "starting"  # why no entry is taken; "" when they are
        self._stream_up = False
        self._look_ms = look_ms
        self._funding_asked_at = 0
        self.book = book
        self.ledger = Ledger(starting_wallet=Decimal(0))
        self._reconciler = Reconciler(port, store, book, symbols)
        self._sender = Sender(port, book, self._reconciler, clock, publish)
        self._protection = Protection(book, store, self._sender, clock, publish)

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        self.ledger = await self._reconciler.load(self._clock.now())
        await self._tell_missed()
        task_status.started()
        async with anyio.create_task_group() as group:
            group.start_soon(self._alarm.run, self._ring)
            async for message in self._inbox:
                await self._handle(message)
                self._set_alarm()
            group.cancel_scope.cancel()

    async def _tell_missed(self) -> None:
        """What an earlier process knew or was about to do, and did not live to tell."""
        for position in await self._store.load_untold():
            self._announce(position)
        for signal_id in await self._store.load_lost_intents():
            self._publish(SignalOutcome(signal_id=signal_id, fill_status="denied", exit_reason="process_ended"))

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
            case OrderReport():
                await self._on_report(message)
            case Fill():
                await self._on_fills([message])
            case FundingDue():
                await self._on_funding_due(message.at)
            case UserStreamUp():
                self._stream_up = True
                await self._reconcile()
            case UserStreamLost():
                self._stream_up = False
                self._close_entries("user_stream_lost", message.reason)
                self._sender.recheck(RECONCILE, BLIND_MS)
            case AlarmRang():
                await self._on_alarm()

    # -- intents

    async def _enter(self, intent: EntryIntent) -> None:
        denied = await self._denial(intent)
        if denied:
            self._publish(SignalOutcome(signal_id=intent.signal_id, fill_status="denied", exit_reason=denied))
            self._tell("entry_denied", Severity.WARNING, signal_id=intent.signal_id, reason=denied)
            return
        try:
            await self._use_leverage(intent)
        except (VenueRejected, VenueUnavailable, OutcomeUnknown) as error:
            self._publish(SignalOutcome(signal_id=intent.signal_id, fill_status="denied", exit_reason="leverage"))
            self._tell("leverage_refused", Severity.ERROR, symbol=intent.symbol, error=str(error))
            return
        self._forget_closed()
        position, row = self.book.enter(intent)
        self._publish(SignalOutcome(signal_id=intent.signal_id, fill_status="pending"))
        await self._tend([position], new=[row])

    async def _denial(self, intent: EntryIntent) -> str:
        """Why the intent may not be executed; empty when it may."""
        if self._why_closed:
            return self._why_closed
        if intent.expires_at <= self._clock.now():
            return "expired"
        if any(p.side is not intent.side for p in self.book.open_positions(intent.symbol)):
            return "opposite_position"
        known = intent.signal_id in self.book.positions
        if known or await self._store.load_position(intent.signal_id) is not None:
            return "duplicate"
        return ""

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
        row = self.book.leave(position, reason, self._clock.now())
        entries = self.book.legs(position.position_id, Leg.ENTRY, live=True)
        await self._tend([position], new=[row], drop=entries)

    async def _move_stop(self, move: StopMove) -> None:
        position = self.book.positions.get(move.position_id)
        if position is not None and self.book.move_stop(position, move.stop_price, move.reason):
            await self._tend([position])

    # -- the account's events

    async def _on_report(self, report: OrderReport) -> None:
        if not self.book.ours(report.client_id):
            self._tell("foreign_order", symbol=report.symbol, client_id=report.client_id, status=report.status)
            return
        await self._reconciler.recall(report.client_id)
        row = self.book.apply_report(report)
        if row is None:
            self._tell("order_without_row", Severity.ERROR, client_id=report.client_id, symbol=report.symbol)
            return
        position = self.book.positions[row.position_id]
        if report.book is Book.REGULAR and report.filled > row.filled:
            self._sender.recheck(row.client_id, RECHECK_MS)
            await self._pull(report.symbol)
        await self._tend([position])

    async def _on_fills(self, fills: Sequence[Fill]) -> None:
        touched: dict[str, Position] = {}
        booked: list[AttributedFill] = []
        for fill in fills:
            if not self._reconciler.is_new(fill):
                continue
            self.ledger.book_fill(fill)
            await self._reconciler.recall(fill.client_id)
            if fill.client_id not in self.book.orders:
                self._tell("foreign_fill", Severity.WARNING, symbol=fill.symbol, trade_id=fill.trade_id)
                booked.append((fill, None, None))
                continue
            applied = self.book.apply_fill(fill, fill.client_id)
            if sum(part.quantity for part in applied) < fill.quantity:
                self._tell("closed_what_is_not_ours", Severity.ERROR, symbol=fill.symbol, trade_id=fill.trade_id)
            row = self.book.orders[fill.client_id]
            booked.append((fill, row.position_id, row.leg))
            touched |= {part.position_id: self.book.positions[part.position_id] for part in applied}
        if booked:
            self._publish(BalanceChanged(at=self._clock.now(), wallet=self.ledger.wallet))
            await self._tend(list(touched.values()), fills=booked)

    async def _pull(self, symbol: str) -> None:
        try:
            missing = await self._reconciler.missing_fills(symbol)
        except (VenueUnavailable, VenueRejected) as error:
            self._tell("fills_unknown", Severity.WARNING, symbol=symbol, error=str(error))
            self._sender.recheck(RECONCILE, RECHECK_MS)
        else:
            await self._on_fills(missing)

    async def _on_funding_due(self, at: int) -> None:
        """Each symbol has an event of its own: the first is acted on, those of its moment are once all are told."""
        if at <= self._funding_asked_at:
            self._sender.recheck(FUNDING, RECHECK_MS)
        elif not await self._on_funding():
            self._sender.recheck(FUNDING, LATE_FUNDING_MS)

    async def _on_funding(self) -> bool:
        """Book what was paid; False where there was nothing, or nobody to ask."""
        self._funding_asked_at = self._clock.now()
        try:
            payments = await self._reconciler.missing_funding()
        except (VenueUnavailable, VenueRejected) as error:
            self._tell("funding_unknown", Severity.WARNING, error=str(error))
            self._sender.recheck(FUNDING, LATE_FUNDING_MS)
            return False
        touched: dict[str, Position] = {}
        for payment in payments:
            self.ledger.book_funding(payment)
            touched |= {p.position_id: p for p in self._share_funding(payment)}
        if payments:
            self._publish(BalanceChanged(at=self._clock.now(), wallet=self.ledger.wallet))
            await self._tend(list(touched.values()), funding=payments)
        return bool(payments)

    def _share_funding(self, payment: FundingPaid) -> list[Position]:
        """Each open position bears its part by quantity; the venue pays on the net, which is their sum."""
        holders = [p for p in self.book.open_positions(payment.symbol) if p.open_quantity > 0]
        total = sum((p.open_quantity for p in holders), Decimal(0))
        for position in holders:
            position.funding += payment.amount * position.open_quantity / total
        return holders

    async def _reconcile(self) -> None:
        """Nothing opens until book, ledger and venue agree."""
        self._close_entries("reconciling", "")
        self._sender.recheck_at.pop(RECONCILE, None)
        try:
            findings = await self._reconciler.run(self._on_fills, self._on_funding)
        except (VenueUnavailable, OutcomeUnknown, VenueRejected) as error:
            self._close_entries("not_reconciled", str(error))
            self._sender.recheck(RECONCILE, RECHECK_MS)
            return
        for event in findings.events:
            self._publish(event)
        await self._tend(list(self.book.positions.values()))  # closed ones too: some leg of theirs may still live
        if findings.disagreement:
            self._close_entries("venue_disagrees", findings.disagreement)
            self._sender.recheck(RECONCILE, MINUTE_MS)
            return
        if not self._stream_up:
            self._close_entries("user_stream_lost", "")
            self._sender.recheck(RECONCILE, BLIND_MS)
            return
        self._why_closed = ""
        self._publish(TradingStateChanged(TradingState.ACTIVE, "reconciled", self._clock.now()))
        self._tell("reconciled", positions=len(list(self.book.open_positions())), orders=len(self.book.live_orders()))

    def _close_entries(self, why: str, detail: str) -> None:
        self._why_closed = why
        self._publish(TradingStateChanged(TradingState.REDUCING, why, self._clock.now()))
        if detail:
            self._tell(why, Severity.WARNING, detail=detail)

    # -- time

    def _set_alarm(self) -> None:
        if self._look_ms is not None and LOOK not in self._sender.recheck_at and any(self.book.open_positions()):
            self._sender.recheck(LOOK, self._look_ms)
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
                await self._tend([self.book.positions[row.position_id]], drop=[row])
        self._forget_closed()

    async def _recheck(self, key: str) -> None:
        if key == RECONCILE:
            await self._reconcile()
        elif key == FUNDING:
            await self._on_funding()
        elif key == LOOK:
            await self._look()
        elif key == COVER:
            now = self._clock.now()
            await self._tend([p for p in self.book.open_positions() if self.book.lacking(p, now)])
        elif (row := self.book.orders.get(key)) is not None and row.state in LIVE:
            if await self._sender.ask(row, last_time=True):
                await self._pull(row.request.symbol)
            await self._tend([self.book.positions[row.position_id]])

    async def _look(self) -> None:
        try:
            differences = await self._reconciler.differences()
        except (VenueUnavailable, VenueRejected):
            return  # looked at again
        if differences and not len(self._inbox):  # else what explains them may be waiting
            self._tell("unheard_executions", Severity.WARNING, detail="; ".join(differences))
            self._sender.recheck(RECONCILE, 0)

    def _forget_closed(self) -> None:
        for position_id in self.book.forget_closed():
            self._outcomes.pop(position_id, None)

    # -- acting

    async def _tend(
        self,
        positions: Sequence[Position],
        new: Sequence[OrderRow] = (),
        drop: Sequence[OrderRow] = (),
        fills: Sequence[AttributedFill] = (),
        funding: Sequence[FundingPaid] = (),
    ) -> None:
        """Commit, then send: cover first, then what is new, then cancel what has no use; commit what came of it."""
        rows = await self._protection.cover(positions, new, fills, funding)
        surplus = [row for position in positions for row in self.book.surplus(position)]
        for row in {row.client_id: row for row in [*drop, *surplus]}.values():
            await self._sender.cancel(row)
        if rows or drop or surplus:
            await self._protection.commit(positions)
        for position in positions:
            self._announce(position)

    # -- telling

    def _announce(self, position: Position) -> None:
        self._publish(PositionChanged(msgspec.structs.replace(position)))
        outcome = outcome_of(position, resting=bool(self.book.legs(position.position_id, Leg.ENTRY, live=True)))
        if self._outcomes.get(position.position_id) != outcome:
            self._outcomes[position.position_id] = outcome
            self._publish(outcome)

    def _tell(self, name: str, severity: Severity = Severity.INFO, **detail: object) -> None:
        self._publish(BotEvent(at=self._clock.now(), name=name, severity=severity, detail=detail))
