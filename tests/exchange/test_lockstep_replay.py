"""Feed, streams and signed calls against the simulator over sockets, in lockstep."""

from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import partial

import aiohttp
import anyio
import msgspec
import pytest

from bot.clock import DAY_MS, HOUR_MS, MINUTE_MS, ReplayClock
from bot.config import ExchangeTable, Secrets
from bot.errors import VenueRejected
from bot.exchange.binance import BinanceTrading
from bot.exchange.budget import RequestBudget
from bot.exchange.lockstep import Lockstep
from bot.exchange.rest import Endpoints
from bot.exchange.simulator.brackets import brackets_of
from bot.exchange.simulator.server import Simulator, SimulatorOptions, market_of
from bot.exchange.sockets import BinanceMarket, BinanceUser, FrameCounter, open_binance
from bot.market.feed import Feed, Outputs
from bot.messages import Bar, BarClosed, BotEvent, MarkChanged, PriceChanged
from bot.streams import Activity
from bot.venue import (
    Book,
    Fill,
    FundingDue,
    OrderKind,
    OrderReport,
    OrderRequest,
    UserEvent,
    UserStreamLost,
    UserStreamUp,
    VenueStatus,
)

pytestmark = pytest.mark.anyio

START = 1_735_689_600_000  # 2025-01-01
SYMBOLS = ("BTCUSDT", "ETHUSDT")
CONTEXT = 32


