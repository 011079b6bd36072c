"""One process's way to the venue: TradingPort, MarketPort and UserPort in virtual time, judged by the bot's rules.

A request on its way reaches the venue though its sender dies meanwhile. What an answer means is decided by
`bot.exchange.answers`, and how often may be asked by its RequestBudget, as behind the SDK.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from decimal import Decimal
from typing import Any, TypeVar

import anyio
import msgspec
from anyio.abc import TaskGroup

from bot.errors import OperatorError, OutcomeUnknown, VenueRejected, VenueUnavailable
from bot.exchange import answers
from bot.exchange.answers import LOOK, READ, SPARED_WRITE, WRITE, Answer, Ask, NoAnswer
from bot.exchange.back_off import BackOff
from bot.exchange.budget import Cost, RequestBudget
from bot.exchange.fault_kinds import FaultKind
from bot.exchange.faults import Fault, Subject
from bot.exchange.matching import Rejection
from bot.exchange.paper import PaperTrading
from bot.exchange.port import MarketEvent, standing
from bot.exchange.simulator.limits import Refusal
from bot.messages import Bar
from bot.venue import (
    Book,
    Fill,
    FundingPaid,
    Instrument,
    MarginBracket,
    OrderReport,
    OrderRequest,
    Transfer,
    UserEvent,
    UserStreamLost,
    UserStreamUp,
    VenuePosition,
    Worth,
)
from tests.simulation.exchange import Exchange, MarketFrame, UserFrame
from tests.simulation.invariants import CallWatch
from tests.simulation.life import Life
from tests.simulation.lines import Line

K = FaultKind
T = TypeVar("T")
TIMEOUT_SECONDS = 5.0
ORDER, ALGO = "/fapi/v1/order", "/fapi/v1/algoOrder"


class Paper(PaperTrading):
    """The venue's side of the trading calls; what they do is told by the exchange."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange.engine, lambda event: None)
        self._exchange = exchange

    def flush(self) -> None:
        self._exchange.flush()


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


UNSIGNED = ("/fapi/v1/klines", "/fapi/v1/exchangeInfo", "/fapi/v1/time", "/fapi/v1/listenKey")


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


