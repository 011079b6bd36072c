"""Waits where the last swing in the signal's direction would have given back 38.2 % of itself."""

from bot.hookspecs import Candidate, EntryPlan, Options, hookimpl
from bot.strategy.indicators import last_leg
from bot.strategy.rounding import decimal_of

OPTIONS = {"ratio": 0.382, "width": 3}  # width: bars on each side that confirm a turning point


@hookimpl
def propose(candidate: Candidate, options: Options) -> EntryPlan | str:
    leg = last_leg(candidate.bars, candidate.side, options["width"])
    if leg is None:
        return "no_swing"
    level = leg.retraced(options["ratio"])
    if candidate.side.sign * (level - candidate.last_price) > 0:
        return "retraced_already"
    return EntryPlan(price=decimal_of(level), reason="retracement")
