"""Checkpoints of a tier, verified: every fault is refused by its file's name, and nothing in a file is ever run."""

import errno
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from bot.errors import ModelRefused
from bot.forecast.adapters import RawAdapter
from bot.forecast.checkpoints import MANIFEST, WEIGHTS, Loaded
from bot.forecast.distance import describe
from bot.forecast.registry import ADAPTER, find, names, tiers
from bot.forecast.verification import verify
from bot.forecast.weights import MappedTensors, WeightsFile, write
from tests.forecast.checkpoints_made import (
    change_manifest,
    make_adapter,
    make_base,
    make_full,
    random_module,
    random_tensors,
    seal,
    write_manifest,
)


@pytest.fixture
def base(tmp_path: Path) -> Loaded:
    return make_base(tmp_path)


def verified(folder: Path, base: Loaded) -> RawAdapter | WeightsFile:
    return verify(find(folder.parent.parent, folder.parent.name, folder.name), base.base)


def refusal(folder: Path, base: Loaded) -> str:
    with pytest.raises(ModelRefused) as refused:
        verified(folder, base)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def with_tensors(tmp_path: Path, base: Loaded, tensors: dict[str, Tensor], **changes: Any) -> Path:
    return make_adapter(tmp_path, base, tensors=tensors, **changes)


def rewrite_header(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    change(header)
    told = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(told)) + told + content[8 + length :])


# What is sound


def test_an_adapter_is_read_as_it_was_saved(tmp_path: Path, base: Loaded) -> None:
    adapter = verified(make_adapter(tmp_path, base), base)
    assert isinstance(adapter, RawAdapter)
    assert (adapter.method, adapter.rank, adapter.alpha, len(adapter.tensors)) == ("dora", 4, 8.0, 8)
    wanted = random_tensors(seed=sum(b"a"))
    torch.testing.assert_close(adapter.tensors[1, "ff0"].b, wanted["layers.1.ff0.lora_B"], rtol=0, atol=0)


def test_an_adapter_on_some_targets_and_layers_is_whole_where_its_manifest_says_so(
    tmp_path: Path, base: Loaded
) -> None:
    tensors = {name: one for name, one in random_tensors(1, targets=("ff1",)).items() if name.startswith("layers.1.")}
    folder = with_tensors(tmp_path, base, tensors, targets=("ff1",), layers=(1,))
    adapter = verified(folder, base)
    assert isinstance(adapter, RawAdapter)
    assert list(adapter.tensors) == [(1, "ff1")]


