"""What is served: one base, every tier's checkpoint, and what a bad one may not do."""

import mmap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from bot.errors import ModelRefused
from bot.forecast import memory, pointers, serving
from bot.forecast.checkpoints import WEIGHTS, Loaded, load
from bot.forecast.engine import Engine, ForecastOptions
from bot.forecast.memory import NO_CEILING, Ceiling, copy_bytes, pass_bytes, resident_bytes, weights_bytes
from bot.forecast.network import SPEC_200M, ModelSpec
from bot.forecast.registry import ADAPTER, find
from bot.forecast.serving import Serving
from bot.forecast.verification import verify
from bot.messages import Floats
from tests.forecast.checkpoints_made import (
    CLOSES,
    SPEC,
    change_manifest,
    make_adapter,
    make_base,
    make_full,
    random_module,
)
from tests.forecast.reference import random_weights, random_windows

MB = 1_000_000


@pytest.fixture
def base(tmp_path: Path) -> Loaded:
    loaded = make_base(tmp_path)
    make_adapter(tmp_path, loaded, "a")
    make_adapter(tmp_path, loaded, "b")
    make_adapter(tmp_path, loaded, "x", tier="t2")
    return loaded


def served(directory: Path, base: Loaded, *, live: bool = False, **choices: str) -> Serving:
    return Serving(base, directory, choices or {"t1": "active", "t2": "active"}, NO_CEILING, live=live)


def activate(directory: Path, base: Loaded, name: str, tier: str = "t1") -> None:
    pointers.activate(directory, tier, name, base.base, at=1, by="ada")


def ahead(model: Serving, *tiers: str) -> Floats:
    """The points of one window, once for each of `tiers`, from one call."""
    return model.forecast(np.repeat(CLOSES[:1], len(tiers), axis=0), tiers, 4).point


def alone(directory: Path, tier: str, name: str) -> Floats:
    """The same window's points from an engine of its own that holds nothing but that checkpoint."""
    loaded = load("tiny", directory)
    weights = verify(find(directory, tier, name), loaded.base)
    if isinstance(weights, serving.RawAdapter):
        adapters = [loaded.engine.prepare(weights)]
        return loaded.engine.forecast(CLOSES[:1], 4, adapters=adapters).point
    loaded.engine.replace_weights(weights.open(), checkpoint="alone")
    return loaded.engine.forecast(CLOSES[:1], 4).point


def close(found: Floats, wanted: Floats) -> bool:
    return bool(np.allclose(found, wanted, rtol=1e-5))


# Adapters


