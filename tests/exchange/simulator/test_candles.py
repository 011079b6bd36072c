"""Bars as a client sees them while they grow, and intervals that the market itself does not have."""

from decimal import Decimal

import pytest

from bot.clock import DAY_MS, HOUR_MS, MINUTE_MS
from bot.exchange.simulator.candles import Candle, Candles
from bot.exchange.simulator.generator import GeneratedMarket
from bot.messages import Bar

START = 1_735_689_600_000
SYMBOL = "BTCUSDT"


@pytest.fixture(scope="module")
def market() -> GeneratedMarket:
    return GeneratedMarket(5, (SYMBOL,), START, 1)


def played(market: GeneratedMarket, until: int) -> Candles:
    candles = Candles(market)
    for step in market.steps():
        if step.at > until:
            break
        for symbol, price, _ in step.prices:
            candles.print(symbol, price, step.at)
        for bar in step.closed:
            candles.close(bar)
    return candles


def values(bar: Bar | Candle) -> tuple[float, ...]:
    return bar.open_time, bar.open, bar.high, bar.low, bar.close, round(bar.volume, 6)


def test_the_open_bar_is_made_of_what_was_played_of_it(market: GeneratedMarket) -> None:
    now = START + 30 * MINUTE_MS - 1
    candles = played(market, now)
    fine = candles.rows(SYMBOL, 5 * MINUTE_MS, START, now + 1, now)
    (hour,) = candles.rows(SYMBOL, HOUR_MS, START, now + 1, now)
    assert len(fine) == 6
    assert values(hour) == (
        START,
        fine[0].open,
        max(bar.high for bar in fine),
        min(bar.low for bar in fine),
        fine[-1].close,
        round(sum(bar.volume for bar in fine), 6),
    )


@pytest.mark.parametrize("minutes", [15, 30, 120, 240, 1440])
def test_longer_intervals_are_put_together_from_the_markets_own(market: GeneratedMarket, minutes: int) -> None:
    length = minutes * MINUTE_MS
    now = START + 7 * HOUR_MS + 12 * MINUTE_MS
    candles = played(market, now)
    rows = candles.rows(SYMBOL, length, START - 2 * DAY_MS, now + 1, now)
    fine = candles.rows(SYMBOL, 5 * MINUTE_MS, START - 2 * DAY_MS, now + 1, now)
    assert [bar.open_time for bar in rows] == list(range(START - 2 * DAY_MS, now + 1, length))
    for row in rows:
        parts = [bar for bar in fine if row.open_time <= bar.open_time < row.open_time + length]
        assert (row.open, row.close) == (parts[0].open, parts[-1].close)
        assert (row.high, row.low) == (max(bar.high for bar in parts), min(bar.low for bar in parts))


def test_who_starts_to_listen_in_the_middle_of_a_bar_gets_all_of_it(market: GeneratedMarket) -> None:
    now = START + 5 * HOUR_MS + 40 * MINUTE_MS
    early, late = Candles(market), played(market, now)
    early.track(SYMBOL, 4 * HOUR_MS)
    for step in market.steps():
        if step.at > now:
            break
        for symbol, price, _ in step.prices:
            early.print(symbol, price, step.at)
        for bar in step.closed:
            early.close(bar)
    late.track(SYMBOL, 4 * HOUR_MS)
    growing, joined = early.open_candle(SYMBOL, 4 * HOUR_MS), late.open_candle(SYMBOL, 4 * HOUR_MS)
    assert growing is not None
    assert joined is not None
    assert values(growing)[:5] == values(joined)[:5]


def test_an_interval_that_no_bar_of_the_market_divides_is_not_known(market: GeneratedMarket) -> None:
    candles = Candles(market)
    assert not candles.knows(SYMBOL, MINUTE_MS)
    candles.track(SYMBOL, MINUTE_MS)
    candles.print(SYMBOL, Decimal(1), START)
    assert candles.open_candle(SYMBOL, MINUTE_MS) is None