@pytest.mark.parametrize("file", [WEIGHTS, "best.pt"])
def test_a_full_checkpoint_is_mapped_as_it_was_saved(tmp_path: Path, base: Loaded, file: str) -> None:
    full = verified(make_full(tmp_path, base, file=file), base)
    assert isinstance(full, WeightsFile)
    tensors, wanted = full.open(), random_module(9).state_dict()
    assert tensors.keys() == wanted.keys()
    for name, tensor in wanted.items():
        torch.testing.assert_close(tensors[name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize("wrap", ["state_dict", "model_state_dict", None])
@pytest.mark.parametrize("prefix", ["", "model.", "module.model."])
def test_a_state_dict_may_stand_below_a_key_and_under_a_prefix(
    tmp_path: Path, base: Loaded, wrap: str | None, prefix: str
) -> None:
    folder = make_full(tmp_path, base, file="best.pt")
    tensors = {prefix + name: tensor for name, tensor in random_module(9).state_dict().items()}
    torch.save({wrap: tensors, "epoch": 3} if wrap else tensors, folder / "best.pt")
    seal(folder)
    full = verified(folder, base)
    assert isinstance(full, WeightsFile)
    assert full.open().keys() == random_module(9).state_dict().keys()


def test_what_is_written_is_what_the_safetensors_package_reads(tmp_path: Path) -> None:
    tensors = {"odd": torch.randn(3).bfloat16(), "scalar": torch.tensor(2.5), "wide": torch.randn(5, 7).t()}
    write(tmp_path / "x.safetensors", tensors)
    for found in (load_file(tmp_path / "x.safetensors"), MappedTensors(tmp_path / "x.safetensors")):
        assert found.keys() == tensors.keys()
        for name, tensor in tensors.items():
            torch.testing.assert_close(found[name], tensor, rtol=0, atol=0)


def test_a_mapped_tensor_stays_valid_after_its_memory_was_given_back(tmp_path: Path) -> None:
    tensors = {f"t{number}": torch.randn(4_096) for number in range(4)}
    write(tmp_path / "x.safetensors", tensors)
    mapped = MappedTensors(tmp_path / "x.safetensors")
    held = [mapped[name] for name in mapped]
    mapped.give_back()
    for name, tensor in zip(mapped, held, strict=True):
        torch.testing.assert_close(tensor, tensors[name], rtol=0, atol=0)


# The manifest


def test_another_base_is_refused(tmp_path: Path, base: Loaded) -> None:
    folder = make_adapter(tmp_path, base)
    other = make_base(tmp_path / "other", seed=2, name="other")
    text = refusal(folder, other)
    assert MANIFEST in text
    assert "made for the base tiny" in text
    assert f"other ({other.base.sha256[:8]}" in text
    assert "[model] base" in text


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"surplus": 1}, "surplus"),
        ({"format": 2}, "format"),
        ({"method": "ia3"}, "method"),
        ({"rank": 0}, "rank"),
        ({"rank": 100_000}, "rank"),
        ({"rank": None}, "rank, alpha and targets belong to dora and lora"),
        ({"alpha": -1.0}, "alpha"),
        ({"targets": []}, "rank, alpha and targets"),
        ({"targets": ["ff0", "ff0"]}, "twice"),
        ({"targets": ["query"]}, "targets"),
        ({"method": "full"}, "rank, alpha and targets"),
        ({"sha256": "abc"}, "sha256"),
        ({"base_sha256": None}, "base_sha256"),
        ({"file": "../../tiny/model.safetensors"}, "expected a plain name"),
        ({"file": "/etc/passwd"}, "expected a plain name"),
        ({"file": "adapter.pt"}, "expected a plain name"),
        ({"file": "adapter_model.bin"}, "expected a plain name"),
    ],
)
def test_a_wrong_key_of_the_manifest_is_refused_by_name(
    tmp_path: Path, base: Loaded, changes: dict[str, Any], text: str
) -> None:
    folder = make_adapter(tmp_path, base)
    change_manifest(folder, **changes)
    said = refusal(folder, base)
    assert str(folder / MANIFEST) in said
    assert text in said


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"[" * 100_000, b"\xff\xfe", b" " * 5_000_000])
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, base: Loaded, content: bytes) -> None:
    folder = make_adapter(tmp_path, base)
    (folder / MANIFEST).write_bytes(content)
    assert str(folder / MANIFEST) in refusal(folder, base)


def test_input_statistics_that_nobody_can_compute_with_are_refused(tmp_path: Path, base: Loaded) -> None:
    closes = 100 * np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.01, (200, 64)), axis=1))
    stats = msgspec.to_builtins(describe(closes))
    folder = make_adapter(tmp_path, base, inputs=stats)
    assert verified(folder, base)
    for change, text in (
        ({"features": ["volume"] * 6}, "this version measures"),
        ({"mean": [0.0]}, "of another size"),
        ({"covariance": [[0.0] * 6] * 6}, "not positive definite"),
        ({"covariance": [[1.0]] * 6}, "of another size"),
        ({"levels": [], "distances": []}, "are empty"),
    ):
        change_manifest(folder, inputs=stats | change)
        said = refusal(folder, base)
        assert MANIFEST in said
        assert text in said


# Names and places


@pytest.mark.parametrize("name", ["..", ".", "a/b", "../t2", "", "a.b", "base", "-x", "a" * 65, "a\\b", "a\n"])
def test_names_that_could_lead_elsewhere_are_refused(tmp_path: Path, base: Loaded, name: str) -> None:
    make_adapter(tmp_path, base)
    with pytest.raises(ModelRefused, match="letters, digits"):
        find(tmp_path, "t1", name)
    with pytest.raises(ModelRefused, match="letters, digits"):
        find(tmp_path, name, "a")


def test_an_unknown_checkpoint_says_which_there_are(tmp_path: Path, base: Loaded) -> None:
    make_adapter(tmp_path, base, "a")
    make_adapter(tmp_path, base, "b")
    with pytest.raises(ModelRefused, match="there are: a, b"):
        find(tmp_path, "t1", "c")
    assert list(tiers(tmp_path)) == ["t1"]
    assert list(names(tmp_path, "t1")) == ["a", "b"]


