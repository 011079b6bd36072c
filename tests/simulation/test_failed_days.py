"""The days that ever failed."""

from pathlib import Path

import pytest

from tests.simulation.apart import live_out_of_process

PER_RUN = 10  # a process takes seconds to start


def known() -> list[int]:
    lines = Path(__file__).with_name("failed_seeds.txt").read_text(encoding="utf-8").splitlines()
    return [int(line.split()[0]) for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("first", range(0, len(known()), PER_RUN))
def test_days_that_once_failed_hold(first: int) -> None:
    live_out_of_process("--only", *map(str, known()[first : first + PER_RUN]))
