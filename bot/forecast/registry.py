"""The registry: `checkpoints/<tier>/<id>/` with manifest and weights, found by name or refused by name."""

import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from bot.errors import ModelRefused
from bot.forecast.checkpoints import MANIFEST, Count, DataUsed, Record, Sha256, StretchScore
from bot.forecast.distance import InputStats

ADAPTER = "adapter.safetensors"  # by custom; the manifest names the file
BASE = "base"  # activated: the base itself, without an adapter
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*\.(safetensors|pt)")
MANIFEST_LIMIT = 4_000_000  # bytes
LARGEST_RANK = 256

Rank = Annotated[int, msgspec.Meta(ge=1, le=LARGEST_RANK)]
Alpha = Annotated[float, msgspec.Meta(gt=0, le=1e6)]
Method = Literal["dora", "lora", "full"]
Target = Literal["qkv_proj", "out", "ff0", "ff1"]


class CheckpointManifest(Record, frozen=True, kw_only=True):
    """`manifest.json` of one checkpoint of a tier. What is not known is null."""

    format: Literal[1]
    base: str
    base_sha256: Sha256
    method: Method
    rank: Rank | None = None  # null for full
    alpha: Alpha | None = None  # the update is scaled by alpha / rank
    targets: tuple[Target, ...] = ()
    layers: tuple[Annotated[int, msgspec.Meta(ge=0, le=9_999)], ...] | None = None  # null: all
    file: str
    bytes: Count
    sha256: Sha256
    created: str | None = None  # ISO 8601, UTC
    licence: str | None = None
    cutoff: int | None = None  # ms UTC: training saw no bar that closed after it
    data: DataUsed | None = None
    validation: StretchScore | None = None
    test: StretchScore | None = None
    inputs: InputStats | None = None
    origin: str | None = None  # of imported weights: where they came from

    def __post_init__(self) -> None:
        full = self.method == "full"
        if full != (self.rank is None) or full != (self.alpha is None) or full == bool(self.targets):
            raise ValueError(f"rank, alpha and targets belong to dora and lora, and to them alone; here {self.method}")
        if len(set(self.targets)) != len(self.targets):
            raise ValueError("targets names one twice")
        if not FILE.fullmatch(self.file) or not (full or self.file.endswith(".safetensors")):
            raise ValueError(f"file {self.file!r}; expected a plain name, NAME.safetensors, or for full also NAME.pt")


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint whose manifest could be read. Its weights are not verified yet."""

    tier: str
    id: str
    folder: Path
    manifest: CheckpointManifest

    @property
    def weights(self) -> Path:
        return self.folder / self.manifest.file

    @property
    def serves_as(self) -> str:
        """The id in signal rows, as t1/2025-07-01-a@1a2b3c4d."""
        return f"{self.tier}/{self.id}@{self.manifest.sha256[:8]}"


def check_name(kind: str, name: str) -> None:
    if not NAME.fullmatch(name) or name.lower() == BASE:
        raise ModelRefused(
            f"{kind} {name!r}: expected 1 to 64 letters, digits, _ or -, the first a letter or digit, and not '{BASE}'"
        )


def check_tier(directory: Path, tier: str) -> None:
    """ModelRefused where `tier` can be no tier's name, or is a base's folder."""
    check_name("tier", tier)
    if (directory / tier / MANIFEST).exists():
        raise ModelRefused(f"{directory / tier}: a base and no tier; give the tier's name, as t1")


def find(directory: Path, tier: str, checkpoint: str) -> Found:
    """The checkpoint of that name, with its manifest read. ModelRefused names what is wrong and what to do."""
    check_name("checkpoint", checkpoint)
    folder = directory / tier / checkpoint
    try:
        check_tier(directory, tier)
        if not folder.is_dir():
            known = ", ".join(names(directory, tier)) or "none"
            raise ModelRefused(f"{folder}: there is no checkpoint {checkpoint!r} of tier {tier}; there are: {known}")
        return Found(tier=tier, id=checkpoint, folder=folder, manifest=read_manifest(folder))
    except OSError as error:
        raise ModelRefused(f"{error.filename}: {error.strerror}; let the bot's user read it") from None


def names(directory: Path, tier: str) -> Iterator[str]:
    """The ids of a tier's checkpoints, sorted, broken ones too."""
    folder = directory / tier
    if folder.is_dir():
        yield from sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and NAME.fullmatch(entry.name))


def tiers(directory: Path) -> Iterator[str]:
    """The folders below `directory` that hold checkpoints of a tier, or are ready to: all but the bases'."""
    if directory.is_dir():
        found = (entry for entry in directory.iterdir() if entry.is_dir() and NAME.fullmatch(entry.name))
        yield from sorted(entry.name for entry in found if not (entry / MANIFEST).exists())


def read_manifest(folder: Path) -> CheckpointManifest:
    path = folder / MANIFEST
    if not path.exists():
        raise ModelRefused(f"{path}: there is no manifest; `checkpoints import` makes one for weights made elsewhere")
    inside(folder, path)
    if path.stat().st_size > MANIFEST_LIMIT:
        raise ModelRefused(f"{path}: {path.stat().st_size} bytes are too many for a manifest")
    try:
        return msgspec.json.decode(path.read_bytes(), type=CheckpointManifest)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ModelRefused(f"{path}: {error}; restore it, or import the weights again") from None


def inside(folder: Path, path: Path) -> None:
    """Refuse a file that is not a plain one in the checkpoint's own folder: a link may lead anywhere."""
    home = folder.parent.parent.resolve() / folder.parent.name / folder.name
    try:
        kind = path.lstat().st_mode
    except OSError as error:
        raise ModelRefused(f"{path}: {error.strerror}; restore it, or activate another checkpoint") from None
    if not stat.S_ISREG(kind) or path.resolve() != home / path.name:
        raise ModelRefused(f"{path}: a link, or no plain file; put the file itself into the checkpoint's folder")
