"""Bars in, windows out: a rolling buffer of one symbol's closed bars, and the rules a window must pass."""

import enum
import math
from operator import attrgetter

import msgspec
import numpy as np
import numpy.typing as npt

from bot.messages import Bar, Bars, Floats, ForecastRefused, Refusal, Window
from bot.strategy.reasons import Reason

_writeable = attrgetter("flags.writeable")
FIELDS = ("open", "high", "low", "close", "volume")
PRICES = ("open", "high", "low", "close")

Mask = npt.NDArray[np.bool_]


def tail(bars: Bars, count: int) -> Bars:
    """The newest `count` bars (views, no copies)."""
    return msgspec.structs.replace(
        bars, open_time=bars.open_time[-count:], **{name: getattr(bars, name)[-count:] for name in FIELDS}
    )


def upto(bars: Bars, at: int) -> Bars:
    """The bars that had closed by `at` (views, no copies)."""
    count = int(np.searchsorted(bars.open_time, at - bars.interval_ms, side="right"))
    return msgspec.structs.replace(
        bars, open_time=bars.open_time[:count], **{name: getattr(bars, name)[:count] for name in FIELDS}
    )


def newest(bars: Bars, at: int, count: int) -> Bars:
    """The newest `count` bars that had closed by `at` (views, no copies)."""
    return until(bars, int(bars.open_time.searchsorted(at - bars.interval_ms, side="right")), count)


def until(bars: Bars, end: int, count: int) -> Bars:
    """The newest `count` of the first `end` bars (views, no copies)."""
    part = slice(max(0, end - count), end)
    return Bars(
        bars.symbol,
        bars.interval_ms,
        bars.open_time[part],
        bars.open[part],
        bars.high[part],
        bars.low[part],
        bars.close[part],
        bars.volume[part],
    )


def read_only(bars: Bars) -> Bars:
    """The same bars (views, no copies) for eyes that are not trusted."""
    columns = (bars.open_time, bars.open, bars.high, bars.low, bars.close, bars.volume)
    if not any(map(_writeable, columns)):
        return bars
    views = {name: getattr(bars, name).view() for name in ("open_time", *FIELDS)}
    for view in views.values():
        view.flags.writeable = False
    return msgspec.structs.replace(bars, **views)


def refusal(bars: Bars, context: int, interval_ms: int) -> Reason | None:
    """Why the newest `context` of `bars` cannot be a window; None where they can."""
    if bars.interval_ms != interval_ms:
        return Reason.WINDOW_INTERVAL
    if len(bars) < context:
        return Reason.WINDOW_SHORT
    seen = tail(bars, context)
    steps = np.diff(seen.open_time)
    if np.any(steps <= 0):
        return Reason.WINDOW_ORDER
    if np.any(steps != interval_ms):
        return Reason.WINDOW_GAP
    if seen.open_time[-1] % interval_ms != 0:
        return Reason.WINDOW_INTERVAL
    if not all(np.isfinite(getattr(seen, name)).all() for name in FIELDS):
        return Reason.WINDOW_NOT_FINITE
    if not all((getattr(seen, name) > 0).all() for name in PRICES):
        return Reason.WINDOW_NOT_POSITIVE
    return None


def refusals(bars: Bars, context: int, interval_ms: int) -> dict[Reason, Mask]:
    """What `refusal` says of the newest `context` bars as of each bar, (bars,): masks that exclude one another."""
    count = len(bars)
    steps = np.diff(bars.open_time)
    unknown = np.logical_or.reduce([~np.isfinite(getattr(bars, name)) for name in FIELDS])
    worthless = np.logical_or.reduce([getattr(bars, name) <= 0 for name in PRICES])
    in_order = [
        (Reason.WINDOW_INTERVAL, np.full(count, bars.interval_ms != interval_ms)),
        (Reason.WINDOW_SHORT, np.arange(count) < context - 1),
        (Reason.WINDOW_ORDER, _any_of_the_last(np.append(False, steps <= 0), context - 1)),
        (Reason.WINDOW_GAP, _any_of_the_last(np.append(False, steps != interval_ms), context - 1)),
        (Reason.WINDOW_INTERVAL, bars.open_time % interval_ms != 0),
        (Reason.WINDOW_NOT_FINITE, _any_of_the_last(unknown, context)),
        (Reason.WINDOW_NOT_POSITIVE, _any_of_the_last(worthless, context)),
    ]
    found: dict[Reason, Mask] = {}
    left = np.ones(count, dtype=np.bool_)
    for reason, where in in_order:
        if not where.any():
            continue
        found[reason] = found.get(reason, np.zeros(count, dtype=np.bool_)) | (where & left)
        left = left & ~where
    return {reason: where for reason, where in found.items() if where.any()}


