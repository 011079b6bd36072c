"""Days in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def live_out_of_process(*options: str) -> None:
    """A process of its own: its order of sets is fixed, so that whatever fails here fails again when it is replayed."""
    command = [sys.executable, "-m", "tests.simulation", "--jobs", "1", *options]
    ordered = {**os.environ, "PYTHONHASHSEED": "0"}  # else the process starts itself again, and imports twice
    lived = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=290, check=False, env=ordered)
    assert lived.returncode == 0, lived.stdout + lived.stderr