class Trading:
    """TradingPort as `bot.exchange.binance` is one."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._paper = Paper(wire.exchange)
        self._engine = wire.exchange.engine

    async def place(self, request: OrderRequest) -> OrderReport:
        path = ALGO if request.kind.book is Book.ALGO else ORDER
        subject = self._subject(f"POST {path}", request.symbol, request.client_id, request)
        ask = SPARED_WRITE if request.reduce_only else WRITE

        async def act() -> OrderReport:
            self._wire.watch.ordered(request)
            return await self._paper.place(request)

        try:
            return await self._wire.call(subject, ask, act, 0)
        except VenueRejected as refusal:
            if refusal.code != answers.DUPLICATE_CLIENT_ID:
                raise
            return await standing(self, request.symbol, request.client_id, request.kind.book)

    async def cancel(self, symbol: str, client_id: str, book: Book) -> OrderReport | None:
        subject = self._subject(f"DELETE {ALGO if book is Book.ALGO else ORDER}", symbol, client_id)

        async def act() -> OrderReport:
            self._wire.watch.cancelled(client_id)
            report = await self._paper.cancel(symbol, client_id, book)
            if report is None:
                raise Rejection(answers.NO_SUCH_OPEN_ORDER, "Unknown order sent.")
            return report

        try:
            return await self._wire.call(subject, SPARED_WRITE, act)
        except VenueRejected as refusal:
            if refusal.code in (answers.NO_SUCH_OPEN_ORDER, answers.NO_SUCH_ORDER):
                return None
            raise

    async def find(self, symbol: str, client_id: str, book: Book) -> OrderReport | None:
        changed_at = self._changed_at(symbol, client_id, book)
        name = f"GET {ALGO if book is Book.ALGO else ORDER}"
        subject = self._subject(name, symbol, client_id, changed_at=changed_at)

        async def act() -> OrderReport:
            report = await self._paper.find(symbol, client_id, book)
            if report is None:
                raise Rejection(answers.NO_SUCH_ORDER, "Order does not exist.")
            return report

        try:
            return await self._wire.call(subject, LOOK, act)
        except VenueRejected as refusal:
            if refusal.code == answers.NO_SUCH_ORDER:
                return None
            raise

    async def find_by_id(self, symbol: str, venue_id: int) -> OrderReport | None:
        async def act() -> OrderReport:
            report = await self._paper.find_by_id(symbol, venue_id)
            if report is None:
                raise Rejection(answers.NO_SUCH_ORDER, "Order does not exist.")
            return report

        try:
            return await self._wire.call(self._subject(f"GET {ORDER}", symbol), LOOK, act)
        except VenueRejected as refusal:
            if refusal.code == answers.NO_SUCH_ORDER:
                return None
            raise

    async def open_orders(self) -> Sequence[OrderReport]:
        reports = await self._read("GET /fapi/v1/openOrders", self._paper.open_orders, 40, LOOK)
        await self._read("GET /fapi/v1/openAlgoOrders", self._paper.check_account, 40, LOOK)
        return reports

    async def positions(self) -> Sequence[VenuePosition]:
        exchange = self._wire.exchange
        subject = self._subject("GET /fapi/v3/positionRisk", changed_at=exchange.positions_at)
        try:
            return await self._wire.call(subject, LOOK, self._paper.positions, 5)
        except VenueRejected:  # lag: the rows of a moment ago
            return list(exchange.positions_before)

    async def fills(self, symbol: str, from_trade_id: int) -> Sequence[Fill]:
        async def act() -> Sequence[Fill]:
            found = await self._paper.fills(symbol, from_trade_id)
            return [msgspec.structs.replace(fill, client_id="") for fill in found]  # userTrades has no client ids

        return await self._wire.call(self._subject("GET /fapi/v1/userTrades", symbol), READ, act, 5)

    async def funding(self, since: int) -> Sequence[FundingPaid]:
        return await self._read("GET /fapi/v1/income", lambda: self._paper.funding(since), 30)

    async def wallet(self) -> Decimal:
        return await self._read("GET /fapi/v3/balance", self._paper.wallet, 5)

    async def worth(self) -> Worth:
        return await self._read("GET /fapi/v3/account", self._paper.worth, 5)

    async def transfers(self, since: int) -> Sequence[Transfer]:
        return await self._read("GET /fapi/v1/income", lambda: self._paper.transfers(since), 30)

    async def set_leverage(self, symbol: str, leverage: int) -> None:
        subject = self._subject("POST /fapi/v1/leverage", symbol)
        await self._wire.call(subject, WRITE, lambda: self._paper.set_leverage(symbol, leverage))

    async def set_countdown(self, symbol: str, ms: int) -> None:
        async def act() -> None:
            self._wire.exchange.count_down(symbol, ms)

        await self._wire.call(self._subject("POST /fapi/v1/countdownCancelAll", symbol), WRITE, act, 10)

    async def margin_brackets(self) -> dict[str, tuple[MarginBracket, ...]]:
        return await self._read("GET /fapi/v1/leverageBracket", self._paper.margin_brackets)

    async def check_account(self) -> None:
        await self._read("GET /fapi/v1/accountConfig", self._paper.check_account, 5)
        if self._wire.exchange.hedge_mode:
            raise OperatorError("account: hedge mode is on; the bot trades in one-way mode only")

    async def _read(self, name: str, act: Callable[[], Awaitable[T]], weight: int = 1, ask: Ask = READ) -> T:
        return await self._wire.call(self._subject(name), ask, act, weight)

    def _changed_at(self, symbol: str, client_id: str, book: Book) -> int | None:
        found = [
            record.updated_at
            for record in (self._engine.algos if book is Book.ALGO else self._engine.orders).values()
            if record.client_id == client_id and record.symbol == symbol
        ]
        return found[-1] if found else None

    @staticmethod
    def _subject(
        name: str,
        symbol: str = "",
        client_id: str = "",
        request: OrderRequest | None = None,
        changed_at: int | None = None,
    ) -> Subject:
        return Subject(
            name=name,
            symbol=symbol,
            client_id=client_id,
            order_type="" if request is None else str(request.kind),
            reduce_only=request is not None and request.reduce_only,
            changed_at=changed_at,
        )


class Market:
    """MarketPort."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def server_time(self) -> int:
        return self._wire.exchange.clock.now()

    async def instruments(self) -> dict[str, Instrument]:
        async def act() -> dict[str, Instrument]:
            return dict(self._wire.exchange.instruments)

        return await self._wire.call(Subject(name="GET /fapi/v1/exchangeInfo"), READ, act)

    async def bars(self, symbol: str, interval_ms: int, start: int, end: int) -> Sequence[Bar]:
        async def act() -> list[Bar]:
            return self._wire.exchange.bars(symbol, interval_ms, start, end)

        return await self._wire.call(Subject(name="GET /fapi/v1/klines", symbol=symbol), READ, act, 5)

    async def market_events(self, symbols: Sequence[str], interval_ms: int) -> AsyncGenerator[MarketEvent, None]:
        exchange = self._wire.exchange
        line: Line[MarketFrame] = Line(exchange.clock)
        await anyio.sleep(0.1)
        exchange.join(line)
        try:
            while True:
                frame = await line.receive()
                self._wire.life.alive()
                yield frame
        finally:
            exchange.market_lines.remove(line)


class User:
    """UserPort; it reconnects as `bot.exchange.sockets` does."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def user_events(self) -> AsyncGenerator[UserEvent, None]:
        exchange = self._wire.exchange
        pause = BackOff(exchange.clock)
        while True:
            line: Line[UserFrame] = Line(exchange.clock)
            try:
                await self._wire.call(Subject(name="POST /fapi/v1/listenKey"), READ, self._connect(line))
                yield UserStreamUp(exchange.clock.now())
                while True:
                    frame = await line.receive()
                    self._wire.life.alive()
                    for event in frame:
                        yield event
            except (VenueUnavailable, VenueRejected, OutcomeUnknown) as lost:
                reason = str(lost)
            finally:
                if line in exchange.user_lines:
                    exchange.user_lines.remove(line)
            exchange.trace.note(exchange.clock.now(), "stream", f"user stream lost: {reason}")
            yield UserStreamLost(exchange.clock.now(), reason)
            await pause.wait()

    def _connect(self, line: Line[UserFrame]) -> Callable[[], Awaitable[None]]:
        async def act() -> None:
            self._wire.exchange.user_lines.append(line)

        return act
