"""Days from seeds, new ones with each commit."""

import os
import subprocess
import sys
import zlib

import pytest

from tests.simulation.apart import CHECKOUT, live_out_of_process
from tests.simulation.day import day
from tests.simulation.scenes import lived, unbroken
from tests.simulation.world import live

FRESH = int(os.environ.get("SEEDS", "24"))
PER_RUN = 12  # a process takes seconds to start


def commit() -> str:
    """The commit's name, so that everybody who tests it lives the same days; a tree without git has none."""
    asked = subprocess.run(["git", "rev-parse", "HEAD"], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    return asked.stdout.strip()


def first_fresh() -> int:
    return 10_000 + zlib.crc32(commit().encode()) % 1_000_000


@pytest.mark.parametrize("first", range(first_fresh(), first_fresh() + FRESH, PER_RUN))
def test_days_that_nobody_has_lived_before_hold(first: int) -> None:
    live_out_of_process("--seeds", str(PER_RUN), "--first", str(first))


def test_the_same_seed_is_the_same_day_to_the_last_line() -> None:
    first, again = (live(day(2), keep=1_000_000).trace for _ in range(2))
    assert first.lines == again.lines
    assert len(first.lines) > 100


def test_a_seed_replays_in_another_process_as_in_this_one() -> None:
    """Nothing of a day depends on addresses in memory or on the order of sets."""
    code = (
        "from tests.simulation.day import day; from tests.simulation.world import live; "
        "print(live(day(4), keep=1).lived.digest)"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(told) == 1


def test_the_evening_stops_no_process_in_the_middle_of_a_cycle() -> None:
    """A position ends at 0:32, a minute before a cycle: when the evening has waited for the one, the other goes on."""
    world = unbroken(lived(hours=0.25, still=True, threshold=0.001, exits={"max_hold_minutes": 29}))
    assert [p.exit_reason for p in world.tables.positions.values()] == ["max_hold", None]