class Replay:
    """The pieces that app wires for a replay, short of the desk: what they heard is kept."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.clock = ReplayClock()
        self.activity = Activity()
        self.frames = FrameCounter()
        self.events: list[BotEvent] = []
        self.bars: list[BarClosed] = []
        self.prices: list[PriceChanged] = []
        self.marks: list[MarkChanged] = []
        self.account: list[UserEvent] = []
        self.steps: dict[int, Callable[[], Awaitable[object]]] = {}  # what is done when the clock has come to a time
        self.market: BinanceMarket
        self.user: BinanceUser
        self.trading: BinanceTrading

    async def keep_bar(self, closed: BarClosed) -> None:
        self.bars.append(closed)

    async def keep_price(self, price: PriceChanged) -> None:
        self.prices.append(price)

    async def keep_mark(self, mark: MarkChanged) -> None:
        self.marks.append(mark)

    async def run(self) -> None:
        """Play the whole market; returns after its last step."""
        budget = RequestBudget()
        table = ExchangeTable()
        async with self.simulator.serving() as place, aiohttp.ClientSession() as session:
            lockstep = Lockstep(self.clock, self.activity, self.frames, lambda tick: None)
            await lockstep.connect(session, place.lockstep_url)
            endpoints = Endpoints(place.rest_url, place.stream_url)
            self.trading = BinanceTrading(Secrets("sim-key", "sim-secret"), place.rest_url, self.clock, table, budget)
            ports = open_binance(
                endpoints,
                "sim-key",
                self.clock,
                table,
                budget,
                self.events.append,
                lockstep=(self.frames, self.activity),
            )
            async with ports as (self.market, self.user), anyio.create_task_group() as group:
                outputs = Outputs(bars=[self.keep_bar], prices=[self.keep_price], marks=[self.keep_mark])
                feed = Feed(
                    self.market, self.clock, self.activity, SYMBOLS, HOUR_MS, CONTEXT, outputs, self.events.append
                )
                group.start_soon(self.follow_account)
                await group.start(feed.run)
                for at, step in self.steps.items():
                    group.start_soon(self.act, at, step)
                await self.activity.wait_quiet()
                await lockstep.run()
                group.cancel_scope.cancel()
            await lockstep.close()
            self.trading.close()

    async def follow_account(self) -> None:
        async for event in self.user.user_events():
            self.account.append(event)

    async def act(self, at: int, step: Callable[[], Awaitable[object]]) -> None:
        await self.clock.sleep_until(at)
        self.activity.begin()
        await step()
        self.activity.end()

    def told(self, name: str) -> list[BotEvent]:
        return [event for event in self.events if event.name == name]


@pytest.fixture
def replay() -> Replay:
    options = SimulatorOptions(symbols=SYMBOLS, start=START, end=START + DAY_MS)
    return Replay(Simulator(market_of(options), options))


async def test_a_day_in_lockstep_brings_every_bar_once_and_in_order(replay: Replay) -> None:
    asked: dict[str, list[Bar]] = {}

    async def ask() -> None:
        for symbol in SYMBOLS:
            asked[symbol] = list(await replay.market.bars(symbol, HOUR_MS, START, START + DAY_MS))

    replay.steps[START + DAY_MS] = ask
    await replay.run()
    for symbol in SYMBOLS:
        times = [closed.bar.open_time for closed in replay.bars if closed.bar.symbol == symbol]
        assert times == list(range(START - (CONTEXT + 100) * HOUR_MS, START + DAY_MS, HOUR_MS))
        live = [closed.bar for closed in replay.bars if closed.bar.symbol == symbol and not closed.backfilled]
        assert len(live) == 24
        assert live == asked[symbol]
        assert len({price.price for price in replay.prices if price.symbol == symbol}) > 24
        assert any(mark.symbol == symbol for mark in replay.marks)
    assert replay.clock.now() == START + DAY_MS
    assert replay.account == [UserStreamUp(START)]
    assert replay.events == []


async def test_an_order_is_told_by_its_answer_the_stream_and_the_fills_alike(replay: Replay) -> None:
    reports: list[OrderReport] = []
    fills: list[Fill] = []

    async def trade() -> None:
        entry = OrderRequest(
            client_id="tsb-e", symbol="BTCUSDT", kind=OrderKind.MARKET, buy=True, quantity=Decimal("0.010")
        )
        reports.append(await replay.trading.place(entry))
        mark = [price.price for price in replay.prices if price.symbol == "BTCUSDT"][-1]
        stop = OrderRequest(
            client_id="tsb-s",
            symbol="BTCUSDT",
            kind=OrderKind.STOP_MARKET,
            buy=False,
            quantity=Decimal("0.010"),
            trigger_price=(mark * Decimal("0.5")).quantize(Decimal("0.1")),
            reduce_only=True,
        )
        reports.append(await replay.trading.place(stop))
        assert [order.client_id for order in await replay.trading.open_orders()] == ["tsb-s"]
        assert [held.quantity for held in await replay.trading.positions()] == [Decimal("0.010")]
        fills.extend(await replay.trading.fills("BTCUSDT", 0))
        cancelled = await replay.trading.cancel("BTCUSDT", "tsb-s", Book.ALGO)
        assert cancelled is not None
        reports.append(cancelled)
        assert await replay.trading.cancel("BTCUSDT", "tsb-s", Book.ALGO) is None

    replay.steps[START + HOUR_MS] = trade
    await replay.run()
    assert [report.status for report in reports] == [VenueStatus.FILLED, VenueStatus.NEW, VenueStatus.CANCELED]
    told = [event for event in replay.account if isinstance(event, Fill)]
    assert [msgspec.structs.replace(fill, client_id="") for fill in told] == fills
    assert {fill.client_id for fill in told} == {"tsb-e"}
    algo = [event.status for event in replay.account if isinstance(event, OrderReport) and event.book is Book.ALGO]
    assert algo == [VenueStatus.NEW, VenueStatus.CANCELED]
    assert sum(isinstance(event, FundingDue) for event in replay.account) >= 2


async def test_all_account_calls_read_the_simulators_answers(replay: Replay) -> None:
    async def ask() -> None:
        await replay.trading.check_account()
        await replay.trading.set_leverage("BTCUSDT", 7)
        assert await replay.trading.wallet() == Decimal(10_000)
        assert await replay.trading.funding(START) == []
        assert await replay.trading.find("BTCUSDT", "nobody", Book.REGULAR) is None
        assert await replay.trading.find("BTCUSDT", "nobody", Book.ALGO) is None
        assert await replay.trading.find_by_id("BTCUSDT", 1) is None
        assert await replay.market.server_time() == START + HOUR_MS
        instruments = await replay.market.instruments()
        assert set(SYMBOLS) <= set(instruments)
        brackets = await replay.trading.margin_brackets()
        assert brackets["BTCUSDT"] == brackets_of("BTCUSDT")
        with pytest.raises(VenueRejected):
            await replay.trading.set_leverage("NOSUCHUSDT", 7)

    replay.steps[START + HOUR_MS] = ask
    await replay.run()


async def test_lost_sockets_are_connected_anew_and_nothing_is_missing_after(replay: Replay) -> None:
    async def drop(route: str) -> None:
        assert replay.simulator.hub.disconnect(route)

    replay.steps = {
        START + 5 * HOUR_MS + MINUTE_MS: partial(drop, "market"),
        START + 7 * HOUR_MS + MINUTE_MS: partial(drop, "private"),
    }
    await replay.run()
    for symbol in SYMBOLS:
        times = [closed.bar.open_time for closed in replay.bars if closed.bar.symbol == symbol]
        assert times == list(range(START - (CONTEXT + 100) * HOUR_MS, START + DAY_MS, HOUR_MS))
    assert [event.name for event in replay.events] == ["market_stream_lost"]
    assert [type(event) for event in replay.account] == [UserStreamUp, UserStreamLost, UserStreamUp]


async def test_a_bar_that_the_stream_leaves_out_is_fetched_after_its_close(replay: Replay) -> None:
    replay.simulator.hub.muted.add("btcusdt@kline_1h")
    await replay.run()
    times = [closed.bar.open_time for closed in replay.bars if closed.bar.symbol == "BTCUSDT"]
    assert times == list(range(START - (CONTEXT + 100) * HOUR_MS, START + DAY_MS - HOUR_MS, HOUR_MS))
    assert all(closed.backfilled for closed in replay.bars if closed.bar.symbol == "BTCUSDT")


async def test_bars_come_in_pages_and_never_the_open_one(replay: Replay) -> None:
    async with replay.simulator.serving() as place:
        clock = ReplayClock(START)
        endpoints = Endpoints(place.rest_url, place.stream_url)
        ports = open_binance(endpoints, "", clock, ExchangeTable(), RequestBudget(), replay.events.append)
        async with ports as (market, _):
            bars = await market.bars("BTCUSDT", 5 * MINUTE_MS, START - 1_200 * 5 * MINUTE_MS, START + HOUR_MS)
            assert [bar.open_time for bar in bars] == list(range(START - 1_200 * 5 * MINUTE_MS, START, 5 * MINUTE_MS))
            clock.advance(START + HOUR_MS + 2_000)
            assert await market.bars("BTCUSDT", HOUR_MS, START, START + HOUR_MS) == []
            with pytest.raises(VenueRejected):
                await market.bars("NOSUCHUSDT", HOUR_MS, START - HOUR_MS, START)
