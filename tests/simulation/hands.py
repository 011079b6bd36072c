"""What people and the venue do to the account beside the bot's orders: trades by hand, lost stops, a liquidation."""

import contextlib
import itertools
from collections.abc import Callable, Mapping
from decimal import Decimal

import msgspec

from bot.exchange.fault_kinds import FaultKind
from bot.exchange.faults import Fault
from bot.exchange.matching import Engine, NewOrder, Rejection
from bot.venue import Instrument

K = FaultKind


class Hands:
    """`instruments`: what the engine trades by; `listed`: what the venue says of them, which a fault may change.
    `flush` tells what the engine did, `forget` takes it for told."""

    def __init__(
        self,
        engine: Engine,
        instruments: Mapping[str, Instrument],
        symbols: tuple[str, ...],
        foreign: str,
        listed: dict[str, Instrument],
        *,
        flush: Callable[[], None],
        forget: Callable[[], None],
        note: Callable[[str], None],
    ) -> None:
        self._engine, self._instruments = engine, instruments
        self._symbols, self._foreign = symbols, foreign
        self._listed = listed
        self._flush, self._forget, self._note = flush, forget, note
        self._numbers = itertools.count(1)

    def act(self, fault: Fault) -> None:
        """What people and the venue do to an account."""
        symbol = fault.symbol or self._symbols[0]
        match fault.kind:
            case K.STOP_VANISHES:
                self._lose_stops(fault, symbol)
            case K.FOREIGN_ORDER:
                self._trade(symbol, Decimal(str(fault.value)), far=True)
            case K.FOREIGN_POSITION:
                self._trade(self._foreign, Decimal(str(fault.value)))
            case K.SETTLING:
                self._relist(symbol, trading=False)
            case K.FILTER_CHANGE:
                known = self._listed[symbol]
                self._relist(symbol, **{fault.key or "tick_size": getattr(known, fault.key or "tick_size") * 10})
            case K.LEVERAGE_LOWERED:
                with contextlib.suppress(Rejection):
                    self._engine.set_leverage(symbol, int(fault.value or 5))
            case K.LIQUIDATION:
                self._liquidate(symbol)
            case K.ADL:
                self._deleverage(symbol, Decimal(str(fault.value or 1)))
            case _:
                raise AssertionError(f"{fault.kind} is not made here")

    def _lose_stops(self, fault: Fault, symbol: str) -> None:
        for algo in self._engine.open_algos(symbol):
            if algo.type == "STOP_MARKET":
                self._flush()
                self._engine.expire_algo(algo.algo_id)
                if fault.shape == "silent":
                    self._forget()

    def _relist(self, symbol: str, **changes: object) -> None:
        self._listed[symbol] = msgspec.structs.replace(self._listed[symbol], **changes)

    def _trade(self, symbol: str, quantity: Decimal, *, far: bool = False) -> None:
        """Somebody trades on the account, or leaves a limit that the wildest day does not come to."""
        last = self._engine.last_price(symbol)
        assert last is not None
        tick, buy = self._instruments[symbol].tick_size, quantity > 0
        price = (last * (Decimal("0.5") if buy else Decimal(2))) // tick * tick if far else None
        try:
            self._engine.place(
                NewOrder(
                    symbol=symbol, side="BUY" if buy else "SELL", type="LIMIT" if far else "MARKET",
                    quantity=abs(quantity), price=price, time_in_force="GTC" if far else None,
                    client_id=f"web_{next(self._numbers)}",
                )
            )  # fmt: skip
        except Rejection as refused:
            self._note(f"refused: {refused}")

    def _liquidate(self, symbol: str) -> None:
        quantity, mark = self._held(symbol), self._engine.mark_price(symbol)
        if quantity and mark is not None:
            self._engine.on_mark(symbol, mark * (Decimal("0.01") if quantity > 0 else Decimal(100)))
            self._engine.on_mark(symbol, mark)

    def _deleverage(self, symbol: str, share: Decimal) -> None:
        quantity = self._held(symbol)
        step = self._instruments[symbol].step_size
        if part := abs(quantity) * share // step * step:
            self._engine.deleverage(symbol, part)

    def _held(self, symbol: str) -> Decimal:
        return next((one.quantity for one in self._engine.positions() if one.symbol == symbol), Decimal(0))
