"""One symbol's prices and the price levels at which something waits."""

from bisect import bisect_left, insort
from decimal import Decimal
from typing import NamedTuple

from bot.exchange.matching.records import ZERO
from bot.venue import Instrument, MarginBracket

NEVER = Decimal("Infinity")


class Level(NamedTuple):
    """Sorts in the order in which a moving price meets it."""

    distance: Decimal  # the price, negated where the level waits below the market
    rank: int  # 0 a stop, 1 anything else: of equals the one that hurts comes first
    sequence: int  # the older first
    price: Decimal
    venue_id: int


class Ladder:
    """The levels on one side of the market, nearest first."""

    def __init__(self, *, upward: bool) -> None:
        self._sign = 1 if upward else -1
        self._levels: list[Level] = []
        self._by_id: dict[int, Level] = {}

    def add(self, price: Decimal, rank: int, sequence: int, venue_id: int) -> None:
        level = Level(self._sign * price, rank, sequence, price, venue_id)
        insort(self._levels, level)
        self._by_id[venue_id] = level

    def remove(self, venue_id: int) -> None:
        """Take a level out; one that is not here is none of this ladder's business."""
        level = self._by_id.pop(venue_id, None)
        if level is not None:
            del self._levels[bisect_left(self._levels, level)]

    @property
    def nearest(self) -> Decimal:
        return self._levels[0].price if self._levels else NEVER * self._sign

    def reached(self, price: Decimal) -> list[Level]:
        """Levels at or on the way to `price`, nearest first."""
        limit = self._sign * price
        met = []
        for level in self._levels:
            if level.distance > limit:
                break
            met.append(level)
        return met


class Levels:
    """The two ladders that one kind of price runs into."""

    def __init__(self) -> None:
        self._up = Ladder(upward=True)
        self._down = Ladder(upward=False)
        self.ceiling = NEVER
        self.floor = -NEVER

    def add(self, price: Decimal, *, upward: bool, rank: int, sequence: int, venue_id: int) -> None:
        (self._up if upward else self._down).add(price, rank, sequence, venue_id)
        self._measure()

    def remove(self, venue_id: int) -> None:
        self._up.remove(venue_id)
        self._down.remove(venue_id)
        self._measure()

    def on_path(self, start: Decimal, price: Decimal) -> list[Level]:
        """What a continuous move meets, in its order.

        On the side the price leaves only a level at or through which it still stands can be waiting: the rest of an
        order that was touched before. The move starts with those.
        """
        if price >= start:
            return self._down.reached(price) + self._up.reached(price)
        return self._up.reached(price) + self._down.reached(price)

    def jumped(self, start: Decimal, price: Decimal) -> list[Level]:
        """The same for a price that came without trading the levels between: all at once, so stops come first."""
        return sorted(self.on_path(start, price), key=lambda level: level.rank)

    def _measure(self) -> None:
        self.ceiling = self._up.nearest
        self.floor = self._down.nearest


class Trail:
    """How far the price has come since a trailing stop follows it."""

    def __init__(self, algo_id: int, working_type: str) -> None:
        self.algo_id = algo_id
        self.working_type = working_type
        self.extreme: Decimal | None = None  # None: it does not follow yet


class Market:
    """One symbol: its rules, its prices, and what waits for the last and the mark price."""

    def __init__(self, instrument: Instrument, leverage: int, otherwise: MarginBracket) -> None:
        self._otherwise = otherwise
        self.change(instrument)
        self.status = "TRADING" if instrument.trading else "SETTLING"
        self.leverage = leverage
        self.last: Decimal | None = None
        self.mark: Decimal | None = None
        self.by_last = Levels()
        self.by_mark = Levels()
        self.trails: dict[int, Trail] = {}
        self.trades = 0

    def change(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.brackets = instrument.brackets or (self._otherwise,)

    @property
    def reference(self) -> Decimal | None:
        """The mark price; before the first one came, the last price."""
        return self.last if self.mark is None else self.mark

    def levels(self, working_type: str) -> Levels:
        return self.by_mark if working_type == "MARK_PRICE" else self.by_last

    def price(self, working_type: str) -> Decimal | None:
        return self.mark if working_type == "MARK_PRICE" else self.last

    def bracket(self, notional: Decimal) -> MarginBracket:
        """The one that a position of this notional is in."""
        return next((bracket for bracket in self.brackets if notional <= bracket.notional_cap), self.brackets[-1])

    @property
    def highest_leverage(self) -> int:
        return max(bracket.max_leverage for bracket in self.brackets)

    def largest_notional(self, leverage: int) -> Decimal:
        """What a position may come to at a leverage."""
        allowed = [bracket.notional_cap for bracket in self.brackets if bracket.max_leverage >= leverage]
        return max(allowed, default=ZERO)
