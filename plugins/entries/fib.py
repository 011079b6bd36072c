"""Waits where the last swing in the signal's direction would have given back 38.2 % of itself."""

from bot.hookspecs import Candidate, EntryPlan, Options, hookimpl
from bot.strategy.indicators import last_leg
from bot.strategy.rounding import decimal_of

OPTIONS = {"ratio": 0.382, "width": 3}  # width: bars on each side that confirm a turning point


def check_options(options: Options) -> str | None:
    if not 0 <= options["ratio"] <= 1:
        return f"ratio is {options['ratio']}; expected 0 up to 1"
    return None if options["width"] >= 1 else f"width is {options['width']}; expected 1 or more"


@hookimpl
def propose(candidate: Candidate, options: Options) -> EntryPlan | str:
    leg = last_leg(candidate.bars, candidate.side, options["width"])
    if leg is None:
        return "no_swing"
    level = leg.retraced(options["ratio"])
    if candidate.side.sign * (level - candidate.last_price) > 0:
        return "retraced_already"
    return EntryPlan(price=decimal_of(level), reason="retracement")
