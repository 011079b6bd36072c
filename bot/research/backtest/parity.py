"""A bot's own days held against the backtest: its decisions made again, its trades walked again, the differences told.

Each decision is made on what its row says was told (forecast, mark, funding, guards, trading state), on the recorded
bars, and on the positions as the journal has them; each trade is walked along the recorded path. Pure.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal

import msgspec
import numpy as np

from bot.clock import MINUTE_MS, SECOND_MS
from bot.exchange.simulator.market import FundingRates
from bot.hookspecs import Recent
from bot.messages import (
    Bars,
    EntryIntent,
    FilterVerdict,
    GuardState,
    GuardTrip,
    Position,
    PositionStatus,
    Signal,
    TradingState,
)
from bot.research.backtest.logged import answer_of
from bot.research.backtest.market import SymbolMarket
from bot.research.backtest.trade import Terms, walk
from bot.strategy.cycle import Measures, Seen, decide, measure
from bot.strategy.guards import NAMES
from bot.strategy.risk import Exposure, Held
from bot.strategy.variant import Variant
from bot.strategy.verdicts import DATA, ENTRY, FUNDING, GUARDS, LIQUIDATION, SIZE, STATE
from bot.strategy.walk import ENDS, NEVER, PricePath
from bot.strategy.window import tail, upto
from bot.venue import Instrument, MarginBracket

LATE_MS = 2 * SECOND_MS  # how long after a position has ended at the venue the bot may not have heard of it
LARGEST = Decimal(10) ** 15  # where the row does not say what the venue's bound was
NEAR_MS = 10 * MINUTE_MS  # at a real venue: bars tell the time of an end no better
NEAR_BPS = 25.0  # and the price of a fill
UNKNOWN = Instrument(
    symbol="",
    tick_size=Decimal("0.00000001"),
    step_size=Decimal("0.00000001"),
    min_quantity=Decimal(0),
    max_quantity=LARGEST,
    max_market_quantity=LARGEST,
    min_notional=Decimal(0),
)
EXPLAINED = frozenset(ENDS) - {"liquidated"}  # what the exit rules end; all else is the venue's or a person's


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that the bot and the backtest say otherwise."""

    signal_id: str
    variant: str
    symbol: str
    cycle_at: int
    what: str  # decision, side, quantity, entry_price, opened, closed, ...
    live: str
    backtest: str


class Parity(msgspec.Struct, frozen=True, kw_only=True):
    rows: int
    trades: int  # compared
    excluded: dict[str, int]  # trades that were not, by reason
    differences: list[Difference]


class Verdicts:
    """A row's verdicts by name."""

    def __init__(self, row: Signal) -> None:
        self._found: dict[str, FilterVerdict] = {verdict.filter: verdict for verdict in row.filter_verdicts}

    def value(self, check: str, name: str) -> object:
        verdict = self._found.get(check)
        return None if verdict is None else verdict.values.get(name)

    def number(self, check: str, name: str, otherwise: Decimal) -> Decimal:
        value = self.value(check, name)
        return otherwise if value is None else Decimal(str(value))

    def whole(self, check: str, name: str) -> int | None:
        value = self.value(check, name)
        return value if isinstance(value, int) else None


