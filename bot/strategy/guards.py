"""Account guards: when the account may open nothing more, as a state machine over what was read of it.

A guard trips where its measure reaches its limit, and stays tripped until its time is over or a person releases it;
what it measures then begins anew. Losses are measured on the growth of one unit of the account, as a fund's are
(time-weighted return): a deposit or withdrawal changes how many units there are, never their price, so it neither
trips nor releases a guard. Every function is pure, and a `Track` is all that there is to remember.
"""

import itertools
from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

import msgspec

from bot.clock import DAY_MS, MINUTE_MS, SECOND_MS
from bot.config import GuardsTable
from bot.messages import GuardState, GuardTrip
from bot.strategy.reasons import Reason
from bot.strategy.verdicts import ALLOWED, GUARDS, Check, Values
from bot.venue import Transfer

DAY_DRAWDOWN, DRAWDOWN, DAILY_LOSS, LOSING_STREAK = "day_drawdown", "drawdown", "daily_loss", "losing_streak"
NAMES = (DAY_DRAWDOWN, DRAWDOWN, DAILY_LOSS, LOSING_STREAK)  # the first tripped one of them is the reason
REASONS = {
    DAY_DRAWDOWN: Reason.GUARD_DAY_DRAWDOWN,
    DRAWDOWN: Reason.GUARD_DRAWDOWN,
    DAILY_LOSS: Reason.GUARD_DAILY_LOSS,
    LOSING_STREAK: Reason.GUARD_LOSING_STREAK,
}
_MARKS = {DAY_DRAWDOWN: "day_peak", DRAWDOWN: "peak", DAILY_LOSS: "day_start"}  # what the loss is measured from

EPSILON = 1e-9  # what float arithmetic may be off by where a loss is exactly the limit
FRESH_MS = 30 * SECOND_MS  # two readings further apart say nothing about each other
DOUBT_MS = 2 * MINUTE_MS  # how long a change of the wallet that nothing explains may wait for its explanation


class Guard(msgspec.Struct, frozen=True):
    name: str
    limit: float  # percent; of the streak a count
    release: Literal["day", "manual"] | int  # at the next UTC midnight, by hand, or after so many minutes


class GuardRules(msgspec.Struct, frozen=True, kw_only=True):
    guards: tuple[Guard, ...]  # those that are on
    agree_pct: float  # of the equity: what two readings, or wallet and ledger, may differ by
    unknown_after_ms: int

    @property
    def need_equity(self) -> bool:
        return any(guard.name != LOSING_STREAK for guard in self.guards)

    @property
    def streak(self) -> int:
        """How many losses in a row trip the streak; 0 where it is off."""
        return next((int(guard.limit) for guard in self.guards if guard.name == LOSING_STREAK), 0)


class Glance(msgspec.Struct, frozen=True):
    """The first of two readings, which only has to agree with the second."""

    at: int
    equity: Decimal


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """The account as the venue told it at one moment, in USDT."""

    at: int
    equity: Decimal  # the wallet with open positions at their marks
    wallet: Decimal
    ledger: Decimal  # the wallet by the bot's own books, which know no transfers
    transfers: tuple[Transfer, ...]  # of the last minutes, those of earlier readings among them


