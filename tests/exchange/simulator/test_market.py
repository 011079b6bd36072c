"""Markets of the simulator: recorded and generated ones, and how bars become prices in time."""

import datetime
import time
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from bot.clock import HOUR_MS, MINUTE_MS
from bot.errors import OperatorError
from bot.exchange.simulator.generator import BAR_MS, GeneratedMarket
from bot.exchange.simulator.instruments import instrument_of, known_instruments
from bot.exchange.simulator.market import PriceStep
from bot.exchange.simulator.recordings import (
    LEAST_WARMUP_HOURS,
    RecordedMarket,
    aggregate,
    recorded_range,
    recorded_symbols,
    select,
)
from bot.messages import Bars


def at(text: str) -> int:
    return int(datetime.datetime.fromisoformat(text + "+00:00").timestamp() * 1000)


START = at("2025-05-01")
WARMUP = LEAST_WARMUP_HOURS
COINS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "MADEUPUSDT")


@pytest.fixture(scope="module")
def generated() -> GeneratedMarket:
    return GeneratedMarket(7, COINS, START, 30)


def returns(bars: Bars) -> np.ndarray:
    return np.diff(np.log(bars.close))


def flat(count: int, first: int = START - WARMUP * HOUR_MS, interval: int = HOUR_MS) -> pl.DataFrame:
    """Bars that stand at 100, with extremes at 99 and 101."""
    times = [first + i * interval for i in range(count)]
    price = [100.0] * count
    return pl.DataFrame(
        {
            "open_time": times,
            "open": price,
            "high": [101.0] * count,
            "low": [99.0] * count,
            "close": price,
            "volume": [5.0] * count,
        }
    )


def recorded(directory: Path, hours: int = 2, **files: pl.DataFrame) -> RecordedMarket:
    for name, table in files.items():
        table.write_parquet(directory / f"XUSDT-{name.removeprefix('_')}.parquet")
    return RecordedMarket(directory, ["XUSDT"], START, START + hours * HOUR_MS, warmup_hours=WARMUP)


def prices(steps: list[PriceStep]) -> list[tuple[int, str, bool]]:
    return [(step.at - START, str(step.prices[0][1].normalize()), step.prices[0][2]) for step in steps]


def test_a_rising_bar_is_played_low_first_and_a_falling_one_high_first(tmp_path: Path) -> None:
    table = flat(WARMUP + 2)
    close = [*[100.0] * WARMUP, 100.5, 99.5]
    market = recorded(tmp_path, _1h=table.with_columns(close=pl.Series(close)))
    assert prices(list(market.steps())) == [
        (0, "1E+2", True),
        (900_000, "99", False),
        (1_800_000, "101", False),
        (3_599_999, "100.5", False),
        (3_600_000, "1E+2", True),
        (4_500_000, "101", False),
        (5_400_000, "99", False),
        (7_199_999, "99.5", False),
    ]


