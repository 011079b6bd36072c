"""The simulator as a process: options in, one JSON line with its addresses out, then it serves until it is stopped."""

import os
import signal
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import anyio
import msgspec
from aiohttp import web
from anyio.abc import TaskStatus

from bot.clock import DAY_MS, HOUR_MS
from bot.errors import OperatorError
from bot.exchange.faults import FaultPlan, Scenario
from bot.exchange.matching.records import Settings
from bot.exchange.simulator import ws_api
from bot.exchange.simulator.account_routes import ACCOUNT_ROUTES
from bot.exchange.simulator.batch_routes import BATCH_ROUTES
from bot.exchange.simulator.control import Control
from bot.exchange.simulator.generator import GeneratedMarket, ProfileName
from bot.exchange.simulator.happenings import Happenings
from bot.exchange.simulator.limits import ClockWindow, Credentials, Limits
from bot.exchange.simulator.lockstep import Conductor
from bot.exchange.simulator.market import Market
from bot.exchange.simulator.market_routes import market_routes
from bot.exchange.simulator.recordings import RecordedMarket, recorded_range
from bot.exchange.simulator.rest import Gate
from bot.exchange.simulator.sockets import PING_SECONDS, Hub, add_stream_routes, encoder
from bot.exchange.simulator.trading_routes import TRADING_ROUTES
from bot.exchange.simulator.world import World
from bot.exchange.simulator.ws_api import WebSocketApi

HOST = "127.0.0.1"
BACKLOG = 512
GENERATED_START = 1_735_689_600_000  # 2025-01-01


class SimulatorOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What is played, how fast, and with what account. The market is recorded with `bars`, else generated."""

    symbols: tuple[str, ...]
    start: int | None = None  # ms UTC, a whole hour; see `played_range` for what is left out
    end: int | None = None
    days: float = 7.0
    bars: Path | None = None
    funding: Path | None = None  # recorded funding rates; None: a file beside the bars, or the default rate
    profile: ProfileName = "normal"  # of a generated market
    seed: int = 0
    scenario: Scenario | None = None  # what goes wrong
    wallet: Decimal = Decimal(10_000)
    settings: Settings = Settings()
    pace: float | None = None  # None: lockstep
    outage_minutes: float = 0.0
    api_key: str = "sim-key"
    api_secret: str = "sim-secret"
    clock_window: ClockWindow = "virtual"
    weight_per_minute: int = 2400
    orders_per_minute: int = 1200
    orders_per_ten_seconds: int = 300
    ping_seconds: float = PING_SECONDS
    connection_hours: float = 0.0  # of virtual time after which a stream socket is closed; 0: never
    port: int = 0  # 0: any free one
    until_stdin_closes: bool = False


class Addresses(msgspec.Struct, frozen=True):
    rest_url: str
    stream_url: str
    ws_api_url: str
    lockstep_url: str
    start: int
    end: int
    symbols: tuple[str, ...]


class Simulator:
    """One exchange, not yet on the network. `world` is what really happens in it."""

    def __init__(self, market: Market, options: SimulatorOptions) -> None:
        self._options = options
        self.hub = Hub()
        self.hub.ping_seconds = options.ping_seconds
        self.hub.longest_ms = round(options.connection_hours * HOUR_MS)
        self.stop = anyio.Event()
        scenario = options.scenario or Scenario(name="none", description="Nothing goes wrong.")
        self.world = World(
            market,
            self.hub,
            wallet=options.wallet,
            settings=scenario.settings(msgspec.structs.replace(options.settings, seed=options.seed)),
            seed=options.seed,
        )
        self.happenings = Happenings(self.world)
        self._play_out(scenario)
        self.limits = Limits(options.weight_per_minute, options.orders_per_minute, options.orders_per_ten_seconds)
        self.conductor = Conductor(
            self.world, self.hub, pace=options.pace, outage_minutes=options.outage_minutes, seed=options.seed
        )

    def _play_out(self, scenario: Scenario) -> None:
        """OperatorError where this market or this simulator cannot do what the scenario says."""
        for fault in scenario.fault:
            self.happenings.check(fault)
        seed = self._options.seed if scenario.seed is None else scenario.seed
        self.world.use(FaultPlan(scenario.fault, seed, self.world.market.start), self.happenings.happen)

    def application(self) -> web.Application:
        options = self._options
        credentials = Credentials(options.api_key, options.api_secret, options.clock_window)
        routes = TRADING_ROUTES | BATCH_ROUTES | ACCOUNT_ROUTES | market_routes(self.limits)
        gate = Gate(self.world, credentials, self.limits, routes, self.conductor.catch_up)
        app = web.Application()
        Control(self.world, self.conductor, self.happenings, self.stop).add_to(app)
        app.router.add_route("*", "/fapi/{path:.*}", gate.answer)
        api = WebSocketApi(self.world, gate, credentials, self.limits, routes, self.conductor.catch_up)
        api.add_to(app)
        add_stream_routes(app, self.hub)
        return app

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Addresses]:
        """On the network while the block runs; at a pace the market plays meanwhile."""
        runner = web.AppRunner(self.application(), access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            site = web.TCPSite(runner, HOST, self._options.port, backlog=BACKLOG)
            await site.start()
            async with anyio.create_task_group() as group:
                group.start_soon(self.conductor.run)
                yield self._addresses(runner.addresses[0][1])
                group.cancel_scope.cancel()
        finally:
            self.hub.disconnect()
            await runner.cleanup()

    def _addresses(self, port: int) -> Addresses:
        market = self.world.market
        place = f"{HOST}:{port}"
        return Addresses(
            rest_url=f"http://{place}",
            stream_url=f"ws://{place}",
            ws_api_url=f"ws://{place}{ws_api.PATH}",
            lockstep_url=f"ws://{place}/_sim/lockstep",
            start=market.start,
            end=market.end,
            symbols=market.symbols,
        )


def played_range(options: SimulatorOptions) -> tuple[int, int]:
    """Start and end (ms UTC). One of them and `days` give the other; with neither the last days that are recorded
    are played, and of a generated market the first days of 2025."""
    length = round(options.days * DAY_MS / HOUR_MS) * HOUR_MS
    if options.start is not None and options.end is not None:
        return options.start, options.end
    if options.end is not None:
        return options.end - length, options.end
    if options.bars is None:
        start = GENERATED_START if options.start is None else options.start
        return start, start + length
    first, last = recorded_range(options.bars, options.symbols)
    start = max(first, last - length) if options.start is None else options.start
    return start, min(last, start + length)


def market_of(options: SimulatorOptions) -> Market:
    """Raises OperatorError where the options do not name a playable market."""
    start, end = played_range(options)
    if options.bars is not None:
        return RecordedMarket(options.bars, options.symbols, start, end, funding=options.funding)
    days, rest = divmod(end - start, DAY_MS)
    if rest or days < 1:
        raise OperatorError("a generated market is played for whole days, one at least")
    return GeneratedMarket(options.seed, options.symbols, start, days, profile=options.profile)


async def run_simulator(options: SimulatorOptions) -> None:
    """Serve until SIGTERM, SIGINT, POST /_sim/stop or (where asked for) the end of stdin."""
    if options.until_stdin_closes and not _stdin_tells_its_end():
        raise OperatorError("until_stdin_closes: stdin is neither pipe nor socket, so no parent's end could be seen")
    simulator = Simulator(market_of(options), options)
    async with simulator.serving() as addresses, anyio.create_task_group() as group:
        await group.start(_stop_on_signal, simulator.stop, options.until_stdin_closes)
        if options.until_stdin_closes:
            group.start_soon(_stop_when_stdin_closes, simulator.stop)
        sys.stdout.write(encoder.encode(addresses).decode() + "\n")
        sys.stdout.flush()
        await simulator.stop.wait()
        group.cancel_scope.cancel()


def main(options: SimulatorOptions) -> None:
    anyio.run(run_simulator, options, backend_options={"use_uvloop": sys.platform != "win32"})


async def _stop_on_signal(stop: anyio.Event, is_child: bool, *, task_status: TaskStatus[None]) -> None:
    """A terminal sends Ctrl-C to parent and child alike; the parent still needs its exchange while it shuts down."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for number in signals:
            if number == signal.SIGTERM or not is_child:
                stop.set()


def _stdin_tells_its_end() -> bool:
    mode = os.fstat(sys.stdin.fileno()).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


async def _stop_when_stdin_closes(stop: anyio.Event) -> None:
    """A parent that dies closes the pipe, and takes its simulator with it."""
    while True:
        await anyio.wait_readable(sys.stdin.fileno())
        if not os.read(sys.stdin.fileno(), 4096):
            stop.set()
            return
