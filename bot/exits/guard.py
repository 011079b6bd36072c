"""The guard actor: prices and positions in, stop moves and exits out. The rules are `strategy.exits`."""

from collections.abc import Callable

import anyio
import msgspec
from anyio.abc import TaskStatus

from bot.clock import Alarm, Clock
from bot.messages import ExitIntent, Position, PositionChanged, PositionStatus, PriceChanged, StopMove
from bot.strategy.exits import ExitNow, ExitState, MoveStop, begin, watch
from bot.streams import Stream


class HoldEnded(msgspec.Struct, frozen=True):
    """Some position may have reached its maximum hold."""


GuardMessage = PriceChanged | PositionChanged | HoldEnded


class Watched(msgspec.Struct):
    position: Position
    state: ExitState
    asked: bool = False  # an exit is on its way to the desk


class Guard:
    """Watches every open position; `act` hands over to the desk and never blocks."""

    def __init__(self, inbox: Stream[GuardMessage], act: Callable[[StopMove | ExitIntent], None], clock: Clock) -> None:
        self._inbox = inbox
        self._act = act
        self._clock = clock
        self._alarm = Alarm(clock)
        self._watched: dict[str, Watched] = {}
        self._last_price: dict[str, float] = {}

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self._alarm.run, self._ring)
            task_status.started()
            async for message in self._inbox:
                self._handle(message)
                self._alarm.set(self._next_hold_end())

    async def _ring(self) -> None:
        self._inbox.send_nowait(HoldEnded())

    def _handle(self, message: GuardMessage) -> None:
        match message:
            case PriceChanged(symbol, price, at):
                self._last_price[symbol] = float(price)
                for watched in self._watched.values():
                    if watched.position.symbol == symbol:
                        self._look(watched, at)
            case PositionChanged(position):
                self._follow(position)
            case HoldEnded():
                for watched in self._watched.values():
                    self._look(watched, self._clock.now())

    def _follow(self, position: Position) -> None:
        if position.status is PositionStatus.CLOSED:
            self._watched.pop(position.position_id, None)
            return
        if position.entry_price is None:
            return
        known = self._watched.get(position.position_id)
        if known is None or known.position.filled != position.filled:
            best = known.state.best if known is not None else None
            self._watched[position.position_id] = Watched(position, begin(position, best))
        else:
            known.position = position

    def _look(self, watched: Watched, now: int) -> None:
        if not self._can_leave(watched):
            return
        price = self._last_price[watched.position.symbol]
        watched.state, decision = watch(watched.position, watched.state, price, now)
        match decision:
            case MoveStop(stop_price, reason):
                self._act(StopMove(watched.position.position_id, stop_price, reason, now))
            case ExitNow(reason):
                watched.asked = True
                self._act(ExitIntent(watched.position.position_id, reason, now))

    def _can_leave(self, watched: Watched) -> bool:
        known = watched.position.symbol in self._last_price
        return known and not watched.asked and watched.position.status is PositionStatus.OPEN

    def _next_hold_end(self) -> int | None:
        ends = [
            watched.position.opened_at + watched.position.exits.max_hold_ms
            for watched in self._watched.values()
            if watched.position.opened_at is not None
            and watched.position.exits.max_hold_ms is not None
            and self._can_leave(watched)
        ]
        return min(ends, default=None)
