"""The venue in one process: the matching engine over a generated market, in virtual time, with a day's faults.

It outlives every process of the bot. Faults are those of `bot.exchange.faults`; `ports` has the bot's view of it.
"""

import random
from collections.abc import Callable
from decimal import Decimal

import anyio
import msgspec

from bot.clock import HOUR_MS, MINUTE_MS, SECOND_MS
from bot.exchange.fault_kinds import FaultKind
from bot.exchange.faults import Fault, FaultPlan, Subject
from bot.exchange.matching import AccountUpdated, Algo, AlgoUpdated, Engine, OrderUpdated, Rejection, Settings
from bot.exchange.matching.fates import FAIR, Fate
from bot.exchange.matching.records import EngineEvent
from bot.exchange.paper import user_events
from bot.exchange.simulator.generator import GeneratedMarket
from bot.exchange.simulator.limits import Limits
from bot.exchange.simulator.market import PriceStep
from bot.messages import Bar, MarkChanged, PriceChanged
from bot.venue import UserEvent, VenuePosition
from tests.simulation.hands import Hands
from tests.simulation.lines import Line
from tests.simulation.scheduler import VirtualClock
from tests.simulation.trace import Trace

K = FaultKind
PREFIX = "tsb-"
USER, MARKET = "/private", "/market"
PING_MS = 45 * SECOND_MS  # a connection without pongs is noticed and cut so late
SILENCE_MS = 90 * SECOND_MS  # the market's stream is watched for silence
FUNDING_MS = 8 * HOUR_MS
FOREIGN_SYMBOL = "XRPUSDT"  # traded by hand alone

UserFrame = list[UserEvent]
MarketFrame = Bar | PriceChanged | MarkChanged


