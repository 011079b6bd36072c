"""The catalogue can be planted: each place is there, what is left is Python, and each test that is named exists."""

import ast
from pathlib import Path

import pytest

from tests.mutants.campaign import CHECKOUT, Mutant, Unusable, place
from tests.mutants.catalogue import MUTANTS

ENOUGH = 20


def functions_in(path: Path) -> set[str]:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_there_are_enough_and_each_is_told_apart() -> None:
    assert len(MUTANTS) >= ENOUGH
    assert len({mutant.name for mutant in MUTANTS}) == len({mutant.fault for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_it_stands_once_and_leaves_python_that_differs(mutant: Mutant) -> None:
    before, after = (CHECKOUT / mutant.path).read_text(encoding="utf-8"), place(mutant, CHECKOUT)
    assert ast.dump(ast.parse(after)) != ast.dump(ast.parse(before))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_tests_that_see_it_exist(mutant: Mutant) -> None:
    assert mutant.caught_by
    for argument in mutant.caught_by:
        path, _, name = argument.partition("::")
        assert (CHECKOUT / path).is_file(), argument
        assert not name or name.partition("[")[0] in functions_in(CHECKOUT / path), argument


def test_a_place_that_is_gone_or_stands_twice_is_refused(tmp_path: Path) -> None:
    mutant = MUTANTS[0]
    target = tmp_path / mutant.path
    target.parent.mkdir(parents=True)
    for text in ("", mutant.old * 2):
        target.write_text(text, encoding="utf-8")
        with pytest.raises(Unusable, match=mutant.name):
            place(mutant, tmp_path)
