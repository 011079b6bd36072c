"""The feed over a venue in the same process, on both event loops, with a clock that the test moves."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from decimal import Decimal

import anyio
import anyio.lowlevel
import pytest

from bot.clock import HOUR_MS, MINUTE_MS, SECOND_MS, ReplayClock
from bot.errors import VenueDisagrees, VenueRejected, VenueUnavailable
from bot.exchange.port import MarketEvent
from bot.market.feed import SPARE_BARS, Feed, Outputs
from bot.messages import Bar, BarClosed, BotEvent, MarkChanged, PriceChanged
from bot.streams import Activity
from bot.venue import Instrument

pytestmark = pytest.mark.anyio

START = 1_735_689_600_000
CONTEXT = 4
FIRST = START - (CONTEXT + SPARE_BARS) * HOUR_MS


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def bar(symbol: str, open_time: int) -> Bar:
    return Bar(symbol, HOUR_MS, open_time, 1.0, 3.0, 1.0, 2.0, float(open_time % 1_000_003))


class Venue:
    """A MarketPort: bars exist by the clock unless a hole is made; the stream tells what the test puts on it."""

    def __init__(self, clock: ReplayClock) -> None:
        self.clock = clock
        self.holes: set[tuple[str, int]] = set()
        self.faults: list[Exception] = []  # the next fetches fail with these
        self.born: dict[str, int] = {}
        self.asked: list[tuple[str, int]] = []
        self.connections = 0
        self.at_once = 0
        self.most_at_once = 0
        self._waiting: list[MarketEvent | Exception] = []
        self._put = anyio.Event()

    def put(self, *events: MarketEvent | Exception) -> None:
        self._waiting += events
        self._put.set()

    async def server_time(self) -> int:
        return self.clock.now()

    async def instruments(self) -> dict[str, Instrument]:
        return {}

    async def bars(self, symbol: str, interval_ms: int, start: int, end: int) -> Sequence[Bar]:
        self.asked.append((symbol, start))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            for _ in range(3):
                await anyio.lowlevel.checkpoint()
        finally:
            self.at_once -= 1
        if self.faults:
            raise self.faults.pop(0)
        times = range(max(start, self.born.get(symbol, 0)), min(end, self.clock.now() - interval_ms + 1), interval_ms)
        return [bar(symbol, at) for at in times if (symbol, at) not in self.holes]

    async def market_events(self, symbols: Sequence[str], interval_ms: int) -> AsyncIterator[MarketEvent]:
        self.connections += 1
        while True:
            while self._waiting:
                event = self._waiting.pop(0)
                if isinstance(event, Exception):
                    raise event
                yield event
            self._put = anyio.Event()
            await self._put.wait()


class Bench:
    """A running feed and what came out of it."""

    def __init__(self, *symbols: str) -> None:
        self.clock = ReplayClock(START + MINUTE_MS)
        self.activity = Activity()
        self.venue = Venue(self.clock)
        self.bars: list[BarClosed] = []
        self.bars_elsewhere: list[BarClosed] = []
        self.prices: list[PriceChanged] = []
        self.marks: list[MarkChanged] = []
        self.events: list[BotEvent] = []
        self.symbols = symbols or ("BTCUSDT",)

    async def keep_bar(self, closed: BarClosed) -> None:
        await anyio.lowlevel.checkpoint()
        self.bars.append(closed)

    async def keep_bar_elsewhere(self, closed: BarClosed) -> None:
        self.bars_elsewhere.append(closed)

    async def keep_price(self, price: PriceChanged) -> None:
        self.prices.append(price)

    async def keep_mark(self, mark: MarkChanged) -> None:
        self.marks.append(mark)

    async def during(self, act: Callable[[], Awaitable[None]]) -> None:
        """Run the feed, act once it has started, stop it."""
        outputs = Outputs(
            bars=[self.keep_bar, self.keep_bar_elsewhere], prices=[self.keep_price], marks=[self.keep_mark]
        )
        feed = Feed(self.venue, self.clock, self.activity, self.symbols, HOUR_MS, CONTEXT, outputs, self.events.append)
        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                await group.start(feed.run)
                await self.settle()
                await act()
                group.cancel_scope.cancel()

    async def settle(self) -> None:
        await anyio.wait_all_tasks_blocked()

    async def until(self, true: Callable[[], bool]) -> None:
        while not true():  # noqa: ASYNC110  # reconnects pause in real time
            await anyio.sleep(0.02)

    async def advance(self, to: int) -> None:
        self.clock.advance(to)
        await self.settle()

    def heard(self, symbol: str = "BTCUSDT") -> list[tuple[int, bool]]:
        """(open_time, backfilled), the same on both outputs."""
        heard, elsewhere = (
            [(closed.bar.open_time, closed.backfilled) for closed in output if closed.bar.symbol == symbol]
            for output in (self.bars, self.bars_elsewhere)
        )
        assert heard == elsewhere
        return heard

    def names(self) -> list[str]:
        return [event.name for event in self.events]


BACKFILL = [(at, True) for at in range(FIRST, START, HOUR_MS)]


async def test_it_starts_with_context_and_spare_bars_of_every_symbol() -> None:
    symbols = tuple(f"S{number}USDT" for number in range(9))
    bench = Bench(*symbols)

    async def act() -> None:
        assert bench.activity.quiet

    await bench.during(act)
    for symbol in symbols:
        assert bench.heard(symbol) == BACKFILL
    assert bench.venue.most_at_once == 4
    assert bench.events == []


async def test_bars_prices_and_marks_go_out_as_they_come_and_a_bar_only_once() -> None:
    bench = Bench()
    price = PriceChanged("BTCUSDT", Decimal(7), START)
    mark = MarkChanged("BTCUSDT", Decimal(7), Decimal(0), START, START)

    async def act() -> None:
        await bench.advance(START + HOUR_MS)
        live = bar("BTCUSDT", START)
        bench.venue.put(price, live, mark, live, bar("BTCUSDT", START - HOUR_MS))
        await bench.settle()
        assert bench.activity.quiet

    await bench.during(act)
    assert bench.heard() == [*BACKFILL, (START, False)]
    assert (bench.prices, bench.marks) == ([price], [mark])


async def test_a_bar_that_does_not_come_is_fetched_after_the_grace() -> None:
    bench = Bench()

    async def act() -> None:
        await bench.advance(START + HOUR_MS + 9 * SECOND_MS)
        assert bench.heard() == BACKFILL
        await bench.advance(START + HOUR_MS + 10 * SECOND_MS)
        assert bench.heard() == [*BACKFILL, (START, True)]
        bench.venue.put(bar("BTCUSDT", START))
        await bench.settle()

    await bench.during(act)
    assert bench.heard() == [*BACKFILL, (START, True)]


async def test_a_bar_that_even_the_venue_lacks_is_asked_for_four_times_and_told() -> None:
    bench = Bench()
    bench.venue.holes.add(("BTCUSDT", START))

    async def act() -> None:
        for second in range(0, 300, 5):
            await bench.advance(START + HOUR_MS + second * SECOND_MS)

    await bench.during(act)
    assert bench.heard() == BACKFILL
    assert len([start for _, start in bench.venue.asked if start == START]) == 4
    assert bench.names() == ["bar_late"]


async def test_a_hole_before_a_live_bar_is_filled_first() -> None:
    bench = Bench()

    async def act() -> None:
        await bench.advance(START + HOUR_MS)
        bench.clock.advance(START + 2 * HOUR_MS)
        bench.venue.put(bar("BTCUSDT", START + HOUR_MS))
        await bench.settle()

    await bench.during(act)
    assert [at for at, _ in bench.heard()] == [*(at for at, _ in BACKFILL), START, START + HOUR_MS]


async def test_a_hole_that_stays_is_told_and_later_bars_go_on() -> None:
    bench = Bench()
    bench.venue.holes.add(("BTCUSDT", START))

    async def act() -> None:
        await bench.advance(START + 2 * HOUR_MS)
        bench.venue.put(bar("BTCUSDT", START + HOUR_MS))
        await bench.settle()

    await bench.during(act)
    assert [at for at, _ in bench.heard()] == [*(at for at, _ in BACKFILL), START + HOUR_MS]
    assert bench.names() == ["bars_missing"]
    assert bench.events[0].detail["count"] == 1


async def test_a_bar_whose_past_cannot_be_fetched_waits_for_it() -> None:
    bench = Bench()

    async def act() -> None:
        await bench.advance(START + HOUR_MS)
        bench.clock.advance(START + 2 * HOUR_MS)
        bench.venue.faults = [VenueUnavailable("down"), VenueUnavailable("down")]
        bench.venue.put(bar("BTCUSDT", START + HOUR_MS))
        await bench.settle()
        assert bench.heard() == BACKFILL
        await bench.advance(START + 2 * HOUR_MS + 10 * SECOND_MS)

    await bench.during(act)
    assert bench.heard() == [*BACKFILL, (START, True), (START + HOUR_MS, True)]
    assert bench.names() == ["bars_not_fetched", "bars_not_fetched"]


@pytest.mark.parametrize(
    "loss", [VenueUnavailable("silent"), VenueDisagrees("odd"), VenueRejected(-1121, "no such symbol")], ids=repr
)
async def test_a_lost_stream_is_told_followed_anew_and_what_was_missed_comes_first(loss: Exception) -> None:
    bench = Bench()

    async def act() -> None:
        bench.venue.put(loss)
        await bench.settle()
        assert bench.names() == ["market_stream_lost"]
        bench.clock.advance(START + 2 * HOUR_MS)
        await bench.until(lambda: bench.venue.connections == 2)
        await bench.settle()
        bench.clock.advance(START + 3 * HOUR_MS)
        bench.venue.put(bar("BTCUSDT", START + 2 * HOUR_MS))
        await bench.settle()

    await bench.during(act)
    assert bench.heard() == [*BACKFILL, (START, True), (START + HOUR_MS, True), (START + 2 * HOUR_MS, False)]


async def test_a_start_without_the_venue_is_tried_again_until_it_works() -> None:
    bench = Bench()
    bench.venue.faults = [VenueUnavailable("down"), VenueUnavailable("down")]

    async def act() -> None:
        pass

    await bench.during(act)
    assert bench.heard() == BACKFILL
    assert bench.names() == ["bars_not_fetched", "bars_not_fetched"]


async def test_a_young_coin_has_no_gap_before_its_first_bar() -> None:
    bench = Bench()
    bench.venue.born["BTCUSDT"] = START - 3 * HOUR_MS

    async def act() -> None:
        pass

    await bench.during(act)
    assert bench.heard() == BACKFILL[-3:]
    assert bench.events == []
