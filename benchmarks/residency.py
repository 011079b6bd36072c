"""How long a running model takes to serve another adapter: from its activation on disk to `ready`."""

import os
from collections.abc import Sequence
from pathlib import Path

from bot.clock import Stopwatch
from bot.forecast import pointers
from bot.forecast.checkpoints import Base
from bot.forecast.registry import find
from bot.forecast.serving import Serving

BY = "benchmark"


def load_seconds(serving: Serving, directory: Path, tier: str, ids: Sequence[str], base: Base) -> list[float]:
    """Of each of `ids`, none of which served before: its file is read, hashed, checked and made ready to run."""
    seconds = []
    for at, checkpoint in enumerate(ids):
        pointers.activate(directory, tier, checkpoint, base, at=at, by=BY)
        _forget(find(directory, tier, checkpoint).weights)
        seconds.append(_refresh(serving, tier, checkpoint))
    return seconds


def swap_seconds(
    serving: Serving, directory: Path, tier: str, between: tuple[str, str], base: Base, count: int
) -> list[float]:
    """Back and forth `between` two that are resident. Ends on the second one; `count` is even."""
    seconds = []
    for at in range(count):
        checkpoint = between[at % 2]
        pointers.activate(directory, tier, checkpoint, base, at=at, by=BY)
        seconds.append(_refresh(serving, tier, checkpoint))
    return seconds


def _refresh(serving: Serving, tier: str, checkpoint: str) -> float:
    took = Stopwatch()
    serving.refresh()
    seconds = took.seconds
    if not serving.serving(tier).startswith(f"{tier}/{checkpoint}@"):
        raise RuntimeError(f"{tier} serves {serving.serving(tier)}, not {checkpoint}")
    return seconds


def _forget(path: Path) -> None:
    """Let the next reader go to the disk, where the system can be asked to."""
    if hasattr(os, "posix_fadvise"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
