"""How hard is tried: FUZZ=N new examples for each decoder, without it a few that are the same in every run."""

import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings

EXAMPLES = int(os.environ.get("FUZZ", "0"))
DEADLINE_MS = 2_000  # for one example: hostile input may not hold up the bot either


def tried(usual: int) -> Callable[[Any], Any]:
    """`usual` examples, the same ones in every run; or as many new ones as FUZZ asks for."""
    return settings(
        max_examples=EXAMPLES or usual,
        derandomize=not EXAMPLES,
        deadline=DEADLINE_MS,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
