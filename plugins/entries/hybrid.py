"""Waits where two measures of a pullback agree: halfway between the ATR's level and the Fibonacci level."""

from bot.hookspecs import Candidate, EntryPlan, Options, hookimpl
from bot.strategy.indicators import last_leg
from bot.strategy.rounding import decimal_of

# atr_multiple, ratio and width are those of atr05 and fib; agree_atr: how many ATR(14) the two levels may lie apart.
OPTIONS = {"atr_multiple": 0.5, "ratio": 0.382, "width": 3, "agree_atr": 1.0}


def check_options(options: Options) -> str | None:
    for name in ("atr_multiple", "agree_atr"):
        if options[name] < 0:
            return f"{name} is {options[name]}; expected 0 or more"
    if not 0 <= options["ratio"] <= 1:
        return f"ratio is {options['ratio']}; expected 0 up to 1"
    return None if options["width"] >= 1 else f"width is {options['width']}; expected 1 or more"


@hookimpl
def propose(candidate: Candidate, options: Options) -> EntryPlan | str:
    leg = last_leg(candidate.bars, candidate.side, options["width"])
    if leg is None:
        return "no_swing"
    sign, last = candidate.side.sign, candidate.last_price
    retraced = leg.retraced(options["ratio"])
    if sign * (retraced - last) > 0:
        return "retraced_already"
    pulled_back = last - sign * options["atr_multiple"] * candidate.atr
    if abs(retraced - pulled_back) > options["agree_atr"] * candidate.atr:
        return "levels_apart"
    return EntryPlan(price=decimal_of((retraced + pulled_back) / 2), reason="levels_agree")