class Exchange:
    """`on_change` is called after everything that the engine did."""

    def __init__(
        self,
        symbols: tuple[str, ...],
        seed: int,
        clock: VirtualClock,
        trace: Trace,
        faults: tuple[Fault, ...],
        *,
        start: int,
        profile: str = "stress",
        settings: Settings | None = None,
        wallet: Decimal = Decimal(10_000),
        still: bool = False,
    ) -> None:
        self.clock, self.trace = clock, trace
        self.symbols = symbols
        self.tape = GeneratedMarket(seed, (*symbols, FOREIGN_SYMBOL), start, 1, profile=profile, warmup_hours=200)
        self.engine = Engine(self.tape.instruments, wallet, settings or Settings(seed=seed))
        self.engine.fate_of = self._fate_of
        self.instruments = dict(self.tape.instruments)
        self.hands = Hands(
            self.engine, self.tape.instruments, symbols, FOREIGN_SYMBOL, self.instruments,
            flush=self.flush, forget=self._forget,
            note=lambda words: trace.note(clock.now(), "by hand", words),
        )  # fmt: skip
        self.plan = FaultPlan(faults, seed, start)
        self.limits = Limits()
        self.random = random.Random(f"latency/{seed}")
        self.user_lines: list[Line[UserFrame]] = []
        self.market_lines: list[Line[MarketFrame]] = []
        self.changes = 0
        self.on_change: Callable[[], None] = lambda: None
        self.before_step: Callable[[], None] = lambda: None
        self.on_fault: Callable[[Fault], None] = lambda fault: None
        self.positions_before: list[VenuePosition] = []  # as they were before the last execution
        self.positions_at = start
        self._positions_now: list[VenuePosition] = []
        self.revised: dict[tuple[str, int], float] = {}
        self.missing: set[tuple[str, int]] = set()
        self.hedge_mode = False
        self.clock_off_until = 0
        self._still = still
        self._planned = anyio.Event()
        self._late = anyio.Event()
        self._countdowns: dict[str, int] = {}
        self._tell_funding: dict[str, Decimal] = {symbol: Decimal("0.0001") for symbol in self.tape.symbols}

    # -- time

    async def run(self, until: int) -> None:
        """Play the market until `until`; a moment at which nobody could notice a price is left out."""
        for step in self.tape.steps():
            if step.at >= until:
                return
            if step.closed or step.funding or self.open_anything():
                await self.clock.sleep_until(step.at)
                self.before_step()
                self._play(step)

    async def happen(self) -> None:
        """Do what the day's plan has for certain moments."""
        while True:
            at = self.plan.next_due
            if at is None:
                self._planned = anyio.Event()
                await self._planned.wait()
                continue
            await self.clock.sleep_until(at)
            for fault in self.plan.due(self.clock.now()):
                self._strike(fault)

    async def go_late(self) -> None:
        """Let late triggers and countdowns go on in time, whatever the prices do."""
        while True:
            times = [at for at in (self.engine.late_triggers.next_at, *self._countdowns.values()) if at is not None]
            self._late = anyio.Event()
            if not times:
                await self._late.wait()
                continue
            with anyio.move_on_after(max(0, min(times) - self.clock.now()) / 1_000):
                await self._late.wait()
            self.engine.step(self.clock.now())
            self._end_countdowns()
            self.flush()

    def count_down(self, symbol: str, ms: int) -> None:
        """Cancel the symbol's regular orders in `ms`, unless that is asked for again before; 0: not at all."""
        self._countdowns.pop(symbol, None)
        if ms:
            self._countdowns[symbol] = self.clock.now() + ms
        self._late.set()

    def _end_countdowns(self) -> None:
        for symbol in [symbol for symbol, at in self._countdowns.items() if at <= self.clock.now()]:
            del self._countdowns[symbol]
            self.trace.note(self.clock.now(), "venue", f"the countdown of {symbol} has ended")
            self.engine.cancel_all(symbol)
            if self.engine.settings.switches.countdown_cancels_algos:
                self.engine.cancel_all_algos(symbol)

    def step(self) -> None:
        self.engine.step(self.clock.now())

    def open_anything(self) -> bool:
        return bool(self.engine.open_orders() or self.engine.open_algos() or self.held())

    def _play(self, step: PriceStep) -> None:
        now = self.clock.now()
        self.engine.step(now)
        for symbol, price, gap in step.prices:
            last = self.engine.last_price(symbol)
            if self._still and last is not None:
                price = last
            self.engine.on_price(symbol, price, gap)
            self.engine.on_mark(symbol, price)
            self.flush()
            if symbol in self.symbols:
                self._tell_price(symbol, price, now, mark=bool(step.closed))
        for symbol, rate in step.funding:
            self.engine.pay_funding(symbol, rate)
            self._tell_funding[symbol] = rate
        self.flush()
        for bar in step.closed:
            if bar.interval_ms == HOUR_MS and bar.symbol in self.symbols:
                self._tell_bar(bar)

    def _tell_price(self, symbol: str, price: Decimal, now: int, *, mark: bool) -> None:
        """Marks with the 5m bars, prices where something hangs on them: the rest would only cost time."""
        at = now + 40
        due = (now // FUNDING_MS + 1) * FUNDING_MS
        for line in self.market_lines:
            if mark or self._hangs(symbol):
                line.push(at, PriceChanged(symbol, price, at))
            if mark:
                line.push(at, MarkChanged(symbol, price, self._tell_funding[symbol], due, at))

    def join(self, line: Line[MarketFrame]) -> None:
        """Somebody listens: the venue repeats each mark every second, so the newest is heard at once."""
        self.market_lines.append(line)
        at = self.clock.now() + 40
        due = (at // FUNDING_MS + 1) * FUNDING_MS
        for symbol in self.symbols:
            if (price := self.engine.mark_price(symbol)) is not None:
                line.push(at, PriceChanged(symbol, price, at))
                line.push(at, MarkChanged(symbol, price, self._tell_funding[symbol], due, at))

    def _hangs(self, symbol: str) -> bool:
        return bool(self.engine.position(symbol).quantity or self.engine.open_orders(symbol))

    def _tell_bar(self, bar: Bar) -> None:
        now = self.clock.now()
        frame = Subject(name=f"{bar.symbol.lower()}@kline_1h", symbol=bar.symbol)
        times = [bar.close_at + 60]
        for fault in self._struck(self.plan.on_kline(frame, now)):
            match fault.kind:
                case K.KLINE_LATE:
                    times = [at + fault.milliseconds() for at in times]
                case K.KLINE_MISSING:
                    times = []
                case K.KLINE_REPEATED:
                    times = [*times, bar.close_at + 800]
                case K.KLINE_REVISED:
                    self.revised[bar.symbol, bar.open_time] = bar.close * (1 + (fault.value or 0.001))
                case K.KLINE_GAP:
                    self.missing.add((bar.symbol, bar.open_time))
                    times = []
        for at in times:
            for line in self.market_lines:
                line.push(at, bar)

    # -- what the bot may ask of the market

    def bars(self, symbol: str, interval_ms: int, start: int, end: int) -> list[Bar]:
        now = self.clock.now()
        bars = self.tape.bars.get((symbol, interval_ms))
        if bars is None:
            raise Rejection(-1120, "Invalid interval.")
        first, last = bars.open_time.searchsorted((start, min(end, now - interval_ms + 1))).tolist()
        columns = (bars.open_time, bars.open, bars.high, bars.low, bars.close, bars.volume)
        rows = zip(*(column[first:last].tolist() for column in columns), strict=True)
        found = [Bar(symbol, interval_ms, *row) for row in rows if (symbol, row[0]) not in self.missing]
        if interval_ms != HOUR_MS or not self.revised:
            return found
        return [msgspec.structs.replace(b, close=self.revised.get((symbol, b.open_time), b.close)) for b in found]

    # -- the account's stream

    def flush(self) -> None:
        """Tell the user stream what the engine did."""
        events = self.engine.take_events()
        if not events:
            return
        for event in events:
            self._tell_event(event)
        self.changes += 1
        self.on_change()
        for fault in self.plan.due(self.clock.now()):  # upon one of these events, and after all of them
            self._strike(fault)

    def _tell_event(self, event: EngineEvent) -> None:
        name, symbol, client_id = _named(event)
        if self.trace.on and not isinstance(event, AccountUpdated):
            self.trace.note(self.clock.now(), "venue", _words(event))
        frame = user_events(event)
        if isinstance(event, OrderUpdated) and event.fill is not None:
            self.positions_before, self._positions_now = self._positions_now, self.positions()
            self.positions_at = self.clock.now()
        if not frame:
            return
        now = self.clock.now()
        subject = Subject(name=name, symbol=symbol, client_id=client_id)
        faults = self._struck(self.plan.on_event(subject, now))
        for line in self.user_lines:
            self._send(line, frame, faults, now)
        self.plan.happened(subject, now)

    def _send(self, line: Line[UserFrame], frame: UserFrame, faults: list[Fault], now: int) -> None:
        at = line.last_at = max(line.last_at, now + self.random.randint(5, 80))
        kinds = {fault.kind: fault for fault in faults}
        if K.EVENT_LOST in kinds:
            return
        if K.EVENT_DELAYED in kinds:
            at = now + kinds[K.EVENT_DELAYED].milliseconds()
        if K.EVENT_REORDERED in kinds and line.held is None:
            line.held = frame
            return
        line.push(at, frame)
        if K.EVENT_REPEATED in kinds:
            line.push(at + 1, frame)
        if line.held is not None:
            line.push(at + 1, line.held)
            line.held = None

    # -- faults

    def _struck(self, faults: list[Fault]) -> list[Fault]:
        for fault in faults:
            self.told(fault)
        return faults

    def told(self, fault: Fault) -> None:
        self.trace.note(self.clock.now(), "FAULT", f"{fault.kind} {fault.form or ''} {fault.symbol or ''}")
        self.on_fault(fault)

    def _fate_of(self, algo: Algo) -> Fate:
        subject = Subject(name=algo.type, symbol=algo.symbol, client_id=algo.client_id, order_type=algo.type)
        fault = self.plan.on_trigger(subject, self.engine.now)
        if fault is None:
            return FAIR
        self.told(fault)
        match fault.kind:
            case K.TRIGGER_STUCK:
                return Fate(stuck=True)
            case K.TRIGGER_REJECTED:
                return Fate(reject_reason="Margin is insufficient.")
            case K.TRIGGER_LATE:
                self._late.set()
                return Fate(late_ms=fault.milliseconds())
        return Fate(share=Decimal(str(fault.value or 0.5)))

    def _strike(self, fault: Fault) -> None:
        self.told(fault)
        now = self.clock.now()
        self.engine.step(now)
        match fault.kind:
            case K.SOCKET_SILENT | K.NO_PONG:
                self._silence(fault, now, PING_MS)
            case K.MARKET_SILENT:
                self._silence(fault, now, SILENCE_MS)
            case K.LISTEN_KEY_EXPIRES:
                self._cut(USER, now, "the listen key has expired")
            case K.SOCKET_RESET | K.SOCKET_CLOSED | K.DAY_CUT:
                self._cut(fault.pattern, now, f"the stream socket was closed ({fault.kind})")
            case K.CLOCK_STEP:
                self.clock_off_until = now + 20 * SECOND_MS
            case K.HEDGE_MODE:
                self.hedge_mode = True
            case _:
                self.hands.act(fault)
        self.flush()

    def _silence(self, fault: Fault, now: int, noticed_ms: int) -> None:
        route = MARKET if fault.kind is K.MARKET_SILENT else fault.pattern
        until = now + fault.milliseconds(3_600)
        for line in self._lines(route):
            line.fall_silent(until)
            if until - now >= noticed_ms:
                line.cut(now + noticed_ms, f"no frame ({fault.kind})")

    def _cut(self, route: str, now: int, reason: str) -> None:
        for line in self._lines(route):
            line.fall_silent(now + 30 * MINUTE_MS)
            line.cut(now + self.random.randint(5, 200), reason)

    def _lines(self, route: str) -> list[Line]:
        user = self.user_lines if route in ("*", USER) else []
        market = self.market_lines if route in ("*", MARKET) else []
        return [*user, *market]

    def _forget(self) -> None:
        """What the engine just did is told to nobody."""
        self.engine.take_events()
        self.changes += 1
        self.on_change()

    # -- the truth

    def held(self) -> dict[str, Decimal]:
        """Signed net position by symbol."""
        return {p.symbol: p.quantity for p in self.engine.positions() if p.quantity}

    def positions(self) -> list[VenuePosition]:
        return [
            VenuePosition(symbol=p.symbol, quantity=p.quantity, entry_price=p.entry_price)
            for p in self.engine.positions()
            if p.quantity
        ]


def _named(event: EngineEvent) -> tuple[str, str, str]:
    match event:
        case OrderUpdated(order=order):
            return "ORDER_TRADE_UPDATE", order.symbol, order.client_id
        case AlgoUpdated(algo=algo):
            return "ALGO_UPDATE", algo.symbol, algo.client_id
    return "ACCOUNT_UPDATE", event.symbol, ""


def _words(event: OrderUpdated | AlgoUpdated) -> str:
    if isinstance(event, AlgoUpdated):
        algo = event.algo
        return f"{algo.client_id} {algo.type} {algo.side} {algo.quantity} @ {algo.trigger_price}: {algo.status}"
    order, fill = event.order, event.fill
    told = f"{order.client_id} {order.type} {order.side} {order.executed}/{order.quantity}: {order.status}"
    return told if fill is None else f"{told}, trade {fill.trade_id} {fill.quantity} @ {fill.price}"