@pytest.mark.parametrize("file", [ADAPTER, MANIFEST])
def test_a_link_that_leads_out_of_the_folder_is_refused(tmp_path: Path, base: Loaded, file: str) -> None:
    folder = make_adapter(tmp_path, base)
    outside = tmp_path / "outside"
    (folder / file).rename(outside)
    (folder / file).symlink_to(outside)
    assert f"{folder / file}: a link" in refusal(folder, base)


def test_a_folder_that_is_a_link_is_refused(tmp_path: Path, base: Loaded) -> None:
    folder = make_adapter(tmp_path, base)
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    assert "a link" in refusal(folder, base)


def test_what_may_not_be_read_is_refused(tmp_path: Path, base: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_adapter(tmp_path, base)

    def denied(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", denied)  # what root, who runs the tests here, is never told
    with pytest.raises(ModelRefused, match=f"{folder / MANIFEST}: Permission denied; let the bot's user read it"):
        find(tmp_path, "t1", folder.name)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, base: Loaded) -> None:
    folder = make_adapter(tmp_path, base)
    (folder / ADAPTER).unlink()
    os.mkfifo(folder / ADAPTER)
    assert "no plain file" in refusal(folder, base)


@pytest.mark.parametrize("file", [ADAPTER, MANIFEST])
def test_a_file_that_is_not_there_is_refused(tmp_path: Path, base: Loaded, file: str) -> None:
    folder = make_adapter(tmp_path, base)
    (folder / file).unlink()
    assert str(folder / file) in refusal(folder, base)


# The file as a whole


@pytest.mark.parametrize("make", [make_adapter, make_full])
def test_a_changed_byte_is_refused(tmp_path: Path, base: Loaded, make: Callable[..., Path]) -> None:
    folder = make(tmp_path, base)
    path = folder / (ADAPTER if make is make_adapter else WEIGHTS)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert f"{path}: sha256 " in refusal(folder, base)


@pytest.mark.parametrize("make", [make_adapter, make_full])
def test_a_truncated_file_is_refused_whether_or_not_the_manifest_knows(
    tmp_path: Path, base: Loaded, make: Callable[..., Path]
) -> None:
    folder = make(tmp_path, base)
    path = folder / (ADAPTER if make is make_adapter else WEIGHTS)
    path.write_bytes(path.read_bytes()[:-10])
    assert "the manifest says" in refusal(folder, base)
    seal(folder)
    assert "truncated" in refusal(folder, base)


@pytest.mark.parametrize("length", [2**63, 2**32, 10_000_000, 100_000])
def test_a_header_that_claims_too_much_is_refused_before_it_is_read(tmp_path: Path, base: Loaded, length: int) -> None:
    folder = make_adapter(tmp_path, base)
    path = folder / ADAPTER
    path.write_bytes(struct.pack("<Q", length) + path.read_bytes()[8:])
    seal(folder)
    assert f"header claims {length} bytes" in refusal(folder, base)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda header: header["layers.0.ff0.lora_A"].update(shape=[2**40, 2**40]), "one after another"),
        (lambda header: header["layers.0.ff0.lora_A"].update(shape=[-1, 16]), "cannot be read"),
        (lambda header: header["layers.0.ff0.lora_A"].update(dtype="I64"), "cannot be read"),
        (lambda header: header["layers.0.ff0.lora_A"].update(data_offsets=[0, 2**39]), "one after another"),
        (lambda header: header["layers.0.ff0.lora_A"].update(data_offsets=[0, 256]), "one after another"),
        (lambda header: header["layers.0.ff0.lora_A"].update(code="import os"), "cannot be read"),
        (lambda header: header.pop("layers.0.ff0.lora_A"), "one after another"),
        (lambda header: header.clear(), "its tensors end at 0"),
    ],
)
def test_a_header_whose_tensors_do_not_fill_the_file_is_refused(
    tmp_path: Path, base: Loaded, change: Callable[[dict[str, Any]], object], text: str
) -> None:
    folder = make_adapter(tmp_path, base)
    rewrite_header(folder / ADAPTER, change)
    seal(folder)
    assert text in refusal(folder, base)


@pytest.mark.parametrize("content", [b"", b"1234567", struct.pack("<Q", 8) + b"[" * 8, struct.pack("<Q", 2) + b"{}"])
def test_a_file_that_is_no_safetensors_is_refused(tmp_path: Path, base: Loaded, content: bytes) -> None:
    folder = make_adapter(tmp_path, base)
    (folder / ADAPTER).write_bytes(content or b"\0")
    seal(folder)
    assert str(folder / ADAPTER) in refusal(folder, base)


