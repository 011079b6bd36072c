"""The WebSocket routes: who listens to which stream, what was sent to whom, and the listen key of the user stream."""

import random
import socket as sockets
import string
import struct
import time
from collections import defaultdict, deque
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

import anyio
import msgspec
from aiohttp import ClientConnectionResetError, WSMsgType, web

from bot.clock import HOUR_MS

ROUTES = ("market", "public", "private")
PING_SECONDS = 180.0
GOING_AWAY = 1001
SLOW_READER_SECONDS = 10.0
MAX_STREAMS = 1024
MAX_MESSAGES_PER_SECOND = 10
encoder = msgspec.json.Encoder()


class Command(msgspec.Struct):
    """What a client may write on a stream socket."""

    method: str
    id: int | str | None = None
    params: list[str] = []


class StreamSocket:
    """One client connection. `frames` counts every text frame that was handed to it, `written` those that went out."""

    def __init__(
        self,
        request: web.Request,
        response: web.WebSocketResponse,
        route: str,
        combined: bool,
        events: frozenset[str],
    ) -> None:
        self.route = route
        self.combined = combined
        self.events = events  # of the user stream; empty: all
        self.names: dict[str, None] = {}
        self.opened_at = 0  # virtual time
        self.frames = 0
        self.written = 0
        self.silent = False  # nothing comes through any more, and nobody is told
        self.gone = False  # the connection is ended: its frames count no longer
        self.answers_pings = True
        self._closing: int | None = None  # the close code that is to be sent
        self._request = request
        self._response = response
        self._queue: deque[bytes] = deque()
        self._writing = False
        self._heard: deque[float] = deque(maxlen=MAX_MESSAGES_PER_SECOND)

    def put(self, frame: bytes) -> None:
        if not self.silent:
            self.frames += 1
            self._queue.append(frame)

    async def write(self) -> None:
        """Write what is queued, in order; a reader that takes none of it for 10 seconds is cut off."""
        if self._closing is not None:
            code, self._closing = self._closing, None
            await self._response.send_frame(struct.pack("!H", code), WSMsgType.CLOSE)
        if self._writing or not self._queue:
            return
        self._writing = True
        try:
            with anyio.fail_after(SLOW_READER_SECONDS):
                while self._queue:
                    await self._response.send_frame(self._queue.popleft(), WSMsgType.TEXT)
                    self.written += 1
        except (ClientConnectionResetError, TimeoutError):
            self.cut()
        finally:
            self._writing = False

    def cut(self) -> None:
        """Drop the TCP connection without a close frame."""
        self._leave()
        if self._request.transport is not None:
            self._request.transport.abort()

    def silence(self) -> None:
        """From now on the connection stays open and carries nothing; what waits is lost, and counts no longer."""
        self.silent = True
        self._queue.clear()
        self.frames = self.written + self._writing

    def close(self, code: int) -> None:
        """Send a close frame with the next write, and nothing more."""
        self._leave()
        self._closing = code

    def reset(self) -> None:
        self._leave()
        reset(self._request)

    def _leave(self) -> None:
        self.silence()
        self.gone = True

    async def pong(self, payload: bytes) -> None:
        if self.answers_pings and not self.silent:
            await self._response.pong(payload)

    def too_fast(self) -> bool:
        """Book one client message; True when it is the eleventh within a second of real time."""
        now = time.monotonic()
        full = len(self._heard) == MAX_MESSAGES_PER_SECOND and now - self._heard[0] < 1.0
        self._heard.append(now)
        return full


