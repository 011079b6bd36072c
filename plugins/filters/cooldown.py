"""Vetoes an entry too soon after the variant's last entry or its last loss on the same symbol."""

from bot.hookspecs import Candidate, Options, hookimpl
from bot.messages import FilterVerdict

MINUTE_MS = 60_000
OPTIONS = {"after_loss_minutes": 60, "after_entry_minutes": 0}  # 0: no pause


def check_options(options: Options) -> str | None:
    for name, value in options.items():
        if value < 0:
            return f"{name} is {value}; expected 0 or more"
    return None if any(options.values()) else f"{' and '.join(options)} are 0; expected one of them above"


@hookimpl
def judge(candidate: Candidate, options: Options) -> FilterVerdict:
    recent, now = candidate.recent, candidate.now
    loss_until = _until(recent.last_loss_at, options["after_loss_minutes"])
    entry_until = _until(recent.last_entry_at, options["after_entry_minutes"])
    values = {
        "now": now,
        "last_loss_at": recent.last_loss_at,
        "after_loss_minutes": options["after_loss_minutes"],
        "last_entry_at": recent.last_entry_at,
        "after_entry_minutes": options["after_entry_minutes"],
    }
    reason = "after_loss" if now < loss_until else "after_entry" if now < entry_until else "rested"
    return FilterVerdict("cooldown", reason == "rested", reason, values)


def _until(at: int | None, minutes: int) -> int:
    return 0 if at is None else at + minutes * MINUTE_MS
