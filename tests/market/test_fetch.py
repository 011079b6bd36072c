"""History over sockets from the simulator: what is missing, once, whatever interrupts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import anyio
import polars as pl
import pytest

from bot.clock import DAY_MS, HOUR_MS, MINUTE_MS, ReplayClock
from bot.errors import VenueRejected, VenueUnavailable
from bot.exchange.budget import RequestBudget
from bot.exchange.public import PublicHistory
from bot.exchange.simulator.server import Simulator, SimulatorOptions, market_of
from bot.history.bars import BarFiles
from bot.history.funding import FundingFiles
from bot.history.layout import Kind
from bot.market.fetch import Fetched, Fetcher, Pace, Wanted

pytestmark = pytest.mark.anyio

START = 1_735_689_600_000  # 2025-01-01
FIVE = 5 * MINUTE_MS


class Asked(PublicHistory):
    """The pages that were asked for; from one on the venue is gone for a while, or for good."""

    def __init__(self, *given: object) -> None:
        super().__init__(*given)  # type: ignore[arg-type]  # as its parent takes them
        self.pages: list[int] = []
        self.gone_after = 1_000_000
        self.failures = 0

    async def bars_page(self, symbol: str, interval_ms: int, kind: Kind, start: int, end: int) -> pl.DataFrame:
        if len(self.pages) >= self.gone_after:
            raise anyio.ClosedResourceError
        if self.failures:
            self.failures -= 1
            raise VenueUnavailable("HTTP 503")
        self.pages.append(start)
        return await super().bars_page(symbol, interval_ms, kind, start, end)


@asynccontextmanager
async def venue(**changes: object) -> AsyncIterator[Asked]:
    options = SimulatorOptions(
        **({"symbols": ("BTCUSDT", "ETHUSDT"), "start": START, "end": START + 3 * DAY_MS} | changes)  # type: ignore[arg-type]
    )
    simulator = Simulator(market_of(options), options)
    with anyio.fail_after(60):
        async with simulator.serving() as addresses, aiohttp.ClientSession() as session:
            yield Asked(session, addresses.rest_url, ReplayClock(START), RequestBudget(), lambda event: None)


def wanted(hours: int, interval_ms: int = HOUR_MS, symbol: str = "BTCUSDT", **changes: object) -> Wanted:
    facts = {"symbol": symbol, "what": "bars", "interval_ms": interval_ms, "start": START - hours * HOUR_MS}
    return Wanted(**(facts | {"end": START + DAY_MS} | changes))  # type: ignore[arg-type]


async def fetch(port: Asked, folder: Path, *those: Wanted) -> list[Fetched]:
    shown: list[tuple[int, int]] = []
    files, rates = BarFiles(folder), FundingFiles(folder)
    fetcher = Fetcher(port, ReplayClock(START), files, rates, Pace(0.5), lambda *both: shown.append(both))
    found = await fetcher.run(those)
    assert shown[-1][0] == shown[-1][1]
    assert [done for done, _ in shown] == sorted(done for done, _ in shown)
    return found


async def test_closed_bars_of_several_series_are_fetched_as_the_venue_has_them(tmp_path: Path) -> None:
    async with venue() as port:
        told = await fetch(port, tmp_path, wanted(400), wanted(100, FIVE), wanted(50, symbol="ETHUSDT", what="mark"))
        assert [(one.series, one.stored, one.holes, one.faults) for one in told] == [
            ("1h", 400, 1, ()),
            ("5m", 1_200, 1, ()),
            ("mark-1h", 50, 1, ()),
        ]
        page = await port.bars_page("BTCUSDT", HOUR_MS, "bars", START - 10 * HOUR_MS, START)
    files = BarFiles(tmp_path)
    hours = files.load("BTCUSDT", HOUR_MS)
    assert hours.close_at == START  # the bar that is open now is none
    assert hours.close[-10:].tolist() == page["close"].to_list()
    assert files.span("ETHUSDT", HOUR_MS, "mark") == (START - 50 * HOUR_MS, START)


async def test_only_holes_are_asked_for_and_nothing_twice(tmp_path: Path) -> None:
    async with venue() as port:
        await fetch(port, tmp_path, wanted(400, end=START - 300 * HOUR_MS))
        await fetch(port, tmp_path, wanted(200, end=START - 100 * HOUR_MS))
        port.pages.clear()
        (told,) = await fetch(port, tmp_path, wanted(450))
        assert (told.holes, told.stored) == (3, 50 + 100 + 100)
        assert [(START - at) // HOUR_MS for at in port.pages] == [450, 300, 100]
        port.pages.clear()
        (again,) = await fetch(port, tmp_path, wanted(450))
        assert (again.holes, again.stored, port.pages) == (0, 0, [])


async def test_a_fetch_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    async with venue() as port:
        port.gone_after = 3
        with pytest.raises(anyio.ClosedResourceError):
            await fetch(port, tmp_path, wanted(400, FIVE))
        kept = BarFiles(tmp_path).load("BTCUSDT", FIVE)
        assert len(kept) == 3 * 499
        port.gone_after, port.pages = 1_000_000, []
        (told,) = await fetch(port, tmp_path, wanted(400, FIVE))
        assert told.stored == 400 * 12 - 3 * 499
        assert port.pages[0] == kept.close_at
    assert len(BarFiles(tmp_path).load("BTCUSDT", FIVE)) == 400 * 12


async def test_a_venue_that_is_away_for_a_moment_is_asked_again(tmp_path: Path) -> None:
    async with venue() as port:
        port.failures = 2
        (told,) = await fetch(port, tmp_path, wanted(20))
        assert told.stored == 20


async def test_funding_is_fetched_as_it_was_paid_and_only_what_is_new(tmp_path: Path) -> None:
    async with venue(pace=1_000_000.0) as port:
        while not (await port.rates_page("BTCUSDT", START, START + 4 * DAY_MS)).height >= 8:
            pass
        clock = ReplayClock(START + 3 * DAY_MS)
        files, rates = BarFiles(tmp_path), FundingFiles(tmp_path)
        fetcher = Fetcher(port, clock, files, rates, Pace(1.0), lambda done, total: None)
        what = {"what": "funding", "interval_ms": 8 * HOUR_MS, "start": START}
        (first,) = await fetcher.run([wanted(0, **what, end=START + DAY_MS)])
        (then,) = await fetcher.run([wanted(0, **what, end=START + 2 * DAY_MS)])
    assert (first.series, first.stored, then.stored) == ("funding", 2, 3)
    found = rates.load("BTCUSDT")
    assert found is not None
    assert [(at - START) // HOUR_MS for at in found.at.tolist()] == [8, 16, 24, 32, 40]


async def test_a_symbol_that_the_venue_does_not_know_is_refused_and_not_tried_again(tmp_path: Path) -> None:
    async with venue() as port:
        with pytest.raises(VenueRejected):
            await fetch(port, tmp_path, wanted(20, symbol="NOUSDT"))
        assert len(port.pages) == 1


def test_half_of_the_limits_is_left_to_the_bot() -> None:
    pace = Pace(0.5)
    now = START + 10_000
    assert pace.opens_at(now, 1_199) == now
    assert pace.opens_at(now, 1_200) == START + MINUTE_MS + 1_000
    for _ in range(250):
        assert pace.funding_opens_at(now) <= now
        pace.ask(now)
    assert pace.funding_opens_at(now + 5) == now + 5 * MINUTE_MS + 1
    assert pace.funding_opens_at(now + 5 * MINUTE_MS) == now + 5 * MINUTE_MS


async def test_the_weight_that_the_venue_tells_is_of_its_minute_alone() -> None:
    async with venue() as port:
        await port.bars_page("BTCUSDT", HOUR_MS, "bars", START - 10 * HOUR_MS, START)
        assert port.used_weight(START + 1) > 0
        assert port.used_weight(START + MINUTE_MS) == 0
