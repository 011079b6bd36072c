"""The trading port over the matching engine, in one process and without sockets."""

from collections.abc import Callable, Sequence
from decimal import Decimal

import anyio.lowlevel

from bot.errors import VenueRejected
from bot.exchange.matching import (
    AccountUpdated,
    Algo,
    AlgoUpdated,
    Engine,
    EngineEvent,
    NewAlgo,
    NewOrder,
    Order,
    OrderUpdated,
    Rejection,
)
from bot.venue import (
    Book,
    Fill,
    FundingDue,
    FundingPaid,
    MarginBracket,
    OrderKind,
    OrderReport,
    OrderRequest,
    Transfer,
    UserEvent,
    VenuePosition,
    Worth,
)

UNKNOWN_ORDER = (-2011, -2013)


class PaperTrading:
    """A TradingPort. `publish` is called with the account's events in the venue's order, before a call returns."""

    def __init__(self, engine: Engine, publish: Callable[[UserEvent], None]) -> None:
        self.engine = engine
        self.countdowns: dict[str, int] = {}  # by symbol, when its regular orders are cancelled
        self.countdown_takes_stops = False  # what the real venue does with conditional orders is not documented
        self._publish = publish

    def flush(self) -> None:
        """Publish what the engine has done; also after its prices were moved."""
        self.end_countdowns()
        for event in self.engine.take_events():
            for told in user_events(event):
                self._publish(told)

    def end_countdowns(self) -> None:
        """Cancel where nobody was heard of in time."""
        for symbol in [symbol for symbol, at in self.countdowns.items() if at <= self.engine.now]:
            del self.countdowns[symbol]
            self.engine.cancel_all(symbol)
            if self.countdown_takes_stops:
                self.engine.cancel_all_algos(symbol)

    async def place(self, request: OrderRequest) -> OrderReport:
        await anyio.lowlevel.checkpoint()
        try:
            if request.kind.book is Book.ALGO:
                return algo_report(self.engine.place_algo(_new_algo(request)))
            return order_report(self.engine.place(_new_order(request)))
        except Rejection as rejection:
            raise VenueRejected(rejection.code, rejection.message) from None
        finally:
            self.flush()

    async def cancel(self, symbol: str, client_id: str, book: Book) -> OrderReport | None:
        await anyio.lowlevel.checkpoint()
        try:
            if book is Book.ALGO:
                return algo_report(self.engine.cancel_algo(client_id=client_id))
            return order_report(self.engine.cancel(symbol, client_id=client_id))
        except Rejection as rejection:
            if rejection.code in UNKNOWN_ORDER:
                return None
            raise VenueRejected(rejection.code, rejection.message) from None
        finally:
            self.flush()

    async def find(self, symbol: str, client_id: str, book: Book) -> OrderReport | None:
        await anyio.lowlevel.checkpoint()
        if book is Book.ALGO:
            algos = [algo for algo in self.engine.algos.values() if algo.client_id == client_id]
            return algo_report(algos[-1]) if algos else None
        orders = [o for o in self.engine.orders.values() if o.client_id == client_id and o.symbol == symbol]
        return order_report(orders[-1]) if orders else None

    async def find_by_id(self, symbol: str, venue_id: int) -> OrderReport | None:
        await anyio.lowlevel.checkpoint()
        order = self.engine.orders.get(venue_id)
        return None if order is None or order.symbol != symbol else order_report(order)

    async def open_orders(self) -> Sequence[OrderReport]:
        await anyio.lowlevel.checkpoint()
        orders = [order_report(order) for order in self.engine.orders.values() if order.is_open]
        return orders + [algo_report(algo) for algo in self.engine.algos.values() if algo.is_open]

    async def positions(self) -> Sequence[VenuePosition]:
        await anyio.lowlevel.checkpoint()
        return [
            VenuePosition(symbol=p.symbol, quantity=p.quantity, entry_price=p.entry_price)
            for p in self.engine.positions()
            if p.quantity != 0
        ]

    async def fills(self, symbol: str, from_trade_id: int) -> Sequence[Fill]:
        await anyio.lowlevel.checkpoint()
        return [f for f in self.engine.fills if f.symbol == symbol and f.trade_id >= from_trade_id]

    async def funding(self, since: int) -> Sequence[FundingPaid]:
        await anyio.lowlevel.checkpoint()
        return [
            FundingPaid(symbol=row.symbol, amount=row.amount, at=row.at, income_id=row.income_id)
            for row in self.engine.income
            if row.kind == "FUNDING_FEE" and row.at >= since
        ]

    async def wallet(self) -> Decimal:
        await anyio.lowlevel.checkpoint()
        return self.engine.wallet

    async def worth(self) -> Worth:
        await anyio.lowlevel.checkpoint()
        return Worth(wallet=self.engine.wallet, equity=self.engine.wallet + self.engine.unrealized_pnl())

    async def transfers(self, since: int) -> Sequence[Transfer]:
        await anyio.lowlevel.checkpoint()
        return [
            Transfer(transfer_id=str(row.income_id), amount=row.amount, at=row.at)
            for row in self.engine.income
            if row.kind == "TRANSFER" and row.at >= since
        ]

    async def set_leverage(self, symbol: str, leverage: int) -> None:
        await anyio.lowlevel.checkpoint()
        try:
            self.engine.set_leverage(symbol, leverage)
        except Rejection as rejection:
            raise VenueRejected(rejection.code, rejection.message) from None

    async def set_countdown(self, symbol: str, ms: int) -> None:
        await anyio.lowlevel.checkpoint()
        self.countdowns.pop(symbol, None)
        if ms:
            self.countdowns[symbol] = self.engine.now + ms

    async def margin_brackets(self) -> dict[str, tuple[MarginBracket, ...]]:
        await anyio.lowlevel.checkpoint()
        return {symbol: self.engine.brackets(symbol) for symbol in self.engine.symbols}

    async def check_account(self) -> None:
        await anyio.lowlevel.checkpoint()


