"""Weights made elsewhere: brought in whole and verified, or not at all."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from bot.errors import ModelRefused
from bot.forecast import foreign
from bot.forecast.adapters import TARGETS, RawAdapter
from bot.forecast.checkpoints import MANIFEST, Loaded
from bot.forecast.foreign import bring_in
from bot.forecast.memory import Ceiling
from bot.forecast.peft_folder import PEFT_CONFIG, PEFT_PICKLE, PEFT_WEIGHTS
from bot.forecast.registry import find
from bot.forecast.serving import Serving
from bot.forecast.verification import verify
from tests.forecast.checkpoints_made import CLOSES, make_base, random_module, random_tensors, write_manifest

# As peft 0.21.2 writes it; what a test changes is the point of the test.
CONFIG: dict[str, Any] = {
    "alora_invocation_tokens": None,
    "alpha_pattern": {},
    "arrow_config": None,
    "auto_mapping": {"base_model_class": "TimesFM_2p5_200M_torch_module", "parent_library": "timesfm"},
    "base_model_name_or_path": None,
    "bias": "none",
    "corda_config": None,
    "ensure_weight_tying": False,
    "eva_config": None,
    "exclude_modules": None,
    "fan_in_fan_out": False,
    "inference_mode": True,
    "init_lora_weights": True,
    "kasa_config": None,
    "layer_replication": None,
    "layers_pattern": None,
    "layers_to_transform": None,
    "loftq_config": {},
    "lora_alpha": 8,
    "lora_bias": False,
    "lora_dropout": 0.1,
    "lora_ga_config": None,
    "megatron_config": None,
    "megatron_core": "megatron.core",
    "modules_to_save": None,
    "monteclora_config": None,
    "peft_type": "LORA",
    "peft_version": "0.21.2",
    "qalora_group_size": 16,
    "r": 4,
    "rank_pattern": {},
    "revision": None,
    "target_modules": list(TARGETS),
    "target_parameters": None,
    "task_type": None,
    "trainable_token_indices": None,
    "use_bdlora": None,
    "use_dora": True,
    "use_qalora": False,
    "use_rslora": False,
    "velora_config": None,
}
PARTS = {"lora_A": "lora_A.weight", "lora_B": "lora_B.weight", "magnitude": "lora_magnitude_vector"}


@pytest.fixture
def base(tmp_path: Path) -> Loaded:
    return make_base(tmp_path)


def peft_names(tensors: dict[str, Tensor], prefix: str = "base_model.model.") -> dict[str, Tensor]:
    """Our names as peft's."""
    named = {}
    for name, tensor in tensors.items():
        _, layer, target, part = name.split(".")
        inner = "attn." if target in ("qkv_proj", "out") else ""
        named[f"{prefix}stacked_xf.{layer}.{inner}{target}.{PARTS[part]}"] = tensor
    return named


def peft_folder(
    tmp_path: Path, tensors: dict[str, Tensor] | None = None, prefix: str = "base_model.model.", **changes: Any
) -> Path:
    folder = tmp_path / "adapter"
    folder.mkdir()
    save_file(peft_names(random_tensors(1) if tensors is None else tensors, prefix), folder / PEFT_WEIGHTS)
    (folder / PEFT_CONFIG).write_text(json.dumps(CONFIG | changes))
    return folder


def refusal(source: Path, directory: Path, base: Loaded) -> str:
    """Why it is not brought in; nothing of it is left behind."""
    with pytest.raises(ModelRefused) as refused:
        bring_in(source, directory, "t1", "x", base.base)
    assert "\n" not in str(refused.value)
    assert not (directory / "t1").exists()
    return str(refused.value)


def raw(directory: Path, base: Loaded, name: str = "x") -> RawAdapter:
    adapter = verify(find(directory, "t1", name), base.base)
    assert isinstance(adapter, RawAdapter)
    return adapter


@pytest.mark.parametrize("prefix", ["base_model.model.", "base_model.model.model.", "base_model.model.tfm.model."])
def test_a_peft_folder_becomes_a_checkpoint_with_a_manifest_of_what_is_known(
    tmp_path: Path, base: Loaded, prefix: str
) -> None:
    source = peft_folder(tmp_path, prefix=prefix)
    found = bring_in(source, tmp_path, "t1", "x", base.base, licence="Apache-2.0")
    manifest = found.manifest
    assert (manifest.method, manifest.rank, manifest.alpha, manifest.targets) == ("dora", 4, 8.0, TARGETS)
    assert (manifest.base, manifest.base_sha256) == ("tiny", base.base.sha256)
    assert (manifest.licence, manifest.cutoff, manifest.data, manifest.validation, manifest.created) == (
        "Apache-2.0",
        None,
        None,
        None,
        None,
    )
    assert manifest.origin is not None
    assert "adapter/adapter_model.safetensors, sha256" in manifest.origin
    wanted = random_tensors(1)
    saved = load_file(found.weights)
    assert saved.keys() == wanted.keys()
    for name, tensor in wanted.items():
        torch.testing.assert_close(saved[name], tensor, rtol=0, atol=0)
    assert (found.folder / MANIFEST).stat().st_mode & 0o044
    assert found.weights.stat().st_mode & 0o044


