"""Tensors in files: mapped or read, checked against what the file may hold, and never any code run for them."""

import hashlib
import math
import mmap
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Annotated, Any, Literal

import msgspec
import torch
from torch import Tensor

from bot.errors import ModelRefused

HEADER_LIMIT = 1_000_000  # bytes; a 200M's header takes 30 kB
PICKLE_LIMIT = 16_000_000  # bytes of a .pt file's pickle, which holds names and shapes only
DTYPES: dict["Kind", torch.dtype] = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
WRAPPERS = ("state_dict", "model_state_dict")
PREFIXES = ("module.", "_orig_mod.", "model.")  # of DataParallel, torch.compile and the package's wrapper class

Kind = Literal["F32", "F16", "BF16"]
Natural = Annotated[int, msgspec.Meta(ge=0, le=2**40)]


class _Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    dtype: Kind
    shape: Annotated[tuple[Natural, ...], msgspec.Meta(max_length=8)]
    data_offsets: tuple[Natural, Natural]


class MappedTensors(Mapping[str, Tensor]):
    """The tensors of one safetensors file, mapped: nothing is read before it is used.

    Asking for a tensor gives back the memory of the one before it, so that going through all of them holds one at a
    time. A tensor stays valid for as long as it is held; its pages are read again where they were given back.
    ModelRefused names the fault of a file that is not what it says; the caller names the file.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size < 8:
                raise ModelRefused(f"{size} bytes are too few for a safetensors file")
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        self._start, self._entries = _header(self._map)
        self._last: tuple[int, int] | None = None

    def __getitem__(self, name: str) -> Tensor:
        entry = self._entries[name]
        self.give_back()
        begin, end = (self._start + offset for offset in entry.data_offsets)
        self._last = begin, end
        dtype = DTYPES[entry.dtype]
        return torch.frombuffer(self._map, dtype=dtype, count=math.prod(entry.shape), offset=begin).view(entry.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def give_back(self) -> None:
        """Give back the memory of the tensor that was asked for last."""
        if self._last is None:
            return
        begin, end = self._last
        begin -= begin % mmap.PAGESIZE
        if hasattr(mmap, "MADV_DONTNEED"):  # Unix; elsewhere the system decides
            self._map.madvise(mmap.MADV_DONTNEED, begin, end - begin)
        self._last = None

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: entry.shape for name, entry in self._entries.items()}


def parse(content: bytes) -> dict[str, Tensor]:
    """The tensors of a safetensors file that was read; ModelRefused names the fault."""
    start, entries = _header(content)
    buffer = bytearray(content)  # tensors need memory that may be written
    return {
        name: torch.frombuffer(
            buffer, dtype=DTYPES[entry.dtype], count=math.prod(entry.shape), offset=start + entry.data_offsets[0]
        ).view(entry.shape)
        for name, entry in entries.items()
    }


def _header(content: bytes | mmap.mmap) -> tuple[int, dict[str, _Entry]]:
    """Where the data starts, and every tensor's place; they fill the file without a gap or an overlap.

    https://huggingface.co/docs/safetensors/index#format
    """
    if len(content) < 8:
        raise ModelRefused(f"{len(content)} bytes are too few for a safetensors file")
    length = int.from_bytes(content[:8], "little")
    if length > min(len(content) - 8, HEADER_LIMIT):
        raise ModelRefused(
            f"its safetensors header claims {length} bytes; the file has {len(content)} and a header at most "
            f"{HEADER_LIMIT}: truncated, or no safetensors file"
        )
    try:
        raw = msgspec.json.decode(content[8 : 8 + length], type=dict[str, msgspec.Raw])
        raw.pop("__metadata__", None)
        entries = {name: msgspec.json.decode(entry, type=_Entry) for name, entry in raw.items()}
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ModelRefused(f"its safetensors header cannot be read: {str(error)[:300]}") from None
    start = 8 + length
    _check_places(entries, len(content) - start, start)
    return start, entries


def _check_places(entries: Mapping[str, _Entry], size: int, start: int) -> None:
    at = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1].data_offsets):
        begin, end = entry.data_offsets
        item = DTYPES[entry.dtype].itemsize
        if begin != at or end - begin != math.prod(entry.shape) * item or (start + begin) % item or begin == end:
            raise ModelRefused(
                f"tensor {name!r} of shape {entry.shape} lies at {begin} to {end}: the places of its tensors do not "
                "fill the file one after another"
            )
        at = end
    if at != size:
        raise ModelRefused(f"its tensors end at {at} of {size} bytes: truncated, or something is behind them")


def write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file, one tensor at a time, so that a mapped set of weights passes through."""
    kinds = {dtype: name for name, dtype in DTYPES.items()}
    entries: dict[str, _Entry] = {}
    facts = {name: (kinds.get(tensor.dtype, "F32"), tuple(tensor.shape)) for name, tensor in tensors.items()}
    at = 0
    for name in sorted(facts, key=lambda name: (-DTYPES[facts[name][0]].itemsize, name)):  # keeps each one aligned
        dtype, shape = facts[name]
        end = at + math.prod(shape) * DTYPES[dtype].itemsize
        entries[name] = _Entry(dtype=dtype, shape=shape, data_offsets=(at, end))
        at = end
    header = msgspec.json.encode(entries)
    header += b" " * (-len(header) % 8)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for name, entry in entries.items():
            plain = tensors[name].detach().to(DTYPES[entry.dtype]).contiguous().reshape(-1)
            file.write(plain.view(torch.uint8).numpy().data)
        file.flush()
        os.fsync(file.fileno())


