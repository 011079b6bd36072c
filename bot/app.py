"""The wiring diagram of the live process: every stream, every actor, one task group, the order of start and end."""

import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Protocol

import anyio
import msgspec
from anyio.abc import TaskGroup

from bot.account.guards import AccountGuards, GuardStore
from bot.audit.auditor import Auditor, AuditStore, MarketEnded
from bot.audit.paths import VenuePaths
from bot.clock import HOUR_MS, MINUTE_MS, SECOND_MS, Clock, ReplayClock
from bot.config import BotFile
from bot.dispatch import Dispatch
from bot.exchange.insistence import Insistence
from bot.exchange.lockstep import Tick
from bot.exits.guard import Guard
from bot.forecast.forecaster import ForecastActor
from bot.forecast.serving import Forecaster
from bot.forecast.watch import HealthWatch
from bot.history.bars import BarFiles
from bot.hookspecs import Recent
from bot.interrupts import until_signal
from bot.journal.durable import Outage
from bot.journal.words import Words
from bot.journal.writer import JournalWriter, Ledgers
from bot.market.canary import Canary
from bot.market.feed import Feed, Outputs
from bot.market.history import HistoryWriter
from bot.market.listing import Listing, instruments_to_start_with
from bot.messages import (
    BalanceChanged,
    BotEvent,
    Flatten,
    GuardState,
    Progress,
    Settle,
    Severity,
    StandingOrder,
    StandingReleased,
    TradingState,
)
from bot.metrics import Metrics
from bot.orders.book import PositionBook
from bot.orders.desk import Desk
from bot.orders.store import OrderStore
from bot.plumbing import Streams
from bot.replay import LedgerCheck
from bot.research.backtest.daily import DailyParity, DayStore, Facing
from bot.research.backtest.trade import simulators_terms, terms_of
from bot.strategy import follow
from bot.strategy.audit import Expectations
from bot.strategy.counterfactual import costs_of
from bot.strategy.guards import rules_of
from bot.strategy.variant import Variant
from bot.streams import Activity
from bot.terminal.board import TerminalMessage
from bot.terminal.view import TerminalView
from bot.variants.recents import Place
from bot.variants.runner import CycleFrame, VariantsActor
from bot.venue import Instrument, InstrumentsChanged
from bot.venues import Venue

INTERVAL_MS = HOUR_MS
FLATTEN_SECONDS = 60  # waited in real time: at a pace the market's minute is over in a tenth of a second
SETTLE_SECONDS = 5  # of real time, as the time that whoever stops a process leaves it
LISTING_MS = 10 * MINUTE_MS  # how often the venue is asked what it trades


