"""The simulator as a process of its own: what it says, and everything that ends it."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bot.clock import DAY_MS, HOUR_MS
from bot.errors import OperatorError
from bot.exchange.simulator.server import GENERATED_START, Addresses, SimulatorOptions, market_of, played_range

PROGRAM = """
import sys
from bot.exchange.simulator.server import SimulatorOptions, main
main(SimulatorOptions(symbols=("BTCUSDT",), days=1, until_stdin_closes=bool(int(sys.argv[1]))))
"""


@contextmanager
def process(*, child: bool) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(int(child))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as started:
        assert started.stdout is not None
        try:
            yield started, json.loads(started.stdout.readline())
        finally:
            started.kill()


def close_stdin(started: subprocess.Popen[str], addresses: dict[str, Any]) -> None:
    assert started.stdin is not None
    started.stdin.close()


def terminate(started: subprocess.Popen[str], addresses: dict[str, Any]) -> None:
    started.terminate()


def press_control_c(started: subprocess.Popen[str], addresses: dict[str, Any]) -> None:
    os.kill(started.pid, signal.SIGINT)


def ask_to_stop(started: subprocess.Popen[str], addresses: dict[str, Any]) -> None:
    request = urllib.request.Request(f"{addresses['rest_url']}/_sim/stop", method="POST")
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    ("child", "end"),
    [(True, close_stdin), (True, terminate), (False, terminate), (False, press_control_c), (True, ask_to_stop)],
)
def test_it_says_where_it_listens_and_ends_when_told(child: bool, end: Callable[..., None]) -> None:
    with process(child=child) as (started, addresses):
        assert addresses.keys() == set(Addresses.__struct_fields__)
        with urllib.request.urlopen(f"{addresses['rest_url']}/fapi/v1/time") as answer:
            assert json.load(answer) == {"serverTime": addresses["start"]}
        end(started, addresses)
        assert started.wait(10) == 0


def test_a_parent_may_hold_a_socket_instead_of_a_pipe() -> None:
    ours, theirs = socket.socketpair()
    with (
        ours,
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, "1"], stdin=theirs.fileno(), stdout=subprocess.PIPE, text=True
        ) as started,
    ):
        theirs.close()
        assert started.stdout is not None
        assert json.loads(started.stdout.readline())["symbols"] == ["BTCUSDT"]
        ours.close()
        assert started.wait(10) == 0


def test_a_stdin_that_never_ends_is_refused() -> None:
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM, "1"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30
    )
    assert finished.returncode != 0
    assert "until_stdin_closes" in finished.stderr


def test_control_c_in_a_shared_terminal_leaves_a_childs_end_to_its_parent() -> None:
    with process(child=True) as (started, addresses):
        press_control_c(started, addresses)
        with urllib.request.urlopen(f"{addresses['rest_url']}/fapi/v1/time") as answer:
            assert answer.status == 200
        close_stdin(started, addresses)
        assert started.wait(10) == 0


def test_a_part_of_the_range_gives_the_rest() -> None:
    def played(**given: Any) -> tuple[int, int]:
        return played_range(SimulatorOptions(symbols=("BTCUSDT",), days=2, **given))

    later = GENERATED_START + 30 * DAY_MS
    assert played() == (GENERATED_START, GENERATED_START + 2 * DAY_MS)
    assert played(start=later) == (later, later + 2 * DAY_MS)
    assert played(end=later) == (later - 2 * DAY_MS, later)
    assert played(start=GENERATED_START, end=later) == (GENERATED_START, later)


def test_recordings_are_played_from_their_end_when_nothing_else_is_said(shared_data: Path) -> None:
    bars = shared_data / "ohlcv" / "um"
    start, end = played_range(SimulatorOptions(symbols=("BTCUSDT", "ETHUSDT"), bars=bars, days=3))
    assert end - start == 3 * DAY_MS
    assert played_range(SimulatorOptions(symbols=("BTCUSDT", "ETHUSDT"), bars=bars, start=end - HOUR_MS)) == (
        end - HOUR_MS,
        end,
    )


def test_a_generated_market_is_played_for_whole_days() -> None:
    with pytest.raises(OperatorError, match="whole days"):
        market_of(SimulatorOptions(symbols=("BTCUSDT",), days=1.5))
