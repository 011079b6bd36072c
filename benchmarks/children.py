"""A command as a process of its own: how long it took, and the most memory it held."""

import os
import subprocess
import sys
from collections.abc import Sequence

import msgspec

from bot.clock import Stopwatch


class Finished(msgspec.Struct, frozen=True):
    seconds: float
    gigabytes: float  # 10^9 bytes


def run_bot(arguments: Sequence[object]) -> Finished:
    """`python -m bot`, its tables thrown away. RuntimeError where it fails."""
    command = [sys.executable, "-m", "bot", *map(str, arguments)]
    took = Stopwatch()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    seconds = took.seconds
    if child.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit status {child.returncode}")
    return Finished(seconds, usage.ru_maxrss * 1024 / 1e9)
