"""One process's way to the venue: TradingPort, MarketPort and UserPort in virtual time, each call through `wire`."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from decimal import Decimal
from typing import TypeVar

import anyio
import msgspec

from bot.errors import OperatorError, OutcomeUnknown, VenueRejected, VenueUnavailable
from bot.exchange import answers
from bot.exchange.answers import LOOK, READ, SPARED_WRITE, WRITE, Ask
from bot.exchange.back_off import BackOff
from bot.exchange.faults import Subject
from bot.exchange.matching import Rejection
from bot.exchange.paper import PaperTrading
from bot.exchange.port import MarketEvent, standing
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
from tests.simulation.lines import Line
from tests.simulation.wire import ALGO, ORDER, Wire

T = TypeVar("T")


class Paper(PaperTrading):
    """The venue's side of the trading calls; what they do is told by the exchange."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange.engine, lambda event: None)
        self._exchange = exchange

    def flush(self) -> None:
        self._exchange.flush()


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
