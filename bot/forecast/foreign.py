"""Weights made elsewhere, brought into the registry: peft's saved adapters and full state dicts."""

import contextlib
import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import msgspec
from torch import Tensor

from bot.errors import ModelRefused
from bot.forecast.adapters import TARGETS, RawAdapter, check
from bot.forecast.checkpoints import MANIFEST, WEIGHTS, Base
from bot.forecast.network import check_layout
from bot.forecast.peft_folder import PEFT_WEIGHTS, read_adapter, read_config, read_weights
from bot.forecast.pointers import sync_folder
from bot.forecast.registry import ADAPTER, CheckpointManifest, Found, check_name, check_tier, read_manifest
from bot.forecast.verification import verify
from bot.forecast.weights import check_finite, open_full, parse, sha256_of, write


def bring_in(
    source: Path, directory: Path, tier: str, checkpoint: str, base: Base, *, licence: str | None = None
) -> Found:
    """Make `checkpoints/<tier>/<checkpoint>/` of a peft folder, a `.pt` state dict or a full `.safetensors` file.

    It is for the base `base`: that the weights were made for that one, nobody but the caller can know; that they fit
    its dimensions is verified. The folder appears whole and verified, or not at all. ModelRefused says why.
    """
    check_tier(directory, tier)
    check_name("checkpoint", checkpoint)
    folder = directory / tier / checkpoint
    if folder.exists():
        raise ModelRefused(f"{folder}: exists already; give another name with --id")
    making = folder.with_name(f".importing-{checkpoint}-{os.getpid()}")
    is_new = not folder.parent.exists()
    making.mkdir(parents=True)
    try:
        facts = _write_adapter(source, making, base) if source.is_dir() else _write_full(source, making, base)
        _write_manifest(making, base, facts, licence)
        verify(Found(tier=tier, id=checkpoint, folder=making, manifest=read_manifest(making)), base)
        os.rename(making, folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)
        if is_new and not folder.exists():
            with contextlib.suppress(OSError):  # another import is under way there
                folder.parent.rmdir()
    sync_folder(folder.parent)
    return Found(tier=tier, id=checkpoint, folder=folder, manifest=read_manifest(folder))


def _write_adapter(source: Path, making: Path, base: Base) -> dict[str, Any]:
    config, path = read_config(source), source / PEFT_WEIGHTS
    content = read_weights(source)
    try:
        adapter = read_adapter(parse(content), config)
        check(adapter, base.spec)
        targets, layers = _coverage(adapter, base.spec.layers)
    except ModelRefused as refused:
        raise ModelRefused(f"{path}: {refused}") from None
    write(making / ADAPTER, _own_names(adapter))
    return {
        "method": adapter.method,
        "rank": adapter.rank,
        "alpha": adapter.alpha,
        "targets": targets,
        "layers": layers,
        "file": ADAPTER,
        "origin": f"peft: {source.name}/{PEFT_WEIGHTS}, sha256 {hashlib.sha256(content).hexdigest()}",
    }


def _write_full(source: Path, making: Path, base: Base) -> dict[str, Any]:
    if source.suffix not in (".pt", ".pth", ".safetensors"):
        raise ModelRefused(
            f"{source}: expected a folder that peft's save_pretrained has written, or a state dict in a .pt or "
            ".safetensors file"
        )
    try:
        tensors = open_full(source)
        check_layout(base.spec, tensors)
        check_finite(tensors)
        write(making / WEIGHTS, tensors)
    except OSError as error:
        raise ModelRefused(f"{source}: {error.strerror}") from None
    except ModelRefused as refused:
        raise ModelRefused(f"{source}: {refused}") from None
    return {"method": "full", "file": WEIGHTS, "origin": f"state dict: {source.name}, sha256 {sha256_of(source)}"}


def _write_manifest(making: Path, base: Base, facts: dict[str, Any], licence: str | None) -> None:
    weights = making / facts["file"]
    weights.chmod(0o644)  # the bot may run as another user than the one who imports
    manifest = CheckpointManifest(
        format=1,
        base=base.name,
        base_sha256=base.sha256,
        bytes=weights.stat().st_size,
        sha256=sha256_of(weights),
        licence=licence,
        **facts,
    )
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    (making / MANIFEST).write_bytes(text + b"\n")


def _coverage(adapter: RawAdapter, count: int) -> tuple[tuple[str, ...], tuple[int, ...] | None]:
    """Targets and layers (None: all). ModelRefused where one target has other layers than the rest."""
    targets = tuple(target for target in TARGETS if any(found == target for _, found in adapter.tensors))
    layers = tuple(sorted({layer for layer, _ in adapter.tensors}))
    for layer in layers:
        for target in targets:
            if (layer, target) not in adapter.tensors:
                raise ModelRefused(f"layer {layer} has no {target} and another layer has; expected the same of each")
    return targets, None if layers == tuple(range(count)) else layers


def _own_names(adapter: RawAdapter) -> dict[str, Tensor]:
    """Under the names of the registry's own files: layers.3.ff0.lora_A."""
    named: dict[str, Tensor] = {}
    for (layer, target), delta in adapter.tensors.items():
        named[f"layers.{layer}.{target}.lora_A"] = delta.a
        named[f"layers.{layer}.{target}.lora_B"] = delta.b
        if delta.magnitude is not None:
            named[f"layers.{layer}.{target}.magnitude"] = delta.magnitude
    return named
