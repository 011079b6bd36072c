"""The WebSocket API: the same calls as over REST on one socket, asked by method and answered by id."""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

import anyio
import msgspec
from aiohttp import WSMsgType, web

from bot.clock import SECOND_MS
from bot.exchange.fault_kinds import FaultKind
from bot.exchange.faults import Fault, Subject
from bot.exchange.matching.records import Rejection
from bot.exchange.simulator.drift import bend
from bot.exchange.simulator.limits import Credentials, Limits, Refusal, Security
from bot.exchange.simulator.rest import Call, Gate, Route, Routes
from bot.exchange.simulator.sockets import PING_SECONDS, encoder, reset
from bot.exchange.simulator.world import World

PATH = "/ws-fapi/v1"
HANDSHAKE_WEIGHT = 5
SESSION_WEIGHT = 2
CALLS = {
    "order.place": ("POST", "/fapi/v1/order"),
    "order.modify": ("PUT", "/fapi/v1/order"),
    "order.cancel": ("DELETE", "/fapi/v1/order"),
    "order.status": ("GET", "/fapi/v1/order"),
    "algoOrder.place": ("POST", "/fapi/v1/algoOrder"),
    "algoOrder.cancel": ("DELETE", "/fapi/v1/algoOrder"),
    "account.status": ("GET", "/fapi/v2/account"),
    "account.balance": ("GET", "/fapi/v2/balance"),
    "account.position": ("GET", "/fapi/v2/positionRisk"),
    "v2/account.status": ("GET", "/fapi/v3/account"),
    "v2/account.balance": ("GET", "/fapi/v3/balance"),
    "v2/account.position": ("GET", "/fapi/v3/positionRisk"),
    "ticker.price": ("GET", "/fapi/v1/ticker/price"),
    "ticker.book": ("GET", "/fapi/v1/ticker/bookTicker"),
    "depth": ("GET", "/fapi/v1/depth"),
    "userDataStream.start": ("POST", "/fapi/v1/listenKey"),
    "userDataStream.ping": ("PUT", "/fapi/v1/listenKey"),
    "userDataStream.stop": ("DELETE", "/fapi/v1/listenKey"),
}


class Request(msgspec.Struct):
    """What a client writes. Numbers keep the text in which they were sent, as they were signed."""

    id: str | int | None = None
    method: str = ""
    params: dict[str, Any] = {}


_decoder = msgspec.json.Decoder(Request, float_hook=str)


class Session:
    """One connection; logged on, it need not sign any more."""

    def __init__(self, connected_at: int, *, with_limits: bool) -> None:
        self.connected_at = connected_at
        self.authorized_at: int | None = None
        self.api_key: str | None = None
        self.with_limits = with_limits

    def shape(self, now: int) -> dict[str, Any]:
        return {
            "apiKey": self.api_key,
            "authorizedSince": self.authorized_at,
            "connectedSince": self.connected_at,
            "returnRateLimits": self.with_limits,
            "serverTime": now,
        }


