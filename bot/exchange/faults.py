"""Faults as an operator writes them, and the plan that says when each one strikes. Pure: no I/O, no clock."""

import random
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

import msgspec

from bot.clock import SECOND_MS
from bot.config import Count, Symbol, Table, decode, parse_toml
from bot.exchange.fault_kinds import RULES, FaultKind, KindRule, Moment
from bot.exchange.matching.records import Settings
from bot.exchange.matching.switches import Switches

YEAR_SECONDS = 366 * 86_400
Seconds = Annotated[float, msgspec.Meta(ge=0, le=YEAR_SECONDS)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Pattern = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[ -~]{1,120}\Z", description='a name or pattern such as "POST /fapi/v1/order" or "ORDER_*"'
    ),
]


class Fault(Table, frozen=True):
    """One `[[fault]]` table. Without `nth`, `every` and `probability` it strikes each time that it matches."""

    kind: FaultKind
    on: Pattern | None = None  # the call, event, route or stream that is struck; None: the kind's own
    upon: Pattern | None = None  # of kinds that wait for a time: strike right after this call or event instead
    symbol: Symbol | None = None
    client_id: Pattern | None = None
    order_type: Pattern | None = None
    nth: Count | None = None  # of the matches only the nth
    every: Count | None = None  # of the matches each so-many-th
    probability: Share | None = None
    times: Count | None = None  # at most
    after_seconds: Seconds = 0.0  # simulated time since the start
    until_seconds: Seconds | None = None
    every_seconds: Annotated[float, msgspec.Meta(gt=0, le=YEAR_SECONDS)] | None = None  # of kinds that wait for a time
    form: str | None = None
    seconds: Annotated[float, msgspec.Meta(ge=-YEAR_SECONDS, le=YEAR_SECONDS)] | None = None
    value: Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)] | None = None
    key: Pattern | None = None

    def __post_init__(self) -> None:
        rule = RULES[self.kind]
        self._check_parameters(rule)
        if self.nth is not None and self.every is not None:
            raise ValueError("nth and every exclude each other; expected one of them")
        if self.until_seconds is not None and self.until_seconds <= self.after_seconds:
            raise ValueError("until_seconds must be more than after_seconds")
        if rule.at is not Moment.TIME:
            if self.upon is not None or self.every_seconds is not None:
                raise ValueError(f"{self.kind} strikes a {rule.at}; upon and every_seconds are for kinds of time")
        elif self.upon is not None and self.every_seconds is not None:
            raise ValueError("upon and every_seconds exclude each other; expected one of them")
        elif self.upon is None and (self.nth is not None or self.every is not None):
            raise ValueError(f"{self.kind} strikes at a time; nth and every need upon")

    def _check_parameters(self, rule: KindRule) -> None:
        taken = {"on": rule.on, "form": ", ".join(rule.forms), "key": rule.key}
        taken |= {"seconds": rule.seconds, "value": rule.value}
        for name, meaning in taken.items():
            if getattr(self, name) is not None and not meaning:
                raise ValueError(f"{self.kind} takes no {name}")
        for name in sorted(rule.needs):
            if getattr(self, name) is None:
                raise ValueError(f"{self.kind} needs {name}" + (f": {taken[name]}" if taken.get(name) else ""))
        if self.form is not None and self.form not in rule.forms:
            raise ValueError(f'form "{self.form}" of {self.kind} is unknown; expected one of {", ".join(rule.forms)}')
        if self.key is not None and rule.keys and self.key not in rule.keys:
            raise ValueError(f'key "{self.key}" of {self.kind} is unknown; expected one of {", ".join(rule.keys)}')
        if self.value is not None and not rule.least <= self.value <= rule.most:
            raise ValueError(f"value {self.value:g} of {self.kind}: expected {rule.least:g} to {rule.most:g}")
        if self.seconds is not None and self.seconds < 0 and not rule.negative:
            raise ValueError(f"seconds of {self.kind} must not be below 0")

    @property
    def rule(self) -> KindRule:
        return RULES[self.kind]

    @property
    def pattern(self) -> str:
        """What is struck."""
        return self.on or self.rule.on

    @property
    def shape(self) -> str:
        """The form, or the kind's first one."""
        return self.form or next(iter(self.rule.forms), "")

    def milliseconds(self, default: float = 0.0) -> int:
        return round((default if self.seconds is None else self.seconds) * SECOND_MS)