def user_events(event: EngineEvent) -> list[UserEvent]:
    """An engine event as the bot hears of it; an execution before the report that counts it."""
    match event:
        case OrderUpdated():
            report = order_report(event.order)
            return [report] if event.fill is None else [event.fill, report]
        case AlgoUpdated():
            return [algo_report(event.algo)]
        case AccountUpdated() if event.reason == "FUNDING_FEE":
            return [FundingDue(event.at)]
    return []


def order_report(order: Order) -> OrderReport:
    return OrderReport(
        client_id=order.client_id,
        symbol=order.symbol,
        book=Book.REGULAR,
        venue_id=order.order_id,
        status=order.status,
        buy=order.buy,
        quantity=order.quantity,
        filled=order.executed,
        at=order.updated_at,
    )


def algo_report(algo: Algo) -> OrderReport:
    return OrderReport(
        client_id=algo.client_id,
        symbol=algo.symbol,
        book=Book.ALGO,
        venue_id=algo.algo_id,
        status=algo.status,
        buy=algo.buy,
        quantity=algo.quantity,
        filled=algo.actual_quantity,
        at=algo.updated_at,
        reason=algo.reject_reason,
    )


def _new_order(request: OrderRequest) -> NewOrder:
    limit = request.kind is OrderKind.LIMIT
    return NewOrder(
        symbol=request.symbol,
        side="BUY" if request.buy else "SELL",
        type=str(request.kind),
        quantity=request.quantity,
        price=request.price,
        time_in_force=("GTX" if request.post_only else "GTC") if limit else None,
        reduce_only=request.reduce_only,
        client_id=request.client_id,
    )


def _new_algo(request: OrderRequest) -> NewAlgo:
    return NewAlgo(
        symbol=request.symbol,
        side="BUY" if request.buy else "SELL",
        type=str(request.kind),
        quantity=request.quantity,
        trigger_price=request.trigger_price,
        reduce_only=request.reduce_only,
        client_id=request.client_id,
    )
