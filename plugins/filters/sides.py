"""Vetoes the signals of one side."""

from bot.hookspecs import Candidate, Options, hookimpl
from bot.messages import FilterVerdict

SIDES = ("both", "long", "short")
OPTIONS = {"allow": "both"}


def check_options(options: Options) -> str | None:
    return None if options["allow"] in SIDES else f"allow is {options['allow']}; expected one of {', '.join(SIDES)}"


@hookimpl
def judge(candidate: Candidate, options: Options) -> FilterVerdict:
    side = candidate.side.value.lower()
    allow = options["allow"] in ("both", side)
    return FilterVerdict("sides", allow, "wanted" if allow else "unwanted", {"side": side, "allow": options["allow"]})
