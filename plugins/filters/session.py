"""Vetoes every signal of certain weekdays and hours (UTC); a tier's skip windows are the defaults."""

from datetime import UTC, datetime

from bot.hookspecs import Candidate, Options, hookimpl
from bot.messages import FilterVerdict

OPTIONS: dict[str, list[int]] = {"skip_weekdays": [], "skip_hours": []}  # Monday is 0


@hookimpl
def judge(candidate: Candidate, options: Options) -> FilterVerdict:
    at = datetime.fromtimestamp(candidate.now / 1000, UTC)
    reason = "in_session"
    if at.weekday() in options["skip_weekdays"]:
        reason = "weekday_skipped"
    elif at.hour in options["skip_hours"]:
        reason = "hour_skipped"
    values: dict[str, float | int | str | bool | None] = {"weekday": at.weekday(), "hour": at.hour}
    values |= {name: " ".join(map(str, options[name])) for name in OPTIONS}
    return FilterVerdict("session", reason == "in_session", reason, values)
