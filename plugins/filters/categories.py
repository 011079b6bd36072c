"""Vetoes a signal that too few categories of indicators agree with: k of 3, or k of 5."""

from bot.hookspecs import Candidate, Options, hookimpl
from bot.messages import FilterVerdict
from bot.strategy.categories import SETS, measures_of, score

OPTIONS = {"set": 3, "need": 3}


def check_options(options: Options) -> str | None:
    if options["set"] not in SETS:
        return f"set is {options['set']}; expected one of {', '.join(map(str, SETS))}"
    if not 1 <= options["need"] <= options["set"]:
        return f"need is {options['need']}; expected 1 up to {options['set']}"
    return None


@hookimpl
def judge(candidate: Candidate, options: Options) -> FilterVerdict:
    members = SETS[options["set"]]
    scores = {category: score(candidate.categories.votes, names) for category, names in members.items()}
    agree = sum(one is not None and one * candidate.side.sign > 0 for one in scores.values())
    allow = agree >= options["need"]
    reason = "agreed" if allow else "unknown" if None in scores.values() else "disagreed"
    values = {"set": options["set"], "need": options["need"], "agree": agree}
    measured = measures_of(candidate.categories, members)
    return FilterVerdict("categories", allow, reason, {**values, **scores, **measured})
