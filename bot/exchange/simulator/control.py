"""The control plane /_sim: reports, ledger and truth log, and a hand on prices and connections."""

from decimal import Decimal, InvalidOperation
from typing import Any

import anyio
import msgspec
from aiohttp import web

from bot.config import decode
from bot.errors import OperatorError
from bot.exchange.faults import Fault
from bot.exchange.matching.account import money
from bot.exchange.matching.records import Rejection
from bot.exchange.simulator.happenings import Happenings
from bot.exchange.simulator.interventions import AnyIntervention, intervene
from bot.exchange.simulator.limits import WHOLE
from bot.exchange.simulator.lockstep import Conductor
from bot.exchange.simulator.sockets import ROUTES, encoder
from bot.exchange.simulator.world import World

LARGEST_TRANSFER = 1_000_000_000  # USDT


class PriceOrder(msgspec.Struct, forbid_unknown_fields=True):
    symbol: str
    price: str


class TransferOrder(msgspec.Struct, forbid_unknown_fields=True):
    amount: str  # USDT; below zero: a withdrawal


class DisconnectOrder(msgspec.Struct, forbid_unknown_fields=True):
    route: str | None = None  # None: all


class MuteOrder(msgspec.Struct, forbid_unknown_fields=True):
    stream: str
    muted: bool = True


class Control:
    """The operator's requests; nothing of it exists on the real exchange."""

    def __init__(self, world: World, conductor: Conductor, happenings: Happenings, stop: anyio.Event) -> None:
        self._world = world
        self._happenings = happenings
        self._conductor = conductor
        self._stop = stop

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/_sim/lockstep", self._conductor.serve)
        app.router.add_get("/_sim/report", self.report)
        app.router.add_get("/_sim/ledger", self.ledger)
        app.router.add_get("/_sim/log", self.log)
        app.router.add_post("/_sim/price", self.price)
        app.router.add_post("/_sim/transfer", self.transfer)
        app.router.add_post("/_sim/disconnect", self.disconnect)
        app.router.add_post("/_sim/mute", self.mute)
        app.router.add_post("/_sim/intervene", self.intervene)
        app.router.add_post("/_sim/fault", self.add_fault)
        app.router.add_get("/_sim/faults", self.faults)
        app.router.add_delete("/_sim/faults", self.clear_faults)
        app.router.add_post("/_sim/stop", self.stop)

    async def report(self, request: web.Request) -> web.Response:
        return _json(self._world.report() | {"sessions": self._conductor.sessions})

    async def ledger(self, request: web.Request) -> web.Response:
        return _json(self._world.ledger.full())

    async def log(self, request: web.Request) -> web.Response:
        after = request.query.get("after", "-1")
        if not WHOLE.fullmatch(after.removeprefix("-")):
            raise web.HTTPBadRequest(text="after: a whole number")
        return _json(self._world.log.after(int(after)))

    async def price(self, request: web.Request) -> web.Response:
        order = await _read(request, PriceOrder)
        price = _number("price", order.price)
        instrument = self._world.market.instruments.get(order.symbol)
        if instrument is None:
            raise web.HTTPBadRequest(text="symbol: one that is played")
        if price <= 0 or price % instrument.tick_size:
            raise web.HTTPBadRequest(text=f"price: above 0, a multiple of {instrument.tick_size}")
        self._world.set_price(order.symbol, price)
        await self._world.hub.flush()
        return _json({})

    async def transfer(self, request: web.Request) -> web.Response:
        order = await _read(request, TransferOrder)
        amount = _number("amount", order.amount)
        if not 0 < abs(amount) < LARGEST_TRANSFER or amount != money(amount):
            raise web.HTTPBadRequest(text=f"amount: other than 0, below {LARGEST_TRANSFER}, at most 8 decimals")
        self._world.transfer(amount)
        await self._world.hub.flush()
        return _json({})

    async def intervene(self, request: web.Request) -> web.Response:
        wanted = await _read(request, AnyIntervention)
        try:
            intervene(self._world, wanted)
        except (Rejection, ValueError) as refused:
            raise web.HTTPBadRequest(text=str(refused)) from None
        await self._world.hub.flush()
        return _json({})

    async def disconnect(self, request: web.Request) -> web.Response:
        order = await _read(request, DisconnectOrder)
        if order.route not in (None, *ROUTES):
            raise web.HTTPBadRequest(text=f"route: one of {', '.join(ROUTES)}")
        return _json({"dropped": self._world.hub.disconnect(order.route)})

    async def mute(self, request: web.Request) -> web.Response:
        order = await _read(request, MuteOrder)
        if order.muted:
            self._world.hub.muted.add(order.stream)
        else:
            self._world.hub.muted.discard(order.stream)
        return _json({"muted": sorted(self._world.hub.muted)})

    async def add_fault(self, request: web.Request) -> web.Response:
        raw = await _read(request, dict[str, Any])
        try:
            fault = decode(raw, Fault, "fault")
            self._happenings.check(fault)
        except OperatorError as error:
            raise web.HTTPBadRequest(text=str(error)) from None
        number = self._world.faults.plan.add(fault)
        self._world.settle()
        await self._world.hub.flush()
        return _json({"number": number})

    async def faults(self, request: web.Request) -> web.Response:
        plan = self._world.faults.plan
        return _json(
            [
                {"number": number, "struck": plan.struck(number), "fault": fault_table(fault)}
                for number, fault in plan.faults.items()
            ]
        )

    async def clear_faults(self, request: web.Request) -> web.Response:
        self._world.faults.plan.clear()
        return _json({})

    async def stop(self, request: web.Request) -> web.Response:
        self._stop.set()
        return _json({})


async def _read(request: web.Request, kind: Any) -> Any:
    try:
        return msgspec.json.decode(await request.read(), type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise web.HTTPBadRequest(text=str(error)) from None


def fault_table(fault: Fault) -> dict[str, Any]:
    """The fault as a person would write it: only what differs from what is assumed."""
    shape: dict[str, Any] = msgspec.to_builtins(fault)
    assumed = msgspec.to_builtins(Fault(kind=fault.kind, **{name: getattr(fault, name) for name in fault.rule.needs}))
    return {
        key: value for key, value in shape.items() if key == "kind" or key in fault.rule.needs or value != assumed[key]
    }


def _number(what: str, text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite():
        raise web.HTTPBadRequest(text=f"{what}: a number as text")
    return value


def _json(shape: Any) -> web.Response:
    return web.Response(body=encoder.encode(shape), content_type="application/json")
