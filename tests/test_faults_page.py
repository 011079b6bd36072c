"""docs/faults.md says what bot/exchange/fault_kinds.py does, and names every key of a fault and every scenario."""

import re
import tomllib
from pathlib import Path

import pytest

from bot.config import decode
from bot.exchange.fault_kinds import RULES, FaultKind
from bot.exchange.faults import Fault, Scenario

CHECKOUT = Path(__file__).resolve().parent.parent
PAGE = (CHECKOUT / "docs" / "faults.md").read_text(encoding="utf-8")


def rows() -> dict[str, list[str]]:
    """By kind: on, what happens, takes."""
    lines = PAGE.partition("## What can go wrong")[2].splitlines()
    cells = ([cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("| `"))
    return {kind.strip("`"): rest for kind, *rest in cells}


KINDS = rows()


def test_the_page_has_every_kind_and_no_other() -> None:
    assert KINDS.keys() == {kind.value for kind in FaultKind}


@pytest.mark.parametrize("kind", FaultKind)
def test_the_page_says_what_a_kind_does_and_takes(kind: FaultKind) -> None:
    rule = RULES[kind]
    on, says, takes = KINDS[kind]
    assert (on.strip("`"), says) == (rule.on, rule.says)
    for name in ("seconds", "value"):
        meaning = getattr(rule, name)
        star = "*" if name in rule.needs else ""
        assert (f"`{name}`{star}: {meaning}" in takes) == bool(meaning)
    assert [form for form in rule.forms if f"`{form}`" not in takes] == []
    assert [key for key in rule.keys if f"`{key}`" not in takes] == []


def test_every_key_of_a_fault_is_explained() -> None:
    explained = set(re.findall(r"`(\w+)`", PAGE.partition("| key of `[[fault]]`")[2].partition("\n\n")[0]))
    assert set(Fault.__struct_fields__) <= explained


def test_the_example_is_a_scenario() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert len(decode(tomllib.loads(example), Scenario, "docs/faults.md").fault) == 2


def test_every_scenario_that_ships_is_named() -> None:
    files = {path.stem for path in (CHECKOUT / "deploy" / "scenarios").glob("*.toml")}
    assert files == set(re.findall(r"^\| `([a-z-]+)` \|", PAGE.partition("## A scenario file")[0], re.MULTILINE))


def test_every_kind_is_tested_over_the_simulators_sockets() -> None:
    tests = "".join(path.read_text(encoding="utf-8") for path in (CHECKOUT / "tests/exchange/simulator").glob("*.py"))
    assert [kind.value for kind in FaultKind if f'"{kind}"' not in tests] == []
