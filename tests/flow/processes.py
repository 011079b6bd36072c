"""The bot and the simulator as processes of their own, and what they leave behind."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import msgspec

from bot.config import JournalTable
from bot.journal import embedded
from bot.journal.connection import read_journal
from bot.journal.store import Store

CHECKOUT = Path(__file__).resolve().parents[2]
DEADLINE_SECONDS = 280.0  # real time for one run
_ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}  # the nano model gains nothing from more, other tests do


def _command(*words: object) -> list[str]:
    return [sys.executable, "-m", "bot", *map(str, words)]


class Bot:
    """One process of `python -m bot run`; its output lies beside the state directory."""

    def __init__(self, state: Path, *words: object) -> None:
        self.state = state
        self.output = state.with_suffix(".log")
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                _command("run", *words, "--state", state, "--no-view"),
                cwd=CHECKOUT,
                env=_ENVIRONMENT,
                stdout=output,
                stderr=output,
            )

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def end(self) -> "Left":
        """Wait for its end, which must be a good one."""
        try:
            status = self._process.wait(DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the bot did not end:\n{self.output.read_text()[-3000:]}") from None
        assert status == 0, self.output.read_text()[-3000:]
        return Left(self.state)


class Left:
    """What a bot that has ended left in its state directory."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.report: dict[str, Any] = json.loads((state / "report" / "report.json").read_bytes())

    def rows(self, query: str) -> list[dict[str, Any]]:
        """The journal's rows; times in ms UTC."""
        return anyio.run(_rows, self.state, query)

    def value(self, query: str) -> Any:
        (row,) = self.rows(query)
        (value,) = row.values()
        return value

    def fills_digest(self) -> str:
        return anyio.run(_digest, self.state)


async def _rows(state: Path, query: str) -> list[dict[str, Any]]:
    async with read_journal(state, JournalTable(), {}) as pool:
        return [dict(row) for row in await pool.fetch(query)]


async def _digest(state: Path) -> str:
    async with read_journal(state, JournalTable(), {}) as pool:
        return await Store(pool).fills_digest()


def run(state: Path, *words: object) -> Left:
    """Run the bot to its end."""
    return Bot(state, *words).end()


def remove(state: Path) -> None:
    """As root the database lies outside the state directory, where pytest does not clean."""
    if embedded.exists(state):
        place = embedded.locate(state)
        if place.account:
            shutil.rmtree(place.folder)


class Simulator(msgspec.Struct, frozen=True):
    """A simulator that runs, asked over its control plane."""

    url: str

    def report(self) -> dict[str, Any]:
        return self._get("report")

    def ledger(self) -> dict[str, Any]:
        return self._get("ledger")

    def log(self, after: int = -1) -> list[dict[str, Any]]:
        """The truth log's entries with a number above `after`."""
        return self._get(f"log?after={after}")

    def _get(self, what: str) -> Any:
        with urllib.request.urlopen(f"{self.url}/_sim/{what}", timeout=30) as answer:
            return json.load(answer)


@contextlib.contextmanager
def simulator(symbols: tuple[str, ...], *words: object) -> Iterator[Simulator]:
    named = [word for symbol in symbols for word in ("--symbol", symbol)]
    command = _command("simulator", *named, *words, "--until-stdin-closes")
    with subprocess.Popen(
        command, cwd=CHECKOUT, env=_ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Simulator(json.loads(process.stdout.readline())["rest_url"])
        finally:
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
