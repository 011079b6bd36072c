"""What the venue, a person or the network does by itself at a time: connections, keys, stops, positions, settings."""

import itertools
from collections.abc import Callable
from decimal import Decimal
from fnmatch import fnmatchcase

from bot.config import money
from bot.errors import OperatorError
from bot.exchange.fault_kinds import FaultKind
from bot.exchange.faults import Fault
from bot.exchange.matching.records import Rejection
from bot.exchange.simulator.interventions import (
    Deleverage,
    Filters,
    FundingInterval,
    HandOrder,
    Leverage,
    MarginType,
    PositionMode,
    Status,
    intervene,
)
from bot.exchange.simulator.sockets import GOING_AWAY
from bot.exchange.simulator.world import World
from bot.strategy.rounding import floor_to

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
            FaultKind.ADL: self._adl,
            FaultKind.FUNDING_INTERVAL: self._funding_interval,
            FaultKind.SETTLING: self._settling,
            FaultKind.FILTER_CHANGE: self._filter_change,
            FaultKind.LEVERAGE_LOWERED: self._leverage_lowered,
            FaultKind.MARGIN_TYPE: self._margin_type,
            FaultKind.FOREIGN_ORDER: self._foreign_order,
            FaultKind.FOREIGN_POSITION: self._foreign_position,
            FaultKind.HEDGE_MODE: self._hedge_mode,
        }

    def check(self, fault: Fault) -> None:
        """OperatorError where this world cannot do it."""
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
        except (Rejection, ValueError) as refused:
            self._tell_idle(fault, str(refused))

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
        """The mark price falls (or rises) as far as it takes, and comes back."""
        world, symbol = self._world, self._held(fault)
        position = world.engine.position(symbol)
        tick = world.engine.instrument(symbol).tick_size
        wanted = floor_to(world.engine.liquidation_price(symbol), tick) + (-tick if position.quantity > 0 else 2 * tick)
        before = world.premiums.get(symbol)
        world.set_mark(symbol, max(wanted, tick))
        world.set_mark(symbol, None)
        if before is not None:
            world.premiums[symbol] = before

    def _adl(self, fault: Fault) -> None:
        symbol = self._held(fault)
        held = abs(self._world.engine.position(symbol).quantity)
        step = self._world.engine.instrument(symbol).step_size
        share = Decimal(1) if fault.value is None else money(fault.value)
        intervene(self._world, Deleverage(symbol=symbol, quantity=max(step, floor_to(held * share, step))))

    def _settling(self, fault: Fault) -> None:
        symbol = self._symbol(fault)
        intervene(self._world, Status(symbol=symbol, status="SETTLING"))
        if fault.seconds is not None:
            self._later(fault, lambda: intervene(self._world, Status(symbol=symbol, status="TRADING")))

    def _filter_change(self, fault: Fault) -> None:
        symbol, value = self._symbol(fault), money(_value(fault))
        match fault.key:
            case "tick_size":
                wanted = Filters(symbol=symbol, tick_size=value)
            case "step_size":
                wanted = Filters(symbol=symbol, step_size=value)
            case _:
                wanted = Filters(symbol=symbol, min_notional=value)
        intervene(self._world, wanted)

    def _leverage_lowered(self, fault: Fault) -> None:
        intervene(self._world, Leverage(symbol=self._symbol(fault), leverage=round(_value(fault))))

    def _margin_type(self, fault: Fault) -> None:
        intervene(self._world, MarginType(symbol=self._symbol(fault), margin_type="ISOLATED"))

    def _funding_interval(self, fault: Fault) -> None:
        intervene(self._world, FundingInterval(symbol=self._symbol(fault), hours=round(_value(fault))))

    def _hedge_mode(self, fault: Fault) -> None:
        intervene(self._world, PositionMode(dual_side=True))

    def _foreign_order(self, fault: Fault) -> None:
        self._by_hand(fault, 1 - FOREIGN_DISTANCE if _value(fault) > 0 else 1 + FOREIGN_DISTANCE)

    def _foreign_position(self, fault: Fault) -> None:
        self._by_hand(fault, None)

    def _by_hand(self, fault: Fault, distance: Decimal | None) -> None:
        """A market order, or a limit order at a share of the last price; of at least one step."""
        symbol, worth = self._symbol(fault), money(_value(fault))
        last, instrument = self._world.engine.last_price(symbol), self._world.engine.instrument(symbol)
        if last is None:
            raise Idle("no price yet")
        wanted = HandOrder(
            symbol=symbol,
            side="BUY" if worth > 0 else "SELL",
            type="MARKET" if distance is None else "LIMIT",
            quantity=max(instrument.step_size, floor_to(abs(worth) / last, instrument.step_size)),
            price=None if distance is None else floor_to(last * distance, instrument.tick_size),
            client_id=f"{FOREIGN_PREFIX}{next(self._numbers)}",
        )
        intervene(self._world, wanted)

    def _symbol(self, fault: Fault) -> str:
        """The named symbol, else the one with the largest position, else the first that is played."""
        if fault.symbol is not None:
            return fault.symbol
        held = self._world.engine.positions()
        if not held:
            return self._world.market.symbols[0]
        return max(held, key=lambda position: abs(position.quantity * position.mark_price)).symbol

    def _held(self, fault: Fault) -> str:
        symbol = self._symbol(fault)
        if not self._world.engine.position(symbol).quantity:
            raise Idle("no position")
        return symbol

    def _later(self, fault: Fault, do: Callable[[], None]) -> None:
        self._world.faults.agenda.put(self._world.now + fault.milliseconds(), do)


def _value(fault: Fault) -> float:
    if fault.value is None:
        raise ValueError(f"{fault.kind} without a value")
    return fault.value
