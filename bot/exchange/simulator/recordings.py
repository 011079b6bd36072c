"""A market from recorded bars in Parquet files; a faulty file is refused by name, time and fault."""

import datetime
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from bot.clock import HOUR_MS, MINUTE_MS
from bot.errors import OperatorError
from bot.exchange.simulator.instruments import instrument_of, with_tick
from bot.exchange.simulator.market import FundingRates, Tape
from bot.messages import Bars
from bot.venue import Instrument

INTERVALS = {MINUTE_MS: "1m", 5 * MINUTE_MS: "5m", HOUR_MS: "1h"}
WARMUP_HOURS = 500
LEAST_WARMUP_HOURS = 240
DEFAULT_FUNDING_RATE = Decimal("0.0001")
DEFAULT_FUNDING_MS = 8 * HOUR_MS
PRICES = ("open", "high", "low", "close")
COLUMNS = ("open_time", *PRICES, "volume")
OFF_GRID_ALLOWED = 0.01  # share of prices that may lie between two ticks before a finer tick is taken


class RecordedMarket(Tape):
    """Plays `SYMBOL-1h.parquet` of `directory` from `start_ms` to `end_ms` (whole hours).

    Hours that 1m or else 5m bars cover completely are played along these, other hours along the 1h bar itself. Bars
    are reported as recorded even where detail and 1h bars disagree; `notes` says where that is so, and what detail and
    which funding rates were found. Raises OperatorError.
    """

    def __init__(
        self,
        directory: Path,
        symbols: Sequence[str],
        start_ms: int,
        end_ms: int,
        *,
        funding: Path | None = None,
        warmup_hours: int = WARMUP_HOURS,
    ) -> None:
        if start_ms % HOUR_MS or end_ms % HOUR_MS or start_ms >= end_ms:
            raise OperatorError(f"{directory}: the range {stamp(start_ms)} to {stamp(end_ms)} must be whole hours")
        self.notes: list[str] = []
        bars: dict[tuple[str, int], Bars] = {}
        played: dict[str, list[Bars]] = {}
        instruments: dict[str, Instrument] = {}
        for symbol in symbols:
            hours = _hours(directory, symbol, start_ms, end_ms, warmup_hours)
            bars[symbol, HOUR_MS] = hours
            detail = _detail(directory, hours)
            bars |= {(symbol, part.interval_ms): part for part in detail}
            played[symbol] = self._choose(hours, detail, start_ms)
            instruments[symbol] = _fitting(instrument_of(symbol, float(hours.close[-1])), hours)
        path = funding or _funding_file(directory)
        rates = {symbol: self._funding(path, symbol, start_ms, end_ms) for symbol in symbols}
        super().__init__(instruments, bars, played, rates, start_ms, end_ms)

    def _choose(self, hours: Bars, detail: list[Bars], start: int) -> list[Bars]:
        """For each played hour the finest bars; `detail` is ordered finest first."""
        left = hours.open_time[hours.open_time >= start]
        chosen: list[Bars] = []
        for bars in [*detail, hours]:
            opened = hour_of(bars.open_time)
            mine = np.isin(opened, left)
            if not mine.any():
                continue
            chosen.append(select(bars, mine))
            self._say(chosen[-1], hours)
            left = np.setdiff1d(left, opened)
        return chosen

    def _say(self, played: Bars, hours: Bars) -> None:
        interval = INTERVALS[played.interval_ms]
        covered = select(hours, np.isin(hours.open_time, played.open_time))
        self.notes.append(f"{played.symbol}: {len(covered)} hours are played along {interval} bars")
        if played.interval_ms == HOUR_MS:
            return
        made = aggregate(played)
        apart = np.zeros(len(covered), dtype=np.bool_)
        for name in PRICES:
            apart |= getattr(made, name) != getattr(covered, name)
        if apart.any():
            first = stamp(int(covered.open_time[np.argmax(apart)]))
            self.notes.append(
                f"{played.symbol}: in {int(apart.sum())} of them the recorded 1h bar says otherwise (first {first})"
            )

    def _funding(self, path: Path | None, symbol: str, start: int, end: int) -> FundingRates:
        at: npt.NDArray[np.int64] = np.array([], dtype=np.int64)
        rates: list[Decimal] = []
        if path is not None:
            table = _table(path, ("symbol", "funding_time", "rate")).filter(pl.col("symbol") == symbol)
            # the venue stamps payments some milliseconds late
            at = np.rint(table["funding_time"].to_numpy() / HOUR_MS).astype(np.int64) * HOUR_MS
            rates = [Decimal(str(rate)) for rate in table["rate"].to_list()]
            if (np.diff(at) <= 0).any():
                raise OperatorError(f"{path}: {symbol}: funding_time must rise from row to row")
        first, last = (int(at[0]), int(at[-1])) if rates else (end, end)
        grid = range(-(-start // DEFAULT_FUNDING_MS) * DEFAULT_FUNDING_MS, end, DEFAULT_FUNDING_MS)
        assumed = {due: DEFAULT_FUNDING_RATE for due in grid if not first <= due <= last}
        known = {int(due): rate for due, rate in zip(at, rates, strict=True) if start <= due < end}
        if assumed:
            self.notes.append(f"{symbol}: funding of {DEFAULT_FUNDING_RATE} is assumed {len(assumed)} times")
        due = sorted(known | assumed)
        return FundingRates(np.array(due, dtype=np.int64), tuple((known | assumed)[one] for one in due))


def recorded_symbols(directory: Path) -> tuple[str, ...]:
    """The symbols that have 1h bars in `directory`."""
    return tuple(sorted(path.name.removesuffix("-1h.parquet") for path in directory.glob("*-1h.parquet")))


def recorded_range(directory: Path, symbols: Sequence[str], warmup_hours: int = LEAST_WARMUP_HOURS) -> tuple[int, int]:
    """From when to when all `symbols` can be played (ms UTC), warm-up before it left out."""
    spans = [_read(directory / f"{symbol}-1h.parquet", symbol, HOUR_MS) for symbol in symbols]
    start = max(int(bars.open_time[0]) for bars in spans) + warmup_hours * HOUR_MS
    return start, min(bars.close_at for bars in spans)


def _hours(directory: Path, symbol: str, start: int, end: int, warmup_hours: int) -> Bars:
    """The 1h bars of the range and the warm-up before it, without a gap."""
    path = directory / f"{symbol}-1h.parquet"
    bars = _read(path, symbol, HOUR_MS)
    earliest = int(bars.open_time[0]) + min(warmup_hours, LEAST_WARMUP_HOURS) * HOUR_MS
    if start < earliest:
        raise OperatorError(f"{path}: {symbol} can be played from {stamp(earliest)} on, not from {stamp(start)}")
    if end > bars.close_at:
        raise OperatorError(f"{path}: {symbol} can be played until {stamp(bars.close_at)}, not until {stamp(end)}")
    bars = select(bars, (bars.open_time >= start - warmup_hours * HOUR_MS) & (bars.open_time < end))
    jumps = np.flatnonzero(np.diff(bars.open_time) != HOUR_MS)
    if jumps.size:
        missing = int(bars.open_time[jumps[0]]) + HOUR_MS
        raise OperatorError(f"{path}: {stamp(missing)}: gap, the 1h bar is missing")
    return bars


def _detail(directory: Path, hours: Bars) -> list[Bars]:
    """The bars finer than 1h, finest first, of the hours that they cover completely."""
    found = []
    for interval, name in INTERVALS.items():
        path = directory / f"{hours.symbol}-{name}.parquet"
        if interval == HOUR_MS or not path.exists():
            continue
        bars = _read(path, hours.symbol, interval)
        opened, count = np.unique(hour_of(bars.open_time), return_counts=True)
        complete = np.intersect1d(opened[count == HOUR_MS // interval], hours.open_time)
        if complete.size:
            found.append(select(bars, np.isin(hour_of(bars.open_time), complete)))
    return found


def _read(path: Path, symbol: str, interval_ms: int) -> Bars:
    table = _table(path, COLUMNS)
    if not len(table):
        raise OperatorError(f"{path}: no bars")
    columns = {name: table[name].to_numpy().astype(np.float64) for name in COLUMNS[1:]}
    bars = Bars(symbol, interval_ms, table["open_time"].to_numpy().astype(np.int64), **columns)
    _refuse_absurd(path, bars)
    return bars


def _table(path: Path, columns: Sequence[str]) -> pl.DataFrame:
    try:
        table = pl.read_parquet(path, columns=list(columns))
    except FileNotFoundError:
        raise OperatorError(f"{path}: no such file") from None
    except pl.exceptions.ColumnNotFoundError as error:
        raise OperatorError(f"{path}: needs the columns {', '.join(columns)} ({error})") from None
    except (OSError, pl.exceptions.PolarsError) as error:
        raise OperatorError(f"{path}: {error}") from None
    for name in columns:
        if name != "symbol" and not table[name].dtype.is_numeric():
            raise OperatorError(f"{path}: column {name} must hold numbers, not {table[name].dtype}")
        if table[name].null_count():
            row = int(table[name].is_null().arg_true()[0])
            raise OperatorError(f"{path}: row {row}: {name} is null")
    return table


def _refuse_absurd(path: Path, bars: Bars) -> None:
    """Raise OperatorError with the first bar that cannot have happened."""
    at = bars.open_time
    prices = np.column_stack([getattr(bars, name) for name in PRICES])
    step = np.diff(at, prepend=at[0] - bars.interval_ms)
    faults = {
        "open_time is off the interval's grid": at % bars.interval_ms != 0,
        "duplicate bar": step == 0,
        "unsorted, the bar before it is later": step < 0,
        "a number is missing (NaN or infinite)": ~np.isfinite(prices).all(axis=1) | ~np.isfinite(bars.volume),
        "low is not above zero": bars.low <= 0,
        "high is below open or close": bars.high < np.maximum(bars.open, bars.close),
        "low is above open or close": bars.low > np.minimum(bars.open, bars.close),
        "volume is below zero": bars.volume < 0,
    }
    for fault, where in faults.items():
        if where.any():
            raise OperatorError(f"{path}: {stamp(int(at[np.argmax(where)]))}: {fault}")


def _fitting(instrument: Instrument, bars: Bars) -> Instrument:
    """The instrument with a tick fine enough for the recorded prices (venues change ticks over the years)."""
    prices = np.concatenate([getattr(bars, name) for name in PRICES])
    tick = instrument.tick_size
    for _ in range(3):
        ticks = prices / float(tick)
        if (np.abs(ticks - np.rint(ticks)) > 1e-3).mean() <= OFF_GRID_ALLOWED:
            break
        tick = tick.scaleb(-1)
    return with_tick(instrument, tick)


def _funding_file(directory: Path) -> Path | None:
    name = "funding_um.parquet"
    places = (directory / name, directory.resolve().parent.parent / "funding" / name)
    return next((path for path in places if path.exists()), None)


def select(bars: Bars, which: npt.NDArray[np.bool_]) -> Bars:
    columns = {name: getattr(bars, name)[which] for name in COLUMNS[1:]}
    return Bars(bars.symbol, bars.interval_ms, bars.open_time[which], **columns)


def hour_of(at: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return at - at % HOUR_MS


def aggregate(bars: Bars) -> Bars:
    """1h bars out of finer ones that cover whole hours."""
    shape = (-1, HOUR_MS // bars.interval_ms)
    return Bars(
        bars.symbol,
        HOUR_MS,
        bars.open_time.reshape(shape)[:, 0],
        bars.open.reshape(shape)[:, 0],
        bars.high.reshape(shape).max(axis=1),
        bars.low.reshape(shape).min(axis=1),
        bars.close.reshape(shape)[:, -1],
        bars.volume.reshape(shape).sum(axis=1),
    )


def stamp(at: int) -> str:
    return datetime.datetime.fromtimestamp(at / 1000, datetime.UTC).strftime("%Y-%m-%dT%H:%MZ")
