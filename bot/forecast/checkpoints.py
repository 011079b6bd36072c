"""Checkpoints on disk: found by name, verified by hash and layout, licensed or refused; never any code in them."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled
from safetensors.torch import save_file
from torch import Tensor, nn

from bot.errors import ModelRefused
from bot.forecast.distance import InputStats
from bot.forecast.engine import Dtype, Engine, ForecastOptions, choose_dtype
from bot.forecast.memory import NO_CEILING, Ceiling, weights_bytes
from bot.forecast.network import SPEC_200M, ModelSpec, layout
from bot.forecast.weights import WeightsFile, check_finite, sha256_of

CHECKPOINTS = Path(__file__).resolve().parents[2] / "checkpoints"
HUB_200M = "google/timesfm-2.5-200m-pytorch"
WEIGHTS = "model.safetensors"
MANIFEST = "manifest.json"
TORCH_THREADS = torch.get_num_threads()  # torch's own choice
# Parameters. Threads of a smaller model wait for each other longer than they work: on two busy cores a pass of `nano`
# over 24 windows took 1.4 ms of processor time on one thread and 31 ms on two.
ONE_THREAD_BELOW = 10_000_000
MAY_TRADE = frozenset({"Apache-2.0", "MIT"})
_MEND = "; restore it, or set another [model] base"

Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, msgspec.Meta(ge=1)]


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the manifest's tables: an unknown key is an error."""


class DataUsed(Record, frozen=True):
    """What the training read. Times are ms UTC of a bar's open; a range ends before its `to`."""

    symbols: tuple[str, ...]
    bars: int
    train_from: int
    train_to: int
    validation_from: int
    validation_to: int
    test_from: int
    test_to: int


class TrainingRun(Record, frozen=True):
    seed: int
    steps: int
    batch: int
    threads: int
    torch: str
    wall_seconds: float
    recipe: dict[str, float]


class SymbolScore(Record, frozen=True):
    """One symbol on one stretch; an IC is a Spearman correlation with the return `horizon` bars ahead."""

    windows: int
    ic: float
    ic_reversal_24h: float
    abs_return_q50: float  # quantiles of |predicted return|
    abs_return_q90: float
    abs_return_q99: float


class StretchScore(Record, frozen=True):
    """Means over the symbols; losses are mean absolute errors of the horizon's close, in deviations of the window."""

    horizon: int
    symbols: int
    ic: float
    ic_reversal_24h: float
    symbols_above_reversal: int
    loss: float
    loss_last_value: float  # of the forecast "nothing changes"
    coverage_q10_q90: float  # share of closes between the two quantiles; 0.8 is right
    by_symbol: dict[str, SymbolScore]


class Manifest(Record, frozen=True):
    """`manifest.json` beside the weights."""

    format: Literal[1]
    name: str
    architecture: Literal["timesfm-2.5"]
    licence: str
    created: str  # ISO 8601, UTC
    spec: ModelSpec
    options: ForecastOptions
    context: Annotated[int, msgspec.Meta(ge=32)]
    parameters: Count
    bytes: Count
    sha256: Sha256
    data: DataUsed | None = None
    training: TrainingRun | None = None
    validation: StretchScore | None = None
    test: StretchScore | None = None
    inputs: InputStats | None = None  # of the training windows


class Base(msgspec.Struct, frozen=True, kw_only=True):
    """What a tier's checkpoints are held against: the base that they were made for."""

    name: str
    sha256: Sha256
    spec: ModelSpec


class Located(msgspec.Struct, frozen=True, kw_only=True):
    """Weights that were found, not yet read."""

    name: str
    weights: Path
    source: str  # for a person: where they came from
    licence: str
    manifest: Manifest | None  # None: the 200M's own file, which has none


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What `python -m bot model` tells."""

    checkpoint: str
    source: str
    path: str
    sha256: str
    verified: bool  # against a manifest
    parameters: int
    dtype: str
    context: int
    licence: str
    may_trade: bool
    validation: StretchScore | None
    test: StretchScore | None


class Loaded(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    engine: Engine
    description: Description
    weights: WeightsFile
    base: Base
    inputs: InputStats | None


def locate(base: str, directory: Path = CHECKPOINTS) -> Located:
    """Find the weights that `base` names: a directory below `directory`, a local path, or the hub id of the 200M.

    Only the hub id may use the network, and only where the hub's cache does not hold the file. Raises ModelRefused
    with what to do.
    """
    if "timesfm-3" in base.lower():
        raise ModelRefused(
            f"{base}: TimesFM 3.0's pretrained weights are licensed for non-commercial, non-production use and may not "
            f"trade, and this engine runs 2.5; use {HUB_200M} (Apache-2.0)"
        )
    for place in (directory / base, Path(base).expanduser()):
        if place.is_dir():
            return _in_directory(place)
        if place.is_file():
            return _bare_file(place, str(place))
    if base == HUB_200M:
        return _bare_file(_from_hub(base), f"Hugging Face hub, {base}")
    raise ModelRefused(
        f"model {base}: no directory of that name below {directory} and no such path; name a directory there "
        f"(--checkpoints DIR looks elsewhere), a local {WEIGHTS}, or {HUB_200M} (Apache-2.0, 925 MB)"
    )


def threads_for(spec: ModelSpec) -> int:
    """Of one pass: one for a small model, torch's own choice for a large one."""
    return 1 if sum(map(math.prod, layout(spec).values())) < ONE_THREAD_BELOW else TORCH_THREADS


