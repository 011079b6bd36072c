"""Feed actor: the venue's market data in; closed bars in order and without duplicates, prices and marks out.

A bar is complete by the first of two: the stream's word, or a fetch over REST some seconds after its close. Whatever
was missed (before the start, during a lost connection, one frame) is fetched before later bars go on.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

import anyio
import msgspec
from anyio.abc import TaskStatus

from bot.clock import SECOND_MS, Clock
from bot.errors import VenueDisagrees, VenueError, VenueRejected, VenueUnavailable
from bot.exchange.back_off import BackOff
from bot.exchange.port import MarketPort
from bot.messages import Bar, BarClosed, BotEvent, MarkChanged, PriceChanged, Severity
from bot.streams import Activity, Overflow, Stream

SPARE_BARS = 100  # fetched beyond the model's context, for indicators that need a run-up
FETCHES = 4  # at a time
LATE_WAITS_MS = (0, 10 * SECOND_MS, 30 * SECOND_MS, 60 * SECOND_MS)  # before each fetch of a bar that does not come
INBOX = 4_096


class Outputs(msgspec.Struct, frozen=True, kw_only=True):
    """Where the feed's messages go: the `send` of each stream that wants them."""

    bars: Sequence[Callable[[BarClosed], Awaitable[None]]] = ()
    prices: Sequence[Callable[[PriceChanged], Awaitable[None]]] = ()
    marks: Sequence[Callable[[MarkChanged], Awaitable[None]]] = ()


class _CatchUp(msgspec.Struct, frozen=True):
    """Fetch what has closed by now and was not seen."""

    done: anyio.Event


class Feed:
    """`grace_ms`: how long after its close a bar may come from the stream before it is fetched."""

    def __init__(
        self,
        market: MarketPort,
        clock: Clock,
        activity: Activity,
        symbols: Sequence[str],
        interval_ms: int,
        context: int,
        outputs: Outputs,
        report: Callable[[BotEvent], None],
        grace_ms: int = 10 * SECOND_MS,
    ) -> None:
        self._market = market
        self._clock = clock
        self._activity = activity
        self._symbols = tuple(symbols)
        self._interval_ms = interval_ms
        self._context = context
        self._outputs = outputs
        self._report = report
        self._grace_ms = grace_ms
        self._inbox: Stream[Bar | _CatchUp] = Stream("feed", INBOX, Overflow.BLOCK, activity)
        self._last: dict[str, int] = {}  # open_time of the newest published bar
        self._unseen: set[str] = set()  # symbols without any bar so far: a young coin has no gap before its first
        self._fetches = anyio.CapacityLimiter(FETCHES)

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Report started once every symbol's first bars are published."""
        self._activity.begin()
        newest = self._clock.now() // self._interval_ms * self._interval_ms
        oldest = newest - (self._context + SPARE_BARS) * self._interval_ms
        self._last = dict.fromkeys(self._symbols, oldest - self._interval_ms)
        self._unseen = set(self._symbols)
        pause = BackOff(self._clock)
        while not await self._catch_up():
            await pause.wait()
        async with anyio.create_task_group() as group:
            group.start_soon(self._follow_stream)
            group.start_soon(self._watch_closes)
            group.start_soon(self._publish_bars)
            self._activity.end()
            task_status.started()

    async def _follow_stream(self) -> None:
        pause = BackOff(self._clock)
        while True:
            events = self._market.market_events(self._symbols, self._interval_ms)
            try:
                async for event in events:
                    if isinstance(event, PriceChanged):
                        for send_price in self._outputs.prices:
                            await send_price(event)
                    elif isinstance(event, MarkChanged):
                        for send_mark in self._outputs.marks:
                            await send_mark(event)
                    else:
                        await self._inbox.send(event)
                reason = "the venue ended the stream"
            except (VenueUnavailable, VenueRejected, VenueDisagrees) as lost:
                reason = str(lost)
            finally:
                if isinstance(events, AsyncGenerator):  # its socket may not wait for the garbage collector
                    await events.aclose()
            self._tell("market_stream_lost", Severity.WARNING, reason=reason)
            await pause.wait()
            await self._inbox.send(_CatchUp(anyio.Event()))

    async def _watch_closes(self) -> None:
        while True:
            close_at = (self._clock.now() // self._interval_ms + 1) * self._interval_ms
            await self._clock.sleep_until(close_at + self._grace_ms)
            for wait_ms in LATE_WAITS_MS:
                if not self._missing(close_at):
                    break
                await self._clock.sleep_until(self._clock.now() + wait_ms)
                request = _CatchUp(anyio.Event())
                await self._inbox.send(request)
                await request.done.wait()
            for symbol in self._missing(close_at):
                self._tell("bar_late", Severity.WARNING, symbol=symbol, last_open_at=self._last[symbol])

    async def _publish_bars(self) -> None:
        async for message in self._inbox:
            if isinstance(message, _CatchUp):
                await self._catch_up()
                message.done.set()
            elif message.open_time > self._last[message.symbol]:
                await self._take(message)

    async def _take(self, bar: Bar) -> None:
        """Publish a bar of the stream, and before it what was missed; where that cannot be had yet, neither."""
        if bar.open_time > self._last[bar.symbol] + self._interval_ms and not await self._fetch(bar.symbol):
            return
        if bar.open_time > self._last[bar.symbol]:
            await self._publish(bar, backfilled=False)

    def _missing(self, close_at: int) -> list[str]:
        """Symbols whose bar that closed at `close_at` is not published."""
        return [symbol for symbol in self._symbols if self._last[symbol] + self._interval_ms < close_at]

    async def _catch_up(self) -> bool:
        """Fetch and publish what every symbol lacks; False where a fetch failed."""
        fetched: list[bool] = []
        closed_at = self._clock.now() // self._interval_ms * self._interval_ms

        async def fetch(symbol: str) -> None:
            fetched.append(await self._fetch(symbol))

        async with anyio.create_task_group() as group:
            for symbol in self._missing(closed_at):
                group.start_soon(fetch, symbol)
        return all(fetched)

    async def _fetch(self, symbol: str) -> bool:
        start = self._last[symbol] + self._interval_ms
        try:
            async with self._fetches:
                bars = await self._market.bars(symbol, self._interval_ms, start, self._clock.now())
        except VenueError as error:
            self._tell("bars_not_fetched", Severity.WARNING, symbol=symbol, reason=str(error))
            return False
        for bar in bars:
            if bar.open_time > self._last[symbol]:
                await self._publish(bar, backfilled=True)
        return True

    async def _publish(self, bar: Bar, *, backfilled: bool) -> None:
        missed = (bar.open_time - self._last[bar.symbol]) // self._interval_ms - 1
        if missed and bar.symbol not in self._unseen:
            self._tell("bars_missing", Severity.WARNING, symbol=bar.symbol, before=bar.open_time, count=missed)
        self._last[bar.symbol] = bar.open_time
        self._unseen.discard(bar.symbol)
        for send_bar in self._outputs.bars:
            await send_bar(BarClosed(bar, backfilled=backfilled))

    def _tell(self, name: str, severity: Severity, **detail: str | int) -> None:
        self._report(BotEvent(at=self._clock.now(), name=name, severity=severity, detail=detail))
