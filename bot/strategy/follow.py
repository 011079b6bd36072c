"""One entry followed through recorded bars to its end: the same rules as live, for signals that were refused.

The loops are compiled; a bar is walked by `strategy.exits.walk_bar`, so that what ends a position here is what ends it
in the guard. Money is float in here: an estimate of what would have been.
"""

import enum

import msgspec
import numpy as np
import numpy.typing as npt

from bot.compiling import compiled
from bot.messages import Bars, ExitPlan, Floats, Side
from bot.strategy.exits import (
    AS_PLAYED,
    BEST_FIRST,
    OFF,
    REASONS,
    STILL_OPEN,
    STOP_LOSS,
    WORST_FIRST,
    Rules,
    passed,
    points,
    scalars,
    stop_price,
    target_price,
    walk_bar,
)

Times = npt.NDArray[np.int64]
FILLED, EXPIRED, RAN_OUT, BROKEN = range(4)  # how a walk ends; RAN_OUT: the bars end first, BROKEN: a bar is missing
NO_FUNDING: tuple[tuple[int, float], ...] = ()


class Path(enum.IntEnum):
    """In which order a bar's two extremes are taken to have come."""

    PESSIMISTIC = WORST_FIRST  # a stop before a target; after a limit's fill no better price in the same bar
    PLAYED = AS_PLAYED  # as the simulator plays it: the low first in a bar that rose


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """Fractions of the notional, and of the price for `slippage`, which worsens every fill but a resting limit's."""

    maker_fee: float
    taker_fee: float
    slippage: float


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """An entry as the desk would have got it."""

    side: Side
    quantity: float
    market: float  # the last price known at `from_at`
    limit: float | None  # None: at market
    post_only: bool
    from_at: int
    expires_at: int  # a limit that has not filled before is cancelled
    exits: ExitPlan


class FollowStatus(enum.StrEnum):
    CLOSED = "closed"  # filled, and out again
    EXPIRED = "expired"  # never filled
    REJECTED = "rejected"  # post-only, and it would have filled at once
    OPEN = "open"  # the bars end before it does
    UNKNOWN = "unknown"  # a bar is missing, at its beginning or on its way


