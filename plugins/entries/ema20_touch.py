"""Waits for a touch of the average: a limit at the EMA(20) of the closes, where that is the better price."""

import math

from bot.hookspecs import Candidate, EntryPlan, Options, hookimpl
from bot.strategy.indicators import ema
from bot.strategy.rounding import decimal_of

OPTIONS = {"period": 20}


def check_options(options: Options) -> str | None:
    return None if options["period"] >= 2 else f"period is {options['period']}; expected 2 or more"


@hookimpl
def propose(candidate: Candidate, options: Options) -> EntryPlan | str:
    level = ema(candidate.bars.close, options["period"])
    if not math.isfinite(level):
        return "no_average"
    if candidate.side.sign * (level - candidate.last_price) > 0:
        return "beyond_average"
    return EntryPlan(price=decimal_of(level), reason="average_touch")
