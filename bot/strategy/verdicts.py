"""The verdicts on one signal: which are of the bot's own checks, which refuse, and what a refusal is called."""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import msgspec

from bot.messages import FilterVerdict
from bot.strategy.reasons import broken, vetoed_by

# The bot's own checks, in the order in which they are asked; the plugins' filters come after "data".
DATA, STATE, GUARDS, ENTRY, SIZE = "data", "state", "guards", "entry", "size"
VOLUME_CAP, LIQUIDATION, FUNDING, CAPS = "volume_cap", "liquidation", "funding", "caps"
CHECKS = (DATA, STATE, GUARDS, ENTRY, SIZE, VOLUME_CAP, LIQUIDATION, FUNDING, CAPS)

ALLOWED = "allowed"  # a check's reason where it has nothing against the signal
FAULT = "plugin fault: "  # what the reason of a filter that broke its contract begins with

Values = dict[str, float | int | str | bool | None]


class Check(msgspec.Struct, frozen=True, eq=False, gc=False):
    """The word of one of the bot's own checks. Its values are computed when a row tells them: history is decided
    many times as often as it is told."""

    filter: str
    allow: bool
    reason: str
    tell: Callable[..., Values]
    given: tuple[Any, ...]  # what `tell` is called with
    shadow: ClassVar[bool] = False
    scale: ClassVar[float] = 1.0

    @property
    def values(self) -> Values:
        return self.tell(*self.given)

    def verdict(self) -> FilterVerdict:
        return FilterVerdict(self.filter, self.allow, self.reason, self.values)


Word = FilterVerdict | Check


def refuses(verdict: Word) -> bool:
    return not verdict.allow and not verdict.shadow


def reason_of(verdict: Word) -> str:
    """The `decision_reason` that a refusing verdict makes."""
    if verdict.filter in CHECKS:
        return verdict.reason
    return broken(verdict.filter) if verdict.reason.startswith(FAULT) else vetoed_by(verdict.filter)


def first_refusal(verdicts: Iterable[Word]) -> str | None:
    """The reason that decides; None where nothing refuses."""
    for verdict in verdicts:
        if refuses(verdict):
            return reason_of(verdict)
    return None


def scale_of(verdicts: Iterable[Word]) -> float:
    """What the margin is multiplied by: the product over the verdicts that have a say."""
    scale = 1.0
    for verdict in verdicts:
        if not verdict.shadow:
            scale *= verdict.scale
    return scale