def test_pefts_own_names_are_served_too_where_a_manifest_stands_beside_them(tmp_path: Path, base: Loaded) -> None:
    source = peft_folder(tmp_path)
    (tmp_path / "t1").mkdir()
    folder = source.rename(tmp_path / "t1" / "x")
    write_manifest(folder, base, method="dora", rank=4, alpha=8.0, targets=TARGETS, file=PEFT_WEIGHTS)
    torch.testing.assert_close(
        raw(tmp_path, base).tensors[1, "out"].a, random_tensors(1)["layers.1.out.lora_A"], rtol=0, atol=0
    )


def test_what_is_brought_in_is_served_after_its_activation_only(tmp_path: Path, base: Loaded) -> None:
    bring_in(peft_folder(tmp_path), tmp_path, "t1", "x", base.base)
    active = Serving(base, tmp_path, {"t1": "active"}, Ceiling(0))
    pinned = Serving(base, tmp_path, {"t1": "x"}, Ceiling(0))
    assert active.serving("t1") == base.engine.checkpoint
    assert pinned.serving("t1")[:4] == "t1/x"
    assert not (active.forecast(CLOSES, ["t1"] * 4, 4).point == pinned.forecast(CLOSES, ["t1"] * 4, 4).point).any()


def test_half_precision_is_taken_as_it_is(tmp_path: Path, base: Loaded) -> None:
    tensors = {name: tensor.bfloat16() for name, tensor in random_tensors(1).items()}
    bring_in(peft_folder(tmp_path, tensors), tmp_path, "t1", "x", base.base)
    assert raw(tmp_path, base).tensors[0, "ff0"].a.dtype is torch.bfloat16


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"peft_type": "IA3"}, "peft_type"),
        ({"bias": "lora_only"}, "bias"),
        ({"lora_bias": True}, "lora_bias"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out"),
        ({"modules_to_save": ["output_projection_point"]}, "modules_to_save"),
        ({"layer_replication": [[0, 2]]}, "layer_replication"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights"),
        ({"init_lora_weights": "olora"}, "init_lora_weights"),
        ({"use_qalora": True}, "use_qalora"),
        ({"target_parameters": ["x"]}, "target_parameters"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices"),
        ({"arrow_config": {"k": 1}}, "arrow_config"),
        ({"a_feature_of_tomorrow": 1}, "a_feature_of_tomorrow"),
        ({"alpha_pattern": {"(a+)+b": 1}}, "alpha_pattern"),
        ({"rank_pattern": {".*ff0": 4}}, "rank_pattern"),
    ],
)
def test_what_is_not_served_is_refused_by_its_key(
    tmp_path: Path, base: Loaded, changes: dict[str, Any], key: str
) -> None:
    said = refusal(peft_folder(tmp_path, **changes), tmp_path, base)
    assert f"{PEFT_CONFIG}: {key} = " in said
    assert "is not served" in said


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"r": 0}, "$.r"),
        ({"r": 100_000}, "$.r"),
        ({"lora_alpha": 0}, "$.lora_alpha"),
        ({"rank_pattern": {"ff0": 0}}, "$.rank_pattern"),
        ({"use_dora": "yes"}, "$.use_dora"),
    ],
)
def test_a_value_out_of_range_is_refused(tmp_path: Path, base: Loaded, changes: dict[str, Any], text: str) -> None:
    said = refusal(peft_folder(tmp_path, **changes), tmp_path, base)
    assert PEFT_CONFIG in said
    assert text in said


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"r": 8}, r"stacked_xf\.0\.\S+: lora_A has shape \(4, 16\).*gives it rank 8"),
        ({"rank_pattern": {"ff0": 8}}, r"stacked_xf\.0\.ff0: lora_A has shape \(4, 16\)"),
        ({"use_dora": False}, r"lora a, b"),
    ],
)
def test_a_configuration_that_disagrees_with_the_tensors_is_refused(
    tmp_path: Path, base: Loaded, changes: dict[str, Any], text: str
) -> None:
    said = refusal(peft_folder(tmp_path, **changes), tmp_path, base)
    assert PEFT_WEIGHTS in said
    assert re.search(text, said)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda all_: all_.pop("layers.0.ff0.lora_A"), "layer 0, ff0: it has b, magnitude"),
        (lambda all_: [all_.pop(name) for name in list(all_) if "0.ff0" in name], "layer 0 has no ff0"),
        (lambda all_: all_.update({"layers.0.ff0.lora_A": torch.full((4, 16), torch.nan)}), "no finite numbers"),
        (lambda all_: all_.update({"layers.0.ff0.lora_A": torch.zeros(4, 17)}), "A has shape"),
        (lambda all_: all_.clear(), "holds no tensor"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(
    tmp_path: Path, base: Loaded, change: Callable[[dict[str, Tensor]], object], text: str
) -> None:
    tensors = random_tensors(1)
    change(tensors)
    said = refusal(peft_folder(tmp_path, tensors), tmp_path, base)
    assert PEFT_WEIGHTS in said
    assert text in said


def test_a_pickled_adapter_is_refused_by_name_and_never_opened(tmp_path: Path, base: Loaded) -> None:
    source = peft_folder(tmp_path)
    (source / PEFT_WEIGHTS).unlink()
    assert f"{PEFT_WEIGHTS}: no such file" in refusal(source, tmp_path, base)
    (source / PEFT_PICKLE).write_bytes(b"anything")
    said = refusal(source, tmp_path, base)
    assert f"{PEFT_PICKLE}: a pickle" in said
    assert "safe_serialization=True" in said


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"[" * 100_000, b"{}"])
def test_a_configuration_that_is_none_is_refused(tmp_path: Path, base: Loaded, content: bytes) -> None:
    source = peft_folder(tmp_path)
    (source / PEFT_CONFIG).write_bytes(content)
    assert PEFT_CONFIG in refusal(source, tmp_path, base)
    (source / PEFT_CONFIG).unlink()
    assert "expected a folder that peft's save_pretrained has written" in refusal(source, tmp_path, base)


