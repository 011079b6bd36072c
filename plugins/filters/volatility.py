"""Shrinks the size of a signal in a market that swings more than a cap; vetoes nothing that can be measured."""

import math

from bot.hookspecs import Candidate, Options, hookimpl
from bot.messages import FilterVerdict
from bot.strategy.volatility import realised_volatility

OPTIONS = {"cap_pct": 100.0, "min_scale": 0.25, "bars": 24}  # cap_pct: of price, annualised; bars: returns measured


def check_options(options: Options) -> str | None:
    if options["cap_pct"] <= 0:
        return f"cap_pct is {options['cap_pct']}; expected above 0"
    if not 0 < options["min_scale"] <= 1:
        return f"min_scale is {options['min_scale']}; expected above 0 and at most 1"
    return None if options["bars"] >= 2 else f"bars is {options['bars']}; expected 2 or more"


@hookimpl
def judge(candidate: Candidate, options: Options) -> FilterVerdict:
    cap, least = options["cap_pct"] / 100, options["min_scale"]
    realised = realised_volatility(candidate.bars.close, options["bars"], candidate.bars.interval_ms)
    known = math.isfinite(realised)
    scale = max(least, cap / realised) if realised > cap else 1.0
    values = {
        "realised_volatility": realised if known else None,
        "cap": cap,
        "min_scale": least,
        "bars": options["bars"],
        "scale": scale if known else None,
    }
    if not known:
        return FilterVerdict("volatility", False, "unknown", values)
    return FilterVerdict("volatility", True, "shrunk" if scale < 1 else "within_cap", values, scale=scale)