class Scenario(Table, frozen=True):
    """A scenario file: what goes wrong on a day, under a name."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9-]{1,60}\Z", description="a name of a-z, 0-9 and -")]
    description: str
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**53)] | None = None  # of chance; None: the simulator's
    partial_fill_probability: Share | None = None  # None: the simulator's
    switches: Switches | None = None  # how the venue behaves where that is not known; None: the simulator's
    fault: tuple[Fault, ...] = ()

    def settings(self, given: Settings) -> Settings:
        """How the venue behaves, where the scenario says so."""
        switches = given.switches if self.switches is None else self.switches
        chance = self.partial_fill_probability
        chance = given.partial_fill_probability if chance is None else chance
        return msgspec.structs.replace(given, switches=switches, partial_fill_probability=chance)


def read_scenario(path: Path) -> Scenario:
    """OperatorError names the file, the key and what is allowed."""
    return decode(parse_toml(path), Scenario, str(path))


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """One call, answer, event, trigger or frame, as far as a fault may ask."""

    name: str  # "POST /fapi/v1/order", "ORDER_TRADE_UPDATE", "btcusdt@kline_1h"
    symbol: str = ""
    client_id: str = ""
    order_type: str = ""
    reduce_only: bool = False
    changed_at: int | None = None  # when what is read was last written, for `lag`


class Strike(msgspec.Struct, frozen=True, kw_only=True):
    """A fault that struck: the `nth` match of the plan's fault of this number."""

    at: int
    number: int
    nth: int
    fault: Fault
    subject: Subject | None = None


class _Entry:
    """One fault of the plan and how often it was met."""

    def __init__(self, number: int, fault: Fault) -> None:
        self.number = number
        self.fault = fault
        self.met = 0
        self.struck = 0

    @property
    def spent(self) -> bool:
        return self.struck >= (self.fault.times or self.struck + 1)


