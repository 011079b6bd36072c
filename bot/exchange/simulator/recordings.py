"""A market from recorded bars in Parquet files; a faulty file is refused by name, time and fault."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bot.clock import HOUR_MS, MINUTE_MS
from bot.errors import OperatorError
from bot.exchange.simulator.instruments import instrument_of, with_tick
from bot.exchange.simulator.market import FundingRates, Tape
from bot.history.bars import COLUMNS, PRICES, BarFiles, absent
from bot.history.faults import absurd, gaps
from bot.history.funding import FundingFiles, Rates, rates_of
from bot.history.layout import stamp
from bot.messages import Bars
from bot.venue import Instrument

INTERVALS = {MINUTE_MS: "1m", 5 * MINUTE_MS: "5m", HOUR_MS: "1h"}
WARMUP_HOURS = 500
LEAST_WARMUP_HOURS = 240
DEFAULT_FUNDING_RATE = Decimal("0.0001")
DEFAULT_FUNDING_MS = 8 * HOUR_MS
OFF_GRID_ALLOWED = 0.01  # share of prices that may lie between two ticks before a finer tick is taken


class RecordedMarket(Tape):
    """Plays the 1h bars of `directory` (see `BarFiles`) from `start_ms` to `end_ms` (whole hours).

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
        files = BarFiles(directory)
        bars: dict[tuple[str, int], Bars] = {}
        played: dict[str, list[Bars]] = {}
        instruments: dict[str, Instrument] = {}
        for symbol in symbols:
            hours = _hours(files, symbol, start_ms, end_ms, warmup_hours)
            bars[symbol, HOUR_MS] = hours
            detail = _detail(files, hours)
            bars |= {(symbol, part.interval_ms): part for part in detail}
            played[symbol] = self._choose(hours, detail, start_ms)
            instruments[symbol] = fitting(instrument_of(symbol, float(hours.close[-1])), hours)
        rates = {symbol: self._funding(directory, funding, symbol, start_ms, end_ms) for symbol in symbols}
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

    def _funding(self, directory: Path, given: Path | None, symbol: str, start: int, end: int) -> FundingRates:
        found = FundingFiles(directory).load(symbol) if given is None else rates_of(given, symbol)
        rates, assumed = funding_between(found, start, end)
        if assumed:
            self.notes.append(f"{symbol}: funding of {DEFAULT_FUNDING_RATE} is assumed {assumed} times")
        return rates


def funding_between(found: Rates | None, start: int, end: int) -> tuple[FundingRates, int]:
    """The payments with start <= time < end, the usual ones where none are known, and how many these are."""
    paid = {} if found is None else dict(zip(found.at.tolist(), found.rate, strict=True))
    first, last = (min(paid), max(paid)) if paid else (end, end)
    grid = range(-(-start // DEFAULT_FUNDING_MS) * DEFAULT_FUNDING_MS, end, DEFAULT_FUNDING_MS)
    assumed = {due: DEFAULT_FUNDING_RATE for due in grid if not first <= due <= last}
    known = {due: rate for due, rate in paid.items() if start <= due < end}
    rates = known | assumed
    due = sorted(rates)
    return FundingRates(np.array(due, dtype=np.int64), tuple(rates[one] for one in due)), len(assumed)


def recorded_symbols(directory: Path) -> tuple[str, ...]:
    """The symbols that have 1h bars in `directory`."""
    return BarFiles(directory).symbols(HOUR_MS)


def recorded_range(directory: Path, symbols: Sequence[str], warmup_hours: int = LEAST_WARMUP_HOURS) -> tuple[int, int]:
    """From when to when all `symbols` can be played (ms UTC), warm-up before it left out."""
    files = BarFiles(directory)
    spans = [_span(files, symbol) for symbol in symbols]
    return max(first for first, _ in spans) + warmup_hours * HOUR_MS, min(last for _, last in spans)


def _span(files: BarFiles, symbol: str) -> tuple[int, int]:
    place = files.place(symbol, HOUR_MS)
    if place is None:
        raise absent(files, symbol, HOUR_MS)
    span = files.span(symbol, HOUR_MS)
    if span is None:
        raise OperatorError(f"{place}: no bars")
    return span


def _hours(files: BarFiles, symbol: str, start: int, end: int, warmup_hours: int) -> Bars:
    """The 1h bars of the range and the warm-up before it, without a gap."""
    first, last = _span(files, symbol)
    place = files.place(symbol, HOUR_MS)
    bars = files.load(symbol, HOUR_MS, start=start - warmup_hours * HOUR_MS, end=end)
    refuse_absurd(place, bars)
    earliest = first + min(warmup_hours, LEAST_WARMUP_HOURS) * HOUR_MS
    if start < earliest:
        raise OperatorError(f"{place}: {symbol} can be played from {stamp(earliest)} on, not from {stamp(start)}")
    if end > last:
        raise OperatorError(f"{place}: {symbol} can be played until {stamp(last)}, not until {stamp(end)}")
    holes = gaps(bars)
    if holes:
        raise OperatorError(f"{place}: {stamp(holes[0][0])}: gap, the 1h bar is missing")
    return bars


def _detail(files: BarFiles, hours: Bars) -> list[Bars]:
    """The bars finer than 1h, finest first, of the hours that they cover completely."""
    found = []
    for interval in INTERVALS:
        place = files.place(hours.symbol, interval)
        if interval == HOUR_MS or place is None:
            continue
        bars = files.load(hours.symbol, interval, start=int(hours.open_time[0]), end=hours.close_at)
        refuse_absurd(place, bars)
        opened, count = np.unique(hour_of(bars.open_time), return_counts=True)
        complete = np.intersect1d(opened[count == HOUR_MS // interval], hours.open_time)
        if complete.size:
            found.append(select(bars, np.isin(hour_of(bars.open_time), complete)))
    return found


def refuse_absurd(place: Path | None, bars: Bars) -> None:
    """Raise OperatorError with the first bar that cannot have happened."""
    for fault, where in absurd(bars).items():
        if where.any():
            raise OperatorError(f"{place}: {stamp(int(bars.open_time[np.argmax(where)]))}: {fault}")


def fitting(instrument: Instrument, bars: Bars) -> Instrument:
    """The instrument with a tick fine enough for the recorded prices (venues change ticks over the years)."""
    prices = np.concatenate([getattr(bars, name) for name in PRICES])
    tick = instrument.tick_size
    for _ in range(3):
        ticks = prices / float(tick)
        if (np.abs(ticks - np.rint(ticks)) > 1e-3).mean() <= OFF_GRID_ALLOWED:
            break
        tick = tick.scaleb(-1)
    return with_tick(instrument, tick)


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
