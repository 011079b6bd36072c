"""What the venue has written down: both order books, positions, executions, events; and how it is read.

The writing primitives are for the engine alone; each keeps ids, levels, money and events in step.
"""

import itertools
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Generic, Protocol, TypeVar

from msgspec.structs import replace

from bot.exchange.matching import rules
from bot.exchange.matching.account import Account, money
from bot.exchange.matching.fates import LateTriggers
from bot.exchange.matching.levels import Market
from bot.exchange.matching.records import (
    ZERO,
    AccountUpdated,
    Algo,
    AlgoUpdated,
    EngineEvent,
    Execution,
    Income,
    NetPosition,
    Order,
    OrderUpdated,
    Rejection,
    Settings,
)
from bot.venue import Fill, Instrument, MarginBracket, VenueStatus

FIRST_ORDER_ID = 100_000_000_001  # real ids need more than 32 bits
FIRST_ALGO_ID = 1_000_000_000_000_001


class _Record(Protocol):
    @property
    def is_open(self) -> bool: ...


T = TypeVar("T", bound=_Record)


class Shelf(Generic[T]):
    """The orders of one book: all by id, the open ones in the order of their placing, the newest by client id."""

    def __init__(self) -> None:
        self.all: dict[int, T] = {}
        self._open: dict[int, T] = {}
        self._by_client: dict[tuple[str, str], int] = {}

    def put(self, record_id: int, client_key: tuple[str, str], record: T) -> None:
        self.all[record_id] = record
        self._by_client[client_key] = record_id
        if record.is_open:
            self._open[record_id] = record
        else:
            self._open.pop(record_id, None)

    def open(self) -> list[T]:
        return list(self._open.values())

    def find(self, record_id: int | None, client_key: tuple[str, str]) -> T | None:
        if record_id is None:
            record_id = self._by_client.get(client_key)
        return None if record_id is None else self.all.get(record_id)

    def is_open(self, client_key: tuple[str, str]) -> bool:
        return self._by_client.get(client_key) in self._open


