"""The fault plan at work on one world: frames, triggers, the venue's clock, and what a read does not see yet."""

import heapq
import itertools
from collections import defaultdict, deque
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from bot.clock import DAY_MS
from bot.config import money
from bot.exchange.fault_kinds import FaultKind
from bot.exchange.faults import Fault, FaultPlan, Strike, Subject
from bot.exchange.matching.fates import FAIR, Fate
from bot.exchange.matching.records import AccountUpdated, Algo, NetPosition
from bot.exchange.simulator.frame_faults import KlineFrames, SendFrame, UserFrames, subject_of
from bot.exchange.simulator.truth import TruthLog

REMEMBERED_CHANGES = 256  # of each position
HALF = Decimal("0.5")


class Agenda:
    """What is to be done at a later time, in the order of the times."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()

    @property
    def next_at(self) -> int | None:
        return self._waiting[0][0] if self._waiting else None

    def put(self, at: int, do: Callable[[], None]) -> None:
        heapq.heappush(self._waiting, (at, next(self._order), do))

    def work_off(self, now: int) -> None:
        while self._waiting and self._waiting[0][0] <= now:
            heapq.heappop(self._waiting)[2]()


class Faults:
    """Everything between the plan and one world that is not a REST call or a happening."""

    def __init__(
        self,
        plan: FaultPlan,
        log: TruthLog,
        send_user: SendFrame,
        send_kline: SendFrame,
        bend_bar: Callable[[str, str, int, float | None], None],
    ) -> None:
        self.plan = plan
        self.agenda = Agenda()
        self.happening = False  # what a happening causes is no cause of another
        self._log = log
        self._user = UserFrames(plan, send_user)
        self._klines = KlineFrames(plan, send_kline, bend_bar)
        self._positions: defaultdict[str, deque[NetPosition]] = defaultdict(lambda: deque(maxlen=REMEMBERED_CHANGES))
        self._changed: defaultdict[str, deque[int]] = defaultdict(lambda: deque(maxlen=REMEMBERED_CHANGES))
        self._clock: list[tuple[int, Fault]] = []  # since when

    @property
    def next_at(self) -> int | None:
        """When something is due next."""
        times = (self.plan.next_due, self.agenda.next_at, self._user.next_at, self._klines.next_at)
        return min((at for at in times if at is not None), default=None)

    def put_user(self, event: str, shape: dict[str, Any], now: int) -> None:
        self._user.put(event, shape, now)
        if not self.happening and not self.plan.empty:
            self.plan.happened(subject_of(event, shape), now)

    def put_kline(self, stream: str, shape: dict[str, Any], now: int) -> None:
        self._klines.put(stream, shape, now)

    def pass_time(self, now: int) -> None:
        """Send what was held back, end what was to end."""
        self.agenda.work_off(now)
        self._user.pass_time(now)
        self._klines.pass_time(now)

    def fate_of(self, algo: Algo, now: int) -> Fate:
        if self.plan.empty:
            return FAIR
        subject = Subject(
            name=algo.type,
            symbol=algo.symbol,
            client_id=algo.client_id,
            order_type=algo.type,
            reduce_only=algo.reduce_only,
        )
        fault = self.plan.on_trigger(subject, now)
        self.tell()
        if fault is None:
            return FAIR
        match fault.kind:
            case FaultKind.TRIGGER_STUCK:
                return Fate(stuck=True)
            case FaultKind.TRIGGER_REJECTED:
                return Fate(reject_reason="Margin is insufficient.")
            case FaultKind.TRIGGER_LATE:
                return Fate(late_ms=fault.milliseconds())
        return Fate(share=HALF if fault.value is None else money(fault.value))

    def tell(self) -> None:
        """Write down what struck."""
        for strike in self.plan.take_strikes():
            self._log.add(strike.at, "fault", **_told(strike))

    def set_clock(self, fault: Fault, now: int) -> None:
        self._clock.append((now, fault))

    def clock_offset(self, now: int) -> int:
        """By how many ms the venue's clock is ahead of what it should be."""
        return sum(
            fault.milliseconds() * (now - since) // DAY_MS if fault.shape == "drift" else fault.milliseconds()
            for since, fault in self._clock
        )

    def note(self, update: AccountUpdated) -> None:
        """Remember a position as it was, for reads that lag."""
        for position in update.positions:
            self._positions[position.symbol].append(position)
            self._changed[position.symbol].append(update.at)

    def position_changed_at(self, symbol: str | None) -> int | None:
        """When the position of a symbol, or of any, last changed."""
        changes = [times[-1] for name, times in self._changed.items() if symbol in (None, name)]
        return max(changes, default=None)

    def positions_at(self, at: int) -> dict[str, NetPosition | None]:
        """Those that changed after a time, as they were then; None: flat as far as is remembered."""
        found: dict[str, NetPosition | None] = {}
        for symbol, times in self._changed.items():
            if times[-1] > at:
                before = [position for when, position in zip(times, self._positions[symbol], strict=True) if when <= at]
                found[symbol] = before[-1] if before else None
        return found


def _told(strike: Strike) -> dict[str, Any]:
    fields: dict[str, Any] = {"kind": strike.fault.kind.value, "number": strike.number, "nth": strike.nth}
    if strike.subject is None:
        return fields | {"symbol": strike.fault.symbol or ""}
    subject = strike.subject
    return fields | {"on": subject.name, "symbol": subject.symbol, "client_id": subject.client_id}
