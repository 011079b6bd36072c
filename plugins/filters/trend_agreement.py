"""Vetoes a signal that a higher timeframe is strongly against, by Wilder's directional movement."""

from bot.hookspecs import Candidate, Options, hookimpl
from bot.messages import FilterVerdict
from bot.strategy.indicators import directional_movement
from bot.strategy.resample import resample

HOUR_MS = 3_600_000
OPTIONS = {"hours": 4, "strength": 25.0}  # hours of a bar of the higher timeframe; its ADX from which on it is strong
STALE_AFTER = 2  # intervals without a new bar


def check_options(options: Options) -> str | None:
    if options["hours"] < 2 or 24 % options["hours"]:
        return f"hours is {options['hours']}; expected one of 2, 3, 4, 6, 8, 12, 24"
    return None if 0 <= options["strength"] <= 100 else f"strength is {options['strength']}; expected 0 up to 100"


@hookimpl
def judge(candidate: Candidate, options: Options) -> FilterVerdict:
    interval_ms = options["hours"] * HOUR_MS
    bars = resample(candidate.bars, interval_ms)
    age_ms = candidate.now - bars.close_at if len(bars) else None
    movement = directional_movement(bars)
    values = {
        "interval_ms": interval_ms,
        "strength": options["strength"],
        "stale_after_ms": STALE_AFTER * interval_ms,
        "age_ms": age_ms,
        "adx": movement.adx if movement else None,
        "plus_di": movement.plus_di if movement else None,
        "minus_di": movement.minus_di if movement else None,
    }
    if age_ms is not None and age_ms > STALE_AFTER * interval_ms:
        return FilterVerdict("trend_agreement", True, "stale", values)
    if movement is None:
        return FilterVerdict("trend_agreement", False, "unknown", values)
    against = candidate.side.sign * (movement.plus_di - movement.minus_di) < 0
    if against and movement.adx >= options["strength"]:
        return FilterVerdict("trend_agreement", False, "strongly_against", values)
    return FilterVerdict("trend_agreement", True, "weakly_against" if against else "not_against", values)
