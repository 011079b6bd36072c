"""What becomes of a frame on its way out: lost, late, repeated, out of order or bent, as the plan has it."""

import heapq
import itertools
from collections.abc import Callable
from typing import Any

from bot.exchange.fault_kinds import FaultKind
from bot.exchange.faults import FaultPlan, Subject
from bot.exchange.simulator.drift import NEW_WORD, bend

Sent = tuple[str, dict[str, Any]]  # event or stream, payload
SendFrame = Callable[[str, dict[str, Any]], None]
EVENT_OF_NOBODY = "ADDED_LATER_UPDATE"


class Waiting:
    """Frames that come later, by their time and then in the order in which they were due."""

    def __init__(self) -> None:
        self._frames: list[tuple[int, int, Sent]] = []
        self._order = itertools.count()

    def put(self, at: int, frame: Sent) -> None:
        heapq.heappush(self._frames, (at, next(self._order), frame))

    @property
    def next_at(self) -> int | None:
        return self._frames[0][0] if self._frames else None

    def take(self, now: int) -> list[Sent]:
        taken = []
        while self._frames and self._frames[0][0] <= now:
            taken.append(heapq.heappop(self._frames)[2])
        return taken


class UserFrames:
    """Events of the user stream. One that is held back for its order waits for the next, or for time to go on."""

    def __init__(self, plan: FaultPlan, send: SendFrame) -> None:
        self._plan = plan
        self._send = send
        self._late = Waiting()
        self._held: list[Sent] = []

    @property
    def next_at(self) -> int | None:
        return self._late.next_at

    def put(self, event: str, shape: dict[str, Any], now: int) -> None:
        if self._plan.empty:
            self._send(event, shape)
            return
        subject = subject_of(event, shape)
        faults = self._plan.on_event(subject, now)
        shape = bend(shape, self._plan.on_answer(subject, now))
        kinds = {fault.kind for fault in faults}
        delay = max((fault.milliseconds() for fault in faults if fault.kind is FaultKind.EVENT_DELAYED), default=0)
        if FaultKind.UNKNOWN_EVENT in kinds:
            self._send(EVENT_OF_NOBODY, {"e": EVENT_OF_NOBODY, "E": now, "T": now, "o": {"X": NEW_WORD}})
        held, self._held = self._held, []
        if FaultKind.EVENT_LOST in kinds:
            self._held = held
            return
        copies = 2 if FaultKind.EVENT_REPEATED in kinds else 1
        if delay:
            for _ in range(copies):
                self._late.put(now + delay, (event, shape))
            self._held = held
        elif FaultKind.EVENT_REORDERED in kinds:
            self._held = held + [(event, shape)] * copies
        else:
            self._send_all([(event, shape)] * copies + held)

    def pass_time(self, now: int) -> None:
        """Send what was held back until now."""
        if self._held or self._late.next_at is not None:
            held, self._held = self._held, []
            self._send_all(held + self._late.take(now))

    def _send_all(self, frames: list[Sent]) -> None:
        for event, shape in frames:
            self._send(event, shape)


class KlineFrames:
    """The last frames of bars. `bend_bar` makes REST tell another close than the stream does, or none (None)."""

    def __init__(
        self,
        plan: FaultPlan,
        send: SendFrame,
        bend_bar: Callable[[str, str, int, float | None], None],
    ) -> None:
        self._plan = plan
        self._send = send
        self._bend_bar = bend_bar
        self._late = Waiting()

    @property
    def next_at(self) -> int | None:
        return self._late.next_at

    def put(self, stream: str, shape: dict[str, Any], now: int) -> None:
        bar = shape["k"]
        if self._plan.empty or not bar["x"]:
            self._send(stream, shape)
            return
        delay, copies = 0, 1
        for fault in self._plan.on_kline(Subject(name=stream, symbol=bar["s"]), now):
            if fault.kind is FaultKind.KLINE_LATE:
                delay = max(delay, fault.milliseconds())
            elif fault.kind is FaultKind.KLINE_REPEATED:
                copies *= 2
            elif fault.kind is FaultKind.KLINE_REVISED:
                share = 0.001 if fault.value is None else fault.value
                self._bend_bar(bar["s"], bar["i"], bar["t"], 1 + share)
            else:
                copies = 0
                if fault.kind is FaultKind.KLINE_GAP:
                    self._bend_bar(bar["s"], bar["i"], bar["t"], None)
        for _ in range(copies):
            if delay:
                self._late.put(now + delay, (stream, shape))
            else:
                self._send(stream, shape)

    def pass_time(self, now: int) -> None:
        if self._late.next_at is not None:
            for stream, shape in self._late.take(now):
                self._send(stream, shape)


def subject_of(event: str, shape: dict[str, Any]) -> Subject:
    """What a fault may ask of an event of the user stream."""
    order = shape.get("o")
    if isinstance(order, dict):
        return Subject(
            name=event,
            symbol=order.get("s", ""),
            client_id=order.get("caid") or order.get("c", ""),
            order_type=order.get("ot") or order.get("o", ""),
            reduce_only=order.get("R", False),
        )
    if event == "ACCOUNT_UPDATE":
        return Subject(name=event, symbol=shape["a"]["S"])
    if event == "ACCOUNT_CONFIG_UPDATE":
        return Subject(name=event, symbol=shape.get("ac", {}).get("s", ""))
    return Subject(name=event, symbol=shape.get("s", ""), client_id=shape.get("c", ""))
