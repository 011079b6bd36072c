"""A seeded market: 5m bars in regimes with clustered, fat-tailed volatility, and 1h bars that are exactly their sums.

Level figures were set by eye to Binance's 5m bars of 2025: BTC moves 15 bps per bar with a kurtosis above 20, other
coins follow it with a correlation of about 0.7, |return| stays correlated for a day, and the last 24 hours are
followed by a slight move back.
"""

import zlib
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from bot.clock import DAY_MS, HOUR_MS, MINUTE_MS
from bot.errors import OperatorError
from bot.exchange.simulator.instruments import instrument_of, known_instruments
from bot.exchange.simulator.market import FundingRates, Tape
from bot.exchange.simulator.recordings import WARMUP_HOURS, aggregate, select
from bot.messages import Bars, Floats
from bot.venue import Instrument

BAR_MS = 5 * MINUTE_MS
BARS_PER_HOUR = HOUR_MS // BAR_MS
BARS_PER_DAY = DAY_MS // BAR_MS
LEADER = "BTCUSDT"
LEADER_SIGMA = 0.0011  # per 5m bar, at unit variance in the calm of an average hour
TAIL_DEGREES = 5  # Student-t
ARCH, GARCH = 0.07, 0.915
LARGEST_VARIANCE = 40.0
REVERTING_SHARE = 0.15  # of every move is undone
REVERTING_SHARE_OF_JUMPS = 0.5
REVERSION = 0.5 ** (1 / (12 * BARS_PER_HOUR))  # half of it in 12 hours
FUNDING_MS = 8 * HOUR_MS
FUNDING_INTEREST = 0.0001
FUNDING_BAND = 0.0005
FUNDING_CAP = 0.003

ProfileName = Literal["calm", "normal", "stress"]
Random = np.random.Generator


class Profile(msgspec.Struct, frozen=True):
    """What the days are like. The three regimes are calm, trend and storm, in this order."""

    hours: tuple[float, float, float]  # mean length of a regime
    weights: tuple[float, float, float]  # how often it is the next one
    volatility: tuple[float, float, float]  # multiples of the usual one
    trend_per_day: float
    jumps_per_day: float  # of the leader; every coin has a third as many of its own
    jump_size: float  # standard deviation
    crash_every_days: float  # 0: never
    crash_size: float


PROFILES: dict[str, Profile] = {
    "calm": Profile((48, 24, 3), (0.75, 0.22, 0.03), (0.6, 0.8, 1.5), 0.006, 0.15, 0.006, 0, 0),
    "normal": Profile((30, 20, 6), (0.5, 0.3, 0.2), (0.7, 1.0, 2.0), 0.010, 0.5, 0.008, 0, 0),
    "stress": Profile((10, 16, 14), (0.25, 0.35, 0.4), (0.9, 1.2, 2.0), 0.025, 2.0, 0.015, 4, 0.09),
}


