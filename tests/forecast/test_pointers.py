"""What is activated for a tier: changed in one step or not at all, and the way back."""

import os
from pathlib import Path

import pytest

from bot.errors import ModelRefused
from bot.forecast import pointers
from bot.forecast.checkpoints import Loaded
from bot.forecast.pointers import POINTER, Pointer
from bot.forecast.registry import ADAPTER
from tests.forecast.checkpoints_made import make_adapter, make_base, make_full


@pytest.fixture
def base(tmp_path: Path) -> Loaded:
    loaded = make_base(tmp_path)
    for name in ("a", "b", "c"):
        make_adapter(tmp_path, loaded, name)
    return loaded


def activate(directory: Path, base: Loaded, name: str, at: int = 1, tier: str = "t1") -> Pointer:
    return pointers.activate(directory, tier, name, base.base, at=at, by="ada@desk")


def rollback(directory: Path, base: Loaded, at: int = 9) -> str:
    return pointers.rollback(directory, "t1", base.base, at=at, by="ada@desk").current.checkpoint


def test_a_tier_runs_on_the_base_until_something_is_activated(tmp_path: Path, base: Loaded) -> None:
    assert pointers.current(tmp_path, "t1") == "base"
    assert pointers.identity(tmp_path, "t1") is None
    activate(tmp_path, base, "a", at=5)
    pointer = pointers.read(tmp_path, "t1")
    assert pointer is not None
    assert (pointer.current.checkpoint, pointer.current.at, pointer.current.by) == ("a", 5, "ada@desk")


def test_each_rollback_goes_one_further_back_until_nothing_was_before(tmp_path: Path, base: Loaded) -> None:
    for name in ("a", "b", "base", "c"):
        activate(tmp_path, base, name)
    assert [rollback(tmp_path, base) for _ in range(4)] == ["base", "b", "a", "base"]
    with pytest.raises(ModelRefused, match="nothing was active before; `checkpoints activate t1 base`"):
        rollback(tmp_path, base)
    assert pointers.current(tmp_path, "t1") == "base"


def test_an_activation_after_a_rollback_keeps_the_way_back(tmp_path: Path, base: Loaded) -> None:
    activate(tmp_path, base, "a")
    activate(tmp_path, base, "b")
    rollback(tmp_path, base)
    activate(tmp_path, base, "c")
    assert [rollback(tmp_path, base) for _ in range(2)] == ["a", "base"]


def test_the_same_checkpoint_again_is_a_new_word_and_no_step_of_the_way_back(tmp_path: Path, base: Loaded) -> None:
    activate(tmp_path, base, "a", at=1)
    before = pointers.identity(tmp_path, "t1")
    activate(tmp_path, base, "a", at=2)
    assert pointers.identity(tmp_path, "t1") != before
    assert rollback(tmp_path, base) == "base"


def test_a_full_checkpoint_can_be_activated(tmp_path: Path, base: Loaded) -> None:
    make_full(tmp_path, base, "f")
    assert activate(tmp_path, base, "f").current.checkpoint == "f"


def test_a_checkpoint_that_is_refused_leaves_the_pointer_as_it_was(tmp_path: Path, base: Loaded) -> None:
    activate(tmp_path, base, "a")
    before = pointers.identity(tmp_path, "t1")
    broken = tmp_path / "t1" / "b" / ADAPTER
    broken.write_bytes(broken.read_bytes()[:-1])
    for name in ("b", "nowhere", "../a", "active"):
        with pytest.raises(ModelRefused):
            activate(tmp_path, base, name)
    assert pointers.identity(tmp_path, "t1") == before


def test_a_rollback_to_what_is_broken_by_now_is_refused(tmp_path: Path, base: Loaded) -> None:
    activate(tmp_path, base, "a")
    activate(tmp_path, base, "b")
    (tmp_path / "t1" / "a" / ADAPTER).unlink()
    with pytest.raises(ModelRefused, match=ADAPTER):
        rollback(tmp_path, base)
    assert pointers.current(tmp_path, "t1") == "b"


def test_a_tier_that_has_no_folder_is_not_made_by_activating_the_base(tmp_path: Path, base: Loaded) -> None:
    with pytest.raises(ModelRefused, match="there is no such tier"):
        activate(tmp_path, base, "base", tier="typo")
    assert not (tmp_path / "typo").exists()


def test_the_base_activated_first_leaves_nothing_to_go_back_to(tmp_path: Path, base: Loaded) -> None:
    assert activate(tmp_path, base, "base").history == ()


def test_a_crash_between_write_and_rename_leaves_the_old_pointer(
    tmp_path: Path, base: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    activate(tmp_path, base, "a")

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", crash)
        with pytest.raises(KeyboardInterrupt):
            activate(tmp_path, base, "b")
    assert pointers.current(tmp_path, "t1") == "a"
    assert (tmp_path / "t1" / f"{POINTER}.new").exists()
    activate(tmp_path, base, "b")
    assert pointers.current(tmp_path, "t1") == "b"
    assert not (tmp_path / "t1" / f"{POINTER}.new").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"format": 2, "current": {"checkpoint": "a", "at": 1, "by": ""}}',
        b'{"format": 1, "current": {"checkpoint": "../../a", "at": 1, "by": ""}}',
        b'{"format": 1, "current": {"checkpoint": "a", "at": 1, "by": ""}, "extra": 1}',
        b"[" * 100_000,
        b" " * 2_000_000,
    ],
)
def test_a_pointer_that_is_none_is_refused_with_what_to_do(tmp_path: Path, base: Loaded, content: bytes) -> None:
    path = tmp_path / "t1" / POINTER
    path.write_bytes(content)
    with pytest.raises(ModelRefused, match="activate again") as refused:
        pointers.current(tmp_path, "t1")
    assert str(path) in str(refused.value)


def test_a_link_in_the_new_pointers_place_is_not_followed(tmp_path: Path, base: Loaded) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    (tmp_path / "t1" / f"{POINTER}.new").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic link"):
        activate(tmp_path, base, "a")
    assert victim.read_text() == "untouched"


def test_the_way_back_does_not_grow_without_end(tmp_path: Path, base: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pointers, "HISTORY_LIMIT", 3)
    for number in range(6):
        pointer = activate(tmp_path, base, "base" if number % 2 else "a", at=number)
    assert [one.at for one in pointer.history] == [2, 3, 4]
    assert pointers.read(tmp_path, "t1") == pointer
