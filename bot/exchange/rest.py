"""Unsigned REST calls over aiohttp: public market data, and the listen key, which needs the API key alone."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import aiohttp
import msgspec

from bot.clock import Clock
from bot.errors import VenueDisagrees, VenueUnavailable
from bot.exchange import wire
from bot.exchange.answers import READ, Answer, NoAnswer, counts_of, read_answer
from bot.exchange.budget import COSTS, Cost, RequestBudget, cost_of_klines, limits_of
from bot.exchange.contract import Surprise, hear, unheard
from bot.messages import Bar, BotEvent, Severity
from bot.venue import Instrument

T = TypeVar("T")

SKEW_MS = 5_000  # by which our clock may be wrong
PAGE_BARS = 499  # weight 2: of the steps 1/2/5/10 for 99/499/1000/1500 rows the cheapest per bar


class Endpoints(msgspec.Struct, frozen=True):
    rest: str
    streams: str


MAINNET = Endpoints("https://fapi.binance.com", "wss://fstream.binance.com")
DEMO = Endpoints("https://demo-fapi.binance.com", "wss://demo-fstream.binance.com")


class Rest:
    """Every call raises VenueRejected or VenueUnavailable, no other venue error."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        clock: Clock,
        budget: RequestBudget,
        report: Callable[[BotEvent], None],
        surprised: Surprise = unheard,
    ) -> None:
        self._session = session
        self._url = url
        self._clock = clock
        self._budget = budget
        self._report = report
        self._surprised = surprised

    async def server_time(self) -> int:
        return (await self._ask("GET", "/fapi/v1/time", wire.ServerTime)).server_time

    async def instruments(self) -> dict[str, Instrument]:
        raw = await self._ask("GET", "/fapi/v1/exchangeInfo", msgspec.Raw)
        self._budget.adopt(limits_of(bytes(raw)))
        try:
            sound, faults = wire.instruments(bytes(raw))
        except VenueDisagrees as unreadable:
            hear(self._surprised, "/fapi/v1/exchangeInfo", unreadable)
            raise VenueUnavailable(str(unreadable)) from unreadable
        if faults:
            self._report(
                BotEvent(
                    at=self._clock.now(), name="instruments_unreadable", severity=Severity.WARNING, detail={**faults}
                )
            )
        return sound

    async def bars(self, symbol: str, interval_ms: int, start: int, end: int) -> Sequence[Bar]:
        """Closed bars with start <= open_time < end, oldest first."""
        found: list[Bar] = []
        start = -(-start // interval_ms) * interval_ms
        end = min(end, self._clock.now() - interval_ms + 1)
        while start < end:
            limit = min(PAGE_BARS, -(-(end - start) // interval_ms))
            rows = await self._ask(
                "GET",
                "/fapi/v1/klines",
                list[wire.KlineRow],
                cost_of_klines(limit),
                symbol=symbol,
                interval=wire.INTERVAL_NAME[interval_ms],
                startTime=str(start),
                endTime=str(end - 1),
                limit=str(limit),
            )
            try:
                page = [row.bar(symbol, interval_ms) for row in await self._closed(rows)]
            except VenueDisagrees as unreadable:
                raise VenueUnavailable(str(unreadable)) from unreadable
            found += [bar for bar in page if start <= bar.open_time < end]
            if len(rows) < limit or not page:
                break
            start = page[-1].open_time + interval_ms
        return found

    async def _closed(self, rows: list[wire.KlineRow]) -> list[wire.KlineRow]:
        """The rows that are closed by the venue's own clock, which is asked where ours cannot tell."""
        now = self._clock.now()
        if rows and now - SKEW_MS <= rows[-1].close_time < now:
            now = min(now, await self.server_time())
        return [row for row in rows if row.close_time < now]

    async def new_listen_key(self) -> str:
        return (await self._ask("POST", "/fapi/v1/listenKey", wire.ListenKey)).listen_key

    async def keep_listen_key(self) -> None:
        await self._ask("PUT", "/fapi/v1/listenKey", msgspec.Raw)

    async def _ask(self, method: str, path: str, kind: type[T], cost: Cost | None = None, **parameters: str) -> T:
        self._budget.spend(self._clock.now(), cost or COSTS[path])
        answer = await self._exchange(method, path, parameters)
        now = self._clock.now()
        if isinstance(answer, Answer):
            self._budget.note(answer.counts, now)
        try:
            # the listen key's calls may be repeated freely, so that theirs are no writes either
            return read_answer(answer, kind, READ, now)
        except VenueDisagrees as unreadable:
            hear(self._surprised, path, unreadable)
            raise VenueUnavailable(str(unreadable)) from unreadable
        except VenueUnavailable as unavailable:
            if unavailable.retry_at is not None:
                self._budget.close(unavailable.retry_at)
            raise

    async def _exchange(self, method: str, path: str, parameters: dict[str, str]) -> Answer | NoAnswer:
        try:
            async with self._session.request(method, self._url + path, params=parameters) as response:
                body = await response.read()
        except aiohttp.ClientConnectorError as error:
            return NoAnswer(f"{path}: {type(error).__name__}", sent=False)
        except (aiohttp.ClientError, TimeoutError) as error:
            return NoAnswer(f"{path}: {type(error).__name__}", sent=True)
        return Answer(response.status, body, response.headers.get("Retry-After"), counts_of(response.headers))
