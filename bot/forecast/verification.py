"""A checkpoint's weights, handed out only after all that its manifest says and its base demands has held."""

import hashlib
import re
from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from bot.errors import ModelRefused
from bot.forecast.adapters import TARGETS, RawAdapter, RawDelta, check, target_shapes
from bot.forecast.checkpoints import MANIFEST, Base
from bot.forecast.network import check_layout
from bot.forecast.registry import LARGEST_RANK, CheckpointManifest, Found, inside
from bot.forecast.weights import WeightsFile, check_finite, open_full, parse, sha256_of

SLACK = 1_000_000  # bytes of a file that are no tensor: the header

OWN = re.compile(r"layers\.(\d{1,4})\.(qkv_proj|out|ff0|ff1)\.(lora_A|lora_B|magnitude)")
PEFT = re.compile(
    r"(base_model\.model\.(?:\w+\.)*)stacked_xf\.(\d{1,4})\.(attn\.qkv_proj|attn\.out|ff0|ff1)\."
    r"(lora_A\.weight|lora_B\.weight|lora_magnitude_vector)"
)
PARTS = {
    "lora_A": "a",
    "lora_B": "b",
    "magnitude": "magnitude",
    "lora_A.weight": "a",
    "lora_B.weight": "b",
    "lora_magnitude_vector": "magnitude",
}


def verify(found: Found, base: Base) -> RawAdapter | WeightsFile:
    """The checkpoint's weights, after everything that the manifest says and the base demands has held.

    Refused: another base, a size or hash that differs, tensors that are missing, surplus or of another shape, ranks and
    targets that disagree with the manifest, NaN, and every file that is no plain set of tensors. Raises ModelRefused
    with one sentence: the file, what is wrong, what to do.
    """
    manifest, path = found.manifest, found.weights
    if manifest.base_sha256 != base.sha256:
        raise ModelRefused(
            f"{found.folder / MANIFEST}: made for the base {manifest.base} (sha256 {manifest.base_sha256[:8]}...), and "
            f"{base.name} ({base.sha256[:8]}...) is loaded; set [model] base, or activate a checkpoint of this base"
        )
    inside(found.folder, path)
    try:
        return _full(found, base) if manifest.method == "full" else _adapter(found, base)
    except OSError as error:
        raise ModelRefused(f"{path}: {error.strerror}; restore it, or activate another checkpoint") from None
    except ModelRefused as refused:
        raise ModelRefused(f"{path}: {refused}; restore the file, or activate another checkpoint") from None


def _full(found: Found, base: Base) -> WeightsFile:
    file = WeightsFile.at(found.weights)
    _check_size(found.manifest, file.size)
    _check_hash(found.manifest, sha256_of(file.path))
    tensors = open_full(file.path)
    check_layout(base.spec, tensors)
    check_finite(tensors)
    if not file.unchanged():
        raise ModelRefused("it was changed while it was verified")
    return file


def _adapter(found: Found, base: Base) -> RawAdapter:
    manifest, path = found.manifest, found.weights
    _check_size(manifest, path.stat().st_size)
    shapes = target_shapes(base.spec)
    largest = base.spec.layers * sum(4 * (sum(shapes[target]) + 1) * LARGEST_RANK for target in TARGETS) + SLACK
    if manifest.bytes > largest:
        raise ModelRefused(f"{manifest.bytes} bytes are more than any adapter of this base can have ({largest})")
    content = path.read_bytes()
    _check_size(manifest, len(content))
    _check_hash(manifest, hashlib.sha256(content).hexdigest())
    assert manifest.method != "full"
    assert manifest.rank is not None
    assert manifest.alpha is not None
    adapter = assemble(parse(content), method=manifest.method, rank=manifest.rank, alpha=manifest.alpha)
    _check_coverage(adapter, manifest, base.spec.layers)
    check(adapter, base.spec)
    return adapter


def _check_size(manifest: CheckpointManifest, size: int) -> None:
    if size != manifest.bytes:
        raise ModelRefused(f"{size} bytes, the manifest says {manifest.bytes}: truncated or another file")


def _check_hash(manifest: CheckpointManifest, digest: str) -> None:
    if digest != manifest.sha256:
        raise ModelRefused(f"sha256 {digest} is not the manifest's {manifest.sha256}: changed or another file")


def assemble(tensors: Mapping[str, Tensor], *, method: Literal["dora", "lora"], rank: int, alpha: float) -> RawAdapter:
    """An adapter of tensors under our names (layers.3.ff0.lora_A) or peft's. ModelRefused names the odd one."""
    if not tensors:
        raise ModelRefused("it holds no tensor")
    parts: dict[tuple[int, str], dict[str, Tensor]] = {}
    prefixes: set[str] = set()
    for name, tensor in tensors.items():
        prefix, layer, target, part = place(name)
        prefixes.add(prefix)
        found = parts.setdefault((layer, target), {})
        if part in found or len(prefixes) > 1:
            raise ModelRefused(f"tensor {name}: a second one for the same place, or under a second prefix")
        found[part] = tensor
    wanted = {"a", "b"} | ({"magnitude"} if method == "dora" else set())
    for (layer, target), found in parts.items():
        if found.keys() != wanted:
            raise ModelRefused(
                f"layer {layer}, {target}: it has {', '.join(sorted(found))}, {method} {', '.join(sorted(wanted))}"
            )
    deltas = {at: RawDelta(a=found["a"], b=found["b"], magnitude=found.get("magnitude")) for at, found in parts.items()}
    return RawAdapter(method=method, rank=rank, alpha=alpha, tensors=deltas)


def place(name: str) -> tuple[str, int, str, str]:
    """Prefix, layer, target and part (a field of RawDelta) of one tensor's name."""
    if own := OWN.fullmatch(name):
        return "", int(own[1]), own[2], PARTS[own[3]]
    if peft := PEFT.fullmatch(name):
        return peft[1], int(peft[2]), peft[3].removeprefix("attn."), PARTS[peft[4]]
    raise ModelRefused(f"tensor {name!r}: no part of an adapter on {', '.join(TARGETS)}")


def _check_coverage(adapter: RawAdapter, manifest: CheckpointManifest, layers: int) -> None:
    changed = range(layers) if manifest.layers is None else manifest.layers
    expected = {(layer, target) for layer in changed for target in manifest.targets}
    missing, surplus = sorted(expected - adapter.tensors.keys()), sorted(adapter.tensors.keys() - expected)
    for word, found in (("no tensors", missing), ("tensors that the manifest does not name", surplus)):
        if found:
            layer, target = found[0]
            raise ModelRefused(f"{word} for layer {layer}, {target}, in all {len(found)} places of this kind")
