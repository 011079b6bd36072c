"""Checkpoints of a tiny real model on disk: found, verified, refused by name."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from bot.errors import ModelRefused
from bot.forecast.checkpoints import HUB_200M, MANIFEST, WEIGHTS, Manifest, load, locate, save
from bot.forecast.engine import ForecastOptions
from bot.forecast.network import ModelSpec, build_module

SPEC = ModelSpec(layers=1, model_dims=16, hidden_dims=16, heads=2, quantile_patch=128)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """`checkpoints/` with one directory, `tiny`."""
    torch.manual_seed(1)
    module = build_module(SPEC)
    manifest = Manifest(
        format=1,
        name="tiny",
        architecture="timesfm-2.5",
        licence="MIT",
        created="2025-01-01T00:00:00+00:00",
        spec=SPEC,
        options=ForecastOptions(),
        context=64,
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        bytes=1,
        sha256="0" * 64,
    )
    save(module, manifest, tmp_path / "tiny")
    return tmp_path


def change_manifest(tiny: Path, **changes: object) -> None:
    path = tiny / "tiny" / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_saved_checkpoint_loads_by_name_and_by_path(tiny: Path) -> None:
    by_name, by_path = load("tiny", tiny), load(str(tiny / "tiny"), tiny / "elsewhere")
    closes = np.linspace(10, 11, 64)[None]
    np.testing.assert_array_equal(by_name.engine.forecast(closes, 4).point, by_path.engine.forecast(closes, 4).point)
    told = by_name.description
    assert told.checkpoint == f"tiny@{told.sha256[:8]}" == by_name.engine.checkpoint
    assert (told.verified, told.licence, told.may_trade, told.dtype) == (True, "MIT", True, "float32")
    assert told.path == str(tiny / "tiny" / WEIGHTS)


def test_the_shipped_nano_is_small_verified_and_may_trade() -> None:
    loaded = load("nano", context=192, live=True)
    told = loaded.description
    assert Path(told.path).stat().st_size <= 8_000_000
    assert (told.verified, told.context) == (True, 192)
    assert told.test is not None
    closes = 100 * np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.005, (3, 192)), axis=1))
    prediction = loaded.engine.forecast(closes, 4)
    assert (np.abs(prediction.point[:, -1] / closes[:, -1] - 1) < 0.05).all()


def test_another_files_hash_is_refused_by_name(tiny: Path) -> None:
    weights = tiny / "tiny" / WEIGHTS
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(
        ModelRefused, match=r"model\.safetensors: sha256 \w{64} is not the manifest's \w{64}; restore it, or set"
    ):
        load("tiny", tiny)


def test_a_truncated_file_is_refused_by_name(tiny: Path) -> None:
    weights = tiny / "tiny" / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(ModelRefused, match=r"model\.safetensors: \d+ bytes, the manifest says .*; restore it, or set"):
        load("tiny", tiny)


def test_a_file_that_is_no_safetensors_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00nonsense")
    with pytest.raises(ModelRefused, match="broken"):
        load(str(tmp_path / "broken.safetensors"))
    (tmp_path / "weights.ckpt").write_bytes(b"pickle")
    with pytest.raises(ModelRefused, match=r"only \.safetensors"):
        load(str(tmp_path / "weights.ckpt"))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"surplus": 1}, "surplus"),
        ({"sha256": "abc"}, "sha256"),
        ({"format": 2}, "format"),
        ({"spec": {"layers": 1}}, "model_dims"),
    ],
)
def test_a_wrong_key_of_the_manifest_is_refused_by_name(tiny: Path, changes: dict[str, object], text: str) -> None:
    change_manifest(tiny, **changes)
    with pytest.raises(ModelRefused, match=f"{MANIFEST}: .*{text}.*; restore it, or set"):
        load("tiny", tiny)


def test_weights_that_do_not_fit_the_manifests_dimensions_are_refused(tiny: Path) -> None:
    change_manifest(tiny, spec=msgspec.to_builtins(msgspec.structs.replace(SPEC, layers=2)))
    with pytest.raises(ModelRefused, match=r"model\.safetensors: weights: tensor stacked_xf\.1"):
        load("tiny", tiny)


def test_a_context_that_the_model_was_not_made_for_is_refused(tiny: Path) -> None:
    with pytest.raises(ModelRefused, match="context of 64 bars, not 96"):
        load("tiny", tiny, context=96)


def test_a_licence_that_does_not_allow_trading_is_refused_on_a_live_venue_only(tiny: Path) -> None:
    change_manifest(tiny, licence="CC-BY-NC-4.0")
    assert not load("tiny", tiny).description.may_trade
    with pytest.raises(ModelRefused, match=r"CC-BY-NC-4\.0 does not allow trading"):
        load("tiny", tiny, live=True)


def test_timesfm_3_is_refused_with_its_licence_as_reason() -> None:
    with pytest.raises(ModelRefused, match="non-commercial"):
        locate("google/timesfm-3.0-pytorch")


def test_an_unknown_name_says_what_may_be_named(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="--checkpoints DIR") as refused:
        locate("nowhere", tmp_path)
    assert HUB_200M in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_hub_without_cache_and_network_says_what_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelRefused, match=f"hf download {HUB_200M}"):
        locate(HUB_200M, tmp_path)


def test_a_bare_file_of_another_layout_than_the_200m_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file(build_module(SPEC).state_dict(), path)
    with pytest.raises(ModelRefused, match=r"other\.safetensors: weights: tensor \S+ has shape"):
        load(str(path))


def test_a_small_model_runs_on_one_thread_unless_told_otherwise(tiny: Path) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        load("tiny", tiny)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_the_chosen_threads_hold_in_a_worker_thread_too(tiny: Path) -> None:
    before = torch.get_num_threads()
    try:
        load("tiny", tiny, threads=before + 1)
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == before + 1
    finally:
        torch.set_num_threads(before)
