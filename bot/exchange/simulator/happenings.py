"""What the venue, a person or the network does by itself at a time: connections, keys, stops, positions, settings."""

import itertools
from collections.abc import Callable
from decimal import Decimal
from fnmatch import fnmatchcase

from bot.clock import HOUR_MS
from bot.config import money
from bot.errors import OperatorError
from bot.exchange.fault_kinds import RULES, FaultKind, Moment
from bot.exchange.faults import Fault
from bot.exchange.matching.records import NewOrder, Rejection
from bot.exchange.simulator import user_events
from bot.exchange.simulator.world import World
from bot.strategy.rounding import floor_to

GOING_AWAY = 1001
ABNORMAL = 1006  # sent by nobody: the connection just ends
FOREIGN_PREFIX = "web_"  # as the venue's own web page names its orders
FOREIGN_DISTANCE = Decimal("0.03")  # of the last price, inside the venue's own bound


class Idle(Exception):
    """There is nothing that it could happen to."""


class Happenings:
    """One method for each kind that waits for a time."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._numbers = itertools.count(1)
        self._by_kind: dict[FaultKind, Callable[[Fault], None]] = {
            FaultKind.CLOCK_STEP: lambda fault: world.faults.set_clock(fault, world.now),
            FaultKind.STOP_VANISHES: self._stop_vanishes,
            FaultKind.LISTEN_KEY_EXPIRES: lambda fault: world.expire_listen_key(),
            FaultKind.SOCKET_SILENT: self._socket_silent,
            FaultKind.SOCKET_RESET: self._socket_reset,
            FaultKind.SOCKET_CLOSED: self._socket_closed,
            FaultKind.DAY_CUT: self._socket_closed,
            FaultKind.NO_PONG: self._no_pong,
            FaultKind.MARKET_SILENT: self._market_silent,
            FaultKind.LIQUIDATION: self._liquidation,
            FaultKind.FUNDING_INTERVAL: self._funding_interval,
            FaultKind.LEVERAGE_LOWERED: self._leverage_lowered,
            FaultKind.FOREIGN_ORDER: self._foreign_order,
            FaultKind.FOREIGN_POSITION: self._foreign_position,
            FaultKind.HEDGE_MODE: self._hedge_mode,
        }

    def check(self, fault: Fault) -> None:
        """OperatorError where this world cannot do it."""
        if RULES[fault.kind].at is Moment.TIME and fault.kind not in self._by_kind:
            raise OperatorError(f"fault {fault.kind}: the simulator cannot do this yet")
        if fault.symbol is not None and fault.symbol not in self._world.market.instruments:
            raise OperatorError(
                f"fault {fault.kind}: symbol {fault.symbol} is not played; expected one of "
                + ", ".join(self._world.market.symbols)
            )

    def happen(self, fault: Fault) -> None:
        """Do it, or write down why there was nothing to do."""
        try:
            self._by_kind[fault.kind](fault)
        except Idle as idle:
            self._tell_idle(fault, str(idle))
        except Rejection as rejection:
            self._tell_idle(fault, str(rejection))

    def _tell_idle(self, fault: Fault, why: str) -> None:
        self._world.log.add(self._world.now, "fault_idle", kind=fault.kind.value, why=why)

    def _stop_vanishes(self, fault: Fault) -> None:
        world = self._world
        doomed = [
            algo
            for algo in world.engine.open_algos(fault.symbol)
            if fnmatchcase(algo.client_id, fault.client_id or "*") and fnmatchcase(algo.type, fault.order_type or "*")
        ]
        if not doomed:
            raise Idle("no such order waits")
        world.settle()
        for algo in doomed:
            world.engine.expire_algo(algo.algo_id)
        if fault.shape == "silent":
            world.settle_unheard()

    def _socket_silent(self, fault: Fault) -> None:
        for socket in self._world.hub.on_route(fault.pattern):
            socket.silence()

    def _socket_reset(self, fault: Fault) -> None:
        for socket in self._world.hub.on_route(fault.pattern):
            socket.reset()

    def _socket_closed(self, fault: Fault) -> None:
        code = GOING_AWAY if fault.value is None else round(fault.value)
        for socket in self._world.hub.on_route(fault.pattern):
            if code == ABNORMAL:
                socket.cut()
            else:
                socket.close(code)

    def _no_pong(self, fault: Fault) -> None:
        for socket in self._world.hub.on_route(fault.pattern):
            socket.answers_pings = False

    def _market_silent(self, fault: Fault) -> None:
        hushed = self._world.hub.hushed
        hushed.append(fault.pattern)
        if fault.seconds is not None:
            self._later(fault, lambda: hushed.remove(fault.pattern))

    def _liquidation(self, fault: Fault) -> None:
        engine, symbol = self._world.engine, _symbol(fault)
        if not engine.position(symbol).quantity:
            raise Idle("no position")
        last, tick = engine.last_price(symbol), self._world.market.instruments[symbol].tick_size
        assert last is not None  # nothing is held of a symbol that never had a price
        long = engine.position(symbol).quantity > 0
        wanted = floor_to(engine.liquidation_price(symbol), tick) + (-tick if long else 2 * tick)
        engine.on_mark(symbol, max(wanted, tick))
        self._world.settle()
        engine.on_mark(symbol, last)

    def _funding_interval(self, fault: Fault) -> None:
        world, symbol, length = self._world, _symbol(fault), round(_value(fault) * HOUR_MS)
        world.funding_ms[symbol] = length
        quote = world.quotes.get(symbol)
        if quote is not None:
            quote.next_funding_at = world.now - world.now % length + length

    def _leverage_lowered(self, fault: Fault) -> None:
        world, symbol, leverage = self._world, _symbol(fault), round(_value(fault))
        world.engine.set_leverage(symbol, leverage)
        world.publish_user("ACCOUNT_CONFIG_UPDATE", user_events.leverage_event(symbol, leverage, world.now))
        world.log.add(world.now, "leverage", symbol=symbol, leverage=leverage)

    def _foreign_order(self, fault: Fault) -> None:
        engine, symbol = self._world.engine, _symbol(fault)
        last, quantity = engine.last_price(symbol), money(_value(fault))
        if last is None:
            raise Idle("no price yet")
        away = last * (1 - FOREIGN_DISTANCE if quantity > 0 else 1 + FOREIGN_DISTANCE)
        price = floor_to(away, self._world.market.instruments[symbol].tick_size)
        self._place(symbol, quantity, price)

    def _foreign_position(self, fault: Fault) -> None:
        self._place(_symbol(fault), money(_value(fault)), None)

    def _place(self, symbol: str, quantity: Decimal, price: Decimal | None) -> None:
        self._world.engine.place(
            NewOrder(
                symbol=symbol,
                side="BUY" if quantity > 0 else "SELL",
                type="MARKET" if price is None else "LIMIT",
                quantity=abs(quantity),
                price=price,
                time_in_force=None if price is None else "GTC",
                client_id=f"{FOREIGN_PREFIX}{next(self._numbers)}",
            )
        )

    def _hedge_mode(self, fault: Fault) -> None:
        self._world.dual_side = True

    def _later(self, fault: Fault, do: Callable[[], None]) -> None:
        self._world.faults.agenda.put(self._world.now + fault.milliseconds(), do)


def _symbol(fault: Fault) -> str:
    if fault.symbol is None:
        raise ValueError(f"{fault.kind} without a symbol")
    return fault.symbol


def _value(fault: Fault) -> float:
    if fault.value is None:
        raise ValueError(f"{fault.kind} without a value")
    return fault.value
