"""docs/rules.md has a place for every plugin and every built-in rule."""

import re
from pathlib import Path

import pytest

from bot.plugin_host import default_folder
from bot.strategy.categories import INDICATORS, SETS
from bot.strategy.exits import REASONS
from bot.strategy.guards import NAMES as GUARDS
from bot.strategy.verdicts import CHECKS

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "rules.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


def files(kind: str) -> list[str]:
    return sorted(path.stem for path in (default_folder() / kind).glob("*.py") if not path.stem.startswith("_"))


@pytest.mark.parametrize(("section", "kind"), [("Filters", "filters"), ("Entries", "entries"), ("Tiers", "tiers")])
def test_every_plugin_has_a_section_and_every_section_a_plugin(section: str, kind: str) -> None:
    assert sorted(re.findall(r"^### (\w+)$", SECTIONS[section], re.MULTILINE)) == files(kind)


@pytest.mark.parametrize(
    ("section", "names"),
    [
        ("Checks", CHECKS),
        ("Exits", REASONS),
        ("Account guards", GUARDS),
        ("Indicators", [measure for one in INDICATORS for measure in one.measures if measure != "close"]),
    ],
)
def test_every_built_in_rule_is_named_in_its_section(section: str, names: list[str]) -> None:
    assert [name for name in names if f"`{name}`" not in SECTIONS[section]] == []


def test_the_categories_are_those_of_the_code() -> None:
    rows = re.findall(
        r"^\| ?([a-z]*) \| `(\w+)` \| .*\|$", SECTIONS["Indicators"].split("### Categories")[1], re.MULTILINE
    )
    category, listed = "", []
    for given, indicator in rows:
        category = given or category
        listed.append((category, indicator))
    assert listed == [(one.category, one.name) for one in INDICATORS]
    for number, members in SETS.items():
        [row] = re.findall(rf"^\| {number} \| (.*) \|$", SECTIONS["Indicators"], re.MULTILINE)
        cells = [tuple(re.findall(r"`(\w+)`", cell)) for cell in row.split("|")]
        assert [cell for cell in cells if cell] == list(members.values())
