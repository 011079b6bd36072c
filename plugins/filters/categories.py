"""Vetoes a signal that too few categories of indicators agree with: k of 3, or k of 5."""

from bot.hookspecs import Candidate, Options, hookimpl
from bot.messages import FilterVerdict
from bot.strategy.categories import SETS, measures_of, score

OPTIONS = {"set": 3, "need": 3}


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
