"""What an execution does to one position's quantities, prices and money, pure."""

from decimal import Decimal

from bot.errors import OurFault
from bot.messages import Position, PositionStatus
from bot.orders.ledger import fee_in_quote
from bot.strategy.exits import stop_price, target_price
from bot.strategy.rounding import decimal_of, stop_on_tick, target_on_tick
from bot.venue import Fill

ZERO = Decimal(0)


def book_entry(position: Position, fill: Fill, tick: Decimal) -> None:
    """Add an execution of the entry; the bracket follows the average price until the stop was moved."""
    before = (position.entry_price or ZERO) * position.filled
    position.filled += fill.quantity
    position.entry_price = (before + fill.price * fill.quantity) / position.filled
    position.fees += fee_in_quote(fill)
    if position.status in (PositionStatus.PENDING, PositionStatus.CLOSED):  # closed: a cancel crossed with this fill
        position.status = PositionStatus.OPEN
        position.opened_at, position.closed_at, position.exit_reason = fill.at, None, None
    if position.stop_reason is None:
        position.stop_price = stop_from(position, position.entry_price, tick)
        position.target_price = _target_from(position, position.entry_price, tick)


def book_close(position: Position, fill: Fill, part: Decimal) -> None:
    """Take `part` of an execution off the position, with its share of the fee."""
    if position.entry_price is None:
        raise OurFault(f"position {position.position_id} has no entry price")
    before = (position.exit_price or ZERO) * position.closed
    position.closed += part
    position.exit_price = (before + fill.price * part) / position.closed
    position.fees += fee_in_quote(fill) * part / fill.quantity
    position.gross_pnl += (fill.price - position.entry_price) * part * position.side.sign


def stop_from(position: Position, entry: Decimal, tick: Decimal) -> Decimal:
    """The first stop of an entry at `entry`."""
    level = decimal_of(stop_price(float(entry), position.side.sign, position.exits.stop_pct))
    return stop_on_tick(level, position.side, tick)


def _target_from(position: Position, entry: Decimal, tick: Decimal) -> Decimal | None:
    if position.exits.target_pct is None:
        return None
    level = decimal_of(target_price(float(entry), position.side.sign, position.exits.target_pct))
    return target_on_tick(level, position.side, tick)
