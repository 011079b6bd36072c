"""What cover each position needs at the venue, and which of its orders have no use any more. Pure.

An entry that rests at a limit is armed before it is sent: a stop of the whole intended quantity, at the level that a
fill at the limit would give it. Below a long's limit the price comes to that stop only through the limit, so it cannot
take from a sibling, except when the price jumps over both; then the venue's net position bounds what it closes, the
book says whose quantity it was, and the fill that follows is covered or closed like any other.
"""

from decimal import Decimal

from bot.messages import Position, PositionStatus
from bot.orders.book import PositionBook
from bot.venue import Book, Leg, OrderKind, OrderRow, OrderState

ZERO = Decimal(0)
CONDITIONAL_LIMIT = 200  # conditional orders that the venue keeps for one account
KEPT_FREE = 20  # of them, for stops that are placed before the one that they replace is gone
_CONFIRMED = frozenset({OrderState.WORKING, OrderState.TRIGGERED})


class Cover:
    """Decides for each position; remembers what the venue refused. `arms`: resting entries get their stop first."""

    def __init__(self, book: PositionBook, *, arms: bool = False) -> None:
        self._book = book
        self.arms = arms
        self.foreign_conditional = 0  # the account's conditional orders that are not ours, when last seen
        self._no_exit_before: dict[str, int] = {}  # by position
        self._withdrawn: set[str] = set()  # positions whose entry is not wanted any more

    # -- what is missing

    def rows(self, position: Position, now: int) -> list[OrderRow]:
        """New orders for what `position` lacks, the stop first. They replace what `surplus` then names."""
        return [
            self._book.closing_row(position, leg, now, self._quantity(position, leg), price)
            for leg, price in self.lacking(position, now)
        ]

    def lacking(self, position: Position, now: int) -> list[tuple[Leg, Decimal | None]]:
        """The legs, and their trigger prices, that `position` needs and has no live order for.

        A position that is being closed and has no exit on its way any more needs another one.
        """
        if position.status is PositionStatus.CLOSING:
            leaving = self._book.legs(position.position_id, Leg.EXIT, live=True)
            too_early = now < self._no_exit_before.get(position.position_id, 0)
            owed = any(self._book.owes(row) for row in self._book.legs(position.position_id))
            return [] if leaving or too_early or owed or position.open_quantity <= 0 else [(Leg.EXIT, None)]
        wanted = ((Leg.STOP, position.stop_price), (Leg.TARGET, position.target_price))
        return [
            (leg, price)
            for leg, price in wanted
            if price is not None
            and self._quantity(position, leg) > 0
            and not any(self._fits(row, position, price) for row in self._live(position, leg))
        ]

    def surplus(self, position: Position) -> list[OrderRow]:
        """Live orders of `position` that have no use any more."""
        live = self._book.legs(position.position_id, live=True)
        if position.status is PositionStatus.CLOSED:
            return live
        surplus = []
        for leg, price in ((Leg.STOP, position.stop_price), (Leg.TARGET, position.target_price)):
            rows = self._live(position, leg)
            fitting = [
                r for r in rows if price is not None and self._fits(r, position, price) and r.state in _CONFIRMED
            ]
            if position.status is not PositionStatus.CLOSING and fitting:
                surplus += [row for row in rows if row is not fitting[-1] and row.state is not OrderState.TRIGGERED]
        leaving = position.closed > 0 or position.status is PositionStatus.CLOSING
        if leaving or position.position_id in self._withdrawn:
            surplus += [row for row in live if row.leg is Leg.ENTRY]
        return surplus

    # -- entries

    def armed(self, position: Position) -> bool:
        """The entry may be sent: it needs no stop before its fill, or the venue has confirmed one."""
        if not self._arms(position):
            return position.position_id not in self._withdrawn
        price = position.stop_price
        stops = self._live(position, Leg.STOP)
        return any(r.state in _CONFIRMED and price is not None and self._fits(r, position, price) for r in stops)

    def withdraw(self, position: Position) -> bool:
        """The entry is not wanted any more; what of it has filled stays. True when that is news."""
        known = position.position_id in self._withdrawn
        self._withdrawn.add(position.position_id)
        return not known

    def is_full(self) -> bool:
        """One entry more might leave no room for stops: each position may come to hold a stop and a target."""
        held = {p.position_id for p in self._book.open_positions()}
        orphans = [
            row
            for row in self._book.live_orders()
            if row.request.kind.book is Book.ALGO and row.position_id not in held
        ]
        needed = 2 * (len(held) + 1) + len(orphans) + self.foreign_conditional
        return needed > CONDITIONAL_LIMIT - KEPT_FREE

    # -- what the venue refused

    def hold_exit(self, position: Position, until: int) -> None:
        """Ask for no further exit before `until`: the venue refused one, most likely because a stop was faster."""
        self._no_exit_before[position.position_id] = until

    def settle_for_less(self, position: Position, leg: Leg) -> bool:
        """Do with what the venue holds where it refused a target or a better stop; False where no stop holds all."""
        stops = [
            row
            for row in self._live(position, Leg.STOP)
            if row.state is OrderState.WORKING and row.request.quantity >= position.open_quantity
        ]
        if not stops:
            return False
        if leg is Leg.TARGET:
            position.target_price = None
        else:
            position.stop_price = stops[-1].request.trigger_price
        return True

    def forget(self, position_id: str) -> None:
        self._no_exit_before.pop(position_id, None)
        self._withdrawn.discard(position_id)

    # -- inner workings

    def _arms(self, position: Position) -> bool:
        if not self.arms or position.position_id in self._withdrawn or position.stop_price is None:
            return False
        rows = self._book.legs(position.position_id, Leg.ENTRY)
        return self._book.may_fill(position) and any(row.request.kind is OrderKind.LIMIT for row in rows)

    def _quantity(self, position: Position, leg: Leg) -> Decimal:
        if leg is Leg.STOP and self._arms(position):
            return position.intended - position.closed
        return position.open_quantity

    def _live(self, position: Position, leg: Leg) -> list[OrderRow]:
        return self._book.legs(position.position_id, leg, live=True)

    def _fits(self, row: OrderRow, position: Position, price: Decimal) -> bool:
        if row.state is OrderState.TRIGGERED:  # its child is closing the position now
            return True
        if row.request.trigger_price != price:
            return False
        larger = row.leg is Leg.STOP and row.request.quantity > position.open_quantity
        if larger and self._book.may_fill(position):
            return row.request.quantity >= self._quantity(position, Leg.STOP)
        return row.request.quantity == self._quantity(position, row.leg)
