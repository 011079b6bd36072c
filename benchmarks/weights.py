"""Random checkpoints from a seed, written once as the bot reads them: a base, and a DoRA adapter for each of six tiers.

The package starts its norms at zero, with which the layers would say nothing, so here every tensor is drawn. Matrices
are normal with variance 1 / inputs, so that sizes neither grow nor fade through the layers. Norms scale by about one
before a block and by about 0.3 after it, so that each layer adds to the stream without drowning it. The heads' last
matrices are a tenth of the others, so that the predicted moves are about as large as those of a trained model.
"""

import re
from pathlib import Path
from typing import cast

import msgspec
import torch
from safetensors.torch import save_file
from torch import Generator, Tensor

from bot.forecast import pointers
from bot.forecast.adapters import TARGETS
from bot.forecast.checkpoints import MANIFEST, Base, Manifest, read_manifest, save
from bot.forecast.engine import ForecastOptions
from bot.forecast.network import ModelSpec, build_module
from bot.forecast.registry import CheckpointManifest, Target
from bot.forecast.weights import sha256_of

CREATED = "2025-01-01T00:00:00+00:00"  # of random numbers; the files are the same on every day
CONTEXT = 192
RANKS = {"b1": 8, "b2": 4, "b3": 8, "b4": 16, "b5": 8, "b6": 8}  # by tier; the last one is resident and not in use
ADAPTER = "a"  # id of each tier's own adapter
SPARES = ("n1", "n2", "n3", "n4", "n5")  # of the first tier: rank 8, to be loaded while the engine runs
ACTIVATED_AT = 1_735_689_600_000  # 2025-01-01
SEED = 7

_HEADS = re.compile(r"output_projection_\w+\.(output|residual)_layer\.weight")
_POST_NORM = re.compile(r".*\.post_\w+_ln\.scale")


def write_base(directory: Path, name: str, spec: ModelSpec) -> None:
    """`directory/name`, unless it is there already."""
    if (directory / name / MANIFEST).is_file():
        return
    generator = Generator().manual_seed(SEED)
    with torch.device("meta"):
        module = build_module(spec)
    tensors = {key: _draw(key, tensor.shape, generator) for key, tensor in module.state_dict().items()}
    module.load_state_dict(tensors, assign=True)
    manifest = Manifest(
        format=1,
        name=name,
        architecture="timesfm-2.5",
        licence="MIT",
        created=CREATED,
        spec=spec,
        options=ForecastOptions(),
        context=CONTEXT,
        parameters=sum(tensor.numel() for tensor in tensors.values()),
        bytes=1,
        sha256="0" * 64,
    )
    save(module, manifest, directory / name)


def write_adapters(directory: Path, base_name: str, matrices: dict[tuple[int, str], Tensor]) -> None:
    """Adapters of every tier, each tier's own activated; what is there already stays. `matrices` are the base's."""
    base = base_of(directory, base_name)
    wanted = [(tier, ADAPTER, rank) for tier, rank in RANKS.items()]
    wanted += [(next(iter(RANKS)), spare, 8) for spare in SPARES]
    for number, (tier, adapter, rank) in enumerate(wanted):
        folder = directory / tier / adapter
        if not (folder / MANIFEST).is_file():
            _write_adapter(folder, base, rank, matrices, Generator().manual_seed(SEED + 1 + number))
    for tier in RANKS:
        if pointers.current(directory, tier) != ADAPTER:
            pointers.activate(directory, tier, ADAPTER, base, at=ACTIVATED_AT, by="benchmark")


def base_of(directory: Path, name: str) -> Base:
    manifest = read_manifest(directory / name / MANIFEST)
    return Base(name=manifest.name, sha256=manifest.sha256, spec=manifest.spec)


def matrices_of(tensors: dict[str, Tensor], spec: ModelSpec) -> dict[tuple[int, str], Tensor]:
    """The matrices (out, in) that adapters change, of a state dict of the package's module."""
    inner = {target: f"attn.{target}" if target in ("qkv_proj", "out") else target for target in TARGETS}
    return {
        (layer, target): tensors[f"stacked_xf.{layer}.{inner[target]}.weight"]
        for layer in range(spec.layers)
        for target in TARGETS
    }


def _draw(name: str, shape: torch.Size, generator: Generator) -> Tensor:
    noise = torch.randn(shape, generator=generator)
    if len(shape) == 2:
        return noise.mul_((0.1 if _HEADS.fullmatch(name) else 1.0) / shape[1] ** 0.5)
    if name.endswith("bias") or "per_dim_scale" in name:
        return noise.mul_(0.1)
    return noise.mul_(0.1).add_(1.0).mul_(0.3 if _POST_NORM.fullmatch(name) else 1.0)


def _write_adapter(
    folder: Path, base: Base, rank: int, matrices: dict[tuple[int, str], Tensor], generator: Generator
) -> None:
    """A move of each matrix's rows by a few percent in direction and in length."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for (layer, target), weight in matrices.items():
        out, inputs = weight.shape
        name = f"layers.{layer}.{target}."
        tensors[name + "lora_A"] = torch.randn(rank, inputs, generator=generator) / inputs**0.5
        tensors[name + "lora_B"] = torch.randn(out, rank, generator=generator) * (0.05 / rank**0.5)
        drift = 1 + 0.02 * torch.randn(out, generator=generator)
        tensors[name + "magnitude"] = torch.linalg.vector_norm(weight, dim=1) * drift
    path = folder / "adapter.safetensors"
    save_file(tensors, path)
    path.chmod(0o644)
    manifest = CheckpointManifest(
        format=1,
        base=base.name,
        base_sha256=base.sha256,
        method="dora",
        rank=rank,
        alpha=float(rank),
        targets=cast(tuple[Target, ...], TARGETS),
        file=path.name,
        bytes=path.stat().st_size,
        sha256=sha256_of(path),
        created=CREATED,
        licence="MIT",
    )
    (folder / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
