"""The running bot's own parity: each day's rows and trades held against the venue's bars, told as one event."""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

import anyio
import anyio.to_thread
import msgspec

from bot.clock import DAY_MS, HOUR_MS, Clock
from bot.errors import VenueError
from bot.messages import Bars, BotEvent, Position, Severity, Signal
from bot.research.backtest.market import SymbolMarket
from bot.research.backtest.parity import Compared, Parity, check, market_of
from bot.research.backtest.trade import Terms
from bot.strategy.variant import Variant
from bot.strategy.walk import in_ticks

OK, DIFFERS = "parity_ok", "parity_differs"
MEMORY_MS = 7 * DAY_MS  # how far back an entry or loss may lie that a filter remembers
TOLD = 10  # differences in the event


class DayStore(Protocol):
    """The journal as parity reads it; times are from the first on, before the second."""

    def signals(self, since: int, until: int) -> AsyncIterator[list[Signal]]: ...

    async def alive(self, since: int, until: int) -> Sequence[Position]: ...


class DayPaths(Protocol):
    """Recorded bars. Each raises VenueError."""

    async def hours(self, symbol: str, start: int, end: int) -> Bars: ...

    async def finest(self, symbol: str, start: int, end: int) -> Bars: ...


class Facing(msgspec.Struct, frozen=True, kw_only=True):
    """What days are held against, but for their bars."""

    variants: tuple[Variant, ...]
    context: int
    horizon: int
    terms: Terms
    exact: bool

    def compared(self, markets: Mapping[str, SymbolMarket]) -> Compared:
        return Compared(
            variants={variant.name: variant for variant in self.variants},
            markets=markets,
            context=self.context,
            horizon=self.horizon,
            terms=self.terms,
            exact=self.exact,
        )


class DailyParity:
    """Called by the auditor after its own audit; returns what is to be told."""

    def __init__(self, facing: Facing, store: DayStore, paths: DayPaths, clock: Clock) -> None:
        self._facing = facing
        self._store = store
        self._paths = paths
        self._clock = clock
        self._thread = anyio.CapacityLimiter(1)

    async def __call__(self, since: int, until: int) -> BotEvent:
        rows = await rows_of_day(self._store, since, until)
        positions = await self._store.alive(since - MEMORY_MS, until)
        by_symbol: defaultdict[str, list[Signal]] = defaultdict(list)
        for row in rows:
            by_symbol[row.symbol].append(row)
        markets: dict[str, SymbolMarket] = {}
        missing: list[str] = []
        for symbol, those in by_symbol.items():
            market = await self._market(symbol, those, since, until)
            if market is None:
                missing.append(symbol)
            else:
                markets[symbol] = market
        held = [row for row in rows if row.symbol in markets]
        compared = self._facing.compared(markets)
        found = await anyio.to_thread.run_sync(check, held, positions, compared, since, until, limiter=self._thread)
        return told(found, missing, since, until, self._clock.now())

    async def _market(self, symbol: str, rows: Sequence[Signal], since: int, until: int) -> SymbolMarket | None:
        """None where the venue does not give the bars."""
        try:
            hours = await self._paths.hours(symbol, since - (self._facing.context + 1) * HOUR_MS, until)
            finest = await self._paths.finest(symbol, since - DAY_MS, until)
        except VenueError:
            return None
        return market_of(symbol, rows, hours, lambda tick: in_ticks(finest, tick))


async def rows_of_day(store: DayStore, since: int, until: int) -> list[Signal]:
    """The day's rows, and those of the day before that entered: their trades may have ended in it."""
    rows = [row async for page in store.signals(since, until) for row in page]
    before = [row async for page in store.signals(since - DAY_MS, since) for row in page if row.decision == "enter"]
    return before + rows


def told(found: Parity, missing: Sequence[str], since: int, until: int, at: int) -> BotEvent:
    detail = {
        "since_at": since,
        "until_at": until,
        "rows": found.rows,
        "trades": found.trades,
        "excluded": found.excluded,
        "without_bars": list(missing),
        "differences": len(found.differences),
        "first": [msgspec.to_builtins(one) for one in found.differences[:TOLD]],
    }
    if found.differences:
        return BotEvent(at=at, name=DIFFERS, severity=Severity.WARNING, detail=detail)
    return BotEvent(at=at, name=OK, detail=detail)
