"""A simulated day in which the bot is killed again and again while the exchange goes on without it."""

import random
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from bot.clock import DAY_MS, Stopwatch
from tests.flow.journeys import Journey
from tests.flow.processes import DEADLINE_SECONDS, Bot, Left, Simulator, simulator
from tests.flow.variants import busy, write

MOMENTS = {
    "start": "while it started",
    "moment": "at some moment of the market",
    "order": "just after an order of the regular book changed",
    "algo": "just after an order of the algo book changed",
    "fill": "just after a fill",
}
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
OUTAGE_MINUTES = 20
LATEST = 0.9  # of the day; a bot that is killed later would have nothing to do after it
PATIENCE = 0.05  # of the day: how long an event is waited for
LONGEST_START_SECONDS = 9.0
LOOK_SECONDS = 0.02
KEEN_LOOK_SECONDS = 0.003  # where the next thing that happens is waited for


class Kill(msgspec.Struct, frozen=True, kw_only=True):
    """When the bot dies: at some time of its start, or at the `nth` thing the exchange logs after `progress`."""

    progress: float  # of the market
    at: str  # a key of MOMENTS
    nth: int = 1
    delay: float = 0.0  # real seconds after that

    def __str__(self) -> str:
        place = f"{self.progress:.1%} of the day"
        event = {"start": "its start", "moment": place}.get(self.at, f"{self.at} {self.nth} after {place}")
        return f"{self.delay * 1000:.0f} ms after {event}"


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of one process that was killed."""

    kill: Kill | None  # None: the last one, which lived to the market's end
    connected_after: float | None  # real seconds from its start; None: killed before
    covered_after: float | None  # the same, until every position had its stop; None: killed before

    @property
    def naked_seconds(self) -> float:
        """Real seconds between its first word with the exchange and the last position's stop."""
        if self.connected_after is None or self.covered_after is None:
            return 0.0
        return max(0.0, self.covered_after - self.connected_after)


class Day(msgspec.Struct, frozen=True):
    journey: Journey
    lives: Sequence[Life]


def kills(seed: int, count: int, start_share: float = 0.2) -> list[Kill]:
    """Random moments in the market's order."""
    dice = random.Random(seed)
    drawn = []
    for progress in sorted(dice.uniform(0.02, LATEST) for _ in range(count)):
        if dice.random() < start_share:
            drawn.append(Kill(progress=progress, at="start", delay=dice.uniform(0, LONGEST_START_SECONDS)))
        elif dice.random() < 0.4:
            drawn.append(Kill(progress=progress, at="moment", delay=dice.uniform(0, 0.1)))
        else:
            at = dice.choice(("order", "algo", "fill"))
            drawn.append(Kill(progress=progress, at=at, nth=dice.randint(1, 6), delay=dice.choice((0, 0.002, 0.01))))
    return drawn


def play(folder: Path, seed: int, moments: Sequence[Kill], told: Callable[[Life], None] = lambda life: None) -> Day:
    """Play one day to its end; the state lies in `folder`/state and is the caller's to remove."""
    variants = write(folder / "variants", busy())
    state = folder / "state"
    options = ("--days", 1, "--seed", seed, "--profile", "stress", "--outage-minutes", OUTAGE_MINUTES)
    lives = []
    with simulator(SYMBOLS, *options) as exchange:
        words = (variants, "--simulator", exchange.url, "--keep")
        for kill in (*moments, None):
            lives.append(_live(Bot(state, *words), exchange, kill))
            told(lives[-1])
            if lives[-1].kill is None:
                break
        left = Left(state)
        return Day(Journey(left, exchange.report(), exchange.ledger(), exchange.log()), lives)


def naked(ledger: dict[str, Any]) -> list[str]:
    """Symbols whose position is larger than the stops that wait for it."""
    stops: dict[str, Decimal] = {}
    for algo in ledger["open_algos"]:
        if algo["buy"] == (Decimal(ledger["positions"].get(algo["symbol"], "0")) < 0) and "-s" in algo["client_id"]:
            stops[algo["symbol"]] = stops.get(algo["symbol"], Decimal(0)) + Decimal(algo["quantity"])
    return [symbol for symbol, quantity in ledger["positions"].items() if abs(Decimal(quantity)) > stops.get(symbol, 0)]


class _Watched:
    """A process from its start on: when it connected, and when every position had its stop."""

    def __init__(self, bot: Bot, exchange: Simulator) -> None:
        self.bot = bot
        self.connected_after: float | None = None
        self.covered_after: float | None = None
        self._exchange = exchange
        self._since = Stopwatch()
        self._known = len(exchange.log())
        self._connected_at = 0

    def wait(self, until: Callable[[], bool], pause: float = LOOK_SECONDS) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while self.bot.running and not until():
            assert time.monotonic() < deadline, self.bot.output.read_text()[-3000:]
            self._look()
            time.sleep(pause)

    def trades_beyond(self, progress: float) -> bool:
        """Whether the market is beyond `progress`, and this session has seen time go by."""
        if self.connected_after is None:
            return False
        report = self._exchange.report()
        played = (report["now"] - report["started_at"]) / DAY_MS
        return bool(report["now"] > self._connected_at and played >= progress)

    def _look(self) -> None:
        if self.connected_after is None:
            for entry in self._exchange.log(self._known - 1):
                if entry["what"] == "lockstep_connected":
                    self.connected_after, self._connected_at = self._since.seconds, entry["at"]
        if self.covered_after is None and not naked(self._exchange.ledger()):
            self.covered_after = self._since.seconds


def _live(bot: Bot, exchange: Simulator, kill: Kill | None) -> Life:
    watched = _Watched(bot, exchange)
    if kill is None:
        watched.wait(lambda: watched.covered_after is not None and watched.connected_after is not None)
    else:
        _wait_for(watched, exchange, kill)
    if kill is not None and bot.running:
        bot.kill()
        _see_it_gone(exchange)
    else:
        bot.end()
        kill = None
    return Life(kill=kill, connected_after=watched.connected_after, covered_after=watched.covered_after)


def _wait_for(watched: _Watched, exchange: Simulator, kill: Kill) -> None:
    if kill.at != "start":
        watched.wait(lambda: watched.trades_beyond(kill.progress))
    if kill.at not in ("start", "moment"):
        watched.wait(_the_nth(exchange, kill), KEEN_LOOK_SECONDS)
    due = Stopwatch()
    watched.wait(lambda: due.seconds >= kill.delay, KEEN_LOOK_SECONDS if kill.delay < 1 else LOOK_SECONDS)


def _see_it_gone(exchange: Simulator) -> None:
    """Return once the exchange has noticed, and has gone on without the bot for the time of the outage."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not _alone(exchange):
        assert time.monotonic() < deadline, "the exchange does not see the bot go"
        time.sleep(LOOK_SECONDS)


def _alone(exchange: Simulator) -> bool:
    sessions = [entry["what"] for entry in exchange.log() if entry["what"].startswith("lockstep_")]
    return sessions[-1:] != ["lockstep_connected"]


def _the_nth(exchange: Simulator, kill: Kill) -> Callable[[], bool]:
    known = len(exchange.log())
    begun: int = exchange.report()["now"]

    def come() -> bool:
        seen = sum(entry["what"] == kill.at for entry in exchange.log(known - 1))
        return seen >= kill.nth or exchange.report()["now"] > begun + PATIENCE * DAY_MS

    return come
