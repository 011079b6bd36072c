"""A quicker start of commands that import much."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Within, garbage is not looked for, nor ever again among what there is at the end: modules stay, and to look
    through them takes a quarter of the time that importing them takes."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
