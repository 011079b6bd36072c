"""The variants' actor: bars, marks, forecasts and positions in; forecast requests, signals and entry intents out.

It keeps what a decision is made on and knows when one is due; what is decided is `strategy.cycle`'s.
"""

import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence

import anyio
import msgspec
from anyio.abc import TaskStatus

from bot.clock import MINUTE_MS, Alarm, Clock, Turn
from bot.hookspecs import Recent
from bot.messages import (
    Bar,
    BarClosed,
    Bars,
    BotEvent,
    CheckpointServed,
    EntryIntent,
    Forecast,
    ForecastRefused,
    ForecastRequest,
    ForecastsDue,
    ForecastsReady,
    GuardsChanged,
    GuardState,
    MarkChanged,
    PositionChanged,
    ReturnKnown,
    Severity,
    Signal,
    SignalOutcome,
    TradingState,
    TradingStateChanged,
    Window,
)
from bot.strategy.cycle import Seen, decide, next_cycle
from bot.strategy.reasons import Reason
from bot.strategy.variant import Variant
from bot.strategy.window import Appended, BarBuffer, make_window, tail, upto
from bot.streams import Stream
from bot.variants.exposure import Exposed
from bot.variants.recents import Place, Recents
from bot.venue import Instrument, InstrumentsChanged

LATE_MS = MINUTE_MS  # a cycle that is come to later than this is refused
UNGUARDED = GuardState()
SPARE_BARS = 300  # kept beyond the context, so that a restart still learns the returns of the last days


class CycleDue(msgspec.Struct, frozen=True):
    """A variant's minute has come, or a request's deadline has passed."""


VariantsMessage = (
    BarClosed
    | MarkChanged
    | CycleDue
    | CheckpointServed
    | ForecastsReady
    | PositionChanged
    | SignalOutcome
    | TradingStateChanged
    | GuardsChanged
    | InstrumentsChanged
)
VariantsNews = Signal | ReturnKnown | BotEvent


class CycleFrame(msgspec.Struct, frozen=True, kw_only=True):
    """What all cycles have in common."""

    context: int  # bars in a window
    horizon: int  # bars ahead that a signal is judged on
    interval_ms: int
    deadline_ms: int  # for the answer to a forecast request


class _Cycle(msgspec.Struct):
    """One variant's cycle between the request and its answer."""

    variant: Variant
    at: int
    deadline: int
    bars: dict[str, Bars]  # of the symbols whose windows went into the request
    answers: dict[str, Forecast | ForecastRefused]


