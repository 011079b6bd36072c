"""A tiny base and checkpoints for it, on disk, for the tests of the registry and of what is served."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from bot.forecast.adapters import TARGETS, target_shapes
from bot.forecast.checkpoints import MANIFEST, WEIGHTS, Loaded, Manifest, load, save
from bot.forecast.engine import ForecastOptions
from bot.forecast.network import ModelSpec, build_module
from bot.forecast.registry import ADAPTER, CheckpointManifest
from bot.messages import Floats
from tests.forecast.reference import random_weights

SPEC = ModelSpec(layers=2, model_dims=16, hidden_dims=24, heads=2, quantile_patch=128)
CONTEXT = 64
CLOSES: Floats = 100 * np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.01, (4, CONTEXT)), axis=1))


def random_module(seed: int, spec: ModelSpec = SPEC) -> nn.Module:
    module = build_module(spec)
    module.load_state_dict(random_weights(spec, seed))
    return module


def make_base(directory: Path, seed: int = 1, name: str = "tiny") -> Loaded:
    """`checkpoints/tiny/`, loaded."""
    module = random_module(seed)
    manifest = Manifest(
        format=1,
        name=name,
        architecture="timesfm-2.5",
        licence="MIT",
        created="2025-01-01T00:00:00+00:00",
        spec=SPEC,
        options=ForecastOptions(),
        context=CONTEXT,
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        bytes=1,
        sha256="0" * 64,
    )
    save(module, manifest, directory / name)
    return load(name, directory, context=CONTEXT)


def random_tensors(
    seed: int, *, rank: int = 4, magnitude: bool = True, targets: tuple[str, ...] = TARGETS, spec: ModelSpec = SPEC
) -> dict[str, Tensor]:
    """A whole adapter under the registry's own names, its B far from zero."""
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, Tensor] = {}
    for layer in range(spec.layers):
        for target in targets:
            out, inputs = target_shapes(spec)[target]
            tensors[f"layers.{layer}.{target}.lora_A"] = torch.randn(rank, inputs, generator=generator) * 0.3
            tensors[f"layers.{layer}.{target}.lora_B"] = torch.randn(out, rank, generator=generator) * 0.3
            if magnitude:
                tensors[f"layers.{layer}.{target}.magnitude"] = torch.rand(out, generator=generator) + 0.5
    return tensors


def make_adapter(
    directory: Path,
    loaded: Loaded,
    name: str = "a",
    *,
    tier: str = "t1",
    tensors: Mapping[str, Tensor] | None = None,
    **changes: Any,
) -> Path:
    """`checkpoints/<tier>/<name>/` with a DoRA adapter of rank 4 and a manifest that fits it, but for `changes`."""
    folder = directory / tier / name
    folder.mkdir(parents=True)
    found = dict(random_tensors(seed=sum(name.encode())) if tensors is None else tensors)
    save_file(found, folder / ADAPTER)
    facts = {"method": "dora", "rank": 4, "alpha": 8.0, "targets": TARGETS, "file": ADAPTER, "licence": "MIT"}
    return write_manifest(folder, loaded, **(facts | changes))


def make_full(
    directory: Path, loaded: Loaded, name: str = "f", *, tier: str = "t1", seed: int = 9, file: str = WEIGHTS
) -> Path:
    """`checkpoints/<tier>/<name>/` with a full set of weights, as .safetensors or .pt."""
    folder = directory / tier / name
    folder.mkdir(parents=True)
    tensors = random_module(seed).state_dict()
    if file.endswith(".pt"):
        torch.save(tensors, folder / file)
    else:
        save_file(tensors, folder / file)
    return write_manifest(folder, loaded, method="full", file=file, licence="MIT")


def write_manifest(folder: Path, loaded: Loaded, **facts: Any) -> Path:
    """A manifest that tells the file's real size and hash unless `facts` says otherwise. Returns the folder."""
    content = (folder / facts["file"]).read_bytes()
    told = {
        "format": 1,
        "base": loaded.base.name,
        "base_sha256": loaded.base.sha256,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    (folder / MANIFEST).write_text(json.dumps(told | facts))
    return folder


def change_manifest(folder: Path, **changes: Any) -> None:
    path = folder / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def seal(folder: Path) -> None:
    """Make the manifest agree with the file as it is now."""
    manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=CheckpointManifest)
    content = (folder / manifest.file).read_bytes()
    change_manifest(folder, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
