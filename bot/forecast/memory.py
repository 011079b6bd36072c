"""The ceiling of `[model] memory_limit_mb`, held against what the process has before more is taken."""

import math
import os
from pathlib import Path

import torch

from bot.errors import ModelRefused
from bot.forecast.fused import room_size
from bot.forecast.network import ModelSpec, layout

MB = 1_000_000
STATM = Path("/proc/self/statm")


class Ceiling:
    """At most `limit_mb` of memory for the whole process; 0 is no ceiling."""

    def __init__(self, limit_mb: int) -> None:
        if limit_mb and not STATM.exists():
            raise ModelRefused("[model] memory_limit_mb: this system does not tell a process its memory; set it to 0")
        self._limit = limit_mb * MB

    def check(self, what: str, needed: int) -> None:
        """Raises ModelRefused with the numbers where `needed` more bytes for `what` would exceed the ceiling."""
        if not self._limit:
            return
        resident = resident_bytes()
        if resident + needed > self._limit:
            raise ModelRefused(
                f"{what}: needs about {needed / MB:.0f} MB more, the process has {resident / MB:.0f} MB, and [model] "
                f"memory_limit_mb allows {self._limit / MB:.0f}; raise it, or use a smaller model or fewer adapters"
            )


NO_CEILING = Ceiling(0)


def resident_bytes() -> int:
    """Resident set of this process."""
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def weights_bytes(spec: ModelSpec, dtype: torch.dtype) -> int:
    """What an engine's weights take while they are loaded: the layers' matrices in `dtype`, all else float32, of the
    heads the rows of the first `max_horizon` steps; and the one tensor of the file that is being copied."""
    held = 0
    for name, shape in layout(spec).items():
        size = math.prod(shape)
        if name.startswith("output_projection_") and ".hidden_layer." not in name:
            size = size // shape[0] * min(shape[0], spec.max_horizon * spec.channels)
        held += size * (dtype.itemsize if name.startswith("stacked_xf") else 4)
    return held + copy_bytes(spec)


def copy_bytes(spec: ModelSpec) -> int:
    """What going through a mapped file of full weights holds at a time: its largest tensor, and a copy of it."""
    return 8 * max(math.prod(shape) for shape in layout(spec).values())


def pass_bytes(spec: ModelSpec, series: int, patches: int) -> int:
    """At most what a forward pass takes beside the weights; measured, 4 to 12 numbers per dimension and patch."""
    room = torch.get_num_threads() * room_size(spec.model_dims, spec.hidden_dims, patches)
    return 4 * (series * patches * (8 * spec.model_dims + 4 * spec.hidden_dims) + room)