class VariantsActor:
    """One actor for all variants. Every symbol of every cycle becomes exactly one Signal."""

    def __init__(
        self,
        variants: Sequence[Variant],
        instruments: Mapping[str, Instrument],
        frame: CycleFrame,
        inbox: Stream[VariantsMessage],
        clock: Clock,
        state: TradingState,
        *,
        guards: GuardState = UNGUARDED,
        recent: Mapping[Place, Recent],
        request: Callable[[ForecastsDue], Awaitable[None]],
        journal: Callable[[VariantsNews], Awaitable[None]],
        enter: Callable[[EntryIntent], Awaitable[None]],
    ) -> None:
        self._variants = [variant for variant in variants if variant.enabled]
        self._instruments = instruments
        self._frame = frame
        self._inbox = inbox
        self._clock = clock
        self._state = state
        self._guards = guards
        self._request, self._journal, self._enter = request, journal, enter
        self._alarm = Alarm(clock, Turn.VARIANTS)
        self._exposed = Exposed()
        self._recents = Recents(recent)
        self._marks: dict[str, MarkChanged] = {}
        self._due: dict[str, int] = {}
        self._pending: dict[int, _Cycle] = {}
        self._served: dict[str, str] = {}  # checkpoint by tier
        self._request_ids = itertools.count(1)
        symbols = dict.fromkeys(symbol for variant in self._variants for symbol in variant.symbols)
        capacity = frame.context + frame.horizon + SPARE_BARS
        self._buffers = {symbol: BarBuffer(symbol, frame.interval_ms, capacity) for symbol in symbols}

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        now = self._clock.now()
        self._due = {variant.name: next_cycle(variant.minutes, now) for variant in self._variants}
        async with anyio.create_task_group() as group:
            group.start_soon(self._alarm.run, self._ring)
            self._set_alarm()
            task_status.started()
            async for message in self._inbox:
                await self._handle(message)
                self._set_alarm()

    async def _ring(self) -> None:
        await self._inbox.send(CycleDue())

    def _set_alarm(self) -> None:
        deadlines = (cycle.deadline + 1 for cycle in self._pending.values())
        self._alarm.set(min([*self._due.values(), *deadlines], default=None))

    async def _handle(self, message: VariantsMessage) -> None:
        match message:
            case BarClosed(bar):
                await self._on_bar(bar)
            case MarkChanged(symbol):
                self._marks[symbol] = message
            case CycleDue():
                await self._on_due(self._clock.now())
            case CheckpointServed(tier, checkpoint):
                self._served[tier] = checkpoint
            case ForecastsReady():
                await self._on_forecasts(message)
            case PositionChanged(position):
                self._exposed.changed(position)
                self._recents.changed(position)
            case SignalOutcome(signal_id=signal_id, fill_status="denied"):
                self._exposed.denied(signal_id)
                self._recents.denied(signal_id)
            case SignalOutcome():
                pass
            case TradingStateChanged(state):
                self._state = state
            case GuardsChanged(guards):
                self._guards = guards
            case InstrumentsChanged(instruments):
                self._instruments = instruments

    async def _on_bar(self, bar: Bar) -> None:
        buffer = self._buffers.get(bar.symbol)
        if buffer is None:
            return
        appended = buffer.append(bar)
        if appended in (Appended.GAP, Appended.OUT_OF_ORDER, Appended.WRONG_INTERVAL):
            await self._tell(f"bar_{appended}", symbol=bar.symbol, open_time=bar.open_time)
        if appended in (Appended.ADDED, Appended.GAP, Appended.FILLED):
            ahead = self._frame.horizon * self._frame.interval_ms
            for start in (bar.close_at - ahead, bar.close_at):
                await self._tell_return(buffer, start, start + ahead)

    async def _tell_return(self, buffer: BarBuffer, start: int, end: int) -> None:
        before, after = buffer.close_at(start), buffer.close_at(end)
        if before and after:
            known = ReturnKnown(symbol=buffer.symbol, bar_close_at=start, actual_return=after / before - 1)
            await self._journal(known)

    async def _on_due(self, now: int) -> None:
        for request_id, cycle in list(self._pending.items()):
            if cycle.deadline < now:
                del self._pending[request_id]
                await self._overdue(cycle, request_id)
        requests: list[ForecastRequest] = []
        for variant in self._variants:
            while self._due[variant.name] <= now:
                at = self._due[variant.name]
                self._due[variant.name] = next_cycle(variant.minutes, at)
                request = await self._begin(variant, at, now)
                if request is not None:
                    requests.append(request)
        if requests:
            await self._request(ForecastsDue(tuple(requests)))

    async def _overdue(self, cycle: _Cycle, request_id: int) -> None:
        await self._tell("forecast_overdue", request_id=request_id, variant=cycle.variant.name)
        await self._decide(cycle)

    async def _begin(self, variant: Variant, at: int, now: int) -> ForecastRequest | None:
        """What the model shall be asked for this cycle; None where there is nothing to ask and all is decided."""
        cycle = _Cycle(variant, at, now + self._frame.deadline_ms, {}, {})
        windows: list[Window] = []
        for symbol in variant.symbols:
            bars = self._bars(symbol, at)
            window = self._window(symbol, bars, at, now)
            if isinstance(window, ForecastRefused):
                cycle.answers[symbol] = window
            else:
                cycle.bars[symbol] = bars
                windows.append(window)
        if not windows:
            await self._decide(cycle)
            return None
        request_id = next(self._request_ids)
        self._pending[request_id] = cycle
        return ForecastRequest(request_id, variant.name, variant.tier, tuple(windows), now, cycle.deadline)

    def _bars(self, symbol: str, at: int) -> Bars:
        """The newest `context` bars that had closed by `at`."""
        return tail(upto(self._buffers[symbol].bars(), at), self._frame.context)

    def _window(self, symbol: str, bars: Bars, at: int, now: int) -> Window | ForecastRefused:
        """What the model shall see of `bars`, or why there is nothing to show."""
        if now - at > LATE_MS:
            return ForecastRefused(symbol, Reason.CYCLE_LATE)
        instrument = self._instruments.get(symbol)
        if instrument is None or not instrument.trading:
            reason = Reason.INSTRUMENT_MISSING if instrument is None else Reason.INSTRUMENT_NOT_TRADING
            return ForecastRefused(symbol, reason)
        if not len(bars) or bars.close_at != at - at % self._frame.interval_ms:
            return ForecastRefused(symbol, Reason.BAR_MISSING)
        return make_window(bars, self._frame.context, self._frame.interval_ms)

    async def _on_forecasts(self, ready: ForecastsReady) -> None:
        cycle = self._pending.pop(ready.request_id, None)
        if cycle is None:
            return  # it was overdue, which has been told, and its rows are written
        if self._clock.now() > cycle.deadline:
            await self._overdue(cycle, ready.request_id)
            return
        foreign = [forecast.symbol for forecast in ready.forecasts if forecast.symbol not in cycle.bars]
        if foreign:
            await self._tell("forecast_foreign", request_id=ready.request_id, variant=ready.variant, symbols=foreign)
        answers: tuple[Forecast | ForecastRefused, ...] = (*ready.forecasts, *ready.refused)
        cycle.answers |= {one.symbol: one for one in answers if one.symbol in cycle.bars}
        await self._decide(cycle)

    async def _decide(self, cycle: _Cycle) -> None:
        """One signal for each symbol in order; an intent counts for the symbols after it."""
        now = self._clock.now()
        for symbol in cycle.variant.symbols:
            mark = self._mark(symbol, now)
            seen = Seen(
                symbol=symbol,
                cycle_at=cycle.at,
                now=now,
                bars=cycle.bars.get(symbol),
                forecast=cycle.answers.get(symbol, ForecastRefused(symbol, Reason.FORECAST_MISSING)),
                mark_price=mark.mark if mark else None,
                funding_rate=mark.funding_rate if mark else None,
                next_funding_at=mark.next_funding_at if mark else None,
                instrument=self._instruments.get(symbol),
                state=self._state,
                guards=self._guards,
                checkpoint=self._served.get(cycle.variant.tier),
                recent=self._recents.of(cycle.variant.name, symbol),
            )
            signal, intent = decide(cycle.variant, seen, self._exposed.at(now))
            await self._journal(signal)
            if intent is not None:
                self._exposed.sent(intent)
                self._recents.sent(intent)
                await self._enter(intent)

    def _mark(self, symbol: str, now: int) -> MarkChanged | None:
        """The newest word on it; None where the market's stream has been silent for a bar, however its bars came."""
        told = self._marks.get(symbol)
        return told if told is not None and now - told.at <= self._frame.interval_ms else None

    async def _tell(self, name: str, **detail: object) -> None:
        await self._journal(BotEvent(at=self._clock.now(), name=name, severity=Severity.WARNING, detail=detail))
