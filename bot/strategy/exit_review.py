"""Positions held against the recorded prices: which exit rule should have fired, and did it ever. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from bot.messages import Bars, Position, Severity
from bot.strategy.audit import Finding
from bot.strategy.follow import Ending, Path, ending

SOME_MISSED = 0.2  # share of the positions that a rule should have ended, from which on misses are told of


class Missed(msgspec.Struct, frozen=True):
    """A rule that should have ended a position, and the time at which it should have."""

    position: Position
    rule: str
    due_at: int


def missed_exit(position: Position, bars: Bars, until: int) -> Missed | None:
    """The rule that the recorded bars say should have ended a position more than a bar before it ended.

    A position that is open still has not ended before `until`. Only where both orders of a bar's extremes say the same
    rule: what depends on the order is nobody's fault.
    """
    if position.entry_price is None or position.opened_at is None:
        return None
    ended_at = until if position.closed_at is None else position.closed_at
    ends = [
        ending(position.side, float(position.entry_price), position.opened_at, position.exits, bars, path)
        for path in Path
    ]
    found = [end for end in ends if isinstance(end, Ending)]
    if len(found) < len(ends) or len({end.reason for end in found}) > 1 or found[0].reason == position.exit_reason:
        return None
    due_at = max(end.at for end in found)
    return Missed(position, found[0].reason, due_at) if due_at + bars.interval_ms < ended_at else None


def review(missed: Iterable[Missed], fired: Mapping[tuple[str, str], int]) -> list[Finding]:
    """`fired`: how many positions each (variant, rule) ended in the days that are looked at."""
    cases = list(missed)
    counts = Counter((one.position.variant, one.rule) for one in cases)
    found = []
    for (variant, rule), count in counts.items():
        ended = fired.get((variant, rule), 0)
        if ended and count < SOME_MISSED * (count + ended):
            continue
        first = next(one for one in cases if (one.position.variant, one.rule) == (variant, rule))
        never = "never fired" if not ended else f"fired {ended} times"
        found.append(
            Finding(
                rule="exit_rule_missed",
                severity=Severity.WARNING if ended else Severity.ERROR,
                subject=f"{variant} {rule}",
                words=f"{rule} {never}, and the recorded prices say it should have ended {count} positions that "
                f"ended later or are open still",
                detail={
                    "missed": count,
                    "fired": ended,
                    "position_id": first.position.position_id,
                    "due_at": first.due_at,
                    "ended_by": first.position.exit_reason,
                },
            )
        )
    return found
