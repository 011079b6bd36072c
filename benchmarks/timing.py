"""Times that can be compared: the cases of one question are measured in turn, so that noise falls on all of them."""

import statistics
from collections.abc import Callable, Mapping, Sequence

from bot.clock import Stopwatch

Case = Callable[[], object]


def interleave(cases: Mapping[str, Case], rounds: int, *, warm_up: int = 1) -> dict[str, list[float]]:
    """Seconds of each case in each of `rounds` rounds, in which every case runs once."""
    taken: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(-warm_up, rounds):
        for name, case in cases.items():
            took = Stopwatch()
            case()
            seconds = took.seconds
            if number >= 0:
                taken[name].append(seconds)
    return taken


def quotient(above: Sequence[float], below: Sequence[float]) -> float:
    """Median over the rounds of one case's time by another's of the same round."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))
