"""Whatever stands beside the weights, it is read, or refused by name with the file that is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import ModelRefused
from bot.forecast import checkpoints, peft_folder, pointers, registry, weights
from tests.fuzz.effort import tried
from tests.fuzz.mutations import spoiled

NANO = json.loads((checkpoints.CHECKPOINTS / "nano" / "manifest.json").read_bytes())
for _stretch in ("validation", "test"):
    NANO[_stretch]["by_symbol"] = dict(list(NANO[_stretch]["by_symbol"].items())[:2])
ADAPTER: dict[str, Any] = {
    "format": 1, "base": "nano", "base_sha256": "0" * 64, "method": "dora", "rank": 4, "alpha": 8.0,
    "targets": ["qkv_proj", "out"], "layers": [0, 1], "file": "adapter.safetensors", "bytes": 1000, "sha256": "1" * 64,
    "created": "2025-07-01T00:00:00Z", "licence": "MIT", "cutoff": 1_735_689_600_000, "inputs": NANO["inputs"],
}  # fmt: skip
FULL = ADAPTER | {"method": "full", "rank": None, "alpha": None, "targets": [], "file": "model.pt"}
ACTIVE = {
    "format": 1,
    "current": {"checkpoint": "2025-07-01-a", "at": 1_751_328_000_000, "by": "operator"},
    "history": [{"checkpoint": "base", "at": 1_751_000_000_000, "by": "operator"}],
}
PEFT = {
    "peft_type": "LORA", "r": 8, "lora_alpha": 16, "use_dora": True, "use_rslora": False, "bias": "none",
    "init_lora_weights": True, "rank_pattern": {"layers.0.out": 4}, "alpha_pattern": {}, "target_modules": ["out"],
}  # fmt: skip
HEADER = {
    "__metadata__": {"format": "pt"},
    "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
    "b": {"dtype": "F32", "shape": [2], "data_offsets": [24, 32]},
}


@pytest.fixture(scope="module")
def tier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints") / "t1"
    (folder / "a").mkdir(parents=True)
    return folder


def refused(read: Any, named: str) -> None:
    try:
        read()
    except ModelRefused as refusal:
        problem = str(refusal)
    else:
        return
    assert named in problem
    assert len(problem) < 3_000


@tried(80)
@given(content=spoiled([ADAPTER, FULL]))
def test_an_adapters_manifest_is_read_or_refused(tier: Path, content: bytes) -> None:
    (tier / "a" / "manifest.json").write_bytes(content)
    refused(lambda: registry.read_manifest(tier / "a"), "manifest.json")


@tried(80)
@given(content=spoiled([NANO]))
def test_a_bases_manifest_is_read_or_refused(tier: Path, content: bytes) -> None:
    path = tier / "a" / "base.json"
    path.write_bytes(content)
    refused(lambda: checkpoints.read_manifest(path), "base.json")


@tried(80)
@given(content=spoiled([ACTIVE]))
def test_a_pointer_is_read_or_refused(tier: Path, content: bytes) -> None:
    (tier / pointers.POINTER).write_bytes(content)
    refused(lambda: pointers.read(tier.parent, "t1"), pointers.POINTER)


@tried(80)
@given(content=spoiled([PEFT]))
def test_a_peft_configuration_is_read_or_refused(tier: Path, content: bytes) -> None:
    (tier / "a" / peft_folder.PEFT_CONFIG).write_bytes(content)
    refused(lambda: peft_folder.read_config(tier / "a"), peft_folder.PEFT_CONFIG)


@tried(80)
@given(
    header=spoiled([HEADER]), data=st.sampled_from([b"\0" * 32, b"\0" * 31, b"", b"\0" * 40]), length=st.integers(-9, 9)
)
def test_a_safetensors_file_is_read_or_refused(header: bytes, data: bytes, length: int) -> None:
    header += b" " * (-len(header) % 8)
    claimed = max(0, len(header) + (length if abs(length) == 9 else 0))
    refused(lambda: weights.parse(claimed.to_bytes(8, "little") + header + data), "")


def test_the_unspoiled_files_are_read(tier: Path) -> None:
    for content in (ADAPTER, FULL):
        (tier / "a" / "manifest.json").write_text(json.dumps(content))
        assert registry.read_manifest(tier / "a").method == content["method"]
    (tier / "a" / "base.json").write_text(json.dumps(NANO))
    assert checkpoints.read_manifest(tier / "a" / "base.json").name == "nano"
    (tier / pointers.POINTER).write_text(json.dumps(ACTIVE))
    assert pointers.current(tier.parent, "t1") == "2025-07-01-a"
    (tier / "a" / peft_folder.PEFT_CONFIG).write_text(json.dumps(PEFT))
    assert peft_folder.read_config(tier / "a").r == 8
    header = json.dumps(HEADER).encode()
    header += b" " * (-len(header) % 8)
    assert set(weights.parse(len(header).to_bytes(8, "little") + header + b"\0" * 32)) == {"a", "b"}
