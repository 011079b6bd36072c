"""The gate that every REST request passes: address limits, key, clock, signature, order limits, then its handler."""

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from bot.exchange.fault_kinds import FaultKind
from bot.exchange.faults import Fault, Subject
from bot.exchange.matching.records import Rejection
from bot.exchange.simulator.call_faults import CallFaults, Reply
from bot.exchange.simulator.limits import WHOLE, Credentials, Limits, Refusal, Security, as_sent
from bot.exchange.simulator.world import World

MAX_AMOUNT_LENGTH = 40


class Call(msgspec.Struct, frozen=True):
    """One request, its parameters from the query (which wins) and the form body."""

    method: str
    path: str
    params: Mapping[str, str]

    def text(self, name: str) -> str:
        value = self.params.get(name)
        if not value:
            raise malformed(name)
        return value

    def optional(self, name: str) -> str | None:
        return self.params.get(name) or None

    def integer(self, name: str) -> int | None:
        value = self.optional(name)
        if value is None:
            return None
        if not WHOLE.fullmatch(value):
            raise malformed(name)
        return int(value)

    def amount(self, name: str) -> Decimal | None:
        value = self.optional(name)
        if value is None:
            return None
        try:
            amount = Decimal(value)
        except InvalidOperation:
            raise malformed(name) from None
        if not amount.is_finite() or len(value) > MAX_AMOUNT_LENGTH:
            raise malformed(name)
        return amount

    def flag(self, name: str) -> bool:
        value = self.params.get(name, "false").lower()
        if value not in ("true", "false"):
            raise malformed(name)
        return value == "true"

    def limit(self, default: int, most: int) -> int:
        limit = self.integer("limit")
        if limit is None:
            return default
        if not 1 <= limit <= most:
            raise Rejection(-1130, "Data sent for parameter 'limit' is not valid.")
        return limit

    def symbol(self, world: World) -> str:
        """The named symbol, which must exist."""
        return self.known(self.text("symbol"), world)

    def symbols(self, world: World) -> list[str]:
        """The named symbol, or all of them."""
        name = self.optional("symbol")
        return list(world.market.symbols) if name is None else [self.known(name, world)]

    def span(self, now: int, default_ms: int) -> tuple[int, int]:
        """(startTime, endTime); without both the last `default_ms`."""
        start, end = self.integer("startTime"), self.integer("endTime")
        if start is None:
            start = (now if end is None else end) - default_ms
        return start, now if end is None else end

    def known(self, symbol: str, world: World) -> str:
        if symbol not in world.market.instruments:
            raise Rejection(-1121, "Invalid symbol.")
        return symbol


class Route(msgspec.Struct, frozen=True):
    """How one endpoint is answered and what it costs."""

    handle: Callable[[World, Call], Any]
    security: Security = Security.NONE
    weight: int | Callable[[Mapping[str, str]], int] = 1
    ordering: bool = False  # answers carry the order counts
    placing: bool = False  # counts as a new order
    funding: bool = False  # has the pool of the funding endpoints
    order_cost: tuple[int, int] = (0, 0)  # on the order limits of ten seconds and of a minute


Routes = dict[tuple[str, str], Route]


class Sent(msgspec.Struct, frozen=True):
    """What a request shows for itself."""

    key: str
    query: str
    body: str


class Gate:
    """Binance's REST interface over one world."""

    def __init__(
        self, world: World, credentials: Credentials, limits: Limits, routes: Routes, catch_up: Callable[[], None]
    ) -> None:
        self._world = world
        self._credentials = credentials
        self._limits = limits
        self._routes = routes
        self._catch_up = catch_up
        self._faults = CallFaults(world, limits)

    async def answer(self, request: web.Request) -> web.Response:
        """Every request passes here, in this order: admit, execute, tell the streams, answer; a fault may strike it."""
        self._catch_up()
        route = self._routes.get((request.method, request.path))
        query = request.raw_path.partition("?")[2]
        body = (await request.read()).decode("utf-8", errors="surrogateescape")
        params = parameters(body) | parameters(query)
        call = Call(request.method, request.path, params)
        subject = self._faults.subject(call.method, call.path, params)
        fault = self._faults.strike(subject)
        sent = Sent(request.headers.get("X-MBX-APIKEY", ""), query, body)
        try:
            status, shape = 200, self._execute(route, call, sent, subject, fault)
        except Refusal as refusal:
            status, shape = refusal.status, {"code": refusal.code, "msg": refusal.message}
        except Rejection as rejection:
            status, shape = 400, {"code": rejection.code, "msg": rejection.message}
        if fault is None or fault.kind is not FaultKind.LOST_BEFORE:
            self.book(route, call, status, shape)
        self._world.faults.plan.happened(subject, self._world.now)
        self._world.settle()
        await self._world.hub.flush()
        headers = self._limits.headers(self._world.now, route is not None and route.ordering)
        return await self._faults.respond(request, subject, fault, Reply(status, shape, headers))

    def _execute(self, route: Route | None, call: Call, sent: Sent, subject: Subject, fault: Fault | None) -> Any:
        """The answer of one call; raises Refusal or Rejection."""
        if route is None:
            raise Refusal(404, -5000, f"Path {call.path}, Method {call.method} is invalid")
        if fault is None:
            self._admit(route, call, sent)
            return route.handle(self._world, call)
        self._faults.refuse(fault)
        if fault.kind is FaultKind.LOST_BEFORE:
            return {}
        self._admit(route, call, sent)

        def handle(params: Mapping[str, str]) -> Any:
            return route.handle(self._world, Call(call.method, call.path, params))

        return self._faults.execute(fault, subject, call.params, handle)

    def _admit(self, route: Route, call: Call, sent: Sent) -> None:
        now = self._world.now
        self._limits.charge(now, route.weight if isinstance(route.weight, int) else route.weight(call.params))
        if route.security is not Security.NONE:
            self._credentials.check_key(sent.key)
        if route.security is Security.SIGNED:
            self._credentials.check_time(call.params, self._world.venue_time)
            self._credentials.check_signature(sent.query, sent.body)
        if any(route.order_cost):
            self._limits.charge_order(now, *route.order_cost)
        if route.funding:
            self._limits.charge_funding(now)

    def book(self, route: Route | None, call: Call, status: int, shape: Any) -> None:
        """Count accepted orders; write down what was refused."""
        world = self._world
        if status == 200:
            if route is not None and route.placing:
                world.accepted += sum("code" not in row for row in shape) if isinstance(shape, list) else 1
            return
        if route is not None and route.placing:
            world.rejected += 1
        hidden = ("signature", "timestamp")
        params = {name: value for name, value in call.params.items() if name not in hidden}
        world.log.add(world.now, "refused", request=f"{call.method} {call.path}", params=params, status=status, **shape)


def parameters(sent: str) -> dict[str, str]:
    """The parameters of a query or a form; bytes that are no UTF-8 become replacement characters."""
    return dict(parse_qsl(as_sent(sent).decode("utf-8", errors="replace"), keep_blank_values=True))


def malformed(name: str) -> Rejection:
    return Rejection(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
