"""Waits at the nearest of yesterday's floor pivots (S1, P, R1) that is a better price than the last one."""

from bot.hookspecs import Candidate, EntryPlan, Options, hookimpl
from bot.strategy.pivots import last_day
from bot.strategy.rounding import decimal_of

OPTIONS = {"max_atr": 3.0}  # a level further away than so many ATR(14) is not waited for


def check_options(options: Options) -> str | None:
    return None if options["max_atr"] > 0 else f"max_atr is {options['max_atr']}; expected above 0"


@hookimpl
def propose(candidate: Candidate, options: Options) -> EntryPlan | str:
    pivots = last_day(candidate.bars)
    if pivots is None:
        return "no_whole_day"
    sign, last = candidate.side.sign, candidate.last_price
    levels = (pivots.support, pivots.pivot, pivots.resistance)
    better = [level for level in levels if sign * (last - level) >= 0]
    if not better:
        return "beyond_pivots"
    nearest = max(better) if sign > 0 else min(better)
    if abs(last - nearest) > options["max_atr"] * candidate.atr:
        return "pivot_too_far"
    return EntryPlan(price=decimal_of(nearest), reason="pivot_retracement")
