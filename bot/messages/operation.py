"""What concerns the operation as a whole: account guards, events, progress."""

import enum
from typing import Any

import msgspec

from bot.messages.signals import ReturnKnown, Signal, SignalOutcome


class GuardTrip(msgspec.Struct, frozen=True):
    """An account guard that has tripped and was not released yet."""

    guard: str
    at: int
    value: float  # what it measured, in percent; of the streak a count
    limit: float
    until: int | None  # when it is released by itself; None: by hand


class GuardState(msgspec.Struct, frozen=True, kw_only=True):
    """What the account guards say to a decision. As it stands here there are none."""

    tripped: tuple[GuardTrip, ...] = ()
    equity_at: int | None = None  # when the account's equity was last known; None: never
    unknown_after_ms: int | None = None  # an older equity is none; None: no guard needs it


class GuardsChanged(msgspec.Struct, frozen=True):
    guards: GuardState


class Severity(enum.StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class BotEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `bot.bot_events` and a log line: something that an operator may want to know."""

    at: int
    name: str  # snake_case
    severity: Severity = Severity.INFO
    detail: dict[str, Any] = {}


JournalEntry = Signal | SignalOutcome | ReturnKnown | BotEvent


class Progress(msgspec.Struct, frozen=True):
    """How far the run has come."""

    now: int
    fraction: float | None  # 0 to 1; None where the run has no end
    started_at: int