@pytest.mark.parametrize("kind", ["best_x_merged.pt", "best_x_merged.pth", "other.safetensors"])
def test_a_merged_state_dict_becomes_a_full_checkpoint_that_is_mapped(tmp_path: Path, base: Loaded, kind: str) -> None:
    wanted = random_module(5).state_dict()
    source = tmp_path / kind
    if kind.endswith(".safetensors"):
        save_file(wanted, source)
    else:
        torch.save({"model_state_dict": {f"model.{name}": one.double() for name, one in wanted.items()}}, source)
    found = bring_in(source, tmp_path, "t1", "x", base.base)
    assert (found.manifest.method, found.manifest.file, found.manifest.rank) == ("full", "model.safetensors", None)
    saved = load_file(found.weights)
    for name, tensor in wanted.items():
        torch.testing.assert_close(saved[name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"stacked_xf.0.ff0.weight": torch.zeros(2, 2)}, "weights: tensor"),
        ({"optimizer": {}, "epoch": 1}, "expected a state dict of tensors"),
        (random_module(5).state_dict() | {"tokenizer.hidden_layer.bias": torch.full((16,), torch.nan)}, "holds NaN"),
    ],
)
def test_a_state_dict_of_something_else_is_refused(
    tmp_path: Path, base: Loaded, content: dict[str, Any], text: str
) -> None:
    torch.save(content, tmp_path / "best.pt")
    said = refusal(tmp_path / "best.pt", tmp_path, base)
    assert "best.pt: " in said
    assert text in said


def test_another_kind_of_file_is_refused(tmp_path: Path, base: Loaded) -> None:
    (tmp_path / "weights.ckpt").write_bytes(b"x")
    assert "expected a folder that peft's save_pretrained has written, or" in refusal(
        tmp_path / "weights.ckpt", tmp_path, base
    )


def test_a_name_that_is_taken_is_refused_and_what_is_there_stays(tmp_path: Path, base: Loaded) -> None:
    source = peft_folder(tmp_path)
    found = bring_in(source, tmp_path, "t1", "x", base.base)
    before = found.weights.read_bytes()
    with pytest.raises(ModelRefused, match="exists already; give another name with --id"):
        bring_in(source, tmp_path, "t1", "x", base.base)
    assert found.weights.read_bytes() == before
    for tier, name in (("t1", "../x"), ("..", "x"), ("t1", "base")):
        with pytest.raises(ModelRefused, match="letters, digits"):
            bring_in(source, tmp_path, tier, name, base.base)


def test_an_import_that_breaks_off_leaves_nothing_behind(
    tmp_path: Path, base: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(foreign, "write", full)
    source = peft_folder(tmp_path)
    with pytest.raises((ModelRefused, OSError), match="No space left"):
        bring_in(source, tmp_path, "t1", "x", base.base)
    assert not (tmp_path / "t1").exists()
    (tmp_path / "t1").mkdir()
    with pytest.raises((ModelRefused, OSError), match="No space left"):
        bring_in(source, tmp_path, "t1", "x", base.base)
    assert list((tmp_path / "t1").iterdir()) == []