class WebSocketApi:
    """Binance's WebSocket API over one world. Weights and order counts are those of REST."""

    def __init__(
        self,
        world: World,
        gate: Gate,
        credentials: Credentials,
        limits: Limits,
        routes: Routes,
        catch_up: Callable[[], None],
    ) -> None:
        self._world = world
        self._gate = gate
        self._credentials = credentials
        self._limits = limits
        self._routes = routes
        self._catch_up = catch_up

    def add_to(self, app: web.Application) -> None:
        app.router.add_get(PATH, self.serve)

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        response = web.WebSocketResponse(heartbeat=PING_SECONDS, compress=False)
        await response.prepare(request)
        self._limits.weight.add(self._world.now, HANDSHAKE_WEIGHT)
        session = Session(self._world.now, with_limits=request.query.get("returnRateLimits", "true") != "false")
        async for message in response:
            if message.type is WSMsgType.TEXT:
                reply, fault = self._struck(session, message.data)
                self._world.settle()
                if fault is None or await _spoiled(request, fault):
                    await response.send_frame(encoder.encode(reply), WSMsgType.TEXT)
                await self._world.hub.flush()
        return response

    def _struck(self, session: Session, text: str) -> tuple[dict[str, Any], Fault | None]:
        """The reply to one request, and the fault that struck it."""
        self._catch_up()
        try:
            asked = _decoder.decode(text)
        except (msgspec.DecodeError, RecursionError):
            return {"id": None, "status": 400, "error": {"code": -1135, "msg": "Invalid JSON Request"}}, None
        faults, now, subject = self._world.faults, self._world.now, _subject(asked)
        fault = faults.plan.on_ws_call(subject, now)
        faults.tell()
        if fault is not None and fault.kind is FaultKind.WS_ID_NULL:
            reply = {"id": None} | _failed(401, -1002, "You are not authorized to execute this request.")
        elif fault is not None and fault.shape == "before":
            reply = {}
        else:
            reply = bend(self.answer(session, asked), faults.plan.on_answer(subject, now))
            faults.plan.happened(subject, now)
        faults.tell()
        return reply, fault

    def answer(self, session: Session, asked: Request) -> dict[str, Any]:
        try:
            outcome: dict[str, Any] = {"status": 200, "result": self._result(session, asked)}
        except Refusal as refusal:
            outcome = _failed(refusal.status, refusal.code, refusal.message)
        except Rejection as rejection:
            outcome = _failed(400, rejection.code, rejection.message)
        answer = {"id": asked.id} | outcome
        if session.with_limits and asked.params.get("returnRateLimits") not in (False, "false"):
            answer["rateLimits"] = self._counts()
        return answer

    def _result(self, session: Session, asked: Request) -> Any:
        params = {name: _text(value) for name, value in asked.params.items()}
        if asked.method.startswith("session."):
            return self._session(session, asked.method, params)
        called = CALLS.get(asked.method)
        if called is None:
            raise Refusal(400, -5000, f"Method {asked.method} is invalid")
        route, call = self._routes[called], Call(*called, params)
        try:
            self._admit(session, route, params)
            shape = route.handle(self._world, call)
        except Refusal as refusal:
            self._gate.book(route, call, refusal.status, {"code": refusal.code, "msg": refusal.message})
            raise
        except Rejection as rejection:
            self._gate.book(route, call, 400, {"code": rejection.code, "msg": rejection.message})
            raise
        self._gate.book(route, call, 200, shape)
        return shape

    def _session(self, session: Session, method: str, params: Mapping[str, str]) -> Any:
        self._limits.charge(self._world.now, SESSION_WEIGHT)
        if method == "session.logon":
            self._authorize(params)
            session.api_key, session.authorized_at = params["apiKey"], self._world.now
        elif method == "session.logout":
            session.api_key = session.authorized_at = None
        elif method != "session.status":
            raise Refusal(400, -5000, f"Method {method} is invalid")
        return session.shape(self._world.now)

    def _admit(self, session: Session, route: Route, params: Mapping[str, str]) -> None:
        now = self._world.now
        self._limits.charge(now, route.weight if isinstance(route.weight, int) else route.weight(params))
        if session.api_key is None and route.security is Security.KEY:
            self._credentials.check_key(params.get("apiKey", ""))
        elif session.api_key is None and route.security is Security.SIGNED:
            self._authorize(params)
        elif route.security is Security.SIGNED:
            self._credentials.check_time(params, self._world.venue_time)
        if any(route.order_cost):
            self._limits.charge_order(now, *route.order_cost)

    def _authorize(self, params: Mapping[str, str]) -> None:
        """Key, time, and the signature over all other parameters in the order of their names."""
        self._credentials.check_key(params.get("apiKey", ""))
        self._credentials.check_time(params, self._world.venue_time)
        signed = sorted((name, value) for name, value in params.items() if name != "signature")
        self._credentials.check_signature(urlencode([*signed, ("signature", params.get("signature", ""))]), "")

    def _counts(self) -> list[dict[str, Any]]:
        now, limits = self._world.now, self._limits
        rows = (
            ("REQUEST_WEIGHT", "MINUTE", 1, limits.weight),
            ("ORDERS", "SECOND", 10, limits.orders_ten_seconds),
            ("ORDERS", "MINUTE", 1, limits.orders_minute),
        )
        return [
            {
                "rateLimitType": kind,
                "interval": interval,
                "intervalNum": number,
                "limit": window.limit,
                "count": window.used(now),
            }
            for kind, interval, number, window in rows
        ]


async def _spoiled(request: web.Request, fault: Fault) -> bool:
    """Let the fault have its way; whether there is a reply at all."""
    if fault.kind is FaultKind.WS_LATE_REPLY:
        await anyio.sleep(fault.milliseconds() / SECOND_MS)
    elif fault.kind is FaultKind.WS_DROPPED:
        reset(request)
    return fault.kind in (FaultKind.WS_LATE_REPLY, FaultKind.WS_ID_NULL)


def _subject(asked: Request) -> Subject:
    params = asked.params
    ids = ("newClientOrderId", "clientAlgoId", "origClientOrderId")
    return Subject(
        name=asked.method,
        symbol=str(params.get("symbol", "")),
        client_id=next((str(params[name]) for name in ids if name in params), ""),
        order_type=str(params.get("type", "")),
        reduce_only=_text(params.get("reduceOnly", "")) == "true",
    )


def _failed(status: int, code: int, message: str) -> dict[str, Any]:
    return {"status": status, "error": {"code": code, "msg": message}}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
