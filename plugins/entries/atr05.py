"""Waits for a pullback: a limit half an ATR(14) better than the last price."""

from bot.hookspecs import Candidate, EntryPlan, Options, hookimpl
from bot.strategy.rounding import decimal_of

OPTIONS = {"atr_multiple": 0.5}


def check_options(options: Options) -> str | None:
    multiple = options["atr_multiple"]
    return None if multiple >= 0 else f"atr_multiple is {multiple}; expected 0 or more"


@hookimpl
def propose(candidate: Candidate, options: Options) -> EntryPlan:
    better = candidate.side.sign * options["atr_multiple"] * candidate.atr
    return EntryPlan(price=decimal_of(candidate.last_price - better), reason="atr_pullback")
