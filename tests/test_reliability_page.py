"""docs/reliability.md names tests, files, commands, mutants and switches that exist, and every one of the scenarios."""

import ast
import re
from pathlib import Path

from bot.exchange.matching.switches import Switches
from tests.mutants.catalogue import MUTANTS

CHECKOUT = Path(__file__).resolve().parents[1]
PAGE = (CHECKOUT / "docs" / "reliability.md").read_text(encoding="utf-8")
TEN = "tests/simulation/test_ten_failures.py"


def functions_in(path: str) -> set[str]:
    nodes = ast.walk(ast.parse((CHECKOUT / path).read_text(encoding="utf-8")))
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def section(title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def test_every_test_that_is_named_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
    assert len(named) > 30
    assert [f"{path}::{test}" for path, test in named if test not in functions_in(path)] == []


def test_every_file_that_is_named_exists() -> None:
    files = re.findall(r"`((?:tests|deploy|docs|bot)/[\w./-]+)(?:::\w+)?`", PAGE) + [
        f"docs/{page}" for page in re.findall(r"\]\((\w+\.md)\)", PAGE)
    ]
    assert [file for file in files if "NAME" not in file and not (CHECKOUT / file).exists()] == []


def test_every_command_that_is_named_can_be_made() -> None:
    targets = re.findall(r"^([\w-]+):", (CHECKOUT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r"`make ([\w-]+)", PAGE)) <= set(targets)


def test_every_promise_names_what_tests_it() -> None:
    promises = re.findall(r"^(\*\*.*?)(?:\n\n|\Z)", section("What is promised"), re.MULTILINE | re.DOTALL)
    assert len(promises) > 10
    assert [promise.splitlines()[0] for promise in promises if "::test_" not in promise] == []


def test_every_mutant_that_is_named_is_planted() -> None:
    named = {word for words in re.findall(r"mutants?\s((?:`[\w-]+`(?:,\s|\sand\s)?)+)", PAGE) for word in ticked(words)}
    assert len(named) > 20
    assert named <= {mutant.name for mutant in MUTANTS}


def test_the_ten_failures_are_the_scenarios_that_ship_and_their_tests_are_all_named() -> None:
    rows = re.findall(r"^\| \d+ \| `([\w-]+)` \| (.*) \|$", section("The ten hardest failures"), re.MULTILINE)
    assert sorted(name for name, _ in rows) == sorted(p.stem for p in (CHECKOUT / "deploy/scenarios").glob("*.toml"))
    tests = {name for name in functions_in(TEN) if name.startswith("test_")}
    assert {test for _, tests in rows for test in ticked(tests)} == tests


def test_every_switch_is_named_once() -> None:
    cells = re.findall(r"^\| .* \| (`.*) \|$", section("What is unknown about the venue"), re.MULTILINE)
    assert sorted(switch for cell in cells for switch in ticked(cell)) == sorted(Switches.__struct_fields__)


def ticked(words: str) -> list[str]:
    return re.findall(r"`([\w-]+)`", words)