class WeightsFile(msgspec.Struct, frozen=True, kw_only=True):
    """A verified file of full weights, mapped again at each swap for as long as it stays the same file."""

    path: Path
    identity: tuple[int, int, int, int]

    @classmethod
    def at(cls, path: Path) -> "WeightsFile":
        """What is there now. To be called before the verification reads it."""
        return cls(path=path, identity=_identity(path))

    @property
    def size(self) -> int:
        return self.identity[2]

    def unchanged(self) -> bool:
        """Whether it is still the file that was verified; not where it is gone."""
        try:
            return _identity(self.path) == self.identity
        except OSError:
            return False

    def open(self) -> Mapping[str, Tensor]:
        """Map the weights. ModelRefused where the file is no longer the one that was verified."""
        try:
            if _identity(self.path) != self.identity:
                raise ModelRefused(
                    f"{self.path}: the file was changed after it was verified; activate it again, or start the bot "
                    "again where it is the base"
                )
            return open_full(self.path)
        except OSError as error:
            raise ModelRefused(f"{self.path}: {error.strerror}; restore it, or activate another checkpoint") from None


def _identity(path: Path) -> tuple[int, int, int, int]:
    told = path.stat()
    return told.st_dev, told.st_ino, told.st_size, told.st_mtime_ns


def open_full(path: Path) -> Mapping[str, Tensor]:
    """A full set of weights under the names of the timesfm module, mapped. ModelRefused names the fault."""
    return MappedTensors(path) if path.suffix == ".safetensors" else state_dict(path)


def state_dict(path: Path) -> dict[str, Tensor]:
    """The state dict of a `.pt` file, mapped; also one below a key of WRAPPERS, or with a prefix of PREFIXES."""
    _check_archive(path)
    try:
        found: Any = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except (UnpicklingError, RuntimeError, ValueError, TypeError, LookupError, AttributeError, EOFError) as error:
        raise ModelRefused(f"it holds more than tensors, or is broken: {_told_by_torch(error)}") from None
    except (MemoryError, OverflowError, AssertionError, ArithmeticError) as error:
        raise ModelRefused(f"it is broken: {type(error).__name__}") from None
    for wrapper in WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(wrapper), dict):
            found = found[wrapper]
    if not isinstance(found, dict) or not found:
        raise ModelRefused(f"it holds a {type(found).__name__}; expected a state dict")
    for name, tensor in found.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise ModelRefused(f"key {name!r} holds a {type(tensor).__name__}; expected a state dict of tensors")
        if tensor.layout is not torch.strided or tensor.device.type != "cpu":
            raise ModelRefused(f"tensor {name} is not a plain tensor in memory")
    return _without_prefix({name: tensor.detach() for name, tensor in found.items()})


def _without_prefix(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in (*PREFIXES, *PREFIXES):  # one may stand inside another, in either order
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _check_archive(path: Path) -> None:
    """A zip archive as torch.save writes it: nothing compressed (no bomb), a pickle of names and shapes."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        raise ModelRefused("no file that torch.save has written since 1.6: truncated, or a bare pickle") from None
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise ModelRefused(f"{entry.filename} in it is compressed, which torch.save never does")
        if entry.filename.endswith(".pkl") and entry.file_size > PICKLE_LIMIT:
            raise ModelRefused(f"{entry.filename} in it has {entry.file_size} bytes; names and shapes need far fewer")


def check_finite(tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        low, high = torch.aminmax(tensor)  # either is NaN where one number is, and nothing is copied
        if not math.isfinite(low) or not math.isfinite(high):
            raise ModelRefused(f"tensor {name} holds NaN or infinite numbers")


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _told_by_torch(error: BaseException) -> str:
    """What is wrong: the first sentence on it, without torch's advice to load the file with its code."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    fault = next((line for line in lines if "GLOBAL" in line or "WeightsUnpickler error" in line), lines[0])
    return fault.removeprefix("WeightsUnpickler error: ").partition(". ")[0][:300]