class Track(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the guards remember. `index` and its marks are worth 1 where they begin."""

    reading: Reading | None = None  # the last one that was taken
    doubt_since: int | None = None  # of the reading after it that nothing explains
    index: float = 1.0  # what one unit of the account is worth
    peak: float = 1.0
    day: int = 0  # UTC, days since the epoch
    day_start: float = 1.0
    day_peak: float = 1.0
    losses: int = 0  # losing trades in a row
    losses_since: int = 0  # trades closed later count
    tripped: tuple[GuardTrip, ...] = ()


def rules_of(table: GuardsTable) -> GuardRules:
    limits = (table.day_drawdown_pct, table.drawdown_pct, table.daily_loss_pct, float(table.losing_streak))
    releases = (
        table.day_drawdown_release,
        table.drawdown_release,
        table.daily_loss_release,
        table.losing_streak_release,
    )
    guards = (Guard(*guard) for guard in zip(NAMES, limits, releases, strict=True))
    return GuardRules(
        guards=tuple(guard for guard in guards if guard.limit > 0),
        agree_pct=table.agree_pct,
        unknown_after_ms=table.unknown_after_minutes * MINUTE_MS,
    )


def begin(now: int) -> Track:
    """Nothing is known yet; trades that closed before do not count."""
    return Track(day=now // DAY_MS, losses_since=now)


def adopt(track: Track, rules: GuardRules) -> Track:
    """What an earlier process left, without the trips of guards that have been switched off."""
    on = {guard.name for guard in rules.guards}
    return msgspec.structs.replace(track, tripped=tuple(trip for trip in track.tripped if trip.guard in on))


def pass_time(track: Track, now: int) -> Track:
    """Begin the day where it is a new one, and release what is due."""
    day = now // DAY_MS
    if day > track.day:
        track = msgspec.structs.replace(track, day=day, day_start=track.index, day_peak=track.index)
    for trip in track.tripped:
        if trip.until is not None and trip.until <= now:
            track = release(track, trip.guard, now)
    return track


def release(track: Track, name: str, now: int) -> Track:
    """The guard measures anew from here on. Nothing changes where it is not tripped."""
    if all(trip.guard != name for trip in track.tripped):
        return track
    left = tuple(trip for trip in track.tripped if trip.guard != name)
    track = msgspec.structs.replace(track, tripped=left)
    if name == LOSING_STREAK:
        return msgspec.structs.replace(track, losses=0, losses_since=now)
    return msgspec.structs.replace(track, **{_MARKS[name]: track.index})


def agree(first: Glance, second: Reading, rules: GuardRules) -> bool:
    """Whether two readings, one soon after the other, tell the same of the account."""
    fresh = 0 <= second.at - first.at <= FRESH_MS
    return fresh and abs(second.equity - first.equity) <= _tolerance(second, rules)


def take(track: Track, reading: Reading, rules: GuardRules) -> Track:
    """Take a reading that another one agreed with, and trip what it trips.

    A change of the wallet that neither trades nor transfers explain is not taken for a profit or loss before it has
    stood for DOUBT_MS: a transfer may be told later than it moved the wallet. Until then the reading is not taken.
    """
    before = track.reading
    if before is not None and abs(_unexplained(before, reading)) > _tolerance(reading, rules):
        since = reading.at if track.doubt_since is None else track.doubt_since
        if reading.at - since < DOUBT_MS:
            return msgspec.structs.replace(track, doubt_since=since)
    growth = 1.0 if before is None else _growth(before, reading)
    index = track.index * growth
    track = msgspec.structs.replace(track, reading=reading, doubt_since=None, index=index)
    if index == 0 and reading.equity > 0:  # wiped out and refilled: there is no growth to go on with
        track = msgspec.structs.replace(track, index=1.0, peak=1.0, day_start=1.0, day_peak=1.0)
    peaks = {"peak": max(track.peak, track.index), "day_peak": max(track.day_peak, track.index)}
    return _trip(msgspec.structs.replace(track, **peaks), rules, reading.at)


def count_losses(track: Track, newest_first: Sequence[Decimal], rules: GuardRules, now: int) -> Track:
    """Take the net results of the trades that closed after `track.losses_since`."""
    losses = sum(1 for _ in itertools.takewhile(lambda result: result < 0, newest_first))
    return _trip(msgspec.structs.replace(track, losses=losses), rules, now)


def measures(track: Track) -> dict[str, float]:
    """What each guard measures now, in the unit of its limit."""
    return {
        DAY_DRAWDOWN: _fall_pct(track.index, track.day_peak),
        DRAWDOWN: _fall_pct(track.index, track.peak),
        DAILY_LOSS: _fall_pct(track.index, track.day_start),
        LOSING_STREAK: float(track.losses),
    }


def state_of(track: Track, rules: GuardRules) -> GuardState:
    """What decisions see of it."""
    order = {name: place for place, name in enumerate(NAMES)}
    return GuardState(
        tripped=tuple(sorted(track.tripped, key=lambda trip: order[trip.guard])),
        equity_at=None if track.reading is None else track.reading.at,
        unknown_after_ms=rules.unknown_after_ms if rules.need_equity else None,
    )


def guards_check(guards: GuardState, now: int) -> Check:
    """The check on every candidate: `guards` with what each tripped guard measured, its limit, and the equity's age."""
    age = None if guards.equity_at is None else now - guards.equity_at
    reason = ALLOWED
    if guards.tripped:
        reason = str(REASONS[guards.tripped[0].guard])
    elif guards.unknown_after_ms is not None and (age is None or age > guards.unknown_after_ms):
        reason = str(Reason.GUARD_EQUITY_UNKNOWN)
    return Check(GUARDS, reason is ALLOWED, reason, _guards_values, (guards, age))


def _guards_values(guards: GuardState, age: int | None) -> Values:
    values: Values = {
        "tripped": ",".join(trip.guard for trip in guards.tripped),
        "equity_age_ms": age,
        "unknown_after_ms": guards.unknown_after_ms,
    }
    for trip in guards.tripped:
        values |= {f"{trip.guard}_value": trip.value, f"{trip.guard}_limit": trip.limit}
    return values


def _trip(track: Track, rules: GuardRules, now: int) -> Track:
    measured, already = measures(track), {trip.guard for trip in track.tripped}
    new = tuple(
        GuardTrip(guard.name, now, measured[guard.name], guard.limit, _until(guard, now))
        for guard in rules.guards
        if guard.name not in already and measured[guard.name] >= guard.limit - EPSILON
    )
    return msgspec.structs.replace(track, tripped=track.tripped + new)


def _until(guard: Guard, now: int) -> int | None:
    if guard.release == "manual":
        return None
    return (now // DAY_MS + 1) * DAY_MS if guard.release == "day" else now + guard.release * MINUTE_MS


def _fall_pct(index: float, mark: float) -> float:
    return max(0.0, 1.0 - index / mark) * 100.0 if mark > 0 else 0.0


def _flow(before: Reading, after: Reading) -> Decimal:
    """What was deposited less what was withdrawn between two readings."""
    known = {transfer.transfer_id for transfer in before.transfers}
    return sum((one.amount for one in after.transfers if one.transfer_id not in known), Decimal(0))


def _unexplained(before: Reading, after: Reading) -> Decimal:
    """What the wallet changed by beyond the bot's own books and the transfers."""
    return (after.wallet - before.wallet) - (after.ledger - before.ledger) - _flow(before, after)


def _growth(before: Reading, after: Reading) -> float:
    """after / before with the flow taken out: measured on the larger capital, for it was there before or after."""
    flow = _flow(before, after)
    base = before.equity + max(flow, Decimal(0))
    return max(0.0, float((after.equity - min(flow, Decimal(0))) / base)) if base > 0 else 1.0


def _tolerance(reading: Reading, rules: GuardRules) -> Decimal:
    return abs(reading.equity) * Decimal(str(rules.agree_pct)) / 100