class Bomb:
    """Unpickled by Python's own pickle, it makes a file."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.made,)


def test_a_pickle_under_an_adapters_name_is_refused_and_not_run(tmp_path: Path, base: Loaded) -> None:
    made = tmp_path / "made"
    folder = make_adapter(tmp_path, base)
    torch.save({"layers.0.ff0.lora_A": Bomb(made)}, folder / ADAPTER)
    seal(folder)
    assert "safetensors header" in refusal(folder, base)
    assert not made.exists()


def test_a_pickle_bomb_in_a_pt_file_is_refused_and_not_run(tmp_path: Path, base: Loaded) -> None:
    made = tmp_path / "made"
    folder = make_full(tmp_path, base, file="best.pt")
    torch.save(random_module(9).state_dict() | {"surprise": Bomb(made)}, folder / "best.pt")
    seal(folder)
    text = refusal(folder, base)
    assert f"{folder / 'best.pt'}: it holds more than tensors" in text
    assert "Unsupported global: GLOBAL" in text
    assert "weights_only" not in text, "torch's advice is to run it"
    assert not made.exists()
    pickle.loads(pickle.dumps(Bomb(made)))
    assert made.exists(), "the bomb works where it is run"


def test_a_pt_file_that_calls_the_system_is_refused_by_what_it_calls(tmp_path: Path, base: Loaded) -> None:
    class Call:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, ("true",)

    folder = make_full(tmp_path, base, file="best.pt")
    torch.save({"surprise": Call()}, folder / "best.pt")
    seal(folder)
    text = refusal(folder, base)
    assert "GLOBAL posix.system" in text
    assert "weights_only" not in text


def test_a_state_dict_of_parameters_is_read_as_plain_tensors(tmp_path: Path, base: Loaded) -> None:
    folder = make_full(tmp_path, base, file="best.pt")
    torch.save(dict(random_module(9).named_parameters()), folder / "best.pt")
    seal(folder)
    weights = verified(folder, base)
    assert isinstance(weights, WeightsFile)
    assert not any(tensor.requires_grad for tensor in weights.open().values())


def test_a_bare_pickle_and_a_compressed_archive_are_refused(tmp_path: Path, base: Loaded) -> None:
    made = tmp_path / "made"
    folder = make_full(tmp_path, base, file="best.pt")
    whole = (folder / "best.pt").read_bytes()
    (folder / "best.pt").write_bytes(pickle.dumps(Bomb(made)))
    seal(folder)
    assert "no file that torch.save has written" in refusal(folder, base)
    (folder / "best.pt").write_bytes(whole)
    with zipfile.ZipFile(folder / "best.pt") as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(folder / "best.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    seal(folder)
    assert "is compressed" in refusal(folder, base)
    assert not made.exists()


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ([1, 2], "it holds a list"),
        ({}, "expected a state dict"),
        ({"epoch": 3}, "key 'epoch' holds a int"),
        ({"w": torch.zeros(2, dtype=torch.int64)}, "tensor"),
        ({"w": torch.eye(3).to_sparse()}, "not a plain tensor"),
    ],
)
def test_a_pt_file_that_is_no_state_dict_of_this_network_is_refused(
    tmp_path: Path, base: Loaded, found: object, text: str
) -> None:
    folder = make_full(tmp_path, base, file="best.pt")
    torch.save(found, folder / "best.pt")
    seal(folder)
    assert text in refusal(folder, base)


def test_a_full_checkpoint_that_is_changed_after_its_verification_is_not_opened(tmp_path: Path, base: Loaded) -> None:
    folder = make_full(tmp_path, base)
    full = verified(folder, base)
    assert isinstance(full, WeightsFile)
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes())
    with pytest.raises(ModelRefused, match="changed after it was verified"):
        full.open()
    (folder / WEIGHTS).unlink()
    with pytest.raises(ModelRefused, match=f"{WEIGHTS}: No such file"):
        full.open()


# The tensors


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"layers.0.ff0.lora_A": torch.zeros(4, 17)}, "layer 0, ff0: A has shape"),
        ({"layers.0.ff0.lora_B": torch.zeros(24, 5)}, "layer 0, ff0: B has shape"),
        ({"layers.0.ff0.magnitude": torch.zeros(25)}, "layer 0, ff0: magnitude has shape"),
        ({"layers.0.ff0.lora_A": None}, "layer 0, ff0: it has b, magnitude"),
        ({"layers.1.out.magnitude": None}, "layer 1, out: it has a, b"),
        ({"layers.0.ff0.extra": torch.zeros(1)}, "'layers.0.ff0.extra'"),
        ({"layers.0.query.lora_A": torch.zeros(4, 16)}, "'layers.0.query.lora_A'"),
        ({"layers.2.out.lora_A": torch.zeros(4, 16)}, "layer 2, out"),
        ({"layers.99999.out.lora_A": torch.zeros(4, 16)}, "'layers.99999.out.lora_A'"),
        ({"layers.0.ff0.lora_A": torch.full((4, 16), torch.nan)}, "layer 0, ff0: A holds values that are no finite"),
        ({"layers.0.ff0.lora_B": torch.full((24, 4), torch.inf)}, "layer 0, ff0: B holds values that are no finite"),
        ({"layers.0.ff0.magnitude": torch.full((24,), torch.nan)}, "layer 0, ff0: magnitude holds values"),
    ],
)
def test_tensors_that_are_missing_surplus_misshapen_or_not_finite_are_refused(
    tmp_path: Path, base: Loaded, change: dict[str, Tensor | None], text: str
) -> None:
    tensors = random_tensors(1) | change
    folder = with_tensors(tmp_path, base, {name: tensor for name, tensor in tensors.items() if tensor is not None})
    said = refusal(folder, base)
    assert str(folder / ADAPTER) in said
    assert text in said


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"rank": 8}, "A has shape (4, 16), not (8, 16)"),
        ({"targets": ("qkv_proj", "out", "ff0")}, "tensors that the manifest does not name for layer 0, ff1"),
        ({"layers": (0,)}, "tensors that the manifest does not name for layer 1"),
        ({"layers": (0, 1, 2)}, "no tensors for layer 2"),
        ({"layers": ()}, "tensors that the manifest does not name for layer 0"),
        ({"method": "lora"}, "lora a, b"),
    ],
)
def test_a_manifest_that_disagrees_with_the_tensors_is_refused(
    tmp_path: Path, base: Loaded, changes: dict[str, Any], text: str
) -> None:
    assert text in refusal(make_adapter(tmp_path, base, **changes), base)


def test_targets_that_are_named_and_not_there_are_refused(tmp_path: Path, base: Loaded) -> None:
    folder = with_tensors(tmp_path, base, random_tensors(1, targets=("out",)), targets=("out", "ff1"))
    assert "no tensors for layer 0, ff1, in all 2 places" in refusal(folder, base)


def test_an_adapter_file_that_is_too_large_to_be_one_is_refused_unread(tmp_path: Path, base: Loaded) -> None:
    folder = make_adapter(tmp_path, base)
    with (folder / ADAPTER).open("ab") as file:
        file.truncate(50_000_000)
    change_manifest(folder, bytes=50_000_000)
    assert "more than any adapter of this base can have" in refusal(folder, base)


@pytest.mark.parametrize("file", [WEIGHTS, "best.pt"])
@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"tokenizer.hidden_layer.weight": torch.zeros(3, 3)}, "tokenizer.hidden_layer.weight has shape (3, 3)"),
        ({"surplus": torch.zeros(1)}, "tensor surplus has shape"),
        ({"stacked_xf.0.ff0.weight": torch.full((24, 16), torch.nan)}, "stacked_xf.0.ff0.weight holds NaN"),
        ({"stacked_xf.0.ff0.weight": None}, "stacked_xf.0.ff0.weight has shape None"),
    ],
)
def test_a_full_checkpoint_with_wrong_tensors_is_refused(
    tmp_path: Path, base: Loaded, file: str, change: dict[str, Tensor | None], text: str
) -> None:
    folder = make_full(tmp_path, base, file=file)
    found = {name: one for name, one in (random_module(9).state_dict() | change).items() if one is not None}
    if file == WEIGHTS:
        save_file(found, folder / file)
    else:
        torch.save(found, folder / file)
    seal(folder)
    said = refusal(folder, base)
    assert str(folder / file) in said
    assert text in said


def test_an_adapter_is_no_full_checkpoint_and_a_full_one_is_no_adapter(tmp_path: Path, base: Loaded) -> None:
    folder = make_adapter(tmp_path, base)
    write_manifest(folder, base, method="full", file=ADAPTER)
    assert "weights: tensor" in refusal(folder, base)
    full = make_full(tmp_path, base)
    write_manifest(full, base, method="lora", rank=4, alpha=8.0, targets=["ff0"], file=WEIGHTS)
    assert "no part of an adapter" in refusal(full, base)
