"""The market's and the account's WebSocket streams as MarketPort and UserPort.

Each socket is watched for silence in real time and is closed by whoever opened it. In lockstep with the simulator two
more things hold. A frame is counted only after its receiver has asked for what comes next, so that all of it is in the
receiver's own streams by then. And a stream that is not up counts as work, so that the market waits for a reconnect.
"""

import itertools
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Hashable, Sequence
from contextlib import asynccontextmanager

import aiohttp
import anyio
import anyio.lowlevel
import msgspec
from anyio.abc import TaskStatus

from bot.clock import MINUTE_MS, Clock
from bot.config import ExchangeTable
from bot.errors import OperatorError, VenueDisagrees, VenueError, VenueRejected, VenueUnavailable
from bot.exchange.back_off import BackOff
from bot.exchange.budget import RequestBudget
from bot.exchange.contract import Surprise, hear, unheard
from bot.exchange.frames import (
    Acknowledged,
    ListenKeyExpired,
    MarginCall,
    Skipped,
    Unknown,
    UserFrame,
    read_market_frame,
    read_user_frame,
)
from bot.exchange.port import MarketEvent
from bot.exchange.rest import Endpoints, Rest
from bot.exchange.wire import INTERVAL_NAME
from bot.messages import Bar, BotEvent, MarkChanged, PriceChanged, Severity
from bot.streams import Activity
from bot.venue import Instrument, UserEvent, UserStreamLost, UserStreamUp

MAX_STREAMS = 1_024  # of one connection
STREAMS_PER_REQUEST = 200
SECONDS_PER_REQUEST = 0.15  # the venue cuts off who sends more than 10 messages a second
KEEP_KEY_MS = 30 * MINUTE_MS
KEY_LIFE_MS = 60 * MINUTE_MS
_STREAM_OF = {PriceChanged: ("kline",), MarkChanged: ("markPrice",)}
USER_EVENTS = "ORDER_TRADE_UPDATE/ACCOUNT_UPDATE/ALGO_UPDATE/ACCOUNT_CONFIG_UPDATE/MARGIN_CALL"