def _any_of_the_last(flags: Mask, count: int) -> Mask:
    """Whether one of the last `count` flags is set, as of each."""
    if not flags.any():
        return flags
    seen = np.concatenate([[0], np.cumsum(flags)])
    first = np.maximum(np.arange(len(flags)) + 1 - count, 0)
    return np.asarray(seen[1:] - seen[first] > 0)


def distance_refusal(distance: float, limit: float) -> Refusal | None:
    """Why a window so far from the checkpoint's training windows gets no forecast; NaN: nobody knows how far."""
    if not limit:
        return None
    if math.isnan(distance):
        return Refusal.INPUTS_UNKNOWN
    return Refusal.INPUT_UNLIKE_TRAINING if distance > limit else None


def make_window(bars: Bars, context: int, interval_ms: int) -> Window | ForecastRefused:
    """The newest `context` closes as a window of their own (a copy), or why not."""
    reason = refusal(bars, context, interval_ms)
    if reason is not None:
        return ForecastRefused(bars.symbol, reason)
    return Window(bars.symbol, bars.close_at, bars.close[-context:].copy())


class Appended(enum.StrEnum):
    """What became of a bar that was given to a buffer."""

    ADDED = "added"
    GAP = "gap"  # added, but bars before it are missing
    FILLED = "filled"  # put into a gap
    DUPLICATE = "duplicate"  # the buffer has it already, and keeps the first version
    OUT_OF_ORDER = "out_of_order"  # older than the buffer reaches: refused
    WRONG_INTERVAL = "wrong_interval"  # of another interval, or off its grid: refused


class BarBuffer:
    """The newest `capacity` bars of one symbol. Missing bars stay holes until they arrive."""

    def __init__(self, symbol: str, interval_ms: int, capacity: int) -> None:
        self.symbol = symbol
        self.interval_ms = interval_ms
        self.capacity = capacity
        self._restart(0)

    def _restart(self, first: int) -> None:
        self._first = first  # open time of slot 0
        self._used = 0  # slots up to the newest bar
        self._values: Floats = np.full((len(FIELDS), 2 * self.capacity), np.nan)

    def append(self, bar: Bar) -> Appended:
        """Take a closed bar; the same open time twice changes nothing."""
        if bar.interval_ms != self.interval_ms or bar.open_time % self.interval_ms:
            return Appended.WRONG_INTERVAL
        if not self._used:
            self._restart(bar.open_time)
        slot = (bar.open_time - self._first) // self.interval_ms
        if slot < max(0, self._used - self.capacity):
            return Appended.OUT_OF_ORDER
        if slot < self._used:
            return self._fill(slot, bar)
        ahead = slot - self._used
        if ahead >= self.capacity:
            self._restart(bar.open_time)
            slot = 0
        elif slot >= self._values.shape[1]:
            slot = self._make_room(slot)
        self._values[:, slot] = [getattr(bar, name) for name in FIELDS]
        self._used = slot + 1
        return Appended.GAP if ahead else Appended.ADDED

    def _fill(self, slot: int, bar: Bar) -> Appended:
        if self._known()[slot]:
            return Appended.DUPLICATE
        self._values[:, slot] = [getattr(bar, name) for name in FIELDS]
        return Appended.FILLED

    def _make_room(self, slot: int) -> int:
        """Start a fresh array with the newest bars, so that views handed out before stay as they are."""
        dropped = slot - self.capacity
        kept = self._values[:, dropped : self._used]
        self._values = np.full_like(self._values, np.nan)
        self._values[:, : kept.shape[1]] = kept
        self._first += dropped * self.interval_ms
        self._used -= dropped
        return slot - dropped

    def _known(self) -> npt.NDArray[np.bool_]:
        """Which slots hold a bar; a hole is NaN in every field."""
        return np.asarray(~np.isnan(self._values[:, : self._used]).all(axis=0))

    def __len__(self) -> int:
        return int(self._known()[-self.capacity :].sum())

    def close_at(self, at: int) -> float | None:
        """The close of the bar that closed at `at`; None where the buffer has no such bar."""
        slot = (at - self._first) // self.interval_ms - 1
        if not max(0, self._used - self.capacity) <= slot < self._used or not self._known()[slot]:
            return None
        return float(self._values[FIELDS.index("close"), slot])

    def bars(self) -> Bars:
        """The bars held, oldest first, at most `capacity`; holes are left out, so open times may jump."""
        start = max(0, self._used - self.capacity)
        slots = start + np.flatnonzero(self._known()[start:])
        chosen: slice | npt.NDArray[np.int64] = slots
        if len(slots) == self._used - start:
            chosen = slice(start, self._used)
        columns = dict(zip(FIELDS, self._values[:, chosen], strict=True))
        open_time = self._first + slots.astype(np.int64) * self.interval_ms
        return Bars(self.symbol, self.interval_ms, open_time, **columns)