def test_detail_is_played_where_it_covers_an_hour_and_the_finest_wins(tmp_path: Path) -> None:
    market = recorded(
        tmp_path,
        hours=4,
        _1h=flat(WARMUP + 4),
        _5m=flat(12 * 3 - 1, START, 5 * MINUTE_MS),
        _1m=flat(60 + 7, START, MINUTE_MS),
    )
    steps = list(market.steps())
    per_hour = [sum(1 for step in steps if step.at // HOUR_MS == START // HOUR_MS + hour) for hour in range(4)]
    assert per_hour == [60 * 4, 12 * 4, 4, 4]
    closed = [bar for step in steps for bar in step.closed]
    assert {i: sum(bar.interval_ms == i * MINUTE_MS for bar in closed) for i in (1, 5, 60)} == {1: 60, 5: 24, 60: 4}
    assert "XUSDT: 2 hours are played along 1h bars" in market.notes


def test_a_bar_is_reported_with_its_own_last_price_and_never_again(generated: GeneratedMarket) -> None:
    seen = set()
    last = 0
    for step in generated.steps():
        assert step.at > last
        last = step.at
        told = {symbol: price for symbol, price, _ in step.prices}
        for bar in step.closed:
            assert bar.close_at == step.at + 1
            assert told[bar.symbol] == Decimal(str(bar.close))
            seen.add((bar.symbol, bar.interval_ms, bar.open_time))
    assert len(seen) == len(COINS) * 30 * 24 * 13
    assert last == generated.end - 1


def test_prices_are_on_the_tick_and_inside_their_bar(generated: GeneratedMarket) -> None:
    ticks = {symbol: instrument.tick_size for symbol, instrument in generated.instruments.items()}
    ranges: dict[str, list[Decimal]] = {symbol: [] for symbol in COINS}
    for step in generated.steps():
        for symbol, price, _ in step.prices:
            assert price % ticks[symbol] == 0
            ranges[symbol].append(price)
        for bar in step.closed:
            if bar.interval_ms == HOUR_MS:
                hour = ranges[bar.symbol]
                assert (float(max(hour)), float(min(hour))) == (bar.high, bar.low)
                hour.clear()


def test_history_ends_where_the_market_starts(generated: GeneratedMarket) -> None:
    bars = generated.history("ETHUSDT", HOUR_MS, 0, generated.end)
    assert len(bars) == 500
    assert bars[-1].close_at == START
    assert generated.history("ETHUSDT", BAR_MS, START - HOUR_MS, START)[-1].close == bars[-1].close
    assert generated.history("ETHUSDT", MINUTE_MS, 0, START) == []


def test_generated_hours_are_exactly_their_five_minute_bars(generated: GeneratedMarket) -> None:
    for symbol in COINS:
        made, told = aggregate(generated.bars[symbol, BAR_MS]), generated.bars[symbol, HOUR_MS]
        for name in ("open_time", "open", "high", "low", "close"):
            assert np.array_equal(getattr(made, name), getattr(told, name))
        assert np.allclose(made.volume, told.volume, rtol=1e-12)


def test_the_same_seed_gives_the_same_market_to_the_byte_whatever_symbols_are_beside_it() -> None:
    one = GeneratedMarket(3, ["BTCUSDT", "ETHUSDT"], START, 2)
    other = GeneratedMarket(3, ["SOLUSDT", "ETHUSDT", "XUSDT"], START, 2)
    for name in ("open", "high", "low", "close", "volume"):
        first, second = (getattr(market.bars["ETHUSDT", BAR_MS], name) for market in (one, other))
        assert first.tobytes() == second.tobytes()
    assert one.funding["ETHUSDT"].rate == other.funding["ETHUSDT"].rate
    assert list(one.steps()) == list(GeneratedMarket(3, ["BTCUSDT", "ETHUSDT"], START, 2).steps())
    different = GeneratedMarket(4, ["ETHUSDT"], START, 2).bars["ETHUSDT", BAR_MS]
    assert not np.array_equal(different.close, one.bars["ETHUSDT", BAR_MS].close)


@pytest.mark.parametrize("profile", ["calm", "normal", "stress"])
def test_generated_moves_have_fat_tails_and_clustered_volatility(profile: str) -> None:
    market = GeneratedMarket(11, ["BTCUSDT", "ETHUSDT"], START, 60, profile=profile)  # type: ignore[arg-type]
    for symbol in market.symbols:
        moves = returns(market.bars[symbol, BAR_MS])
        assert np.mean((moves - moves.mean()) ** 4) / moves.var() ** 2 > 4
        size = np.abs(moves)
        assert np.corrcoef(size[12:], size[:-12])[0, 1] > 0.05


def test_stress_moves_more_than_normal_and_normal_more_than_calm() -> None:
    sizes = [
        returns(GeneratedMarket(2, ["BTCUSDT"], START, 60, profile=profile).bars["BTCUSDT", BAR_MS]).std()
        for profile in ("calm", "normal", "stress")
    ]
    assert sizes[0] < sizes[1] < sizes[2]


def test_followers_move_with_the_leader_and_volume_with_the_move(generated: GeneratedMarket) -> None:
    leader = returns(generated.bars["BTCUSDT", BAR_MS])
    for symbol in COINS[1:]:
        bars = generated.bars[symbol, BAR_MS]
        assert 0.5 < np.corrcoef(leader, returns(bars))[0, 1] < 0.95
        assert np.corrcoef(np.log(bars.volume[1:]), np.abs(returns(bars)))[0, 1] > 0.3


def test_the_last_day_is_followed_by_a_slight_move_back() -> None:
    shares = []
    for seed in range(4):
        market = GeneratedMarket(seed, ["BTCUSDT", "SOLUSDT"], START, 180)
        for symbol in market.symbols:
            log = np.log(market.bars[symbol, HOUR_MS].close)
            shares.append(np.corrcoef(log[:-28] - log[24:-4], log[28:] - log[24:-4])[0, 1])
    assert 0.02 < np.mean(shares) < 0.09


def test_funding_is_due_every_eight_hours_and_mostly_the_interest_rate(generated: GeneratedMarket) -> None:
    due = [(step.at, rate) for step in generated.steps() for symbol, rate in step.funding if symbol == "BTCUSDT"]
    assert [when for when, _ in due] == list(range(START, generated.end, 8 * HOUR_MS))
    assert sum(rate == Decimal("0.0001") for _, rate in due) > len(due) / 2


def test_a_written_market_plays_back_the_same(tmp_path: Path) -> None:
    market = GeneratedMarket(5, ["BTCUSDT", "DOGEUSDT"], START, 3, profile="stress")
    market.write_parquet(tmp_path)
    assert recorded_symbols(tmp_path) == ("BTCUSDT", "DOGEUSDT")
    again = RecordedMarket(tmp_path, market.symbols, market.start, market.end)
    assert list(again.steps()) == list(market.steps())
    assert again.instruments == market.instruments
    assert again.history("DOGEUSDT", HOUR_MS, 0, START) == market.history("DOGEUSDT", HOUR_MS, 0, START)


def test_one_month_of_forty_one_coins_is_made_in_seconds() -> None:
    begin = time.process_time()
    GeneratedMarket(1, list(known_instruments())[:41], START, 30)
    assert time.process_time() - begin < 4


def test_an_unknown_symbol_gets_filters_of_its_price_and_a_known_one_its_own() -> None:
    derived = instrument_of("MADEUPUSDT", 0.0123)
    assert (derived.tick_size, derived.step_size, derived.min_notional) == (Decimal("0.000001"), 1, 5)
    known = instrument_of("BTCUSDT", 100_000)
    assert (known.tick_size, known.step_size, known.min_notional) == (Decimal("0.1"), Decimal("0.001"), 100)
    assert known.max_market_quantity == 120


def test_a_finer_tick_is_taken_where_the_recording_needs_it(tmp_path: Path) -> None:
    table = flat(WARMUP + 2).with_columns(high=pl.lit(101.123456))
    market = recorded(tmp_path, _1h=table)
    assert market.instruments["XUSDT"].tick_size == Decimal("0.00001")
    assert instrument_of("XUSDT", 100).tick_size == Decimal("0.01")


def change(row: int, **values: float) -> pl.DataFrame:
    table = flat(WARMUP + 2)
    return table.with_columns(
        **{
            name: pl.when(pl.int_range(len(table)) == row).then(pl.lit(value)).otherwise(pl.col(name))
            for name, value in values.items()
        }
    )


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        (flat(WARMUP + 3).filter(pl.int_range(pl.len()) != 20), "2025-04-21T20:00Z: gap"),
        (pl.concat([flat(WARMUP + 2)[:30], flat(WARMUP + 2)[29:]]), "2025-04-22T05:00Z: duplicate"),
        (flat(WARMUP + 2).reverse(), "unsorted"),
        (change(31, open_time=START + 1), "off the interval's grid"),
        (change(3, high=100.0, close=100.5), "2025-04-21T03:00Z: high is below open or close"),
        (change(3, low=100.5), "low is above open or close"),
        (change(3, low=0.0), "low is not above zero"),
        (change(3, close=float("nan")), "NaN"),
        (change(3, volume=-1.0), "volume is below zero"),
        (flat(1)[:0], "no bars"),
        (flat(WARMUP + 2).drop("volume"), "needs the columns open_time, open, high, low, close, volume"),
        (flat(WARMUP + 2).cast({"close": pl.String}), "column close must hold numbers"),
        (flat(WARMUP + 1), "can be played until 2025-05-01T01:00Z"),
        (flat(WARMUP + 2, START), "can be played from 2025-05-11T00:00Z on"),
    ],
)
def test_a_faulty_file_is_refused_by_name_time_and_fault(tmp_path: Path, table: pl.DataFrame, fault: str) -> None:
    with pytest.raises(OperatorError) as refused:
        recorded(tmp_path, _1h=table)
    assert str(tmp_path / "XUSDT-1h.parquet") in str(refused.value)
    assert fault in str(refused.value)


