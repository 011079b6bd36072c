"""Vetoes a LONG in an overbought market and a SHORT in an oversold one, by RSI(14)."""

from bot.hookspecs import Candidate, Options, hookimpl
from bot.messages import FilterVerdict, Side

OPTIONS = {"long_above": 60.0, "short_below": 40.0}


def check_options(options: Options) -> str | None:
    for name, value in options.items():
        if not 0 < value < 100:
            return f"{name} is {value}; expected above 0 and below 100"
    return None


@hookimpl
def judge(candidate: Candidate, options: Options) -> FilterVerdict:
    limit = options["long_above" if candidate.side is Side.LONG else "short_below"]
    beyond = candidate.side.sign * (candidate.rsi - limit) > 0
    reason = {Side.LONG: "overbought", Side.SHORT: "oversold"}[candidate.side] if beyond else "within_limits"
    return FilterVerdict("rsi", not beyond, reason, {"rsi": candidate.rsi, "limit": limit})
