"""What each filter and check saved or cost: the signals it refused, by what came or would have come of them. Pure."""

import math
from collections.abc import Iterable

import msgspec

from bot.messages import FilterVerdict, Signal
from bot.strategy.counterfactual import CF_EXPIRED, CF_FILLED, CF_REJECTED
from bot.strategy.verdicts import CHECKS, ENTRY, SIZE, refuses

FILLED = ("filled", "partial", CF_FILLED)
NOT_FILLED = ("expired", "rejected", CF_EXPIRED, CF_REJECTED)
ENOUGH = 30  # results below which a mean says nothing
SURE = 2.0  # standard errors that a mean must lie from zero


class Results(msgspec.Struct, kw_only=True):
    """Net results of a group of signals, entered or followed; money in USDT."""

    signals: int = 0
    followed: int = 0  # those whose end is known, filled or not
    filled: int = 0
    won: int = 0
    net: float = 0.0
    squares: float = 0.0

    def add(self, signal: Signal) -> None:
        self.signals += 1
        self.followed += signal.fill_status in (*FILLED, *NOT_FILLED)
        if signal.fill_status in FILLED and signal.net_pnl is not None:
            result = float(signal.net_pnl)
            self.filled += 1
            self.won += result > 0
            self.net += result
            self.squares += result * result

    @property
    def mean(self) -> float | None:
        return self.net / self.filled if self.filled else None

    @property
    def win_rate(self) -> float | None:
        return self.won / self.filled if self.filled else None

    @property
    def error(self) -> float | None:
        """The standard error of the mean."""
        if self.filled < 2:
            return None
        variance = max(0.0, self.squares - self.net * self.net / self.filled) / (self.filled - 1)
        return math.sqrt(variance / self.filled)


class Worth(msgspec.Struct, frozen=True, kw_only=True):
    """One filter or check. What it saved is what the signals that it alone refused would have lost."""

    name: str
    check: bool  # the bot's own
    shadow: bool
    asked: int
    vetoed: Results  # whoever else refused too
    alone: Results  # nobody else refused
    passed: Results  # it allowed

    @property
    def saved(self) -> float:
        return -self.alone.net

    @property
    def caution(self) -> str:
        """Why not to trust the numbers yet; empty where they are many and of one mind."""
        if not self.alone.signals:
            return "never alone" if self.vetoed.signals else "never refused"
        if self.name in (ENTRY, SIZE):
            return "cannot be followed"  # what they refuse has no price or no size
        if not self.alone.filled:
            return "no result yet"
        if self.alone.filled < ENOUGH:
            return "only 1 result" if self.alone.filled == 1 else f"only {self.alone.filled} results"
        mean, error = self.alone.mean, self.alone.error
        if mean is not None and error is not None and abs(mean) < SURE * error:
            return "within chance"
        return ""


class _Found(msgspec.Struct):
    shadow: bool
    asked: int = 0
    vetoed: Results = msgspec.field(default_factory=lambda: Results())
    alone: Results = msgspec.field(default_factory=lambda: Results())
    passed: Results = msgspec.field(default_factory=lambda: Results())


class Worths:
    """Takes candidates' rows, others are passed over, then tells what each filter and check was worth."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, bool], _Found] = {}

    def update(self, signals: Iterable[Signal]) -> None:
        for signal in signals:
            if any(verdict.filter == ENTRY for verdict in signal.filter_verdicts):
                for verdict in signal.filter_verdicts:
                    self._add(signal, verdict)

    def _add(self, signal: Signal, verdict: FilterVerdict) -> None:
        found = self._found.setdefault((verdict.filter, verdict.shadow), _Found(verdict.shadow))
        found.asked += 1
        if verdict.allow:
            found.passed.add(signal)
            return
        found.vetoed.add(signal)
        if not any(refuses(other) for other in signal.filter_verdicts if other.filter != verdict.filter):
            found.alone.add(signal)

    def told(self) -> list[Worth]:
        """Filters before checks, those that refused most first."""
        worths = [
            Worth(
                name=name,
                check=name in CHECKS,
                shadow=shadow,
                asked=found.asked,
                vetoed=found.vetoed,
                alone=found.alone,
                passed=found.passed,
            )
            for (name, shadow), found in self._found.items()
        ]
        return sorted(worths, key=lambda worth: (worth.check, -worth.vetoed.signals, worth.name))
