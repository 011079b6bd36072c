"""The desk's book, pure: positions and their orders, what reports and executions do to them."""

from collections.abc import Container, Iterable, Iterator, Mapping
from decimal import Decimal

import msgspec

from bot.errors import OurFault
from bot.messages import EntryIntent, Position, PositionStatus, Side
from bot.orders.booking import book_close, book_entry, stop_from
from bot.orders.nakedness import NakedMeter
from bot.orders.states import LIVE, OrderEvent, event_of, move
from bot.strategy.rounding import decimal_of, stop_on_tick
from bot.venue import Book, Fill, Instrument, Leg, OrderKind, OrderReport, OrderRequest, OrderRow, OrderState

ZERO = Decimal(0)
_KINDS = {Leg.STOP: OrderKind.STOP_MARKET, Leg.TARGET: OrderKind.TAKE_PROFIT_MARKET, Leg.EXIT: OrderKind.MARKET}


class Applied(msgspec.Struct, frozen=True):
    """Which position and leg an execution belongs to, and with how much of it."""

    position_id: str
    leg: Leg
    quantity: Decimal


class PositionBook:
    """Positions by id, orders by client id. Mutated by its one owner, the desk."""

    def __init__(self, prefix: str, instruments: dict[str, Instrument]) -> None:
        self.positions: dict[str, Position] = {}
        self.orders: dict[str, OrderRow] = {}
        self._legs: dict[str, list[OrderRow]] = {}  # by position
        self._prefix = prefix
        self._instruments = instruments
        self._meter = NakedMeter()
        self._reported: dict[str, Decimal] = {}  # by client id: what the venue says was executed
        self.surprises: list[str] = []  # what the venue said that makes no sense, until the desk takes it up

    def adopt_rules(self, instruments: Mapping[str, Instrument]) -> None:
        """From now on prices lie on these grids; a symbol that is not there keeps its own."""
        self._instruments = {**self._instruments, **instruments}

    # -- reading

    def ours(self, client_id: str) -> bool:
        return client_id.startswith(f"{self._prefix}-")

    def legs(self, position_id: str, leg: Leg | None = None, live: bool = False) -> list[OrderRow]:
        rows = self._legs.get(position_id, [])
        return [row for row in rows if (leg is None or row.leg is leg) and (not live or row.state in LIVE)]

    def live_orders(self) -> list[OrderRow]:
        return [row for row in self.orders.values() if row.state in LIVE]

    def open_positions(self, symbol: str | None = None) -> Iterator[Position]:
        for position in self.positions.values():
            if position.status is not PositionStatus.CLOSED and symbol in (None, position.symbol):
                yield position

    def net(self, symbol: str) -> Decimal:
        """Signed open quantity of our positions."""
        return sum((p.open_quantity * p.side.sign for p in self.open_positions(symbol)), ZERO)

    def owes(self, row: OrderRow) -> bool:
        """The venue counts executions of the order that are not booked yet."""
        return self._reported.get(row.client_id, ZERO) > row.filled

    def owed_symbols(self) -> set[str]:
        return {self.orders[key].request.symbol for key in self._reported if self.owes(self.orders[key])}

    def may_fill(self, position: Position) -> bool:
        """The entry rests, or more of it was executed than is booked."""
        return any(row.state in LIVE or self.owes(row) for row in self.legs(position.position_id, Leg.ENTRY))

    def expired_entries(self, now: int) -> list[OrderRow]:
        """Entries that rest beyond their time to live."""
        return [row for row in self._resting() if self.positions[row.position_id].expires_at <= now]

    def next_expiry(self, asked_again: Container[str] = ()) -> int | None:
        """When the next resting entry's time to live ends, `asked_again` (client ids) left out."""
        resting = [row for row in self._resting() if row.client_id not in asked_again]
        return min((self.positions[row.position_id].expires_at for row in resting), default=None)

    def _resting(self) -> list[OrderRow]:
        return [row for row in self.live_orders() if row.leg is Leg.ENTRY]

    # -- intents

    def adopt(self, position: Position, orders: Iterable[OrderRow]) -> None:
        """Take over what an earlier process left in the database."""
        self.positions[position.position_id] = position
        for row in orders:
            self._add(row)

    def enter(self, intent: EntryIntent) -> tuple[Position, OrderRow]:
        """A new position and its entry order, both not yet committed."""
        position = Position.of(intent)
        self.positions[position.position_id] = position
        if intent.limit_price is not None:
            position.stop_price = stop_from(position, intent.limit_price, self._instruments[intent.symbol].tick_size)
        kind = OrderKind.MARKET if intent.limit_price is None else OrderKind.LIMIT
        row = self._new_row(
            position,
            Leg.ENTRY,
            intent.created_at,
            kind=kind,
            buy=intent.side is Side.LONG,
            quantity=intent.quantity,
            price=intent.limit_price,
            post_only=intent.post_only,
        )
        return position, row

    def leave(self, position: Position, reason: str) -> None:
        """From now on the position is to be closed at market."""
        position.status = PositionStatus.CLOSING
        position.exit_reason = position.exit_reason or reason

    def move_stop(self, position: Position, level: float, reason: str) -> bool:
        """Take a new stop level if it is better for the position; True when it was taken."""
        tick = self._instruments[position.symbol].tick_size
        wanted = stop_on_tick(decimal_of(level), position.side, tick)
        current = position.stop_price
        if position.open_quantity <= 0 or current is None or (wanted - current) * position.side.sign <= 0:
            return False
        position.stop_price, position.stop_reason = wanted, reason
        return True

    # -- what the venue says

    def apply_event(self, row: OrderRow, event: OrderEvent, now: int, reason: str = "") -> None:
        row.state = move(row.state, event)
        row.updated_at = now
        row.reason = reason or row.reason
        position = self.positions[row.position_id]
        self.settle(position, now)
        self._measure(position, now)

    def apply_report(self, report: OrderReport) -> OrderRow | None:
        """Move the order that the report is about; None where it is not ours."""
        row = self.orders.get(report.client_id)
        if row is None:
            return None
        conditional = row.request.kind.book is not report.book
        event = event_of(report, conditional)
        if event is None:
            self.surprises.append(f"{report.client_id} is {report.status} in the {report.book} book")
            return row
        if not conditional or row.venue_id is None:
            row.venue_id = report.venue_id
        if report.book is Book.REGULAR:
            self._reported[row.client_id] = max(report.filled, self._reported.get(row.client_id, ZERO))
        if event is OrderEvent.FILLED and row.filled < report.filled:
            event = OrderEvent.TRIGGERED if row.request.kind.book is not report.book else OrderEvent.ACCEPTED
        self.apply_event(row, event, report.at, report.reason)
        return row

    def doubt(self, fill: Fill) -> str:
        """Why an execution of one of our orders cannot be one; empty where it can."""
        row = self.orders[fill.client_id]
        request = row.request
        if (fill.symbol, fill.buy) != (request.symbol, request.buy):
            return f"trade {fill.trade_id} of {fill.client_id} is {'a buy' if fill.buy else 'a sell'} of {fill.symbol}"
        if row.filled + fill.quantity > request.quantity:
            return f"trade {fill.trade_id} fills {fill.client_id} beyond its {request.quantity}"
        return ""

    def apply_fill(self, fill: Fill, client_id: str) -> list[Applied]:
        """Book an execution of the order `client_id`; the caller has made sure that it is new.

        What a closing order executed beyond its own position was taken from its siblings on the same side: the
        venue nets them, so the oldest ones are closed with it. What is left even then was taken from a position that
        is not ours, and is in none of the returned parts.
        """
        row = self.orders[client_id]
        row.filled += fill.quantity
        row.updated_at = fill.at
        position = self.positions[row.position_id]
        if row.leg is Leg.ENTRY:
            book_entry(position, fill, self._instruments[position.symbol].tick_size)
            applied = [Applied(position.position_id, row.leg, fill.quantity)]
        else:
            applied = self._closed(position, row, fill)
        if row.filled >= row.request.quantity or row.leg is not Leg.ENTRY and position.open_quantity == 0:
            row.state = move(row.state, OrderEvent.FILLED)
        elif row.request.kind.book is not OrderKind.MARKET.book:
            row.state = move(row.state, OrderEvent.TRIGGERED)
        for part in applied:
            self.settle(self.positions[part.position_id], fill.at)
            self._measure(self.positions[part.position_id], fill.at)
        return applied

    def close_by_other(self, fill: Fill, quantity: Decimal, reason: str) -> list[Position]:
        """Take up to `quantity` of an execution that was no order of ours off our positions, the oldest first."""
        side = Side.SHORT if fill.buy else Side.LONG
        touched = []
        for position in [p for p in self.open_positions(fill.symbol) if p.side is side]:
            part = min(quantity, position.open_quantity)
            if part > 0:
                book_close(position, fill, part)
                position.exit_reason = reason
                quantity -= part
                touched.append(position)
                self.settle(position, fill.at)
                self._measure(position, fill.at)
        return touched

    def settle(self, position: Position, now: int) -> None:
        """Close a position that has nothing open and no entry on its way."""
        if position.status is PositionStatus.CLOSED or position.open_quantity != 0:
            return
        if self.may_fill(position):
            return
        position.status = PositionStatus.CLOSED
        position.closed_at = now
        if position.filled == 0:
            entry = self.legs(position.position_id, Leg.ENTRY)[0]
            position.exit_reason = "not_filled" if entry.state is not OrderState.REJECTED else "rejected"

    # -- inner workings

    def _measure(self, position: Position, now: int) -> None:
        self._meter.measure(position, self.legs(position.position_id, Leg.STOP, live=True), now)

    def _closed(self, position: Position, row: OrderRow, fill: Fill) -> list[Applied]:
        owners = [position] + [
            p for p in self.open_positions(position.symbol) if p is not position and p.side is position.side
        ]
        left, applied = fill.quantity, []
        for owner in owners:
            part = min(left, owner.open_quantity)
            if part > 0:
                book_close(owner, fill, part)
                owner.exit_reason = self._exit_reason(owner, row)
                applied.append(Applied(owner.position_id, row.leg, part))
                left -= part
        return applied

    @staticmethod
    def _exit_reason(position: Position, row: OrderRow) -> str | None:
        if row.leg is Leg.STOP:
            return position.stop_reason or "stop_loss"
        if row.leg is Leg.TARGET:
            return "target"
        return position.exit_reason or (None if position.position_id == row.position_id else "sibling_exit")

    def closing_row(
        self, position: Position, leg: Leg, now: int, quantity: Decimal, trigger: Decimal | None = None
    ) -> OrderRow:
        """A reduce-only order of `position`, not yet committed."""
        return self._new_row(
            position,
            leg,
            now,
            kind=_KINDS[leg],
            buy=position.side is Side.SHORT,
            quantity=quantity,
            trigger_price=trigger,
            reduce_only=True,
        )

    def _new_row(
        self,
        position: Position,
        leg: Leg,
        now: int,
        *,
        kind: OrderKind,
        buy: bool,
        quantity: Decimal,
        price: Decimal | None = None,
        trigger_price: Decimal | None = None,
        reduce_only: bool = False,
        post_only: bool = False,
    ) -> OrderRow:
        revision = len(self.legs(position.position_id, leg))
        client_id = f"{self._prefix}-{position.position_id}-{leg}{revision}"
        row = OrderRow(
            client_id=client_id,
            position_id=position.position_id,
            leg=leg,
            revision=revision,
            request=OrderRequest(
                client_id=client_id,
                symbol=position.symbol,
                kind=kind,
                buy=buy,
                quantity=quantity,
                price=price,
                trigger_price=trigger_price,
                reduce_only=reduce_only,
                post_only=post_only,
            ),
            state=OrderState.INTENDED,
            created_at=now,
            updated_at=now,
        )
        self._add(row)
        return row

    def _add(self, row: OrderRow) -> None:
        if row.client_id in self.orders:
            raise OurFault(f"order {row.client_id} exists already")
        self.orders[row.client_id] = row
        self._legs.setdefault(row.position_id, []).append(row)

    def forget_closed(self) -> list[str]:
        """Drop closed positions whose orders have all ended; the database keeps them. Their ids."""
        closed = [p.position_id for p in self.positions.values() if p.status is PositionStatus.CLOSED]
        forgotten = [position_id for position_id in closed if not self.legs(position_id, live=True)]
        for position_id in forgotten:
            for row in self._legs.pop(position_id, []):
                del self.orders[row.client_id]
                self._reported.pop(row.client_id, None)
            del self.positions[position_id]
        return forgotten