class AuditJournal(AuditStore, DayStore, Protocol):
    """The journal as the audit and parity read it."""


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What a session is given: everything that was opened or resolved before the first message flows."""

    settings: BotFile
    variants: tuple[Variant, ...]
    symbols: tuple[str, ...]
    model: Forecaster
    store: OrderStore
    guards: GuardStore
    records: Ledgers
    hold_database: Callable[[Callable[[Outage], None]], Coroutine[Any, Any, None]]  # brings it back when it goes away
    words: Words
    flatten: bool = False  # when stopped, close everything
    audit: AuditJournal
    recent: Callable[[], Awaitable[Mapping[Place, Recent]]]  # what the variants did before this start
    bars: Path  # where closed bars are kept
    show: Callable[[TerminalMessage], None]
    view: TerminalView
    metrics: Metrics
    watch: HealthWatch


class Session:
    """One run of the bot at one venue, from the first stream to the last row."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._show = parts.show
        self._clock: Clock = ReplayClock()
        self._desk: Desk | None = None
        self._began_at = 0
        self.activity = Activity()
        self.streams = Streams(self.activity)
        self.dispatch = Dispatch(self.streams, parts.show, parts.watch)
        self.check = LedgerCheck()
        self.interrupted = False
        self.flattened = False
        self.unfinished: list[str] = []  # what was on its way when the process was stopped, after some patience

    async def trade(self, venue: Venue) -> None:
        """Trade until the market ends or a signal comes. Positions keep their stops."""
        market = venue.replay.lockstep.run if venue.replay is not None else self._watch_time
        await self.trade_while(venue, lambda: until_signal(market))

    async def trade_while(self, venue: Venue, ended: Callable[[], Awaitable[bool]]) -> None:
        """Start everything in flow order and trade until `ended` returns; it says whether that was an interruption."""
        self._clock = self.dispatch.clock = venue.clock
        self._began_at = venue.clock.now()
        instruments = await self._instruments(venue)
        async with anyio.create_task_group() as keepers:  # who writes things down outlives who has things to say
            self._start_keepers(keepers)
            async with anyio.create_task_group() as actors:
                await self._start(actors, venue, instruments)
                self.interrupted = await ended()
                if venue.replay is not None and not self.interrupted:
                    await self._audit_the_end()
                if self.interrupted:
                    await self._wind_down()
                self.dispatch.event(self._stopped())
                actors.cancel_scope.cancel()
            keepers.cancel_scope.cancel()

    def _start_keepers(self, group: TaskGroup) -> None:
        group.start_soon(JournalWriter(self.streams.journal, self._parts.records).run)
        group.start_soon(self._parts.hold_database, self._on_outage)
        group.start_soon(HistoryWriter(BarFiles(self._parts.bars), self.streams.history).run)
        group.start_soon(self._parts.view.run)

    async def _start(self, group: TaskGroup, venue: Venue, instruments: dict[str, Instrument]) -> None:
        streams = self.streams
        self._desk = self._make_desk(venue, instruments)
        await group.start(self._desk.run)
        if venue.replay is None:  # what is held is looked after while the rest gets ready, and people are heard
            self._follow(group, venue)
        self._show(BalanceChanged(at=venue.clock.now(), wallet=self._desk.ledger.wallet))
        await group.start(self._make_account(venue, self._desk).run)
        await group.start(Guard(streams.guard, streams.desk.send_nowait, venue.clock).run)
        await group.start(self._make_forecaster(venue).run)
        recent = await self._parts.recent()
        await group.start(self._make_variants(venue, instruments, recent).run)
        await group.start(self._make_auditor(venue).run)
        await group.start(self._make_feed(venue).run)
        self.dispatch.event(self._started(venue))
        if venue.replay is not None:  # nothing happens meanwhile, and what comes first must be the same each time
            self._follow(group, venue)
        else:  # a replay's instruments are the same to its end
            group.start_soon(self._make_listing(venue, instruments).run)
            group.start_soon(self._make_canary(venue).run)

    def _follow(self, group: TaskGroup, venue: Venue) -> None:
        group.start_soon(self._parts.words.follow, self.streams.desk.send_nowait)
        group.start_soon(self._follow_account, venue)

    async def _wind_down(self) -> None:
        """Nothing is left half done: a fill without its stop, a cancel that was not sent."""
        if self._parts.flatten:
            await self._flatten()
        settle = Settle()
        self.streams.desk.send_nowait(settle)
        with anyio.move_on_after(SETTLE_SECONDS):
            await settle.done.wait()
        self.unfinished = [] if self._desk is None else self._desk.unfinished()

    async def _flatten(self) -> None:
        self.flattened = True
        flatten = Flatten(by="shutdown", within_ms=FLATTEN_SECONDS * SECOND_MS)
        self.streams.desk.send_nowait(flatten)
        with anyio.move_on_after(FLATTEN_SECONDS + 5):
            await flatten.done.wait()

    async def _audit_the_end(self) -> None:
        await self.activity.wait_quiet()
        ended = MarketEnded(anyio.Event())
        await self.streams.audit.send(ended)
        await ended.done.wait()

    async def _instruments(self, venue: Venue) -> dict[str, Instrument]:
        held = {position.symbol for position in await self._parts.store.load_open_positions()}
        wanted = {variant.name: variant.symbols for variant in self._parts.variants}
        insistence = Insistence(venue.clock, self.dispatch.event)
        listed = await insistence.read("instruments", venue.market.instruments)
        instruments = instruments_to_start_with(listed, wanted, held)
        for symbol in [symbol for symbol, instrument in instruments.items() if not instrument.trading]:
            self.dispatch.event(self._told("symbol_not_traded", Severity.ERROR, symbol=symbol))
        brackets = await insistence.read("margin brackets", venue.trading.margin_brackets)
        return {
            symbol: msgspec.structs.replace(instrument, brackets=brackets.get(symbol, ()))
            for symbol, instrument in instruments.items()
        }

    # -- the actors

    def _make_desk(self, venue: Venue, instruments: dict[str, Instrument]) -> Desk:
        parts = self._parts
        table = parts.settings.orders
        book = PositionBook(parts.settings.account.client_prefix, instruments)
        return Desk(
            self.streams.desk,
            self.dispatch.from_desk,
            venue.trading,
            parts.store,
            venue.clock,
            book,
            parts.symbols,
            check_ms=table.check_seconds * SECOND_MS if venue.replay is None else None,  # lockstep loses no frame
            watch_ms=table.watch_seconds * SECOND_MS,
            arms=table.prearm_stops,
            countdown_ms=table.dead_man_seconds * SECOND_MS if venue.replay is None else 0,  # its time waits for us
            metrics=parts.metrics,
        )

    def _make_account(self, venue: Venue, desk: Desk) -> AccountGuards:
        parts = self._parts
        table = parts.settings.guards
        return AccountGuards(
            rules_of(table),
            table.check_minutes * MINUTE_MS,
            self.streams.account,
            venue.trading,
            parts.guards,
            lambda: desk.ledger.wallet,
            venue.clock,
            self.dispatch.from_account,
            parts.metrics,
        )

    def _make_forecaster(self, venue: Venue) -> ForecastActor:
        parts = self._parts
        return ForecastActor(
            parts.model,
            self.streams.forecasts,
            self.streams.variants.send,
            self.dispatch.event,
            venue.clock,
            parts.metrics,
            horizon=parts.settings.model.horizon,
            tiers=[variant.tier for variant in parts.variants],
            max_distance=parts.settings.model.max_input_distance,
        )

    def _make_variants(
        self, venue: Venue, instruments: dict[str, Instrument], recent: Mapping[Place, Recent]
    ) -> VariantsActor:
        model = self._parts.settings.model
        frame = CycleFrame(
            context=model.context,
            horizon=model.horizon,
            interval_ms=INTERVAL_MS,
            deadline_ms=int(model.deadline_seconds * SECOND_MS),
        )
        return VariantsActor(
            self._parts.variants,
            instruments,
            frame,
            self.streams.variants,
            venue.clock,
            TradingState.REDUCING,  # until the desk has reconciled
            guards=GuardState(unknown_after_ms=0),  # unknown until the guards have spoken
            recent=recent,
            request=self.streams.forecasts.send,
            journal=self.dispatch.journal,
            enter=self.streams.desk.send,
        )

    def _make_auditor(self, venue: Venue) -> Auditor:
        settings, paths = self._parts.settings, VenuePaths(venue.market)
        return Auditor(
            Expectations(
                symbols={variant.name: len(variant.symbols) for variant in self._parts.variants},
                context=settings.model.context,
                horizon_ms=settings.model.horizon * INTERVAL_MS,
                up_since=venue.clock.now(),
            ),
            settings.audit.days,
            costs_of(settings.costs),
            self.streams.audit,
            venue.clock,
            self._parts.audit,
            paths,
            self.dispatch.from_audit,
            DailyParity(self._facing(venue), self._parts.audit, paths, venue.clock),
        )

    def _facing(self, venue: Venue) -> Facing:
        """What the bot's days are held against: a replay to the digit, a real venue as near as bars can tell."""
        settings, exact = self._parts.settings, venue.replay is not None
        usual = terms_of(settings.costs, follow.Path.PLAYED, 0, arms=settings.orders.prearm_stops)
        return Facing(
            variants=self._parts.variants,
            context=settings.model.context,
            horizon=settings.model.horizon,
            terms=simulators_terms() if exact else usual,
            exact=exact,
        )

    def _make_feed(self, venue: Venue) -> Feed:
        outputs = Outputs(
            bars=(self.streams.variants.send, self.streams.history.send),
            prices=(self.dispatch.price,),
            marks=(self.dispatch.mark,),
        )
        return Feed(
            venue.market,
            venue.clock,
            self.activity,
            self._parts.symbols,
            INTERVAL_MS,
            self._parts.settings.model.context,
            outputs,
            self.dispatch.event,
        )

    def _make_listing(self, venue: Venue, instruments: dict[str, Instrument]) -> Listing:
        desk, variants = self.streams.desk, self.streams.variants

        async def send(changed: InstrumentsChanged) -> None:
            await desk.send(changed)
            await variants.send(changed)

        return Listing(venue.market, venue.clock, instruments, LISTING_MS, send, self.dispatch.event, desk.send_nowait)

    def _make_canary(self, venue: Venue) -> Canary:
        symbol = self._parts.symbols[0]
        return Canary(venue.market, venue.trading, venue.heard, symbol, venue.clock, self.dispatch.event)

    # -- what flows where

    async def _follow_account(self, venue: Venue) -> None:
        async with contextlib.aclosing(venue.user.user_events()) as events:
            async for event in events:
                self.dispatch.keep_up(event.at)
                await self.streams.desk.send(event)

    def _on_outage(self, outage: Outage) -> None:
        reason = "database_away"
        self._parts.metrics.database_away.set(outage.away)
        if outage.away:
            order = StandingOrder(state=TradingState.REDUCING, reason=reason, by="database", detail=outage.why)
            self.streams.desk.send_nowait(order)
            self.dispatch.event(self._told(reason, Severity.ERROR, why=outage.why))
        else:
            self.streams.desk.send_nowait(StandingReleased(reason=reason, by="database"))
            self.dispatch.event(self._told("database_back", Severity.WARNING, records=outage.records))

    # -- time

    def on_quiet(self, tick: Tick) -> None:
        """A moment of a replay in which everything received has been worked on."""
        if tick.ledger is not None and self._desk is not None:
            known = len(self.check.differences)
            self.check.compare(tick.now, self._desk.ledger, tick.ledger)
            for difference in self.check.differences[known:][:1]:
                self.dispatch.event(self._told("ledger_differs", Severity.ERROR, difference=difference))
        self._show(Progress(tick.now, tick.progress, self._began_at))

    async def _watch_time(self) -> None:
        while True:
            self._show(Progress(self._clock.now(), None, self._began_at))
            await anyio.sleep(1)

    # -- telling

    def _started(self, venue: Venue) -> BotEvent:
        names = ", ".join(variant.name for variant in self._parts.variants)
        return self._told("started", venue=venue.name, variants=names, symbols=len(self._parts.symbols))

    def _stopped(self) -> BotEvent:
        held = [] if self._desk is None else list(self._desk.book.open_positions())
        still_open = [f"{p.symbol} {p.side} {p.open_quantity} stop {p.stop_price}" for p in held if p.open_quantity > 0]
        resting = [p.position_id for p in held if p.open_quantity == 0]
        severity = Severity.ERROR if self.unfinished else Severity.INFO
        told = {"open_positions": still_open, "resting_entries": resting, "unfinished": self.unfinished}
        return self._told("stopped", severity, **told)

    def _told(self, name: str, severity: Severity = Severity.INFO, **detail: object) -> BotEvent:
        return BotEvent(at=self._clock.now(), name=name, severity=severity, detail=detail)
