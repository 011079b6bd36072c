"""The replay venue: the simulator as a child process (or one that runs already), and its account held against ours."""

import contextlib
import math
import re
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import get_args

import anyio
import msgspec
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream

from bot.clock import DAY_MS, SECOND_MS
from bot.errors import OperatorError, VenueUnavailable
from bot.exchange.faults import read_scenario
from bot.exchange.lockstep import VenueLedger
from bot.exchange.matching import Settings
from bot.exchange.simulator.generator import ProfileName
from bot.exchange.simulator.recordings import recorded_range, recorded_symbols
from bot.exchange.simulator.server import SimulatorOptions
from bot.orders.ledger import Ledger

GENERATED_START = 1_767_571_200_000  # 2026-01-05, a Monday
SYMBOL = re.compile("[A-Z0-9]{5,20}")
READY_SECONDS = 60.0  # real time for the simulator to read or generate its market


class Address(msgspec.Struct, frozen=True):
    """Where a simulator listens, as it says in its first line of output."""

    rest_url: str
    stream_url: str
    lockstep_url: str
    start: int
    end: int
    symbols: tuple[str, ...]


class MarketOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Which market the replay plays, as the command line has it."""

    bars: Path | None = None  # None: the generator's
    start: str | None = None  # ISO dates, UTC
    end: str | None = None
    days: int = 7  # where there is no `end`
    seed: int = 1
    profile: str = "normal"
    pace: str = "max"  # or N times real time
    outage_minutes: float = 0.0
    scenario: Path | None = None  # what goes wrong

    def describe(self) -> str:
        wrong = "" if self.scenario is None else f", scenario {self.scenario.stem}"
        if self.bars is not None:
            return f"recorded bars of {self.bars.name}{wrong}"
        return f"generated market, profile {self.profile}, seed {self.seed}{wrong}"

    def symbols(self, named: tuple[str, ...]) -> tuple[str, ...]:
        """Those that were named, or all that are recorded."""
        if named:
            return named
        found = () if self.bars is None else recorded_symbols(self.bars)
        if not found:
            raise OperatorError("--symbol: expected one or more, or --bars with a folder of SYMBOL-1h.parquet files")
        return found

    @staticmethod
    def first_day(start: int) -> str:
        return datetime.fromtimestamp(start / SECOND_MS, UTC).date().isoformat()

    def arguments(self) -> list[str]:
        """The simulator's command line."""
        given = {
            "--bars": self.bars,
            "--from": self.start,
            "--to": self.end,
            "--days": self.days,
            "--seed": self.seed,
            "--profile": self.profile,
            "--pace": self.pace,
            "--outage-minutes": self.outage_minutes,
            "--scenario": self.scenario,
        }
        return [word for key, value in given.items() if value is not None for word in (key, str(value))]

    def options(
        self, symbols: tuple[str, ...], wallet: str, port: int, *, until_stdin_closes: bool
    ) -> SimulatorOptions:
        """What the simulator is to do. OperatorError names the option that is wrong."""
        for symbol in symbols:
            if not SYMBOL.fullmatch(symbol):
                raise OperatorError(f'--symbol {symbol}: expected a symbol of the venue such as "BTCUSDT"')
        start, end = self._span(symbols)
        return SimulatorOptions(
            symbols=symbols,
            start=start,
            end=end,
            bars=self.bars,
            profile=_one_of("--profile", self.profile, get_args(ProfileName)),
            seed=self.seed,
            wallet=_amount("--wallet", wallet),
            settings=Settings(seed=self.seed),
            scenario=None if self.scenario is None else read_scenario(self.scenario),
            pace=None if self.pace == "max" else _pace(self.pace),
            # at N times real time a request's way there takes N times as long, far beyond any receive window
            clock_window="virtual" if self.pace == "max" else "off",
            outage_minutes=self.outage_minutes,
            port=port,
            until_stdin_closes=until_stdin_closes,
        )

    def _span(self, symbols: tuple[str, ...]) -> tuple[int, int]:
        """Without dates: the newest days of the recordings, or the generator's own week."""
        length = self.days * DAY_MS
        if self.bars is not None and not self.bars.is_dir():
            raise OperatorError(f"--bars {self.bars}: no such folder; expected SYMBOL-INTERVAL.parquet files in it")
        if self.start is not None:
            start = _day("--from", self.start)
            end = start + length if self.end is None else _day("--to", self.end)
        elif self.end is not None:
            end = _day("--to", self.end)
            start = end - length
        elif self.bars is None:
            start, end = GENERATED_START, GENERATED_START + length
        else:
            first, last = recorded_range(self.bars, symbols)
            end = last // DAY_MS * DAY_MS
            start = max(end - length, -(-first // DAY_MS) * DAY_MS)
        if end <= start:
            raise OperatorError(f"--to {self.end}: expected a day after --from {self.start}")
        return start, end


def _day(option: str, text: str) -> int:
    try:
        return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND_MS
    except ValueError:
        raise OperatorError(f"{option} {text}: expected a day, as 2025-03-01") from None


def _pace(text: str) -> float:
    try:
        pace = float(text)
    except ValueError:
        pace = 0.0
    if not 0 < pace < math.inf:
        raise OperatorError(f"--pace {text}: expected max, or a number above 0 (times real time)")
    return pace


def _amount(option: str, text: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal(0)
    if not amount.is_finite() or amount <= 0:
        raise OperatorError(f"{option} {text}: expected an amount of USDT above 0")
    return amount


def _one_of(option: str, word: str, allowed: tuple[ProfileName, ...]) -> ProfileName:
    for one in allowed:
        if word == one:
            return one
    raise OperatorError(f"{option} {word}: expected one of {', '.join(allowed)}")


@contextlib.asynccontextmanager
async def simulator(options: MarketOptions, symbols: tuple[str, ...], wallet: Decimal) -> AsyncIterator[Address]:
    """A simulator of our own. It ends when this block or this process ends, however it ends: its stdin closes then."""
    command = [sys.executable, "-m", "bot", "simulator", "--until-stdin-closes", "--wallet", str(wallet)]
    command += [word for symbol in symbols for word in ("--symbol", symbol)] + options.arguments()
    async with await anyio.open_process(command, stderr=None, start_new_session=True) as process:
        if process.stdout is None:
            raise VenueUnavailable("the simulator has no output")
        try:
            yield await _ready(TextReceiveStream(process.stdout), process)
        finally:
            with anyio.CancelScope(shield=True):
                if process.stdin is not None:
                    await process.stdin.aclose()
                with anyio.move_on_after(5):
                    await process.wait()
                if process.returncode is None:
                    process.kill()


async def _ready(output: TextReceiveStream, process: Process) -> Address:
    line = ""
    with anyio.move_on_after(READY_SECONDS):
        async for part in output:
            line += part
            if "\n" in line:
                return msgspec.json.decode(line.splitlines()[0], type=Address)
        if await process.wait() == 2:  # it has told the operator what is wrong with the bars or the range
            raise OperatorError("")
    raise VenueUnavailable("the simulator did not start")


class LedgerCheck:
    """Compares the bot's ledger with the simulator's at every quiet moment that the simulator's has changed.

    In a scenario events are lost and come late, so that a difference may be healed: there only the last word counts.
    """

    def __init__(self) -> None:
        self.may_heal = False
        self.checks = 0
        self.differences: list[str] = []
        self._fills_digest = ""  # the venue's, told at the market's end

    @property
    def equal(self) -> bool:
        return self.checks > 0 and not self.differences

    def compare(self, at: int, ours: Ledger, theirs: VenueLedger) -> None:
        self.checks += 1
        self._fills_digest = theirs.fills_digest
        pairs = {
            "wallet": (ours.wallet, theirs.wallet - theirs.transfers),  # ours knows none
            "realized_pnl": (ours.realized_pnl, theirs.realized_pnl),
            "fees": (ours.fees, theirs.fees),
            "funding": (ours.funding, theirs.funding),
            "fills": (ours.fills, theirs.fills),
            "positions": (
                ours.positions(),
                {symbol: quantity for symbol, quantity in theirs.positions.items() if quantity != 0},
            ),
        }
        if self.may_heal:
            self.differences.clear()
        for what, (mine, venue) in pairs.items():
            if mine != venue:
                self.differences.append(f"{at}: {what}: ours {mine}, venue {venue}")

    def compare_fills(self, at: int, digest: str) -> None:
        """Hold the digest of the journal's fills against the venue's, where it has told one."""
        if self._fills_digest and self._fills_digest != digest:
            self.differences.append(f"{at}: fills_digest: ours {digest}, venue {self._fills_digest}")
