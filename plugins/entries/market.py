"""Enters at market, at once."""

from bot.hookspecs import Candidate, EntryPlan, Options, hookimpl


@hookimpl
def propose(candidate: Candidate, options: Options) -> EntryPlan:
    return EntryPlan(reason="at_market")