class FrameCounter:
    """Text frames handled on the live stream sockets: the bot's half of the lockstep count."""

    def __init__(self) -> None:
        self._frames: Counter[Hashable] = Counter()
        self._changed = anyio.Event()
        self._socket_lost = False

    @property
    def total(self) -> int:
        return sum(self._frames.values())

    def handled(self, socket: Hashable) -> None:
        self._frames[socket] += 1
        self._tell()

    def forget(self, socket: Hashable) -> None:
        """The socket is closed: both sides take back what it had contributed."""
        self._frames.pop(socket, None)
        self._socket_lost = True
        self._tell()

    async def wait_for(self, count: int) -> None:
        """Return once `total >= count`, or when a socket was lost: the count is then of a time before."""
        while self.total < count and not self._socket_lost:
            await self._changed.wait()
        self._socket_lost = False

    def _tell(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


class Link:
    """Whether one stream is up; while it is not, it counts as work (from its construction on)."""

    def __init__(self, activity: Activity) -> None:
        self._activity = activity
        self._up = False
        activity.begin()

    def up(self) -> None:
        if not self._up:
            self._up = True
            self._activity.end()

    def down(self) -> None:
        if self._up:
            self._up = False
            self._activity.begin()


class Connector:
    """Opens sockets and counts their frames; shared by the two streams of one venue."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, silence_seconds: float | None, frames: FrameCounter
    ) -> None:
        self._session = session
        self._url = url
        self._silence_seconds = silence_seconds
        self.frames = frames

    @asynccontextmanager
    async def connect(self, path: str, link: Link) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """A connected socket. `path` may hold the listen key, so no error here repeats what aiohttp says of it."""
        heartbeat = None if self._silence_seconds is None else self._silence_seconds / 3
        try:
            socket = await self._session.ws_connect(
                self._url + path, heartbeat=heartbeat, timeout=aiohttp.ClientWSTimeout(ws_close=2.0)
            )
        except (aiohttp.ClientError, TimeoutError) as error:
            raise VenueUnavailable(f"stream socket: {type(error).__name__}") from None
        try:
            yield socket
        finally:
            link.down()
            self.frames.forget(socket)
            with anyio.CancelScope(shield=True):
                await socket.close()

    async def receive(self, socket: aiohttp.ClientWebSocketResponse, *, watched: bool) -> str:
        """The next text frame; VenueUnavailable where the socket is closed or, if `watched`, silent for too long."""
        await anyio.lowlevel.checkpoint()  # aiohttp does not yield while frames wait, and others have work too
        if watched and self._silence_seconds is not None:
            try:
                with anyio.fail_after(self._silence_seconds):
                    message = await socket.receive()
            except TimeoutError:
                raise VenueUnavailable(f"no frame for {self._silence_seconds} seconds") from None
        else:
            message = await socket.receive()
        if message.type is aiohttp.WSMsgType.TEXT:
            text: str = message.data
            return text
        if message.type is aiohttp.WSMsgType.BINARY:
            raise VenueDisagrees("a binary frame on a stream of text")
        raise VenueUnavailable(f"the stream socket was closed ({socket.close_code})")


class BinanceMarket:
    """MarketPort."""

    def __init__(
        self,
        rest: Rest,
        connector: Connector,
        clock: Clock,
        activity: Activity,
        report: Callable[[BotEvent], None],
        surprised: Surprise = unheard,
    ) -> None:
        self.skipped: Counter[str] = Counter()  # event types that were not read
        self.heard = Counter({"kline": 0, "markPrice": 0})  # data of each stream, of all symbols
        self._rest = rest
        self._connector = connector
        self._clock = clock
        self._link = Link(activity)
        self._report = report
        self._surprised = surprised
        self._reported: set[str] = set()

    async def server_time(self) -> int:
        return await self._rest.server_time()

    async def instruments(self) -> dict[str, Instrument]:
        return await self._rest.instruments()

    async def bars(self, symbol: str, interval_ms: int, start: int, end: int) -> Sequence[Bar]:
        return await self._rest.bars(symbol, interval_ms, start, end)

    async def market_events(self, symbols: Sequence[str], interval_ms: int) -> AsyncGenerator[MarketEvent, None]:
        interval = INTERVAL_NAME[interval_ms]
        names = [name for s in symbols for name in (f"{s.lower()}@kline_{interval}", f"{s.lower()}@markPrice@1s")]
        if len(names) > MAX_STREAMS:
            raise OperatorError(f"variants: {len(symbols)} symbols, at most {MAX_STREAMS // 2} fit on one connection")
        prices: dict[str, PriceChanged] = {}
        async with self._connector.connect("/market/stream", self._link) as socket:
            unanswered = await _subscribe(socket, names)
            while True:
                frame = await self._connector.receive(socket, watched=True)
                for event in self._read(frame):
                    self.heard.update(_STREAM_OF.get(type(event), ()))
                    if isinstance(event, Acknowledged):
                        unanswered.discard(event.request_id)
                    elif isinstance(event, Skipped):
                        self.skipped[event.event] += 1
                    elif not isinstance(event, PriceChanged):
                        yield event
                    elif event.symbol not in prices or prices[event.symbol].price != event.price:
                        prices[event.symbol] = event
                        yield event
                self._connector.frames.handled(socket)
                if not unanswered:
                    self._link.up()

    def _read(self, frame: str) -> tuple[MarketEvent | Acknowledged | Skipped, ...]:
        """One unreadable frame is told once and costs one message; the feed fetches a bar that it held over REST."""
        try:
            return read_market_frame(frame)
        except VenueDisagrees as unreadable:
            reason = str(unreadable)
            if reason not in self._reported and len(self._reported) < MAX_STREAMS:
                self._reported.add(reason)
                self._report(_unreadable(self._clock.now(), "market", reason))
            hear(self._surprised, "market stream", unreadable)
            return ()


class BinanceUser:
    """UserPort. A lost connection, an expired key and an unreadable frame all mean: connect anew and say so."""

    def __init__(
        self,
        rest: Rest,
        connector: Connector,
        clock: Clock,
        activity: Activity,
        report: Callable[[BotEvent], None],
        surprised: Surprise = unheard,
    ) -> None:
        self.skipped: Counter[str] = Counter()
        self._rest = rest
        self._connector = connector
        self._clock = clock
        self._activity = activity
        self._link = Link(activity)
        self._report = report
        self._surprised = surprised
        self._key_kept_at = 0

    async def user_events(self) -> AsyncGenerator[UserEvent, None]:
        pause = BackOff(self._clock)
        while True:
            try:
                key = await self._rest.new_listen_key()
                self._key_kept_at = self._keep_at = self._clock.now()
                path = f"/private/ws?listenKey={key}&events={USER_EVENTS}"
                async with self._connector.connect(path, self._link) as socket:
                    yield UserStreamUp(self._clock.now())
                    self._link.up()
                    async for event in self._follow(socket):
                        yield event
            except (VenueUnavailable, VenueRejected, VenueDisagrees) as lost:
                reason = str(lost)
                retry_at = lost.retry_at if isinstance(lost, VenueUnavailable) else None
            yield UserStreamLost(self._clock.now(), reason)
            if retry_at is None:
                await pause.wait()
            else:
                await self._wait_until(retry_at)

    async def _wait_until(self, retry_at: int) -> None:
        """The venue has said when it will be asked again. Waiting for that is no work: in lockstep time must go on."""
        self._activity.end()
        try:
            await self._clock.sleep_until(retry_at)
        finally:
            self._activity.begin()

    async def _follow(self, socket: aiohttp.ClientWebSocketResponse) -> AsyncGenerator[UserEvent, None]:
        for handled in itertools.count():
            frame = await self._next_frame(socket, count_last=handled > 0)
            for event in self._read(frame):
                if isinstance(event, ListenKeyExpired):
                    raise VenueUnavailable("the listen key has expired")
                if isinstance(event, Skipped):
                    self.skipped[event.event] += 1
                elif isinstance(event, Unknown):
                    self._surprised("user stream", event.found)
                elif isinstance(event, MarginCall):
                    self._tell("margin_call", symbols=event.symbols)
                else:
                    yield event

    def _read(self, frame: str) -> tuple[UserFrame, ...]:
        try:
            return read_user_frame(frame)
        except VenueDisagrees as unreadable:
            self._report(_unreadable(self._clock.now(), "user", str(unreadable)))
            hear(self._surprised, "user stream", unreadable)
            raise

    def _tell(self, name: str, **detail: object) -> None:
        self._report(BotEvent(at=self._clock.now(), name=name, severity=Severity.ERROR, detail=detail))

    async def _next_frame(self, socket: aiohttp.ClientWebSocketResponse, *, count_last: bool) -> str:
        """The next frame; the listen key is kept alive while it is waited for.

        The last frame counts only once the clock knows when the key is due: lockstep asks for that next.
        """
        outcome: list[str | VenueError] = []
        async with anyio.create_task_group() as group:

            async def keep_key(task_status: TaskStatus[None]) -> None:
                try:
                    await self._keep_key(task_status)
                except VenueError as lost:
                    outcome.append(lost)
                    group.cancel_scope.cancel()

            await group.start(keep_key)
            if count_last:
                self._connector.frames.handled(socket)
            try:
                outcome.append(await self._connector.receive(socket, watched=False))
            except VenueError as lost:
                outcome.append(lost)
            group.cancel_scope.cancel()
        if isinstance(outcome[0], VenueError):
            raise outcome[0]
        return outcome[0]

    async def _keep_key(self, task_status: TaskStatus[None]) -> None:
        """Prolong the listen key every 30 minutes of domain time; a failed attempt is repeated while the key lives."""
        task_status.started()
        due = self._key_kept_at + KEEP_KEY_MS
        while True:
            await self._clock.sleep_until(due)
            self._activity.begin()
            try:
                with anyio.CancelScope(shield=True):
                    await self._rest.keep_listen_key()
                self._key_kept_at = self._clock.now()
                due = self._key_kept_at + KEEP_KEY_MS
            except VenueUnavailable:
                due = self._clock.now() + MINUTE_MS
                if due > self._key_kept_at + KEY_LIFE_MS:
                    raise
            finally:
                self._activity.end()


@asynccontextmanager
async def open_binance(
    endpoints: Endpoints,
    api_key: str,
    clock: Clock,
    table: ExchangeTable,
    budget: RequestBudget,
    report: Callable[[BotEvent], None],
    surprised: Surprise = unheard,
    *,
    lockstep: tuple[FrameCounter, Activity] | None = None,
) -> AsyncIterator[tuple[BinanceMarket, BinanceUser]]:
    """Both unsigned ports on one HTTP session. In lockstep nothing is silent by itself, so no silence is watched for.

    The market's stream and the user's count as work until they are up: in lockstep both have to be followed.
    """
    frames, activity = lockstep or (FrameCounter(), Activity())
    silence_seconds = table.silence_seconds if lockstep is None else None
    timeout = aiohttp.ClientTimeout(total=table.timeout_ms / 1_000)
    headers = {"X-MBX-APIKEY": api_key}
    async with aiohttp.ClientSession(timeout=timeout, headers=headers, trust_env=False) as session:
        rest = Rest(session, endpoints.rest, clock, budget, report, surprised)
        connector = Connector(session, endpoints.streams, silence_seconds, frames)
        yield (
            BinanceMarket(rest, connector, clock, activity, report, surprised),
            BinanceUser(rest, connector, clock, activity, report, surprised),
        )


async def _subscribe(socket: aiohttp.ClientWebSocketResponse, names: Sequence[str]) -> set[int]:
    """Ask for the streams, slowly enough; the ids of the requests that will be answered."""
    asked: set[int] = set()
    for first in range(0, len(names), STREAMS_PER_REQUEST):
        if asked:
            await anyio.sleep(SECONDS_PER_REQUEST)
        request_id = len(asked) + 1
        request = {"method": "SUBSCRIBE", "params": names[first : first + STREAMS_PER_REQUEST], "id": request_id}
        try:
            await socket.send_str(msgspec.json.encode(request).decode())
        except (aiohttp.ClientError, ConnectionError) as error:
            raise VenueUnavailable(f"stream socket: {type(error).__name__}") from None
        asked.add(request_id)
    return asked


def _unreadable(at: int, stream: str, reason: str) -> BotEvent:
    return BotEvent(
        at=at, name="unreadable_frame", severity=Severity.ERROR, detail={"stream": stream, "reason": reason}
    )