class FaultPlan:
    """Says which fault strikes what.

    Chance comes from the seed, the fault's number and how often that very fault was met, so it does not depend on
    anything that the fault does not match. Numbers count from 0 and are never given twice.
    """

    def __init__(self, faults: Iterable[Fault] = (), seed: int = 0, started_at: int = 0) -> None:
        self._seed = seed
        self._started_at = started_at
        self._entries: list[_Entry] = []
        self._added = 0
        self._waiting: list[Strike] = []  # struck by `upon`, not yet taken by `due`
        self._strikes: list[Strike] = []
        self._due_at: int | None = None
        for fault in faults:
            self.add(fault)

    @property
    def faults(self) -> dict[int, Fault]:
        """By number."""
        return {entry.number: entry.fault for entry in self._entries}

    @property
    def empty(self) -> bool:
        return not self._entries

    def add(self, fault: Fault) -> int:
        """Returns the fault's number."""
        self._entries.append(_Entry(self._added, fault))
        self._added += 1
        self._set_due()
        return self._added - 1

    def clear(self) -> None:
        """No fault strikes any more; what has struck stays as it is."""
        self._entries.clear()
        self._waiting.clear()
        self._set_due()

    def struck(self, number: int) -> int:
        """How often the fault of this number struck."""
        return next(entry.struck for entry in self._entries if entry.number == number)

    def on_call(self, call: Subject, now: int) -> Fault | None:
        """What strikes a REST call: the first of those that do. `name` is "METHOD /path"."""
        return next(iter(self._meet(Moment.CALL, call, now, most=1)), None)

    def on_ws_call(self, call: Subject, now: int) -> Fault | None:
        """The same for the WebSocket API; `name` is the method, as "order.place"."""
        return next(iter(self._meet(Moment.WS_CALL, call, now, most=1)), None)

    def on_answer(self, answer: Subject, now: int) -> list[Fault]:
        """What bends a payload: the answer of a call, or an event of the user stream by its name."""
        return self._meet(Moment.ANSWER, answer, now)

    def on_event(self, event: Subject, now: int) -> list[Fault]:
        """What strikes an event of the user stream."""
        return self._meet(Moment.EVENT, event, now)

    def on_trigger(self, order: Subject, now: int) -> Fault | None:
        """What strikes a conditional order that triggers; `name` is its type."""
        return next(iter(self._meet(Moment.TRIGGER, order, now, most=1)), None)

    def on_kline(self, frame: Subject, now: int) -> list[Fault]:
        """What strikes the last frame of a bar; `name` is the stream."""
        return self._meet(Moment.KLINE, frame, now)

    def happened(self, subject: Subject, now: int) -> None:
        """A call was answered or an event sent: what waits `upon` it is due now."""
        for entry in self._entries:
            upon = entry.fault.upon
            if upon is None or not fnmatchcase(subject.name, upon):
                continue
            if self._suits(entry.fault, subject, now) and self._strikes_now(entry):
                self._waiting.append(self._strike(entry, subject, now))

    def due(self, now: int) -> list[Fault]:
        """What happens at a time up to `now`, each once."""
        found = [strike.fault for strike in self._waiting]
        self._waiting.clear()
        if self._due_at is not None and self._due_at <= now:
            for entry in self._entries:
                while (at := self._time_of(entry)) is not None and at <= now:
                    if self._strikes_now(entry):
                        found.append(self._strike(entry, None, now).fault)
            self._set_due()
        return found

    @property
    def next_due(self) -> int | None:
        """When `due` has something to tell next; never in the past of what it has told."""
        return self._due_at

    def take_strikes(self) -> list[Strike]:
        """What struck since the last call, oldest first."""
        strikes, self._strikes = self._strikes, []
        return strikes

    def _meet(self, moment: Moment, subject: Subject, now: int, most: int | None = None) -> list[Fault]:
        found: list[Fault] = []
        for entry in self._entries:
            fault = entry.fault
            if fault.rule.at is not moment or not fnmatchcase(subject.name, fault.pattern):
                continue
            if self._suits(fault, subject, now) and self._strikes_now(entry, full=len(found) == most):
                found.append(self._strike(entry, subject, now).fault)
        return found

    def _suits(self, fault: Fault, subject: Subject, now: int) -> bool:
        if fault.upon is None and fault.rule.spares_reducing and _reduces(subject):
            return False
        if fault.kind is FaultKind.LAG:
            written = subject.changed_at
            if written is None or now - written >= fault.milliseconds():
                return False
        passed = (now - self._started_at) / SECOND_MS
        return (
            fault.after_seconds <= passed
            and (fault.until_seconds is None or passed < fault.until_seconds)
            and fault.symbol in (None, subject.symbol)
            and (fault.client_id is None or fnmatchcase(subject.client_id, fault.client_id))
            and (fault.order_type is None or fnmatchcase(subject.order_type, fault.order_type))
        )

    def _strikes_now(self, entry: _Entry, *, full: bool = False) -> bool:
        """Count one match; `full`: another fault has struck already, so that this one only counts."""
        entry.met += 1
        fault = entry.fault
        if full or entry.spent or (fault.nth is not None and entry.met != fault.nth):
            return False
        if fault.every is not None and entry.met % fault.every:
            return False
        if fault.probability is None:
            return True
        return random.Random(f"{self._seed}/{entry.number}/{entry.met}").random() < fault.probability

    def _strike(self, entry: _Entry, subject: Subject | None, now: int) -> Strike:
        entry.struck += 1
        strike = Strike(at=now, number=entry.number, nth=entry.met, fault=entry.fault, subject=subject)
        self._strikes.append(strike)
        return strike

    def _time_of(self, entry: _Entry) -> int | None:
        """When a fault of time is met next; None: never again."""
        fault = entry.fault
        if fault.rule.at is not Moment.TIME or fault.upon is not None or entry.spent:
            return None
        if entry.met and fault.every_seconds is None:
            return None
        passed = fault.after_seconds + entry.met * (fault.every_seconds or 0.0)
        if fault.until_seconds is not None and passed >= fault.until_seconds:
            return None
        return self._started_at + round(passed * SECOND_MS)

    def _set_due(self) -> None:
        times = [at for entry in self._entries if (at := self._time_of(entry)) is not None]
        self._due_at = min(times, default=None)


def _reduces(call: Subject) -> bool:
    return call.reduce_only or call.name.startswith("DELETE ")