class Followed(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a trial; money in quote, `fees` above zero where paid, `funding` below."""

    status: FollowStatus
    fill_price: float | None = None
    fill_at: int | None = None
    maker: bool = False
    exit_price: float | None = None
    exit_at: int | None = None
    exit_reason: str | None = None
    gross: float = 0.0
    fees: float = 0.0
    funding: float = 0.0

    @property
    def net(self) -> float:
        return self.gross - self.fees + self.funding


class Ending(msgspec.Struct, frozen=True):
    reason: str
    price: float
    at: int


def follow(
    trial: Trial,
    bars: Bars,
    costs: Costs,
    path: Path = Path.PESSIMISTIC,
    funding: tuple[tuple[int, float], ...] = NO_FUNDING,
) -> Followed:
    """Follow `trial` through `bars` (any interval; from the bar that holds `from_at` on, contiguous).

    A market entry fills at `market`; a limit beyond it at once as taker, never worse than itself; any other limit at
    itself at the first price at or through it. Stop, target and every exit are taker fills. Levels are not put on the
    tick, and every order fills whole. `funding`: the known payments (time, rate), each on the entry's notional.
    """
    sign, limit = trial.side.sign, trial.limit
    start = bar_of(bars, trial.from_at)
    if start is None:
        return Followed(status=FollowStatus.UNKNOWN)
    worse = trial.market * (1 + sign * costs.slippage)
    maker, fill, fill_at = False, worse, trial.from_at
    if limit is not None and sign * (limit - trial.market) > 0:
        if trial.post_only:
            return Followed(status=FollowStatus.REJECTED)
        fill = min(worse, limit) if sign > 0 else max(worse, limit)
    elif limit is not None:
        found, _, fill_at = wait(*_columns(bars), start, sign, limit, trial.from_at, trial.expires_at, int(path))
        if found != FILLED:
            status = {EXPIRED: FollowStatus.EXPIRED, RAN_OUT: FollowStatus.OPEN, BROKEN: FollowStatus.UNKNOWN}[found]
            return Followed(status=status)
        maker, fill = True, limit
    return _leave(trial, bars, costs, path, funding, fill, fill_at, maker)


def _leave(
    trial: Trial,
    bars: Bars,
    costs: Costs,
    path: Path,
    funding: tuple[tuple[int, float], ...],
    fill: float,
    fill_at: int,
    maker: bool,
) -> Followed:
    sign, quantity = trial.side.sign, trial.quantity
    entered = Followed(status=FollowStatus.OPEN, fill_price=fill, fill_at=fill_at, maker=maker)
    end = ending(trial.side, fill, fill_at, trial.exits, bars, path, waited=maker)
    if not isinstance(end, Ending):
        return msgspec.structs.replace(entered, status=end)
    out = end.price * (1 - sign * costs.slippage)
    notional = fill * quantity
    return msgspec.structs.replace(
        entered,
        status=FollowStatus.CLOSED,
        exit_price=out,
        exit_at=end.at,
        exit_reason=end.reason,
        gross=sign * (out - fill) * quantity,
        fees=notional * (costs.maker_fee if maker else costs.taker_fee) + out * quantity * costs.taker_fee,
        funding=-sign * notional * sum(rate for due, rate in funding if fill_at < due <= end.at),
    )


def ending(
    side: Side, entry: float, opened_at: int, plan: ExitPlan, bars: Bars, path: Path, *, waited: bool = False
) -> Ending | FollowStatus:
    """Where `plan` ends a position that was opened at `entry`, or OPEN or UNKNOWN; without slippage.

    `waited`: a resting limit filled at `opened_at`, on the way through its bar (see `wait`).
    """
    start = bar_of(bars, opened_at)
    if start is None:
        return FollowStatus.UNKNOWN
    sign = side.sign
    stop = stop_price(entry, sign, plan.stop_pct)
    target = sign * OFF if plan.target_pct is None else target_price(entry, sign, plan.target_pct)
    ended, price, at = hold(
        *_columns(bars), start, sign, entry, opened_at, stop, target, scalars(plan), int(path), waited
    )
    if ended < STILL_OPEN:
        return FollowStatus.UNKNOWN
    return FollowStatus.OPEN if ended == STILL_OPEN else Ending(REASONS[ended], price, at)


def prepare() -> None:
    """Compile now what the first refused signal that is followed would hold everything up for (seconds, uncached)."""
    still = np.full(1, 100.0)
    bars = Bars("", 1, np.zeros(1, dtype=np.int64), still, still, still, still, still)
    wait(*_columns(bars), 0, 1, 99.0, 0, 1, WORST_FIRST)
    ending(Side.LONG, 100.0, 0, ExitPlan(stop_pct=2.0), bars, Path.PESSIMISTIC)


def bar_of(bars: Bars, at: int) -> int | None:
    """The index of the bar that holds the moment `at`; None where there is none."""
    index = int(np.searchsorted(bars.open_time, at, side="right")) - 1
    return index if index >= 0 and at < bars.open_time[index] + bars.interval_ms else None


def _columns(bars: Bars) -> tuple[Times, Floats, Floats, Floats, Floats, int]:
    return bars.open_time, bars.open, bars.high, bars.low, bars.close, bars.interval_ms


@compiled
def wait(
    open_time: Times,
    opened: Floats,
    high: Floats,
    low: Floats,
    close: Floats,
    interval_ms: int,
    start: int,
    sign: int,
    limit: float,
    from_at: int,
    expires_at: int,
    path: int,
) -> tuple[int, int, int]:
    """(how it ended, bar, time) of a resting limit, from bar `start` on.

    A bar that a limit waits in is walked best first where an open position's would be walked worst first: what it then
    meets after the fill in that bar is only worse.
    """
    order = BEST_FIRST if path == WORST_FIRST else path
    for index in range(start, len(open_time)):
        if index > start and open_time[index] - open_time[index - 1] != interval_ms:
            return BROKEN, index, 0
        for price, after in points(opened[index], high[index], low[index], close[index], interval_ms, sign, order):
            at = open_time[index] + after
            if at >= expires_at:
                return EXPIRED, index, at
            if at >= from_at and passed(price, sign, limit):
                return FILLED, index, at
    if len(open_time) and open_time[-1] + interval_ms >= expires_at:
        return EXPIRED, len(open_time) - 1, expires_at
    return RAN_OUT, len(open_time), 0


@compiled
def hold(
    open_time: Times,
    opened: Floats,
    high: Floats,
    low: Floats,
    close: Floats,
    interval_ms: int,
    start: int,
    sign: int,
    entry: float,
    opened_at: int,
    stop: float,
    target: float,
    rules: Rules,
    path: int,
    waited: bool,
) -> tuple[int, float, int]:
    """(ended by, price, time) of a position from bar `start` on; STILL_OPEN - 1 where a bar is missing.

    `waited`: the entry filled on the way through its bar (see `wait`).
    """
    best, reason = entry, STOP_LOSS
    for index in range(start, len(open_time)):
        if index > start and open_time[index] - open_time[index - 1] != interval_ms:
            return STILL_OPEN - 1, 0.0, 0
        order = BEST_FIRST if waited and index == start and path == WORST_FIRST else path
        ended, price, at, reason, stop, best = walk_bar(
            opened[index],
            high[index],
            low[index],
            close[index],
            open_time[index],
            interval_ms,
            sign,
            entry,
            opened_at,
            target,
            best,
            stop,
            reason,
            rules,
            order,
        )
        if ended != STILL_OPEN:
            return ended, price, at
    return STILL_OPEN, 0.0, 0