def test_a_missing_or_broken_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"XUSDT-1h.parquet: no such file"):
        recorded(tmp_path)
    (tmp_path / "XUSDT-1h.parquet").write_bytes(b"not a Parquet file")
    with pytest.raises(OperatorError, match=r"XUSDT-1h.parquet"):
        recorded(tmp_path)


def test_funding_is_recorded_where_it_is_and_assumed_elsewhere(tmp_path: Path) -> None:
    times = [START, START + 8 * HOUR_MS + 3]
    pl.DataFrame({"symbol": ["XUSDT"] * 2, "funding_time": times, "rate": [-0.0002, 0.0003]}).write_parquet(
        tmp_path / "funding_um.parquet"
    )
    market = recorded(tmp_path, hours=20, _1h=flat(WARMUP + 20))
    due = {step.at - START: dict(step.funding)["XUSDT"] for step in market.steps() if step.funding}
    assert due == {0: Decimal("-0.0002"), 8 * HOUR_MS: Decimal("0.0003"), 16 * HOUR_MS: Decimal("0.0001")}
    assert "XUSDT: funding of 0.0001 is assumed 1 times" in market.notes


def test_real_recordings_play_along_their_detail(shared_data: Path) -> None:
    symbols = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
    begin = at("2025-03-01")
    market = RecordedMarket(shared_data / "ohlcv" / "um", symbols, begin, begin + 48 * HOUR_MS)
    assert market.notes[0] == "BTCUSDT: 48 hours are played along 5m bars"
    steps = list(market.steps())
    assert len(steps) == 48 * 12 * 4
    assert {symbol for step in steps for symbol, _ in step.funding} == set(symbols)
    low = min({symbol: price for symbol, price, _ in step.prices}["BTCUSDT"] for step in steps)
    hours = market.bars["BTCUSDT", HOUR_MS]
    assert float(low) == select(hours, hours.open_time >= begin).low.min()


def test_real_recordings_that_disagree_with_their_hours_are_told(shared_data: Path) -> None:
    begin = at("2025-01-14T12:00")
    market = RecordedMarket(shared_data / "ohlcv" / "um", ["BTCUSDT"], begin, begin + 6 * HOUR_MS)
    assert any("the recorded 1h bar says otherwise (first 2025-01-14T15:00Z)" in note for note in market.notes)
    hours = market.bars["BTCUSDT", HOUR_MS]
    told = [bar.high for step in market.steps() for bar in step.closed if bar.interval_ms == HOUR_MS]
    assert told == select(hours, hours.open_time >= begin).high.tolist()


def test_the_playable_range_leaves_the_warm_up_out(shared_data: Path) -> None:
    start, end = recorded_range(shared_data / "ohlcv" / "um", ["BTCUSDT", "HYPEUSDT"])
    assert (start, end) == (at("2025-06-09T10:00"), at("2025-07-01"))
    assert RecordedMarket(shared_data / "ohlcv" / "um", ["HYPEUSDT"], start, end).symbols == ("HYPEUSDT",)