class Books:
    """State and views. Everything that is handed out is a frozen snapshot."""

    def __init__(
        self, instruments: Mapping[str, Instrument], wallet: Decimal, settings: Settings | None = None
    ) -> None:
        settings = settings or Settings()
        self.now = 0
        self.settings = settings
        self.fills: list[Fill] = []
        self.late_triggers = LateTriggers()
        self._account = Account(list(instruments), wallet)
        leverage, bracket = settings.default_leverage, _only_bracket(settings)
        self._markets = {symbol: Market(instrument, leverage, bracket) for symbol, instrument in instruments.items()}
        self._orders: Shelf[Order] = Shelf()
        self._algos: Shelf[Algo] = Shelf()
        self._events: list[EngineEvent] = []
        self._deadlines: dict[int, int] = {}  # of open GTD orders of both books, by their ids
        self._margin_called = False
        self._order_ids = itertools.count(FIRST_ORDER_ID)
        self._algo_ids = itertools.count(FIRST_ALGO_ID)
        self._sequence = itertools.count()

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(self._markets)

    @property
    def orders(self) -> Mapping[int, Order]:
        """Regular orders by id, open and closed."""
        return self._orders.all

    @property
    def algos(self) -> Mapping[int, Algo]:
        """Conditional orders by id, open and closed."""
        return self._algos.all

    def open_orders(self, symbol: str | None = None) -> list[Order]:
        return [order for order in self._orders.open() if symbol in (None, order.symbol)]

    def open_algos(self, symbol: str | None = None) -> list[Algo]:
        return [algo for algo in self._algos.open() if symbol in (None, algo.symbol)]

    def order(self, symbol: str, order_id: int | None = None, client_id: str | None = None) -> Order:
        """One order, the newest where a client id was used again. Raises Rejection -2013."""
        found = self._find_order(symbol, order_id, client_id)
        if found is None:
            raise Rejection(-2013, "Order does not exist.")
        return found

    def algo(self, algo_id: int | None = None, client_id: str | None = None) -> Algo:
        """Raises Rejection -2013."""
        found = self._find_algo(algo_id, client_id)
        if found is None:
            raise Rejection(-2013, "Order does not exist.")
        return found

    @property
    def wallet(self) -> Decimal:
        """start + realized_pnl - fees + funding + transfers, exactly."""
        return self._account.wallet

    @property
    def transfers(self) -> Decimal:
        return self._account.transfers

    @property
    def income(self) -> list[Income]:
        return self._account.income

    @property
    def realized_pnl(self) -> Decimal:
        return self._account.realized_pnl

    @property
    def fees(self) -> Decimal:
        return self._account.fees

    @property
    def funding(self) -> Decimal:
        return self._account.funding

    def last_price(self, symbol: str) -> Decimal | None:
        return self._market(symbol).last

    def mark_price(self, symbol: str) -> Decimal | None:
        """The mark price; before the first one came, the last price."""
        return self._market(symbol).reference

    def leverage(self, symbol: str) -> int:
        return self._market(symbol).leverage

    def status(self, symbol: str) -> str:
        """TRADING, or Binance's word for why not."""
        return self._market(symbol).status

    def instrument(self, symbol: str) -> Instrument:
        """The rules as they are now."""
        return self._market(symbol).instrument

    def position(self, symbol: str) -> NetPosition:
        market, holding = self._market(symbol), self._account.holdings[symbol]
        mark = market.reference
        return NetPosition(
            symbol=symbol,
            quantity=holding.quantity,
            entry_price=holding.entry_price,
            mark_price=ZERO if mark is None else mark,
            unrealized_pnl=self.unrealized_pnl(symbol),
            realized_pnl=holding.realized,
        )

    def positions(self) -> list[NetPosition]:
        """Those with a quantity other than zero."""
        return [self.position(symbol) for symbol in self._held()]

    def unrealized_pnl(self, symbol: str | None = None) -> Decimal:
        """Of one symbol or of all, at the mark price."""
        total = ZERO
        for held in self._held() if symbol is None else (symbol,):
            holding, mark = self._account.holdings[held], self._market(held).reference
            if mark is not None:
                total += holding.quantity * mark - holding.cost
        return total

    def take_events(self) -> list[EngineEvent]:
        """The events since the last call, in the venue's order."""
        events, self._events = self._events, []
        return events

    def _market(self, symbol: str) -> Market:
        market = self._markets.get(symbol)
        if market is None:
            raise Rejection(-1121, "Invalid symbol.")
        return market

    def _held(self) -> Iterator[str]:
        return (symbol for symbol, holding in self._account.holdings.items() if holding.quantity)

    def _find_order(self, symbol: str, order_id: int | None, client_id: str | None) -> Order | None:
        if order_id is None and client_id is None:
            raise Rejection(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
        found = self._orders.find(order_id, (symbol, client_id or ""))
        return found if found is not None and found.symbol == symbol else None

    def _find_algo(self, algo_id: int | None, client_id: str | None) -> Algo | None:
        if algo_id is None and client_id is None:
            raise Rejection(-1102, "Param 'clientAlgoId' or 'algoId' must be sent, but both were empty/null!")
        return self._algos.find(algo_id, ("", client_id or ""))

    def _write_order(self, order: Order, execution: Execution, fill: Fill | None = None, **changes: Any) -> Order:
        order = replace(order, updated_at=self.now, **changes)
        self._orders.put(order.order_id, (order.symbol, order.client_id), order)
        if not order.is_open:
            self._markets[order.symbol].by_last.remove(order.order_id)
            self._deadlines.pop(order.order_id, None)
        self._events.append(OrderUpdated(at=self.now, order=order, execution=execution, fill=fill))
        return order

    def _write_algo(self, algo: Algo, **changes: Any) -> Algo:
        algo = replace(algo, updated_at=self.now, **changes)
        self._algos.put(algo.algo_id, ("", algo.client_id), algo)
        if not algo.is_open:
            market = self._markets[algo.symbol]
            market.levels(algo.working_type).remove(algo.algo_id)
            market.trails.pop(algo.algo_id, None)
            self._deadlines.pop(algo.algo_id, None)
        self._events.append(AlgoUpdated(at=self.now, algo=algo))
        return algo

    def _write_account(self, reason: str, symbol: str, change: Decimal, *positions: NetPosition) -> None:
        self._events.append(
            AccountUpdated(
                at=self.now,
                reason=reason,
                symbol=symbol,
                wallet=self.wallet,
                balance_change=change,
                positions=positions,
            )
        )

    def _write_fill(
        self, order: Order, quantity: Decimal, price: Decimal, *, maker: bool, execution: Execution = Execution.TRADE
    ) -> Order:
        """Book one execution: position, money, order, events."""
        market = self._markets[order.symbol]
        market.trades += 1
        signed = quantity if order.buy else -quantity
        realized = self._account.holdings[order.symbol].trade(signed, price, self.now)
        fee = money(quantity * price * (self.settings.maker_fee if maker else self.settings.taker_fee))
        self._account.book_trade(order.symbol, realized, fee, market.trades, self.now)
        fill = Fill(
            symbol=order.symbol,
            trade_id=market.trades,
            venue_id=order.order_id,
            client_id=order.client_id,
            buy=order.buy,
            price=price,
            quantity=quantity,
            fee=fee,
            fee_asset="USDT",
            realized_pnl=realized,
            maker=maker,
            at=self.now,
        )
        self.fills.append(fill)
        executed = order.executed + quantity
        order = self._write_order(
            order,
            execution,
            fill,
            executed=executed,
            quote=order.quote + quantity * price,
            status=VenueStatus.FILLED if executed == order.quantity else VenueStatus.PARTIALLY_FILLED,
        )
        self._write_account("ORDER", order.symbol, ZERO, self.position(order.symbol))
        return order


def _only_bracket(settings: Settings) -> MarginBracket:
    return MarginBracket(
        notional_cap=rules.LARGEST_NOTIONAL,
        maintenance_rate=settings.maintenance_ratio,
        amount=ZERO,
        max_leverage=rules.MAX_LEVERAGE,
    )