class Hub:
    """All stream sockets of the exchange."""

    def __init__(self) -> None:
        self.sockets: list[StreamSocket] = []
        self.muted: set[str] = set()
        self.hushed: list[str] = []  # patterns of market streams that are silent
        self.ping_seconds = PING_SECONDS  # of real time; who does not answer within half of it is cut off
        self.longest_ms = 0  # of a connection, in virtual time; 0: for ever
        self._now = 0
        self.private_events_needed = False  # a listenKey in the address counts only where it names events
        self.in_turns = False  # a lockstep says by `next_turn` what is written when
        self._listeners: defaultdict[str, list[StreamSocket]] = defaultdict(list)

    @property
    def frames(self) -> int:
        return sum(socket.frames for socket in self.sockets if not socket.gone)

    @property
    def written(self) -> int:
        return sum(socket.written for socket in self.sockets if not socket.gone)

    def heard(self, stream: str) -> bool:
        """Whether anybody gets what is published on the stream."""
        return bool(self._listeners.get(stream)) and not self._is_silent(stream)

    def publish(self, stream: str, data: bytes, event: str = "", name: str = "") -> None:
        """Queue one event for everyone who listens on the right route; `name` is what the envelope calls the stream."""
        if self._is_silent(stream):
            return
        enveloped = b""
        for socket in self._listeners.get(stream, ()):
            if event and socket.events and event not in socket.events:
                continue
            if socket.combined:
                enveloped = enveloped or b'{"stream":"%b","data":%b}' % ((name or stream).encode(), data)
                socket.put(enveloped)
            else:
                socket.put(data)

    def pass_time(self, now: int) -> None:
        """Close the connections that have been open for as long as the exchange allows."""
        self._now = now
        if self.longest_ms:
            for socket in self.sockets:
                if now - socket.opened_at >= self.longest_ms and not socket.silent:
                    socket.close(GOING_AWAY)

    async def flush(self) -> None:
        """Write all that waits, unless it is written in turns."""
        if not self.in_turns:
            for socket in tuple(self.sockets):
                await socket.write()

    async def next_turn(self) -> bool:
        """Write what waits for the account or, where nothing does, for anybody; True where something still waits."""
        account = [socket for socket in self.sockets if socket.route == "private" and socket.frames > socket.written]
        for socket in account or tuple(self.sockets):
            await socket.write()
        return self.frames > self.written

    def on_route(self, pattern: str) -> list[StreamSocket]:
        """Connections whose route matches."""
        return [socket for socket in self.sockets if fnmatchcase(socket.route, pattern)]

    def disconnect(self, route: str | None = None) -> int:
        """Drop the connections of one route, or all of them."""
        doomed = [socket for socket in self.sockets if route in (None, socket.route)]
        for socket in doomed:
            socket.cut()
        return len(doomed)

    async def serve(
        self, request: web.Request, route: str, *, combined: bool, names: Iterable[str], events: frozenset[str]
    ) -> web.WebSocketResponse:
        response = web.WebSocketResponse(heartbeat=self.ping_seconds, compress=False, autoping=False)
        await response.prepare(request)
        socket = StreamSocket(request, response, route, combined, events)
        socket.opened_at = self._now
        self.sockets.append(socket)
        self._subscribe(socket, names)
        try:
            async for message in response:
                if message.type is WSMsgType.PING:
                    await socket.pong(message.data)
                if message.type is not WSMsgType.TEXT or socket.silent:
                    continue
                if socket.too_fast():
                    await response.close(code=1008, message=b"Too many requests")
                    break
                socket.put(encoder.encode(self._answer(socket, message.data)))
                await socket.write()
        finally:
            self.sockets.remove(socket)
            self._unsubscribe(socket, tuple(socket.names))
        return response

    def _is_silent(self, stream: str) -> bool:
        if stream in self.muted:
            return True
        if not self.hushed or route_of(stream) == "private":
            return False
        return any(fnmatchcase(stream, pattern) for pattern in self.hushed)

    def _answer(self, socket: StreamSocket, text: str) -> dict[str, Any]:
        try:
            command = msgspec.json.decode(text, type=Command)
        except msgspec.ValidationError as error:
            return {"error": {"code": 2, "msg": f"Invalid request: {error}"}, "id": None}
        except (msgspec.DecodeError, RecursionError) as error:
            return {"error": {"code": 3, "msg": f"Invalid JSON: {error}"}, "id": None}
        result: list[str] | None = None
        if command.method == "SUBSCRIBE":
            if len(socket.names.keys() | set(command.params)) > MAX_STREAMS:
                return {"error": {"code": 2, "msg": "Invalid request: too many streams"}, "id": command.id}
            self._subscribe(socket, command.params)
        elif command.method == "UNSUBSCRIBE":
            self._unsubscribe(socket, command.params)
        elif command.method == "LIST_SUBSCRIPTIONS":
            result = list(socket.names)
        else:
            return {"error": {"code": 2, "msg": "Invalid request: unknown method"}, "id": command.id}
        return {"result": result, "id": command.id}

    def _subscribe(self, socket: StreamSocket, names: Iterable[str]) -> None:
        for name in names:
            if name not in socket.names:
                socket.names[name] = None
                if route_of(name) == socket.route:
                    self._listeners[name].append(socket)

    def _unsubscribe(self, socket: StreamSocket, names: Iterable[str]) -> None:
        for name in names:
            if name in socket.names:
                del socket.names[name]
                if socket in self._listeners[name]:
                    self._listeners[name].remove(socket)


def reset(request: web.Request) -> None:
    """End the TCP connection with RST instead of FIN."""
    transport = request.transport
    if transport is None:
        return
    raw = transport.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def route_of(name: str) -> str:
    """The route on which a stream is sent; anywhere else it is accepted and stays silent."""
    if "@" not in name and not name.startswith("!"):
        return "private"
    return "public" if "bookTicker" in name or "depth" in name.lower() else "market"


class ListenKeys:
    """The account's listen key: one at a time, valid for 60 virtual minutes after the last POST or PUT."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.current: str | None = None
        self.expires_at = 0

    def open(self, now: int) -> str:
        if self.current is None:
            self.current = "".join(self._random.choices(string.ascii_letters + string.digits, k=64))
        self.expires_at = now + HOUR_MS
        return self.current

    def extend(self, now: int) -> str | None:
        """The key, valid for another hour; None where there is none."""
        if self.current is not None:
            self.expires_at = now + HOUR_MS
        return self.current

    def close(self) -> None:
        self.current = None

    def lapsed(self, now: int) -> str | None:
        """The key that ended by now, once."""
        if self.current is None or now < self.expires_at:
            return None
        lapsed, self.current = self.current, None
        return lapsed


def add_stream_routes(app: web.Application, hub: Hub) -> None:
    """Every form of URL: /ROUTE/stream and /ROUTE/ws, streams in the path, the query or by SUBSCRIBE.

    Addresses without a route serve what belongs to /public and are silent for the rest.
    """

    async def listen(request: web.Request) -> web.WebSocketResponse:
        route = request.match_info.get("route", "public")
        if route not in ROUTES:
            raise web.HTTPNotFound
        path = request.match_info.get("names", "")
        names = [name for name in (path + "/" + request.query.get("streams", "")).split("/") if name]
        events = frozenset(event for event in request.query.get("events", "").split("/") if event)
        if events or not hub.private_events_needed:
            names += [key for key in (request.query.get("listenKey"),) if key]
        combined = request.match_info["form"] == "stream"
        return await hub.serve(request, route, combined=combined, names=names, events=events)

    for prefix in ("", "/{route}"):
        app.router.add_get(prefix + "/{form:ws|stream}", listen)
        app.router.add_get(prefix + "/{form:ws|stream}/{names:.+}", listen)