class GeneratedMarket(Tape):
    """Plays `days` days from `start_ms` (a whole hour) on, after 500 hours of warm-up.

    The same arguments give the same market, and a symbol's bars depend neither on the other symbols nor on their
    order. Any symbol name works. Raises OperatorError.
    """

    def __init__(
        self,
        seed: int,
        symbols: Sequence[str],
        start_ms: int,
        days: int,
        *,
        profile: ProfileName = "normal",
        warmup_hours: int = WARMUP_HOURS,
    ) -> None:
        if start_ms % HOUR_MS:
            raise OperatorError(f"start {start_ms}: a generated market starts at a whole hour")
        if profile not in PROFILES:
            raise OperatorError(f"profile {profile!r}: allowed are {', '.join(PROFILES)}")
        if seed < 0 or days < 1 or not symbols:
            raise OperatorError("a generated market needs a seed of 0 or more, at least one day and one symbol")
        begin, end = start_ms - warmup_hours * HOUR_MS, start_ms + days * DAY_MS
        names = tuple(dict.fromkeys(symbols))
        moves = _moves(seed, names, begin, (end - begin) // BAR_MS, PROFILES[profile])
        bars: dict[tuple[str, int], Bars] = {}
        instruments: dict[str, Instrument] = {}
        funding: dict[str, FundingRates] = {}
        for number, symbol in enumerate(names):
            price = starting_price(symbol)
            instruments[symbol] = instrument_of(symbol, price)
            fine = _bars(_random(seed, symbol, "bars"), instruments[symbol], price, begin, moves, number)
            bars[symbol, BAR_MS], bars[symbol, HOUR_MS] = fine, _hourly(fine, instruments[symbol])
            funding[symbol] = _funding(_random(seed, symbol, "funding"), bars[symbol, HOUR_MS], start_ms)
        played = {
            symbol: [select(bars[symbol, BAR_MS], bars[symbol, BAR_MS].open_time >= start_ms)] for symbol in names
        }
        super().__init__(instruments, bars, played, funding, start_ms, end)

    def write_parquet(self, directory: Path) -> None:
        """Write the bars, warm-up included, as `SYMBOL-1h.parquet` and `SYMBOL-5m.parquet`, and the funding rates,
        so that a RecordedMarket of the directory plays the same market."""
        directory.mkdir(parents=True, exist_ok=True)
        for (symbol, interval), bars in self.bars.items():
            columns = ("open_time", "open", "high", "low", "close", "volume")
            name = "1h" if interval == HOUR_MS else "5m"
            table = pl.DataFrame({column: getattr(bars, column) for column in columns})
            table.write_parquet(directory / f"{symbol}-{name}.parquet")
        rows = [
            (symbol, int(at), float(rate))
            for symbol, rates in self.funding.items()
            for at, rate in zip(rates.at, rates.rate, strict=True)
        ]
        schema = {"symbol": pl.String, "funding_time": pl.Int64, "rate": pl.Float64}
        pl.DataFrame(rows, schema=schema, orient="row").write_parquet(directory / "funding_um.parquet")


class Moves(msgspec.Struct, frozen=True, eq=False):
    """Log moves of all symbols; every array has the shape (bars, symbols)."""

    level: Floats  # log price over the starting price at each close
    sigma: Floats  # what a bar's path varies by within the bar
    surprise: Floats  # |move| in multiples of sigma


def starting_price(symbol: str) -> float:
    """The known one, else one between 0.01 and 100 that only the name decides."""
    known = known_instruments().get(symbol)
    if known is not None:
        return float(known.price)
    return float(10 ** np.random.Generator(np.random.PCG64(zlib.crc32(symbol.encode()))).uniform(-2, 2))


def _random(seed: int, *names: str) -> Random:
    return np.random.Generator(np.random.PCG64([seed, zlib.crc32("/".join(names).encode())]))


def _moves(seed: int, symbols: Sequence[str], begin: int, count: int, profile: Profile) -> Moves:
    """The leader's moves and each follower's share of them plus moves of its own."""
    leader = _random(seed, "leader")
    volatility, drift = _regimes(leader, count, profile)
    volatility = volatility * _season(begin, count)
    crash = _crashes(leader, count, profile)
    own = [_own(_random(seed, "leader", "moves"), count, profile, jump_share=1.0)]
    own += [_own(_random(seed, symbol, "moves"), count, profile, jump_share=1 / 3) for symbol in symbols]
    shocks, jumps = (np.column_stack(parts) for parts in zip(*own, strict=True))
    spread = np.sqrt(_variance(shocks, jumps / LEADER_SIGMA)) * volatility[:, None] * LEADER_SIGMA

    beta, ratio = np.array([_character(seed, symbol) for symbol in symbols]).T
    scale = beta * ratio
    smooth = beta * (shocks[:, :1] * spread[:, :1] + drift[:, None]) + scale * shocks[:, 1:] * spread[:, 1:]
    sudden = beta * (jumps[:, :1] + crash[:, None]) + (ratio > 0) * jumps[:, 1:]
    # jumps and crashes lean downwards; what is taken here keeps the level of a long market where it was
    sudden -= sudden.mean(axis=0)
    sigma = np.sqrt((beta * spread[:, :1]) ** 2 + (scale * spread[:, 1:]) ** 2)
    share = REVERTING_SHARE * smooth + REVERTING_SHARE_OF_JUMPS * sudden
    level = np.cumsum(smooth + sudden - share, axis=0) + _faded(share)
    return Moves(level, sigma, np.abs(smooth + sudden) / sigma)


def _character(seed: int, symbol: str) -> tuple[float, float]:
    """How far a coin follows the leader, and its own movement as a multiple of what it follows."""
    if symbol == LEADER:
        return 1.0, 0.0
    random = _random(seed, symbol, "character")
    return random.uniform(0.9, 1.6), random.uniform(0.7, 1.3)


def _own(random: Random, count: int, profile: Profile, jump_share: float) -> tuple[Floats, Floats]:
    """Shocks of unit variance, and jumps as log moves; each of shape (bars,)."""
    shocks = random.standard_t(TAIL_DEGREES, count) * np.sqrt((TAIL_DEGREES - 2) / TAIL_DEGREES)
    happens = random.random(count) < jump_share * profile.jumps_per_day / BARS_PER_DAY
    # falls are sharper than rises
    size = random.normal(-0.2, 1.0, count) * profile.jump_size
    return shocks, np.where(happens, size, 0.0)


def _regimes(random: Random, count: int, profile: Profile) -> tuple[Floats, Floats]:
    """Volatility multiple and drift per bar of a Markov chain over the regimes; each of shape (bars,)."""
    volatility, drift = np.empty(count), np.zeros(count)
    at = 0
    while at < count:
        regime = int(random.choice(3, p=profile.weights))
        length = max(BARS_PER_HOUR, int(random.exponential(profile.hours[regime]) * BARS_PER_HOUR))
        direction = 1 if random.random() < 0.5 else -1
        volatility[at : at + length] = profile.volatility[regime]
        if regime == 1:
            drift[at : at + length] = direction * profile.trend_per_day / BARS_PER_DAY
        at += length
    return volatility, drift


def _crashes(random: Random, count: int, profile: Profile) -> Floats:
    """Falls within half an hour; half of them comes back as jumps do."""
    falls = np.zeros(count)
    if not profile.crash_every_days:
        return falls
    at = 0.0
    while (at := at + random.exponential(profile.crash_every_days) * BARS_PER_DAY) < count:
        first, length = int(at), int(random.integers(2, 7))
        size = profile.crash_size * random.uniform(0.5, 1.5)
        falls[first : first + length] -= size / length
    return falls


def _season(begin: int, count: int) -> Floats:
    """Busiest when the American markets open, quieter at the weekend; shape (bars,)."""
    at = begin + BAR_MS * np.arange(count)
    hour = at % DAY_MS / HOUR_MS
    weekday = (at // DAY_MS + 3) % 7  # 1970-01-01 was a Thursday, Monday is 0
    season: Floats = (1 + 0.3 * np.cos((hour - 14.5) / 24 * 2 * np.pi)) * np.where(weekday >= 5, 0.75, 1.0)
    return season


def _variance(shocks: Floats, jumps: Floats) -> Floats:
    """GARCH(1, 1) variance around one, of each bar before its own shock; shape (bars, columns)."""
    variance = np.empty_like(shocks)
    now = np.ones(shocks.shape[1])
    rest = 1 - ARCH - GARCH
    squares, jump_squares = shocks**2, jumps**2
    for row in range(len(shocks)):
        variance[row] = now
        now = np.minimum(rest + now * (GARCH + ARCH * squares[row]) + ARCH * jump_squares[row], LARGEST_VARIANCE)
    return variance


def _faded(shares: Floats) -> Floats:
    """The part of past moves that has not been undone yet; shape (bars, columns)."""
    left = np.empty_like(shares)
    now = np.zeros(shares.shape[1])
    for row in range(len(shares)):
        now = now * REVERSION + shares[row]
        left[row] = now
    return left


def _bars(random: Random, instrument: Instrument, price: float, begin: int, moves: Moves, number: int) -> Bars:
    """5m bars of one symbol on its grid of ticks and steps."""
    closes = np.log(price) + moves.level[:, number]
    opens = np.concatenate(([np.log(price)], closes[:-1]))
    middle, half = (opens + closes) / 2, closes - opens
    count = len(closes)
    # the extremes of a Brownian path whose two ends are known
    reach = -2 * moves.sigma[:, number] ** 2 * np.log1p(-random.random((2, count)))
    high, low = (middle + sign * np.sqrt(half**2 + part) / 2 for sign, part in zip((1, -1), reach, strict=True))
    first, top, bottom, last = (_on_grid(np.exp(log), instrument.tick_size) for log in (opens, high, low, closes))
    activity = moves.sigma[:, number] / LEADER_SIGMA * (0.4 + moves.surprise[:, number])
    turnover = activity * random.lognormal(0.0, 0.45, count) * _usual_turnover(instrument.symbol)
    volume = _on_grid(turnover / last, instrument.step_size)
    times = begin + BAR_MS * np.arange(count, dtype=np.int64)
    top = np.maximum(top, np.maximum(first, last))
    bottom = np.minimum(bottom, np.minimum(first, last))
    return Bars(instrument.symbol, BAR_MS, times, first, top, bottom, last, volume)


def _usual_turnover(symbol: str) -> float:
    """USDT per 5m bar, decided by the name alone."""
    if symbol == LEADER:
        return 30e6
    return float(_random(0, symbol, "turnover").lognormal(np.log(4e6), 0.8))


def _on_grid(values: Floats, grid: Decimal) -> Floats:
    """The nearest multiples of `grid`, at least one, as the floats nearest to their decimals."""
    return _decimals(np.maximum(np.rint(values / float(grid)), 1.0) * float(grid), grid)


def _decimals(values: Floats, grid: Decimal) -> Floats:
    exponent = grid.as_tuple().exponent
    places: npt.NDArray[np.float64] = np.round(values, max(0, -int(exponent)))
    return places


def _hourly(bars: Bars, instrument: Instrument) -> Bars:
    hours = aggregate(bars)
    return msgspec.structs.replace(hours, volume=_decimals(hours.volume, instrument.step_size))


def _funding(random: Random, hours: Bars, start: int) -> FundingRates:
    """Rates that follow the last day's move, by the venue's formula: premium, drawn to the interest rate in a band."""
    due = np.arange(-(-start // FUNDING_MS) * FUNDING_MS, hours.close_at, FUNDING_MS, dtype=np.int64)
    last = np.searchsorted(hours.open_time, due) - 1
    change = np.log(hours.close[last] / hours.close[np.maximum(last - 24, 0)])
    premium = 0.01 * change + random.normal(0.0, 0.0003, len(due))
    rate = premium + np.clip(FUNDING_INTEREST - premium, -FUNDING_BAND, FUNDING_BAND)
    rates = np.round(np.clip(rate, -FUNDING_CAP, FUNDING_CAP), 6)
    return FundingRates(due, tuple(Decimal(str(one)) for one in rates.tolist()))
