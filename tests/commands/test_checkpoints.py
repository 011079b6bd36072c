"""The command `checkpoints` as an operator uses it, from the import to the way back."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from bot.__main__ import main
from bot.forecast.checkpoints import Loaded, StretchScore
from bot.forecast.registry import ADAPTER
from tests.forecast.checkpoints_made import change_manifest, make_adapter, make_base, random_module

Say = Callable[..., tuple[int, str, str]]
SCORE = StretchScore(
    horizon=4,
    symbols=2,
    ic=0.0512,
    ic_reversal_24h=0.04,
    symbols_above_reversal=1,
    loss=0.33,
    loss_last_value=0.34,
    coverage_q10_q90=0.8,
    by_symbol={},
)


@pytest.fixture
def base(tmp_path: Path) -> Loaded:
    return make_base(tmp_path)


@pytest.fixture
def say(tmp_path: Path, base: Loaded, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Say:
    """Run `checkpoints WORDS` on the tiny base; exit status, stdout, stderr."""
    config = tmp_path / "bot.toml"
    config.write_text('[model]\nbase = "tiny"\ncontext = 64\n')
    monkeypatch.setenv("COLUMNS", "170")

    def run(*words: str) -> tuple[int, str, str]:
        with_base = ["--config", str(config)] if words[0] not in ("list", "show") else []
        status = main(["checkpoints", *words, "--checkpoints", str(tmp_path), *with_base])
        told = capsys.readouterr()
        return status, told.out, told.err

    return run


def as_json(told: tuple[int, str, str]) -> Any:
    status, out, err = told
    assert (status, err) == (0, "")
    return json.loads(out)


def fault(told: tuple[int, str, str]) -> str:
    status, _, err = told
    assert status == 2
    assert err.count("\n") == 1
    return err


def test_import_activate_activate_rollback(tmp_path: Path, say: Say) -> None:
    for seed, name in ((3, "best_one_merged.pt"), (4, "best_two_merged.pt")):
        torch.save(random_module(seed).state_dict(), tmp_path / name)
    status, out, _ = say("import", "t1", str(tmp_path / "best_one_merged.pt"))
    assert status == 0
    assert "a full checkpoint of" in out
    assert "`checkpoints activate t1 best-one-merged`" in out
    imported = as_json(
        say("import", "t1", str(tmp_path / "best_two_merged.pt"), "--id", "two", "--licence", "MIT", "--json")
    )
    assert imported["checkpoint"] == "two"
    assert [row["active"] for row in as_json(say("list", "--json"))] == [False, False]

    status, out, _ = say("activate", "t1", "best-one-merged")
    assert status == 0
    assert "goes back to base" in out
    told = as_json(say("activate", "t1", "two", "--json"))
    assert (told["checkpoint"], told["serves_as"], told["steps_back"]) == ("two", imported["serves_as"], 2)
    rows = {row["id"]: row for row in as_json(say("list", "t1", "--json"))}
    assert (rows["two"]["active"], rows["two"]["licence"], rows["best-one-merged"]["licence"]) == (True, "MIT", None)

    assert as_json(say("rollback", "t1", "--json"))["checkpoint"] == "best-one-merged"
    status, out, _ = say("rollback", "t1")
    assert "now runs on the base; nothing was active before" in out
    assert "nothing was active before; `checkpoints activate t1 base`" in fault(say("rollback", "t1"))


def test_a_checkpoint_is_shown_with_its_scores_and_what_was_active(tmp_path: Path, base: Loaded, say: Say) -> None:
    cutoff = 1_733_011_200_000
    score = msgspec.to_builtins(SCORE)
    make_adapter(tmp_path, base, "a", cutoff=cutoff, validation=score)
    say("activate", "t1", "a")
    status, out, _ = say("list")
    assert status == 0
    row = next(line for line in out.splitlines() if line.startswith("t1"))
    assert row.split() == [
        *("t1", "a", "active", "dora", "4", "qkv_proj", "out", "ff0", "ff1", "0.01", "2024-12-01", "+0.0512", "tiny"),
        "MIT",
    ]
    status, out, _ = say("show", "t1")
    assert status == 0
    for text in ("(active)", "dora rank 4, alpha 8, on qkv_proj, out, ff0, ff1", "+0.0512", "2024-12-01", "a (now)"):
        assert text in out
    shown = as_json(say("show", "t1", "a", "--json"))
    assert (shown["active"], shown["manifest"]["validation"]["ic"]) == (True, 0.0512)
    assert [one["checkpoint"] for one in shown["pointer"]["history"]] == ["base"]


def test_verify_tells_of_each_and_fails_where_one_is_refused(tmp_path: Path, base: Loaded, say: Say) -> None:
    make_adapter(tmp_path, base, "good")
    make_adapter(tmp_path, base, "bad", tier="t2")
    assert [one["ok"] for one in as_json(say("verify", "--json"))] == [True, True]
    path = tmp_path / "t2" / "bad" / ADAPTER
    path.write_bytes(path.read_bytes()[:-1])
    told = say("verify", "--json")
    assert [one["ok"] for one in json.loads(told[1])] == [True, False]
    assert f"1 of 2 refused: {path}: " in fault(told)
    assert as_json(say("verify", "t1", "--json"))[0]["ok"]
    assert as_json(say("verify", "t1", "good", "--json"))[0]["ok"]
    status, out, _ = say("verify", "t1")
    assert (status, f"fits tiny@{base.base.sha256[:8]}" in out) == (0, True)
    assert str(path) in fault(say("activate", "t2", "bad"))


def test_a_broken_manifest_is_a_row_and_not_the_end_of_the_list(tmp_path: Path, base: Loaded, say: Say) -> None:
    make_adapter(tmp_path, base, "good")
    change_manifest(make_adapter(tmp_path, base, "bad"), format=7)
    rows = {row["id"]: row for row in as_json(say("list", "--json"))}
    assert rows["good"]["fault"] is None
    assert "manifest.json" in rows["bad"]["fault"]
    status, out, _ = say("list")
    assert status == 0
    assert "broken" in out


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["activate", "t1", "nowhere"], "there is no checkpoint 'nowhere' of tier t1; there are: a"),
        (["activate", "../t1", "a"], "tier '../t1': expected"),
        (["activate", "typo", "base"], "there is no such tier"),
        (["show", "t1", "nowhere"], "there are: a"),
        (["show", "t1"], "tier t1 runs on the base"),
        (["list", "a/b"], "tier 'a/b': expected"),
        (["list", "t11"], "without one it runs on the base; there are: t1"),
        (["verify", "t11"], "without one it runs on the base; there are: t1"),
        (["verify", "tiny"], "a base and no tier"),
        (["activate", "tiny", "base"], "a base and no tier"),
        (["import", "t1", "nowhere.pt"], "nowhere.pt: no such file or folder"),
        (["import", "t1", ".", "--id", "a.b"], "checkpoint 'a.b': expected"),
        (["activate", "t1"], "see python -m bot checkpoints activate --help"),
    ],
)
def test_an_operators_fault_is_one_line_that_says_what_to_do(
    tmp_path: Path, base: Loaded, say: Say, words: list[str], text: str
) -> None:
    make_adapter(tmp_path, base, "a")
    assert text in fault(say(*words))


def test_where_there_is_nothing_the_list_says_what_runs(say: Say) -> None:
    assert as_json(say("list", "--json")) == []
    status, out, _ = say("list")
    assert (status, "every tier runs on the base" in out) == (0, True)
    status, out, _ = say("verify")
    assert (status, "no checkpoint to verify" in out) == (0, True)


def test_an_operator_without_a_name_is_known_by_number(
    tmp_path: Path, base: Loaded, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_adapter(tmp_path, base, "a")
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 54_321)  # as in a container that is given a user of its own
    assert as_json(say("activate", "t1", "a", "--json"))["by"].startswith("user 54321@")
