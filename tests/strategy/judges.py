"""The shipped filters a second time, from docs/rules.md: each allows or not by what stands in its verdict alone."""

from typing import Any

from bot.messages import FilterVerdict, Signal
from bot.strategy.categories import SETS
from bot.strategy.recheck import Judge

MINUTE = 60_000


def sign(signal: Signal) -> int:
    assert signal.side is not None
    return signal.side.sign


def rsi(signal: Signal, verdict: FilterVerdict) -> bool:
    values: Any = verdict.values
    assert values["rsi"] == signal.rsi
    return bool(values["rsi"] <= values["limit"] if sign(signal) > 0 else values["rsi"] >= values["limit"])


def session(signal: Signal, verdict: FilterVerdict) -> bool:
    values: Any = verdict.values
    days, hours = str(values["skip_weekdays"]).split(), str(values["skip_hours"]).split()
    return str(values["weekday"]) not in days and str(values["hour"]) not in hours


def categories(signal: Signal, verdict: FilterVerdict) -> bool:
    values: Any = verdict.values
    scores = [values[name] for name in SETS[values["set"]]]
    agree = sum(1 for score in scores if score is not None and score * sign(signal) > 0)
    assert values["agree"] == agree
    return bool(agree >= values["need"])


def cooldown(signal: Signal, verdict: FilterVerdict) -> bool:
    values: Any = verdict.values
    pauses = (("last_loss_at", "after_loss_minutes"), ("last_entry_at", "after_entry_minutes"))
    return not any(
        values[at] is not None and values["now"] < values[at] + values[minutes] * MINUTE for at, minutes in pauses
    )


def sides(signal: Signal, verdict: FilterVerdict) -> bool:
    return verdict.values["allow"] in ("both", "long" if sign(signal) > 0 else "short")


def trend_agreement(signal: Signal, verdict: FilterVerdict) -> bool:
    values: Any = verdict.values
    if values["age_ms"] is not None and values["age_ms"] > values["stale_after_ms"]:
        return True
    if values["adx"] is None:
        return False
    against = (values["plus_di"] - values["minus_di"]) * sign(signal) < 0
    return not (against and values["adx"] >= values["strength"])


def volatility(signal: Signal, verdict: FilterVerdict) -> bool:
    values: Any = verdict.values
    realised = values["realised_volatility"]
    if realised is not None:
        wanted = 1.0 if realised <= values["cap"] else max(values["min_scale"], values["cap"] / realised)
        assert verdict.scale == wanted
    return realised is not None


JUDGES: dict[str, Judge] = {
    "rsi": rsi,
    "session": session,
    "categories": categories,
    "cooldown": cooldown,
    "sides": sides,
    "trend_agreement": trend_agreement,
    "volatility": volatility,
}