def load(
    base: str,
    directory: Path = CHECKPOINTS,
    *,
    context: int | None = None,
    dtype: Dtype = "auto",
    threads: int = 0,
    live: bool = False,
    ceiling: Ceiling = NO_CEILING,
) -> Loaded:
    """Locate, verify and load `base`. With `live`, weights whose licence does not allow trading are refused.

    `threads` is for the whole process's inference; 0: one for a small model, torch's own choice for a large one.
    Raises ModelRefused naming the file and the fault; what would exceed `ceiling` before it is taken.
    """
    located = locate(base, directory)
    manifest = located.manifest
    if live and located.licence not in MAY_TRADE:
        raise ModelRefused(f"{located.weights}: licence {located.licence} does not allow trading on a live venue")
    wanted = context or (manifest.context if manifest else 192)
    if manifest and wanted != manifest.context:
        raise ModelRefused(f"{located.name}: was made for a context of {manifest.context} bars, not {wanted}")
    file = WeightsFile.at(located.weights)
    known = identify(located)
    torch.set_num_threads(threads or threads_for(known.spec))
    ceiling.check(str(file.path), weights_bytes(known.spec, choose_dtype(dtype, known.spec)))
    try:
        engine = _engine(file.open(), located, known, wanted, dtype)
    except ModelRefused as refused:
        raise ModelRefused(f"{file.path}: {refused}{_MEND}") from None
    return Loaded(
        engine=engine,
        description=_describe(located, engine, known.sha256),
        weights=file,
        base=known,
        inputs=manifest.inputs if manifest else None,
    )


def identify(located: Located) -> Base:
    """Name, sha256 and dimensions, after size and hash agree with the manifest where there is one."""
    manifest, path = located.manifest, located.weights
    size = path.stat().st_size
    if manifest and size != manifest.bytes:
        raise ModelRefused(
            f"{path}: {size} bytes, the manifest says {manifest.bytes}: truncated or another file{_MEND}"
        )
    digest = sha256_of(path)
    if manifest and digest != manifest.sha256:
        raise ModelRefused(f"{path}: sha256 {digest} is not the manifest's {manifest.sha256}{_MEND}")
    return Base(name=located.name, sha256=digest, spec=manifest.spec if manifest else SPEC_200M)


def _engine(tensors: Mapping[str, Tensor], located: Located, base: Base, context: int, dtype: Dtype) -> Engine:
    check_finite(tensors)
    return Engine(
        tensors,
        base.spec,
        located.manifest.options if located.manifest else ForecastOptions(),
        checkpoint=f"{base.name}@{base.sha256[:8]}",
        context=context,
        dtype=dtype,
    )


def save(module: nn.Module, manifest: Manifest, directory: Path) -> Manifest:
    """Write weights and manifest to `directory`; the manifest's size and hash are those of the file written."""
    directory.mkdir(parents=True, exist_ok=True)
    weights = directory / WEIGHTS
    save_file({name: tensor.detach().contiguous() for name, tensor in module.state_dict().items()}, weights)
    weights.chmod(0o644)  # the bot may run as another user than the one who trained
    written = msgspec.structs.replace(manifest, bytes=weights.stat().st_size, sha256=sha256_of(weights))
    text = msgspec.json.format(msgspec.json.encode(written), indent=2)
    (directory / MANIFEST).write_bytes(text + b"\n")
    return written


def _in_directory(place: Path) -> Located:
    weights, manifest_path = place / WEIGHTS, place / MANIFEST
    if not weights.is_file():
        raise ModelRefused(f"{place}: there is no {WEIGHTS}{_MEND}")
    if not manifest_path.is_file():
        return _bare_file(weights, str(place))
    manifest = read_manifest(manifest_path)
    return Located(name=manifest.name, weights=weights, source=str(place), licence=manifest.licence, manifest=manifest)


def read_manifest(path: Path) -> Manifest:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ModelRefused(f"{path}: {error}{_MEND}") from None


def _bare_file(path: Path, source: str) -> Located:
    """A file without a manifest can only be the 200M; `load` refuses it where its layout is another."""
    if path.suffix != ".safetensors":
        raise ModelRefused(f"{path}: only .safetensors files are read")
    return Located(name="timesfm-2.5-200m", weights=path, source=source, licence="Apache-2.0", manifest=None)


def _from_hub(repository: str) -> Path:
    try:
        return Path(hf_hub_download(repository, WEIGHTS, local_files_only=True))
    except LocalEntryNotFoundError:
        pass
    try:
        return Path(hf_hub_download(repository, WEIGHTS))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        raise ModelRefused(
            f"{repository}: not in the hub's cache and not to be had now ({type(error).__name__}); on a machine with a "
            f"network run `hf download {repository} {WEIGHTS}` (925 MB, Apache-2.0), or name a local {WEIGHTS}"
        ) from None


def _describe(located: Located, engine: Engine, digest: str) -> Description:
    manifest = located.manifest
    return Description(
        checkpoint=engine.checkpoint,
        source=located.source,
        path=str(located.weights),
        sha256=digest,
        verified=manifest is not None,
        parameters=engine.parameters,
        dtype=str(engine.dtype).removeprefix("torch."),
        context=engine.context,
        licence=located.licence,
        may_trade=located.licence in MAY_TRADE,
        validation=manifest.validation if manifest else None,
        test=manifest.test if manifest else None,
    )
