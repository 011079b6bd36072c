"""A venue by its name: replay, demo or live, each with its clock, its ports and what it costs to end it."""

import contextlib
from collections.abc import AsyncIterator, Callable
from decimal import Decimal

import aiohttp
import anyio
import msgspec

from bot import logs
from bot.clock import Clock, ReplayClock, SystemClock
from bot.config import BotFile, Secrets
from bot.errors import OperatorError, VenueError, VenueUnavailable
from bot.exchange.binance import BinanceTrading
from bot.exchange.budget import RequestBudget
from bot.exchange.lockstep import Lockstep, Tick
from bot.exchange.port import MarketPort, TradingPort, UserPort
from bot.exchange.rest import DEMO, MAINNET, Endpoints
from bot.exchange.sockets import FrameCounter, open_binance
from bot.messages import BotEvent
from bot.replay import Address, MarketOptions, simulator
from bot.streams import Activity

REPLAY = "replay"
VENUES = (REPLAY, "demo", "live")
SIMULATOR_SECRETS = Secrets("sim-key", "sim-secret")  # of the simulator on loopback, known to everybody
CLOCK_PROBES = 5
KEEP_TIME_SECONDS = 300

Report = Callable[[BotEvent], None]


class Replay(msgspec.Struct, frozen=True):
    """What only a replay has: its lockstep, and where its simulator is asked for its own account."""

    lockstep: Lockstep
    address: Address
    session: aiohttp.ClientSession

    async def facts(self) -> "SimulatorReport":
        """The simulator's own report of the run so far."""
        async with self.session.get(f"{self.address.rest_url}/_sim/report") as response:
            return msgspec.json.decode(await response.read(), type=SimulatorReport, strict=False)


class SimulatorReport(msgspec.Struct, frozen=True):
    started_at: int
    now: int
    naked_seconds: float
    sessions: int
    equity: tuple[tuple[int, Decimal], ...]  # each hour's first, lowest and highest, open positions at their marks


class Venue(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    clock: Clock
    market: MarketPort
    user: UserPort
    trading: TradingPort
    replay: Replay | None = None


@contextlib.asynccontextmanager
async def open_venue(
    name: str,
    settings: BotFile,
    symbols: tuple[str, ...],
    market: MarketOptions,
    simulator_url: str | None,
    activity: Activity,
    report: Report,
    on_quiet: Callable[[Tick], None],
) -> AsyncIterator[Venue]:
    """Connect. OperatorError for an unknown name or missing keys, VenueUnavailable where nobody answers."""
    if name == REPLAY:
        async with _open_replay(settings, symbols, market, simulator_url, activity, report, on_quiet) as venue:
            yield venue
        return
    if name not in VENUES:
        raise OperatorError(f"--venue {name}: expected one of {', '.join(VENUES)}")
    endpoints = _endpoints(MAINNET if name == "live" else DEMO, settings)
    secrets = Secrets.from_environment()
    for secret in (secrets.api_key, secrets.api_secret):
        logs.protect(secret)
    clock, budget = SystemClock(), RequestBudget()
    async with open_binance(endpoints, secrets.api_key, clock, settings.exchange, budget, report) as (feed, user):
        clock.offset_ms = await _clock_offset(feed, clock)
        trading = BinanceTrading(secrets, endpoints.rest, clock, settings.exchange, budget)
        with contextlib.closing(trading):
            async with anyio.create_task_group() as group:
                group.start_soon(keep_time, feed, clock)
                yield Venue(name=name, clock=clock, market=feed, user=user, trading=trading)
                group.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def _open_replay(
    settings: BotFile,
    symbols: tuple[str, ...],
    market: MarketOptions,
    simulator_url: str | None,
    activity: Activity,
    report: Report,
    on_quiet: Callable[[Tick], None],
) -> AsyncIterator[Venue]:
    wallet = Decimal(str(settings.account.starting_balance))
    clock, frames, budget = ReplayClock(), FrameCounter(), RequestBudget()
    async with contextlib.AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession(trust_env=False))
        if simulator_url is None:
            address = await stack.enter_async_context(simulator(market, symbols, wallet))
        else:
            address = await _address_of(session, simulator_url)
        lockstep = Lockstep(clock, activity, frames, on_quiet)
        stack.push_async_callback(lockstep.close)
        await lockstep.connect(session, address.lockstep_url)
        feed, user = await stack.enter_async_context(
            open_binance(
                Endpoints(address.rest_url, address.stream_url),
                SIMULATOR_SECRETS.api_key,
                clock,
                settings.exchange,
                budget,
                report,
                lockstep=(frames, activity),
            )
        )
        trading = BinanceTrading(SIMULATOR_SECRETS, address.rest_url, clock, settings.exchange, budget)
        stack.enter_context(contextlib.closing(trading))
        replay = Replay(lockstep, address, session)
        yield Venue(name=REPLAY, clock=clock, market=feed, user=user, trading=trading, replay=replay)


async def _address_of(session: aiohttp.ClientSession, url: str) -> Address:
    """The addresses of a simulator that runs already, from its REST address."""
    url = url.rstrip("/")
    try:
        async with session.get(f"{url}/_sim/report") as response:
            response.raise_for_status()
    except aiohttp.ClientError as error:
        raise OperatorError(f"--simulator {url}: no simulator answers there ({type(error).__name__})") from None
    stream_url = "ws" + url.removeprefix("http")
    return Address(url, stream_url, f"{stream_url}/_sim/lockstep", 0, 0, ())


def _endpoints(own: Endpoints, settings: BotFile) -> Endpoints:
    return Endpoints(settings.exchange.rest_url or own.rest, settings.exchange.stream_url or own.streams)


async def keep_time(market: MarketPort, clock: SystemClock) -> None:
    """Measure the offset anew every few minutes: a clock that was set, or drifts, ends in -1021 for every order."""
    while True:
        await anyio.sleep(KEEP_TIME_SECONDS)
        with contextlib.suppress(VenueError):  # measured again next time
            clock.offset_ms = await _clock_offset(market, clock)


async def _clock_offset(market: MarketPort, clock: SystemClock) -> int:
    """Milliseconds to add to our clock for the venue's; the probe with the shortest way there and back counts."""
    best: tuple[int, int] | None = None
    for _ in range(CLOCK_PROBES):
        before = clock.now()
        there = await market.server_time()
        trip = clock.now() - before
        if best is None or trip < best[0]:
            best = (trip, there - before - trip // 2)
        await anyio.sleep(0.05)
    if best is None:
        raise VenueUnavailable("the venue does not tell its time")
    return best[1]
