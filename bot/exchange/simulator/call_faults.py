"""What becomes of a REST call that a fault strikes: refused, executed and unanswered, or answered from the past."""

from collections.abc import Callable, Mapping
from typing import Any

import anyio
import msgspec
from aiohttp import web

from bot.clock import SECOND_MS
from bot.exchange.fault_kinds import FaultKind
from bot.exchange.faults import Fault, Subject
from bot.exchange.matching.records import Algo, Order, Rejection
from bot.exchange.simulator import account_payloads, drift
from bot.exchange.simulator.account_payloads import AccountFigures
from bot.exchange.simulator.limits import Limits, Refusal
from bot.exchange.simulator.sockets import encoder, reset
from bot.exchange.simulator.world import World

LOST = frozenset({FaultKind.LOST_AFTER, FaultKind.LOST_BEFORE})
LONGEST_SILENCE = 120.0  # seconds of real time; every client has given up by then
ORDER_PATHS = ("/fapi/v1/order", "/fapi/v1/openOrder")
ALGO_PATH = "/fapi/v1/algoOrder"
LIST_PATHS = {"/fapi/v1/openOrders": "time", "/fapi/v1/openAlgoOrders": "createTime"}
POSITION_PATHS = ("/fapi/v2/positionRisk", "/fapi/v3/positionRisk")
BATCH_PATH = "/fapi/v1/batchOrders"
UNKNOWN = {
    "503": (503, {"code": -1000, "msg": "Unknown error, please check your request or try again later."}),
    "408": (408, {"code": -1007, "msg": "Timeout waiting for response from backend server. Send status unknown; "
                                        "execution status unknown."}),
}  # fmt: skip
BAD_GATEWAY = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>502 Bad Gateway</body>\r\n</html>"
OVERLOADED = "Server is currently overloaded with other requests. Please try again in a few minutes."
Handler = Callable[[Mapping[str, str]], Any]  # parameters in, answer out


class Reply(msgspec.Struct, frozen=True):
    """What the venue answers, before anything happens to it on the way."""

    status: int
    shape: Any
    headers: dict[str, str]


