"""What is activated for a tier: `checkpoints/<tier>/active.json`, changed in one step or not at all."""

import os
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from bot.errors import ModelRefused
from bot.forecast.checkpoints import Base, Record
from bot.forecast.registry import BASE, check_tier, find
from bot.forecast.verification import verify

POINTER = "active.json"
POINTER_LIMIT = 1_000_000  # bytes
HISTORY_LIMIT = 200  # activations that can be rolled back

Identity = tuple[int, int, int]  # inode, size, time of change: of a file that is only ever replaced
UNREADABLE: Identity = (0, 0, 0)  # unlike any file's, so that whoever compares looks and is told why by `read`

_MEND = "; delete it (the tier then runs on the base) and activate again"


class Activation(Record, frozen=True, kw_only=True):
    checkpoint: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]  # an id, or "base"
    at: int  # ms UTC
    by: str


class Pointer(Record, frozen=True, kw_only=True):
    """`active.json`. A tier without one runs on the base."""

    format: Literal[1] = 1
    current: Activation
    history: Annotated[tuple[Activation, ...], msgspec.Meta(max_length=HISTORY_LIMIT)] = ()  # oldest first


def identity(directory: Path, tier: str) -> Identity | None:
    """Changes with every activation; None where nothing was ever activated. One stat."""
    try:
        told = os.stat(directory / tier / POINTER)
    except FileNotFoundError:
        return None
    except OSError:
        return UNREADABLE
    return told.st_ino, told.st_size, told.st_mtime_ns


def read(directory: Path, tier: str) -> Pointer | None:
    """The tier's pointer; None where nothing was ever activated. ModelRefused where it cannot be read."""
    path = directory / tier / POINTER
    try:
        with path.open("rb") as file:
            content = file.read(POINTER_LIMIT + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelRefused(f"{path}: {error.strerror}{_MEND}") from None
    if len(content) > POINTER_LIMIT:
        raise ModelRefused(f"{path}: more than {POINTER_LIMIT} bytes{_MEND}")
    try:
        return msgspec.json.decode(content, type=Pointer)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ModelRefused(f"{path}: {error}{_MEND}") from None


def current(directory: Path, tier: str) -> str:
    """The activated id, or "base"."""
    pointer = read(directory, tier)
    return BASE if pointer is None else pointer.current.checkpoint


def activate(directory: Path, tier: str, checkpoint: str, base: Base, *, at: int, by: str) -> Pointer:
    """Point the tier at a checkpoint that was verified against `base` just now, or at the base itself.

    What is active already may be activated again: a running bot that refused it then looks again.
    Raises ModelRefused, with the pointer as it was.
    """
    check_tier(directory, tier)
    _verify(directory, tier, checkpoint, base)
    before = read(directory, tier)
    if before is None and not (directory / tier).is_dir():
        raise ModelRefused(f"{directory / tier}: there is no such tier; its rows run on the base already")
    if before is None:
        history: tuple[Activation, ...] = () if checkpoint == BASE else (Activation(checkpoint=BASE, at=at, by=by),)
    elif before.current.checkpoint == checkpoint:
        history = before.history
    else:
        history = (*before.history, before.current)
    now = Activation(checkpoint=checkpoint, at=at, by=by)
    return _write(directory, tier, Pointer(current=now, history=history[-HISTORY_LIMIT:]))


def rollback(directory: Path, tier: str, base: Base, *, at: int, by: str) -> Pointer:
    """Point the tier at what was active before, which is verified first; again, one further back.

    Raises ModelRefused, with the pointer as it was.
    """
    check_tier(directory, tier)
    before = read(directory, tier)
    if before is None or not before.history:
        raise ModelRefused(
            f"{directory / tier / POINTER}: nothing was active before; `checkpoints activate {tier} base` leaves all "
            "checkpoints of the tier"
        )
    *rest, last = before.history
    _verify(directory, tier, last.checkpoint, base)
    now = Activation(checkpoint=last.checkpoint, at=at, by=by)
    return _write(directory, tier, Pointer(current=now, history=tuple(rest)))


def _verify(directory: Path, tier: str, checkpoint: str, base: Base) -> None:
    if checkpoint != BASE:
        verify(find(directory, tier, checkpoint), base)


def _write(directory: Path, tier: str, pointer: Pointer) -> Pointer:
    """The new file is whole on the disk before it takes the old one's name."""
    path = directory / tier / POINTER
    new = path.with_name(POINTER + ".new")
    text = msgspec.json.format(msgspec.json.encode(pointer), indent=2) + b"\n"
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0), 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)
    sync_folder(path.parent)
    return pointer


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
