"""One process's requests in virtual time: there and back, what becomes of them on the way, and what an answer means.

A request on its way reaches the venue though its sender dies meanwhile. What an answer means is decided by
`bot.exchange.answers`, and how often may be asked by its RequestBudget, as behind the SDK.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio
import msgspec
from anyio.abc import TaskGroup

from bot.errors import VenueRejected, VenueUnavailable
from bot.exchange import answers
from bot.exchange.answers import Answer, Ask, NoAnswer
from bot.exchange.budget import Cost, RequestBudget
from bot.exchange.fault_kinds import FaultKind
from bot.exchange.faults import Fault, Subject
from bot.exchange.matching import Rejection
from bot.exchange.simulator.limits import Refusal
from tests.simulation.exchange import Exchange
from tests.simulation.invariants import CallWatch
from tests.simulation.life import Life

K = FaultKind
T = TypeVar("T")
TIMEOUT_SECONDS = 5.0
ORDER, ALGO = "/fapi/v1/order", "/fapi/v1/algoOrder"
UNSIGNED = ("/fapi/v1/klines", "/fapi/v1/exchangeInfo", "/fapi/v1/time", "/fapi/v1/listenKey")
NEVER = NoAnswer("no answer: ReadTimeout", sent=True)  # and what a caller has who has waited long enough


class Wire:
    """Requests of one process."""

    def __init__(
        self, exchange: Exchange, life: Life, network: TaskGroup, watch: CallWatch, budget: RequestBudget
    ) -> None:
        self.exchange, self.life = exchange, life
        self.budget = budget
        self.watch = watch
        self._network = network

    async def call(self, request: Subject, ask: Ask, act: Callable[[], Awaitable[T]], weight: int = 1) -> T:
        exchange, life = self.exchange, self.life
        life.before_call()
        cost = Cost(weight, orders=int(request.name in (f"POST {ORDER}", f"POST {ALGO}")))
        self.budget.spend(exchange.clock.now(), cost, protective=ask.protective)
        self.watch.asked(request, exchange.clock.now())
        answer = await self._carry(request, act, weight)
        life.after_call()
        now = exchange.clock.now()
        if not isinstance(answer, Answer | NoAnswer):
            exchange.trace.note(now, "call", f"{request.name} {request.client_id}")
            return answer
        error = answers.fault(answer, ask, now)
        exchange.trace.note(now, "call", f"{request.name} {request.client_id} -> {type(error).__name__}: {error}")
        if isinstance(error, VenueUnavailable) and error.retry_at is not None:
            self.budget.close(error.retry_at)
            self.watch.told(error.retry_at)
        raise error

    async def _carry(self, request: Subject, act: Callable[[], Awaitable[object]], weight: int) -> Any:
        """There and back. Whoever dies meanwhile has sent it all the same."""
        exchange = self.exchange
        try:
            await anyio.sleep(exchange.random.randint(10, 90) / 1_000)
        except anyio.get_cancelled_exc_class():
            self._network.start_soon(self._serve, request, act, weight)
            raise
        answer = await self._serve(request, act, weight)
        await anyio.sleep(TIMEOUT_SECONDS if answer is NEVER else exchange.random.randint(10, 90) / 1_000)
        return answer

    async def _serve(self, request: Subject, act: Callable[[], Awaitable[object]], weight: int) -> Any:
        exchange = self.exchange
        now = exchange.clock.now()
        exchange.step()
        try:
            exchange.limits.charge(now, weight)
            if request.name in (f"POST {ORDER}", f"POST {ALGO}"):
                exchange.limits.charge_order(now)
        except Refusal as refusal:
            self.watch.refused(refusal, now)
            return _error(refusal.status, refusal.code, refusal.message)
        if now < exchange.clock_off_until and request.name.split(" ")[1] not in UNSIGNED:
            return _error(400, -1021, "Timestamp for this request is outside of the recvWindow.")
        fault = exchange.plan.on_call(request, now)
        if fault is not None:
            exchange.told(fault)
            if fault.kind is not K.LOST_AFTER:
                return _refusal(fault, exchange, now)
        answer = await self._act(act, request)
        exchange.plan.happened(request, now)
        return answer if fault is None else _lost(fault)

    async def _act(self, act: Callable[[], Awaitable[object]], request: Subject) -> object:
        if self.exchange.hedge_mode and request.name.startswith("POST") and request.client_id:
            return _error(400, -4061, "Order's position side does not match user's setting.")
        try:
            return await act()
        except VenueRejected as refusal:
            return _error(400, refusal.code, refusal.message)
        except Rejection as refusal:
            return _error(400, refusal.code, refusal.message)


def _error(status: int, code: int, message: str, retry_after: str | None = None) -> Answer:
    return Answer(status, msgspec.json.encode({"code": code, "msg": message}), retry_after)


def _refusal(fault: Fault, exchange: Exchange, now: int) -> Answer | NoAnswer:
    """The answer of a call that is not executed."""
    match fault.kind:
        case K.LOST_BEFORE:
            return _lost(fault)
        case K.UNAVAILABLE if fault.shape == "busy":
            return Answer(503, b"Service Unavailable.")
        case K.UNAVAILABLE:
            return _error(503, -1001, "Internal error; unable to process your request. Please try again.")
        case K.THROTTLED:
            return _error(503, -1008, "Server is currently overloaded with other requests.")
        case K.TOO_MANY:
            after = None if fault.seconds is None else str(int(fault.seconds))
            return _error(429, -1003, "Too many requests.", after)
        case K.BANNED:
            until = exchange.limits.banned_until = now + fault.milliseconds()
            return _error(418, -1003, f"Way too many requests; IP banned until {until}.")
        case K.LAG:
            return _error(400, -2013, "Order does not exist.")
    raise AssertionError(f"{fault.kind} is not made here")


def _lost(fault: Fault) -> Answer | NoAnswer:
    match fault.shape:
        case "dropped":
            return NoAnswer("no answer: ConnectionError", sent=True)
        case "503":
            return Answer(503, b"Unknown error, please check your request or try again later.")
        case "408":
            return _error(408, -1007, "Timeout waiting for response from backend server.")
        case "502":
            return Answer(502, b"<html>502 Bad Gateway</html>")
    return NEVER
