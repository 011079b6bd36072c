"""The guard actor: prices and positions in, stop moves and exits out. The rules are `strategy.exits`."""

from collections.abc import Callable

import anyio
import msgspec
from anyio.abc import TaskStatus

from bot.clock import Alarm, Clock, Turn
from bot.messages import ExitIntent, Position, PositionChanged, PositionStatus, PriceChanged, StopMove
from bot.strategy.exits import due_times
from bot.strategy.watch import ExitNow, ExitState, MoveStop, begin, watch
from bot.streams import Stream


class TimeCame(msgspec.Struct, frozen=True):
    """A rule of time may be due for some position."""


GuardMessage = PriceChanged | PositionChanged | TimeCame


class Watched(msgspec.Struct):
    position: Position
    state: ExitState
    asked: bool = False  # an exit is on its way to the desk
    looked_at: int = -1  # when it was last held against its rules


class Guard:
    """Watches every open position; `act` hands over to the desk and never blocks."""

    def __init__(self, inbox: Stream[GuardMessage], act: Callable[[StopMove | ExitIntent], None], clock: Clock) -> None:
        self._inbox = inbox
        self._act = act
        self._clock = clock
        self._alarm = Alarm(clock, Turn.EXITS)
        self._watched: dict[str, Watched] = {}
        self._last_price: dict[str, float] = {}

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self._alarm.run, self._ring)
            task_status.started()
            async for message in self._inbox:
                self._handle(message)
                self._alarm.set(self._next_due())

    async def _ring(self) -> None:
        self._inbox.send_nowait(TimeCame())

    def _handle(self, message: GuardMessage) -> None:
        match message:
            case PriceChanged(symbol, price, at):
                self._last_price[symbol] = float(price)
                for watched in self._watched.values():
                    if watched.position.symbol == symbol:
                        self._look(watched, at)
            case PositionChanged(position):
                self._follow(position)
            case TimeCame():
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
        watched.looked_at = now
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

    def _next_due(self) -> int | None:
        times = [
            at
            for watched in self._watched.values()
            if watched.position.opened_at is not None and self._can_leave(watched)
            for at in due_times(watched.position.exits, watched.position.opened_at)
            if at > watched.looked_at
        ]
        return min(times, default=None)
