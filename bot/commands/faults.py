"""The table of everything that can go wrong at the simulated venue."""

from bot.commands.output import print_json, print_table, table
from bot.exchange.fault_kinds import RULES, FaultKind, KindRule


def print_faults(*, as_json: bool) -> None:
    """Every kind: what it strikes, what it does, what it takes."""
    if as_json:
        print_json([_row(kind, rule) for kind, rule in RULES.items()])
        return
    shown = table("Kind", "Strikes", "On", "What happens", "Takes", fold="What happens Takes")
    for kind, rule in RULES.items():
        shown.add_row(kind, rule.at, rule.on, rule.says, "\n".join(_parameters(rule)))
    print_table(shown)


def _parameters(rule: KindRule) -> list[str]:
    told = [f"form: {' | '.join(rule.forms)}"] if rule.forms else []
    for name in ("seconds", "value", "key"):
        meaning = getattr(rule, name)
        if meaning:
            needed = " (needed)" if name in rule.needs else ""
            told.append(f"{name}: {meaning}{needed}")
    if rule.keys:
        told.append(f"key is one of {', '.join(rule.keys)}")
    return told


def _row(kind: FaultKind, rule: KindRule) -> dict[str, object]:
    return {
        "kind": kind.value,
        "strikes": rule.at.value,
        "on": rule.on,
        "says": rule.says,
        "forms": rule.forms,
        "seconds": rule.seconds,
        "value": rule.value,
        "key": rule.key,
        "keys": rule.keys,
        "needs": sorted(rule.needs),
    }