def test_each_row_is_forecast_with_the_checkpoint_of_its_tier_in_one_pass(
    tmp_path: Path, base: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    activate(tmp_path, base, "a")
    model = served(tmp_path, base, t1="active", t2="x", t3="base", t4="active")
    passes: list[int] = []
    real = Engine.forecast

    def counted(engine: Engine, closes: Floats, horizon: int, **keys: object) -> object:
        passes.append(len(closes))
        return real(engine, closes, horizon, **keys)  # type: ignore[arg-type]

    monkeypatch.setattr(Engine, "forecast", counted)
    found = ahead(model, "t1", "t2", "t3", "t4", "t1")
    assert passes == [5]
    for row, (tier, name) in enumerate([("t1", "a"), ("t2", "x")]):
        assert close(found[[row]], alone(tmp_path, tier, name))
        assert not np.allclose(found[row], found[2], rtol=1e-3)
    np.testing.assert_array_equal(found[2], found[3])
    np.testing.assert_allclose(found[4], found[0], rtol=1e-6)
    ids = [model.serving(tier) for tier in ("t1", "t2", "t3", "t4")]
    digests = [find(tmp_path, tier, name).manifest.sha256[:8] for tier, name in (("t1", "a"), ("t2", "x"))]
    assert ids == [f"t1/a@{digests[0]}", f"t2/x@{digests[1]}", base.engine.checkpoint, base.engine.checkpoint]


def test_a_to_b_to_a_gives_bit_equal_forecasts_and_reads_no_file_twice(
    tmp_path: Path, base: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []
    monkeypatch.setattr(serving, "verify", lambda found, against: (reads.append(found.id), verify(found, against))[1])
    activate(tmp_path, base, "a")
    model = served(tmp_path, base)
    first = ahead(model, "t1", "t2")
    activate(tmp_path, base, "b")
    assert [(change.before[:4], change.after[:4]) for change in model.refresh()] == [("t1/a", "t1/b")]
    assert not np.allclose(ahead(model, "t1"), first[:1], rtol=1e-3)
    pointers.rollback(tmp_path, "t1", base.base, at=2, by="ada")
    assert [change.after[:4] for change in model.refresh()] == ["t1/a"]
    np.testing.assert_array_equal(ahead(model, "t1", "t2"), first)
    assert reads == ["a", "b"]


def test_nothing_changes_between_two_looks_at_the_pointers(tmp_path: Path, base: Loaded) -> None:
    model = served(tmp_path, base)
    before = ahead(model, "t1")
    activate(tmp_path, base, "a")
    np.testing.assert_array_equal(ahead(model, "t1"), before)
    assert model.serving("t1") == base.engine.checkpoint
    assert len(model.refresh()) == 1
    assert model.refresh() == []
    assert not np.allclose(ahead(model, "t1"), before, rtol=1e-3)


def test_an_unchanged_pointer_costs_a_stat_and_opens_nothing(
    tmp_path: Path, base: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    activate(tmp_path, base, "a")
    model = served(tmp_path, base)

    def opened(*_: object) -> None:
        raise AssertionError("opened")

    monkeypatch.setattr(Path, "open", opened)
    monkeypatch.setattr(Path, "read_bytes", opened)
    assert model.refresh() == []


def test_a_changed_manifest_under_the_same_name_is_read_anew(tmp_path: Path, base: Loaded) -> None:
    activate(tmp_path, base, "a")
    model = served(tmp_path, base)
    first = ahead(model, "t1")
    change_manifest(tmp_path / "t1" / "a", alpha=16.0)
    activate(tmp_path, base, "a")
    model.refresh()
    assert not np.allclose(ahead(model, "t1"), first, rtol=1e-4)


def test_what_served_long_ago_is_let_go_and_what_serves_is_kept(
    tmp_path: Path, base: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "SPARE_ADAPTERS", 1)
    model = served(tmp_path, base)
    for name in ("a", "b", "base", "a"):
        activate(tmp_path, base, name)
        model.refresh()
    activate(tmp_path, base, "x", tier="t2")
    model.refresh()
    wanted = {find(tmp_path, tier, name).serves_as for tier, name in (("t1", "a"), ("t1", "b"), ("t2", "x"))}
    assert set(model._ready) == wanted
    activate(tmp_path, base, "b")
    model.refresh()
    activate(tmp_path, base, "base", tier="t2")
    model.refresh()
    assert model.serving("t1") in model._ready


# What is refused


def test_a_refused_checkpoint_leaves_what_runs_and_is_told_once(tmp_path: Path, base: Loaded) -> None:
    activate(tmp_path, base, "a")
    model = served(tmp_path, base)
    before, serves = ahead(model, "t1", "t2"), model.serving("t1")
    activate(tmp_path, base, "b")
    path = tmp_path / "t1" / "b" / ADAPTER
    whole = path.read_bytes()
    path.write_bytes(whole[:-4])
    (change,) = model.refresh()
    assert (change.tier, change.before, change.after) == ("t1", serves, serves)
    assert change.refused is not None
    assert str(path) in change.refused
    np.testing.assert_array_equal(ahead(model, "t1", "t2"), before)
    assert model.refresh() == []
    path.write_bytes(whole)
    activate(tmp_path, base, "b")
    (change,) = model.refresh()
    assert (change.after, change.refused) == (find(tmp_path, "t1", "b").serves_as, None)


def test_a_broken_pointer_leaves_what_runs(tmp_path: Path, base: Loaded) -> None:
    activate(tmp_path, base, "a")
    model = served(tmp_path, base)
    serves = model.serving("t1")
    (tmp_path / "t1" / "active.json").write_text("{")
    (change,) = model.refresh()
    assert change.refused is not None
    assert "active.json" in change.refused
    assert model.serving("t1") == serves
    (tmp_path / "t1" / "active.json").unlink()
    (change,) = model.refresh()
    assert change.after == base.engine.checkpoint


def test_a_pointer_that_cannot_be_looked_at_leaves_what_runs(tmp_path: Path, base: Loaded) -> None:
    activate(tmp_path, base, "a")
    model = served(tmp_path, base)
    serves, pointer = model.serving("t1"), tmp_path / "t1" / "active.json"
    pointer.unlink()
    pointer.symlink_to(pointer)
    (change,) = model.refresh()
    assert change.refused is not None
    assert f"{pointer}: Too many levels of symbolic links; delete it" in change.refused
    assert model.serving("t1") == serves
    assert model.refresh() == []


def test_one_tiers_bad_checkpoint_does_not_keep_the_others_from_theirs(tmp_path: Path, base: Loaded) -> None:
    model = served(tmp_path, base)
    activate(tmp_path, base, "a")
    activate(tmp_path, base, "x", tier="t2")
    (tmp_path / "t1" / "a" / ADAPTER).unlink()
    changes = {change.tier: change.refused is None for change in model.refresh()}
    assert changes == {"t1": False, "t2": True}


@pytest.mark.parametrize("choice", ["nowhere", "../a", "a"])
def test_a_checkpoint_that_is_refused_at_the_start_ends_it(tmp_path: Path, base: Loaded, choice: str) -> None:
    (tmp_path / "t1" / "a" / ADAPTER).unlink()
    with pytest.raises(ModelRefused, match="tier t1: "):
        served(tmp_path, base, t1=choice)


def test_a_pinned_checkpoint_stays_whatever_is_activated(tmp_path: Path, base: Loaded) -> None:
    model = served(tmp_path, base, t1="a", t2="base")
    activate(tmp_path, base, "b")
    activate(tmp_path, base, "x", tier="t2")
    assert model.refresh() == []
    assert (model.serving("t1")[:4], model.serving("t2")) == ("t1/a", base.engine.checkpoint)


@pytest.mark.parametrize("licence", [None, "CC-BY-NC-4.0"])
def test_a_licence_that_does_not_allow_trading_is_refused_on_a_live_venue_only(
    tmp_path: Path, base: Loaded, licence: str | None
) -> None:
    activate(tmp_path, base, "a")
    change_manifest(tmp_path / "t1" / "a", licence=licence)
    assert served(tmp_path, base).serving("t1")[:4] == "t1/a"
    with pytest.raises(ModelRefused, match=f"licence {licence or 'unknown'} does not allow trading"):
        served(tmp_path, base, live=True)


# Full checkpoints


@pytest.mark.parametrize("file", [WEIGHTS, "best.pt"])
def test_rows_of_a_full_checkpoint_run_in_a_pass_of_their_own_and_the_rest_as_ever(
    tmp_path: Path, base: Loaded, file: str
) -> None:
    make_full(tmp_path, base, "f", file=file)
    make_full(tmp_path, base, "g", tier="t3", seed=8, file=file)
    activate(tmp_path, base, "a")
    before = ahead(served(tmp_path, base, t1="active", t2="x"), "t1", "t2")
    model = served(tmp_path, base, t1="active", t2="x", t3="g", t4="base")
    order: Sequence[str] = ("t3", "t1", "t4", "t3", "t2")
    for _ in range(2):
        found = ahead(model, *order)
        np.testing.assert_array_equal(found[[1, 4]], before)
        assert close(found[[0]], alone(tmp_path, "t3", "g"))
        np.testing.assert_array_equal(found[0], found[3])
    activate(tmp_path, base, "f")
    model.refresh()
    found = ahead(model, *order)
    assert close(found[[1]], alone(tmp_path, "t1", "f"))
    np.testing.assert_array_equal(found[4], before[1])
    activate(tmp_path, base, "b")
    model.refresh()
    assert close(ahead(model, *order)[[1]], alone(tmp_path, "t1", "b"))


def test_the_resident_weights_go_first_so_that_a_mixed_batch_swaps_once(
    tmp_path: Path, base: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_full(tmp_path, base, "f")
    model = served(tmp_path, base, t1="f", t2="base")
    swaps: list[str] = []
    real = Engine.replace_weights

    def counted(engine: Engine, tensors: object, *, checkpoint: str) -> None:
        swaps.append(checkpoint[:4])
        real(engine, tensors, checkpoint=checkpoint)  # type: ignore[arg-type]

    monkeypatch.setattr(Engine, "replace_weights", counted)
    for _ in range(2):
        ahead(model, "t2", "t1")
    assert swaps == ["t1/f", "tiny"]


def test_a_full_checkpoint_that_was_changed_under_way_leaves_its_rows_empty_and_is_told(
    tmp_path: Path, base: Loaded
) -> None:
    make_full(tmp_path, base, "f")
    model = served(tmp_path, base, t1="f", t2="x")
    path = tmp_path / "t1" / "f" / WEIGHTS
    torch.save(random_module(3).state_dict(), path)
    found = ahead(model, "t1", "t2")
    assert np.isnan(found[0]).all()
    assert close(found[[1]], alone(tmp_path, "t2", "x"))
    failures = model.failures()
    assert failures.keys() == {"t1"}
    assert f"{path}: the file was changed" in failures["t1"]
    assert (model.failures(), model.refresh()) == ({}, [])


def test_a_full_checkpoint_that_was_put_back_serves_once_it_is_activated_again(tmp_path: Path, base: Loaded) -> None:
    path = make_full(tmp_path, base, "f") / WEIGHTS
    activate(tmp_path, base, "f")
    model = served(tmp_path, base, t1="active", t2="base")
    before = ahead(model, "t1")
    ahead(model, "t2")
    whole = path.read_bytes()
    path.unlink()
    assert np.isnan(ahead(model, "t1")).all()
    path.write_bytes(whole)
    activate(tmp_path, base, "f")
    model.refresh()
    np.testing.assert_array_equal(ahead(model, "t1"), before)
    assert model.refresh() == []


# The ceiling


def test_what_would_exceed_the_ceiling_is_refused_with_the_numbers_before_it_is_taken(
    tmp_path: Path, base: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_full(tmp_path, base, "f")
    needed = copy_bytes(SPEC)
    resident = 400 * MB
    monkeypatch.setattr(memory, "resident_bytes", lambda: resident)
    exact = Ceiling(500)
    model = Serving(base, tmp_path, {"t1": "active"}, exact)
    activate(tmp_path, base, "f")
    resident = 500 * MB - needed + 1

    def opened(*_: object) -> None:
        raise AssertionError("the file was opened")

    with monkeypatch.context() as patched:
        patched.setattr(serving, "verify", opened)
        (change,) = model.refresh()
    assert change.refused is not None
    assert "the process has 500 MB, and [model] memory_limit_mb allows 500" in change.refused
    assert str(tmp_path / "t1" / "f" / WEIGHTS) in change.refused
    assert model.serving("t1") == base.engine.checkpoint
    resident = 500 * MB - needed
    activate(tmp_path, base, "f")
    (change,) = model.refresh()
    assert change.refused is None


def test_a_base_that_would_exceed_the_ceiling_is_refused_before_it_is_loaded(
    tmp_path: Path, base: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelRefused, match=r"model\.safetensors: needs about \d+ MB more, the process has \d+ MB"):
        load("tiny", tmp_path, ceiling=Ceiling(1))
    assert load("tiny", tmp_path, ceiling=Ceiling(100_000)).engine.checkpoint == base.engine.checkpoint


def test_an_adapter_counts_too_and_without_a_ceiling_nothing_does(
    tmp_path: Path, base: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "resident_bytes", lambda: 500 * MB)
    with pytest.raises(ModelRefused, match=r"tier t1: .*adapter\.safetensors: needs about"):
        Serving(base, tmp_path, {"t1": "a"}, Ceiling(500))
    assert Serving(base, tmp_path, {"t1": "a"}, NO_CEILING).serving("t1")[:4] == "t1/a"


def test_a_batch_that_would_exceed_the_ceiling_gets_no_forecast_and_a_smaller_one_does(
    tmp_path: Path, base: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    four = pass_bytes(SPEC, series=8, patches=2)
    resident = 500 * MB - four
    monkeypatch.setattr(memory, "resident_bytes", lambda: resident)
    model = Serving(base, tmp_path, {"t1": "base"}, Ceiling(500))
    for taken in (four, 0):  # what a pass took stays with the process, and later ones run in it
        assert np.isnan(ahead(model, *["t1"] * 5)).all()
        assert "a forecast of 5 windows: needs about" in model.failures()["t1"]
        assert np.isfinite(ahead(model, *["t1"] * 4)).all()
        assert model.failures() == {}
        resident += taken


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak of a part of a run is Linux's to tell")
def test_a_pass_takes_no_more_memory_than_is_estimated() -> None:
    spec = ModelSpec(layers=1, model_dims=512, hidden_dims=512, heads=8, quantile_patch=128)
    weights = random_weights(spec, seed=1)
    engine = Engine(weights, spec, ForecastOptions(), checkpoint="x", context=256, dtype="float32")
    closes = random_windows(256, 256, seed=1)
    engine.forecast(closes[:1], 4)
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = resident_bytes()
    engine.forecast(closes, 4)
    told = Path("/proc/self/status").read_text()
    (peak,) = (1024 * int(line.split()[1]) for line in told.splitlines() if line.startswith("VmHWM"))
    estimate = pass_bytes(spec, series=512, patches=8)
    assert peak - before < estimate + 10 * MB
    assert estimate < 120 * MB


def test_the_resident_memory_is_the_processs_own() -> None:
    before = resident_bytes()
    with mmap.mmap(-1, 50 * MB) as taken:  # fresh pages, which an allocator may have in store
        for _ in range(50):
            taken.write(bytes(MB))
        held = resident_bytes() - before
    assert 45 * MB < held < 60 * MB
    assert resident_bytes() - before < held - 45 * MB


def test_what_the_200m_takes_is_estimated_near_what_was_measured() -> None:
    """460 MB in bfloat16 from the start of `load` to its peak."""
    assert 460 * MB < weights_bytes(SPEC_200M, torch.bfloat16) < 600 * MB
    assert 850 * MB < weights_bytes(SPEC_200M, torch.float32) < 1_000 * MB