class Compared(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """What a day is held against."""

    variants: Mapping[str, Variant]
    markets: Mapping[str, SymbolMarket]  # of the symbols whose bars are there
    context: int
    horizon: int
    terms: Terms
    exact: bool  # a replay: to the digit; else as near as bars can tell


def check(rows: Sequence[Signal], positions: Sequence[Position], against: Compared, since: int, until: int) -> Parity:
    """Decisions of since ... until, and the trades that ended in it.

    `rows` are those of that time and those that entered shortly before it; `positions` all that were alive in it, and
    what else may be remembered (see `Recent`).
    """
    order = {name: place for place, name in enumerate(against.variants)}
    ranked = sorted(rows, key=lambda row: (decided_at(row), order.get(row.variant, -1), _place(row, against)))
    journal = _Journal(positions, ranked)
    by_id = {position.position_id: position for position in positions}
    differences: list[Difference] = []
    excluded: Counter[str] = Counter()
    trades = 0
    measured: dict[tuple[str, int], tuple[Bars, Measures]] = {}
    for rank, row in enumerate(ranked):
        position = by_id.get(row.signal_id)
        of_the_day = row.cycle_at >= since
        if not of_the_day and (position is None or position.closed_at is None or position.closed_at < since):
            continue
        again = _again(row, rank, journal, against, measured)
        if isinstance(again, str):
            differences.append(_difference(row, "row", f"{row.decision} {row.decision_reason}", again))
            continue
        signal, intent = again
        differences += _decision(row, signal) if of_the_day else ()
        if row.decision != "enter" or intent is None:
            continue
        why = _left_out(row, position, against, until)
        if why or position is None:
            excluded[why or "no_position"] += 1
            continue
        trades += 1
        differences += _trade(row, position, intent, against)
    decided = sum(row.cycle_at >= since for row in rows)
    return Parity(rows=decided, trades=trades, excluded=dict(excluded), differences=differences)


def decided_at(row: Signal) -> int:
    """When the row was decided; of rows that never were candidates the cycle's time."""
    return Verdicts(row).whole(ENTRY, "created_at") or row.cycle_at


def _place(row: Signal, against: Compared) -> int:
    variant = against.variants.get(row.variant)
    return variant.symbols.index(row.symbol) if variant is not None and row.symbol in variant.symbols else -1


class _Journal:
    """What was held and what had happened as of each row, by the journal's positions."""

    def __init__(self, positions: Sequence[Position], ranked: Sequence[Signal]) -> None:
        self._positions = sorted(positions, key=lambda position: position.created_at)
        self._created = [position.created_at for position in self._positions]
        self._rank = {row.signal_id: rank for rank, row in enumerate(ranked)}

    def exposures(self, row: Signal, rank: int, late_ms: int) -> Iterator[Exposure]:
        """What may have been held: all that the bot may not have heard the end of; then without these."""
        now = decided_at(row)
        alive = [one for one in self._before(now, rank) if one.closed_at is None or one.closed_at >= now - late_ms]
        yield _exposure(alive)
        surely = [one for one in alive if one.closed_at is None or one.closed_at > now]
        if len(surely) < len(alive):
            yield _exposure(surely)

    def recent(self, row: Signal, rank: int) -> Recent:
        now, entered, lost = decided_at(row), None, None
        for one in self._before(now, rank):
            if (one.variant, one.symbol) != (row.variant, row.symbol):
                continue
            over = one.closed_at is not None and one.closed_at <= now
            at = one.created_at if one.opened_at is None or one.opened_at > now else one.opened_at
            if not (over and one.opened_at is None):
                entered = at if entered is None else max(entered, at)
            if over and one.opened_at is not None and one.net_pnl < 0:
                lost = one.closed_at if lost is None else max(lost, one.closed_at or 0)
        return Recent(last_entry_at=entered, last_loss_at=lost)

    def _before(self, now: int, rank: int) -> list[Position]:
        some = self._positions[: bisect_right(self._created, now)]
        return [one for one in some if one.created_at < now or self._rank.get(one.position_id, rank) < rank]


def _exposure(positions: Iterable[Position]) -> Exposure:
    return Exposure(tuple(Held(one.variant, one.tier, one.symbol, one.side) for one in positions))


def _again(
    row: Signal,
    rank: int,
    journal: _Journal,
    against: Compared,
    measured: dict[tuple[str, int], tuple[Bars, Measures]],
) -> tuple[Signal, EntryIntent | None] | str:
    """The row decided again; where it is unknown whether the bot had heard of an end, the way that it may have been."""
    variant, market = against.variants.get(row.variant), against.markets.get(row.symbol)
    if variant is None or market is None:
        return "no such variant" if variant is None else "no bars"
    seen, measures = _seen(row, rank, journal, market, against, measured)
    found: tuple[Signal, EntryIntent | None] | None = None
    for exposure in journal.exposures(row, rank, 0 if against.exact else LATE_MS):
        again = decide(variant, seen, exposure, measures)
        found = found or again
        if not list(_decision(row, again[0])):
            return again
    return found or "nothing"


def _seen(
    row: Signal,
    rank: int,
    journal: _Journal,
    market: SymbolMarket,
    against: Compared,
    measured: dict[tuple[str, int], tuple[Bars, Measures]],
) -> tuple[Seen, Measures | None]:
    verdicts, now = Verdicts(row), decided_at(row)
    window = None
    if row.bar_close_at is not None:
        key = row.symbol, row.bar_close_at
        if key not in measured:
            bars = tail(upto(market.bars, row.bar_close_at), against.context)
            measured[key] = bars, measure(bars)
        window = measured[key]
    rate = verdicts.value(FUNDING, "funding_rate")
    state = verdicts.value(STATE, "state")
    seen = Seen(
        symbol=row.symbol,
        cycle_at=row.cycle_at,
        now=now,
        bars=None if window is None else window[0],
        forecast=answer_of(row, against.horizon),
        mark_price=row.mark_price,
        instrument=instrument_of(row) if verdicts.value(DATA, "listed") else None,
        state=TradingState.ACTIVE if state is None else TradingState(str(state)),
        checkpoint=row.checkpoint,
        funding_rate=None if rate is None else Decimal(str(rate)),
        next_funding_at=verdicts.whole(FUNDING, "next_funding_at"),
        guards=_guards(verdicts, now),
        recent=journal.recent(row, rank),
    )
    return seen, None if window is None else window[1]


def instrument_of(row: Signal) -> Instrument:
    """The venue's rules as far as the row was decided on them."""
    verdicts = Verdicts(row)
    brackets: tuple[MarginBracket, ...] = ()
    if verdicts.value(LIQUIDATION, "maintenance_rate") is not None:
        brackets = (
            MarginBracket(
                notional_cap=LARGEST,
                maintenance_rate=verdicts.number(LIQUIDATION, "maintenance_rate", LARGEST),
                amount=verdicts.number(LIQUIDATION, "maintenance_amount", LARGEST),
                max_leverage=verdicts.whole(LIQUIDATION, "bracket_leverage") or 1,
            ),
        )
    largest = verdicts.number(SIZE, "max_quantity", LARGEST)
    step = verdicts.number(SIZE, "step_size", Decimal("0.00000001"))
    return Instrument(
        symbol=row.symbol,
        tick_size=verdicts.number(ENTRY, "tick_size", Decimal("0.00000001")),
        step_size=step,
        min_quantity=verdicts.number(SIZE, "min_quantity", step),
        max_quantity=largest,
        max_market_quantity=largest,
        min_notional=verdicts.number(SIZE, "min_notional", Decimal(0)),
        trading=bool(verdicts.value(DATA, "trading")),
        brackets=brackets,
    )


def _guards(verdicts: Verdicts, now: int) -> GuardState:
    trips = tuple(
        GuardTrip(name, now, float(str(value)), float(str(verdicts.value(GUARDS, f"{name}_limit"))), None)
        for name in NAMES
        if (value := verdicts.value(GUARDS, f"{name}_value")) is not None
    )
    age = verdicts.whole(GUARDS, "equity_age_ms")
    return GuardState(
        tripped=trips,
        equity_at=None if age is None else now - age,
        unknown_after_ms=verdicts.whole(GUARDS, "unknown_after_ms"),
    )


def _decision(row: Signal, again: Signal) -> Iterator[Difference]:
    said, found = f"{row.decision} {row.decision_reason}", f"{again.decision} {again.decision_reason}"
    if said != found:
        yield _difference(row, "decision", said, found)
        return
    for name in ("side", "entry_price", "quantity"):
        if getattr(row, name) != getattr(again, name):
            yield _difference(row, name, str(getattr(row, name)), str(getattr(again, name)))


def _left_out(row: Signal, position: Position | None, against: Compared, until: int) -> str | None:
    """Why a trade cannot be compared; None where it can."""
    if position is None:
        return "denied" if row.fill_status == "denied" else "no_position"
    if position.status is not PositionStatus.CLOSED or (position.closed_at or NEVER) >= until:
        return "still_open"  # the day of its end compares it
    if position.filled and position.filled != position.intended:
        return "filled_in_part"
    if position.filled and position.exit_reason not in EXPLAINED:
        return f"ended_by:{position.exit_reason}"
    path = against.markets[row.symbol].path
    ends = int(path.at[-1] + path.span[-1]) if len(path) else 0
    return "beyond_the_bars" if (position.closed_at or NEVER) >= ends else None


def _trade(row: Signal, position: Position, intent: EntryIntent, against: Compared) -> Iterator[Difference]:
    market = against.markets[row.symbol]
    ours = walk(intent, market, against.terms, row.predicted_return or 0.0).position
    if against.exact:
        pairs: list[tuple[str, object, object]] = [
            (name, getattr(position, name), getattr(ours, name))
            for name in ("filled", "opened_at", "entry_price", "closed_at", "exit_price", "exit_reason")
        ]
        yield from (_difference(row, what, str(live), str(found)) for what, live, found in pairs if live != found)
        return
    if bool(position.filled) != bool(ours.filled):
        yield _difference(row, "filled", str(position.filled), str(ours.filled))
        return
    if position.exit_reason != ours.exit_reason:
        yield _difference(row, "exit_reason", str(position.exit_reason), str(ours.exit_reason))
    for what in ("opened_at", "closed_at"):
        live, found = getattr(position, what), getattr(ours, what)
        if live is not None and (found is None or abs(live - found) > NEAR_MS):
            yield _difference(row, what, str(live), str(found))
    for what in ("entry_price", "exit_price"):
        price, found = getattr(position, what), getattr(ours, what)
        if price is not None and (found is None or abs(float(found / price) - 1) * 10_000 > NEAR_BPS):
            yield _difference(row, what, str(price), str(found))


def _difference(row: Signal, what: str, live: str, backtest: str) -> Difference:
    return Difference(
        signal_id=row.signal_id,
        variant=row.variant,
        symbol=row.symbol,
        cycle_at=row.cycle_at,
        what=what,
        live=live,
        backtest=backtest,
    )


def market_of(
    symbol: str, rows: Iterable[Signal], hours: Bars, path_on: Callable[[float], PricePath]
) -> SymbolMarket | None:
    """What rows of `symbol` are held against, on the tick that they were put on; None where no hour is known.

    `path_on`: the finest recorded path, for a tick.
    """
    if not len(hours):
        return None
    entered = next((row for row in rows if Verdicts(row).value(ENTRY, "tick_size") is not None), None)
    none = PricePath(symbol, np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 4), np.int32))
    instrument = UNKNOWN if entered is None else instrument_of(entered)
    return SymbolMarket(
        bars=hours,
        path=none if entered is None else path_on(float(instrument.tick_size)),
        instrument=instrument,
        funding=FundingRates(np.zeros(0, dtype=np.int64), ()),
        began_at=int(hours.open_time[0]),
    )
