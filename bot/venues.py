"""A venue by its name: replay, demo or live, each with its clock, its ports and what it costs to end it."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from decimal import Decimal

import aiohttp
import anyio
import msgspec

from bot import logs
from bot.clock import SECOND_MS, Clock, ReplayClock, SystemClock
from bot.config import BotFile, Secrets
from bot.errors import OperatorError
from bot.exchange.binance import BinanceTrading
from bot.exchange.budget import RequestBudget
from bot.exchange.contract import ContractWatch
from bot.exchange.insistence import Insistence
from bot.exchange.lockstep import Lockstep, Tick
from bot.exchange.port import MarketPort, TradingPort, UserPort
from bot.exchange.rest import DEMO, MAINNET, Endpoints
from bot.exchange.sockets import FrameCounter, open_binance
from bot.exchange.timekeeper import Timekeeper
from bot.messages import BotEvent, Severity, StandingOrder
from bot.replay import Address, MarketOptions, simulator
from bot.streams import Activity
from bot.venue import REPLAY, VENUES

SIMULATOR_SECRETS = Secrets("sim-key", "sim-secret")  # of the simulator on loopback, known to everybody
LIMITS_LAG_MS = SECOND_MS  # before the clock is measured, ours may be a little ahead of the venue's


class Ears(msgspec.Struct, frozen=True, kw_only=True):
    """Who hears what a venue's edge says, and what an earlier process heard. Nothing here blocks but `remember`."""

    report: Callable[[BotEvent], None]
    stand: Callable[[StandingOrder], None]
    measured: Callable[[int, int], None]  # the clock's offset and when it was measured, ms
    remember: Callable[[int], Awaitable[None]]  # until when the venue wants no calls
    closed_until: int = 0


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
    heard: Mapping[str, int] = {}  # how many messages of each market stream have come
    replay: Replay | None = None


@contextlib.asynccontextmanager
async def open_venue(
    name: str,
    settings: BotFile,
    symbols: tuple[str, ...],
    market: MarketOptions,
    simulator_url: str | None,
    activity: Activity,
    ears: Ears,
    on_quiet: Callable[[Tick], None],
) -> AsyncIterator[Venue]:
    """Connect. OperatorError for an unknown name or missing keys, VenueUnavailable where nobody answers."""
    if name == REPLAY:
        async with _open_replay(settings, symbols, market, simulator_url, activity, ears, on_quiet) as venue:
            yield venue
        return
    if name not in VENUES:
        raise OperatorError(f"--venue {name}: expected one of {', '.join(VENUES)}")
    endpoints = _endpoints(MAINNET if name == "live" else DEMO, settings)
    secrets = Secrets.from_environment()
    for secret in (secrets.api_key, secrets.api_secret):
        logs.protect(secret)
    clock, silence = SystemClock(), Silence(ears.remember)
    budget = RequestBudget(ears.closed_until, silence.hear)
    await _wait_for_the_end_of(ears.closed_until, clock, ears)
    surprised = ContractWatch(clock, ears.report, ears.stand).surprised
    ports = open_binance(endpoints, secrets.api_key, clock, settings.exchange, budget, ears.report, surprised)
    async with ports as (feed, user):
        keeper = Timekeeper(feed, clock, ears.report, ears.measured)
        await Insistence(clock, ears.report).read("clock", keeper.begin)
        trading = BinanceTrading(secrets, endpoints.rest, clock, settings.exchange, budget, surprised, keeper.resync)
        with contextlib.closing(trading):
            async with anyio.create_task_group() as group:
                group.start_soon(keeper.run)
                group.start_soon(silence.run)
                yield Venue(name=name, clock=clock, market=feed, user=user, trading=trading, heard=feed.heard)
                group.cancel_scope.cancel()


class Silence:
    """Remembers, beyond this process, until when the venue wants no calls."""

    def __init__(self, remember: Callable[[int], Awaitable[None]]) -> None:
        self._remember = remember
        self._until = 0
        self._heard = anyio.Event()

    def hear(self, until: int) -> None:
        self._until = until
        self._heard.set()

    async def run(self) -> None:
        while True:
            await self._heard.wait()
            self._heard = anyio.Event()
            await self._remember(self._until)


async def _wait_for_the_end_of(silence: int, clock: Clock, ears: Ears) -> None:
    """A start is no reason to ask sooner."""
    if clock.now() < silence:
        detail = {"until_at": silence}
        ears.report(BotEvent(at=clock.now(), name="venue_closed", severity=Severity.WARNING, detail={**detail}))
        await clock.sleep_until(silence + LIMITS_LAG_MS)


@contextlib.asynccontextmanager
async def _open_replay(
    settings: BotFile,
    symbols: tuple[str, ...],
    market: MarketOptions,
    simulator_url: str | None,
    activity: Activity,
    ears: Ears,
    on_quiet: Callable[[Tick], None],
) -> AsyncIterator[Venue]:
    wallet = Decimal(str(settings.account.starting_balance))
    clock, frames, budget = ReplayClock(), FrameCounter(), RequestBudget()
    surprised = ContractWatch(clock, ears.report, ears.stand).surprised
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
                ears.report,
                surprised,
                lockstep=(frames, activity),
            )
        )
        trading = BinanceTrading(SIMULATOR_SECRETS, address.rest_url, clock, settings.exchange, budget, surprised)
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
