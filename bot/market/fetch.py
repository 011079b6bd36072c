"""History from the venue to disk: what is missing is asked for page by page, each page stored before the next."""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Protocol, TypeVar

import anyio.to_thread
import msgspec
import polars as pl
import structlog

from bot.clock import HOUR_MS, MINUTE_MS, SECOND_MS, Clock
from bot.errors import VenueUnavailable
from bot.exchange.back_off import BackOff
from bot.history.bars import BarFiles
from bot.history.faults import Fault
from bot.history.foreign import What
from bot.history.funding import FundingFiles
from bot.history.intake import Intake
from bot.history.layout import Kind, series_name
from bot.venue import Instrument

logger = structlog.get_logger(__name__)

TRIES = 8  # of one page, with growing pauses: about two minutes
WEIGHT_1M = 2_400  # the venue's limit for one address
FUNDING_5M = 500  # the same of the funding endpoints, which no header counts

Span = tuple[int, int]  # start <= time < end
AnswerT = TypeVar("AnswerT")


class HistoryPort(Protocol):
    """Public data of a venue, in pages; each call raises VenueRejected or VenueUnavailable."""

    async def server_time(self) -> int: ...

    async def instruments(self) -> dict[str, Instrument]: ...

    async def bars_page(self, symbol: str, interval_ms: int, kind: Kind, start: int, end: int) -> pl.DataFrame:
        """The first bars with start <= open_time < end; none where the venue has none in it."""
        ...

    async def rates_page(self, symbol: str, start: int, end: int) -> pl.DataFrame: ...

    def used_weight(self, now: int) -> int:
        """Of this minute, everybody's behind our address."""
        ...


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """One series from when to when; a bar by its open time."""

    symbol: str
    what: What
    interval_ms: int  # of funding: 8 hours, by which its progress is counted
    start: int
    end: int


class Fetched(msgspec.Struct, frozen=True, kw_only=True):
    symbol: str
    series: str
    stored: int  # rows that are new
    holes: int  # stretches that were missing before
    faults: tuple[Fault, ...]


class Pace:
    """When the next request may go: this process leaves the rest of the venue's limits to a bot beside it. Pure."""

    def __init__(self, share: float) -> None:
        self._weight = share * WEIGHT_1M
        self._funding = share * FUNDING_5M
        self._asked: deque[int] = deque()

    def opens_at(self, now: int, used_weight: int) -> int:
        """From when on a request may go; at or before `now`: at once."""
        return now if used_weight < self._weight else (now // MINUTE_MS + 1) * MINUTE_MS + SECOND_MS

    def funding_opens_at(self, now: int) -> int:
        """The same for the funding endpoint; a request that goes is counted by `ask`."""
        while self._asked and self._asked[0] <= now - 5 * MINUTE_MS:
            self._asked.popleft()
        return now if len(self._asked) < self._funding else self._asked[0] + 5 * MINUTE_MS + 1

    def ask(self, now: int) -> None:
        self._asked.append(now)


class Fetcher:
    """Fetches closed bars and paid rates alone. May be stopped at any time: what was stored is not asked for again."""

    def __init__(
        self,
        port: HistoryPort,
        clock: Clock,
        files: BarFiles,
        rates: FundingFiles,
        pace: Pace,
        show: Callable[[int, int], None],
    ) -> None:
        self._port = port
        self._clock = clock
        self._files = files
        self._rates = rates
        self._intake = Intake(files, rates)
        self._pace = pace
        self._show = show
        self._done = 0
        self._total = 0

    async def listed(self) -> frozenset[str]:
        """The symbols that the venue knows."""
        return frozenset(await self._tried(self._port.instruments))

    async def run(self, wanted: Sequence[Wanted]) -> list[Fetched]:
        """Raises VenueUnavailable where a page cannot be had at all."""
        now = await self._tried(self._port.server_time)
        holes = [(one, list(self._holes(one, now))) for one in wanted]
        self._total = sum((end - start) // one.interval_ms for one, spans in holes for start, end in spans)
        self._show(0, self._total)
        return [await self._fetch(one, spans) for one, spans in holes]

    def _holes(self, one: Wanted, now: int) -> Iterable[Span]:
        """What is missing on disk and over at the venue; of funding what lies before and after what is there."""
        interval = one.interval_ms
        if one.what == "funding":
            paid = self._rates.load(one.symbol)
            end = min(one.end, now)
            inside = [] if paid is None else [int(at) for at in paid.at if one.start <= at < end]
            spans = [(one.start, inside[0]), (inside[-1] + HOUR_MS, end)] if inside else [(one.start, end)]
        else:
            start = -(-one.start // interval) * interval
            end = min(one.end, now) // interval * interval
            bars = self._files.load(one.symbol, interval, one.what, start=start, end=end)
            edges = [start - interval, *bars.open_time.tolist(), end]
            spans = [(left + interval, right) for left, right in zip(edges, edges[1:], strict=False)]
        return (span for span in spans if span[1] - span[0] >= interval)

    async def _fetch(self, one: Wanted, spans: Sequence[Span]) -> Fetched:
        stored = 0
        faults: list[Fault] = []
        for start, end in spans:
            async for page in self._pages(one, start, end):
                taken = await anyio.to_thread.run_sync(self._intake.take, one.symbol, one.what, one.interval_ms, [page])
                stored += taken.stored
                faults += taken.faults
        series = "funding" if one.what == "funding" else series_name(one.interval_ms, one.what)
        return Fetched(symbol=one.symbol, series=series, stored=stored, holes=len(spans), faults=tuple(faults))

    async def _pages(self, one: Wanted, start: int, end: int) -> AsyncIterator[pl.DataFrame]:
        """The hole's pages, oldest first; fewer where the venue has nothing from some time on."""
        before, at = self._done, start
        while at < end:
            page = await self._page(one, at, end)
            times = page.to_series(0)
            page = page.filter((times >= at) & (times < end))
            if page.is_empty():
                break
            yield page
            at = int(page.to_series(0).to_numpy()[-1]) + (HOUR_MS if one.what == "funding" else one.interval_ms)
            self._tell(before + (at - start) // one.interval_ms)
        self._tell(before + (end - start) // one.interval_ms)

    async def _page(self, one: Wanted, start: int, end: int) -> pl.DataFrame:
        if one.what == "funding":
            await self._clock.sleep_until(self._pace.funding_opens_at(self._clock.now()))
            self._pace.ask(self._clock.now())
            return await self._tried(lambda: self._port.rates_page(one.symbol, start, end))
        now, kind = self._clock.now(), one.what
        await self._clock.sleep_until(self._pace.opens_at(now, self._port.used_weight(now)))
        return await self._tried(lambda: self._port.bars_page(one.symbol, one.interval_ms, kind, start, end))

    async def _tried(self, ask: Callable[[], Awaitable[AnswerT]]) -> AnswerT:
        """The answer, after as many tries as it takes. VenueUnavailable where `TRIES` were not enough."""
        pause = BackOff(self._clock)
        for left in reversed(range(TRIES)):
            try:
                return await ask()
            except VenueUnavailable as unavailable:
                if not left:
                    raise
                logger.warning("history_page_failed", reason=str(unavailable), tries_left=left)
                if unavailable.retry_at is not None:
                    await self._clock.sleep_until(unavailable.retry_at)
                await pause.wait()
        raise AssertionError  # the last try returns or raises

    def _tell(self, done: int) -> None:
        self._done = done
        self._show(done, self._total)