class CallFaults:
    """The plan at the gate."""

    def __init__(self, world: World, limits: Limits) -> None:
        self._world = world
        self._limits = limits

    def subject(self, method: str, path: str, params: Mapping[str, str]) -> Subject:
        """The call as a fault may ask about it; of an order that is named also what the venue knows of it."""
        order = self._named(method, path, params)
        if order is None:
            ids = ("newClientOrderId", "clientAlgoId", "origClientOrderId")
            return Subject(
                name=f"{method} {path}",
                symbol=params.get("symbol", ""),
                client_id=next((params[name] for name in ids if name in params), ""),
                order_type=params.get("type", ""),
                reduce_only="true" in (params.get("reduceOnly", ""), params.get("closePosition", "")),
                changed_at=self._changed_at(method, path, params.get("symbol")),
            )
        return Subject(
            name=f"{method} {path}",
            symbol=order.symbol,
            client_id=order.client_id,
            order_type=order.type,
            reduce_only=order.reduce_only,
            changed_at=order.created_at,
        )

    def strike(self, subject: Subject) -> Fault | None:
        """Asks the plan, once for each call."""
        fault = self._world.faults.plan.on_call(subject, self._world.now)
        self._world.faults.tell()
        return fault

    def refuse(self, fault: Fault) -> None:
        """Raises Refusal where the fault is one. It comes before every check of the call."""
        match fault.kind:
            case FaultKind.UNAVAILABLE if fault.shape == "internal":
                raise Refusal(503, -1001, "Internal error; unable to process your request. Please try again.")
            case FaultKind.UNAVAILABLE:
                raise Refusal(503, 0, "Service Unavailable.")
            case FaultKind.THROTTLED:
                raise Refusal(503, -1008, OVERLOADED)
            case FaultKind.TOO_MANY:
                raise Refusal(429, -1003, "Too many requests; please use the websocket for live updates.")
            case FaultKind.BANNED:
                self._limits.ban(self._world.now + fault.milliseconds())

    def execute(self, fault: Fault, subject: Subject, params: Mapping[str, str], handle: Handler) -> Any:
        """The call's answer, with what only a part of it suffers."""
        if fault.kind is FaultKind.BATCH_PARTIAL:
            return _without_one(fault, params, handle)
        if fault.kind is not FaultKind.LAG:
            return handle(params)
        method, _, path = subject.name.partition(" ")
        since = self._world.now - fault.milliseconds()
        if path in LIST_PATHS:
            return _older(handle(params), LIST_PATHS[path], since)
        if path in POSITION_PATHS:
            return self._stale_positions(handle(params), params.get("symbol"), since)
        if method == "DELETE":
            raise Rejection(-2011, "Unknown order sent.")
        raise Rejection(-2013, "Order does not exist.")

    async def respond(self, request: web.Request, subject: Subject, fault: Fault | None, reply: Reply) -> web.Response:
        """The answer on its way back to the client."""
        if fault is not None and fault.kind in LOST:
            return await _lose(request, fault)
        shape, headers = reply.shape, reply.headers
        if fault is not None and fault.kind is FaultKind.TOO_MANY and fault.seconds is not None:
            headers = headers | {"Retry-After": str(round(fault.seconds))}
        if reply.status == 200 and not self._world.faults.plan.empty:
            shape = await self._drifted(subject, shape)
        body = encoder.encode(shape)
        return web.Response(body=body, status=reply.status, headers=headers, content_type="application/json")

    async def _drifted(self, subject: Subject, shape: Any) -> Any:
        faults = self._world.faults.plan.on_answer(subject, self._world.now)
        self._world.faults.tell()
        for fault in faults:
            if fault.kind is FaultKind.SLOW_INFO and isinstance(shape, dict):
                shape = drift.extend_listing(shape, round(fault.value or drift.FULL_LISTING))
                await anyio.sleep(fault.milliseconds() / SECOND_MS)
        return drift.bend(shape, faults)

    def _named(self, method: str, path: str, params: Mapping[str, str]) -> Order | Algo | None:
        """The order that a query or a cancel names."""
        if method == "POST" or path not in (*ORDER_PATHS, ALGO_PATH):
            return None
        engine = self._world.engine
        try:
            if path == ALGO_PATH:
                return engine.algo(_id(params, "algoId"), params.get("clientAlgoId"))
            return engine.order(params.get("symbol", ""), _id(params, "orderId"), params.get("origClientOrderId"))
        except Rejection:
            return None

    def _changed_at(self, method: str, path: str, symbol: str | None) -> int | None:
        engine = self._world.engine
        if method != "GET":
            return None
        if path in POSITION_PATHS:
            return self._world.faults.position_changed_at(symbol)
        if path not in LIST_PATHS:
            return None
        rows: list[Order | Algo] = [*(engine.open_orders() if path == "/fapi/v1/openOrders" else engine.open_algos())]
        return max((row.created_at for row in rows if symbol in (None, row.symbol)), default=None)

    def _stale_positions(self, rows: list[dict[str, Any]], symbol: str | None, since: int) -> list[dict[str, Any]]:
        stale = self._world.faults.positions_at(since)
        kept = [row for row in rows if row["symbol"] not in stale]
        figures = AccountFigures(self._world.engine)
        return kept + [
            account_payloads.position_row(position, figures, since)
            for position in stale.values()
            if position is not None and position.quantity and symbol in (None, position.symbol)
        ]


async def _lose(request: web.Request, fault: Fault) -> web.Response:
    if fault.shape in UNKNOWN:
        status, shape = UNKNOWN[fault.shape]
        return web.Response(body=encoder.encode(shape), status=status, content_type="application/json")
    if fault.shape == "502":
        return web.Response(text=BAD_GATEWAY, status=502, content_type="text/html")
    if fault.shape == "no_answer":
        await anyio.sleep(LONGEST_SILENCE if fault.seconds is None else fault.seconds)
    reset(request)
    return web.Response()


def _without_one(fault: Fault, params: Mapping[str, str], handle: Handler) -> Any:
    """One order of the batch is refused, whatever it asks for."""
    try:
        batch = msgspec.json.decode(params.get("batchOrders", ""), type=list[dict[str, Any]])
    except (msgspec.DecodeError, RecursionError):
        return handle(params)
    place = min(round(fault.value or 1), len(batch)) - 1
    rest = batch[:place] + batch[place + 1 :]
    refused = {"code": -2019, "msg": "Margin is insufficient."}
    rows = list(handle({**params, "batchOrders": encoder.encode(rest).decode()})) if rest else []
    return [*rows[:place], refused, *rows[place:]]


def _older(answer: Any, key: str, since: int) -> Any:
    """The rows of a list, or of the list in its envelope, that a lagging read sees."""
    if isinstance(answer, dict):
        return {name: _older(rows, key, since) for name, rows in answer.items()}
    return [row for row in answer if row[key] <= since]


def _id(params: Mapping[str, str], name: str) -> int | None:
    text = params.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None
