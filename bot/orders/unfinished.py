"""What the desk has begun and the venue has not ended yet: stopped in the middle of it, something may be bare. Pure."""

from collections.abc import Iterator

from bot.messages import PositionStatus
from bot.orders.book import PositionBook
from bot.orders.cover import Cover
from bot.venue import Leg, OrderKind, OrderState

_UNANSWERED = frozenset({OrderState.INTENDED, OrderState.UNRESOLVED})


def on_its_way(book: PositionBook, cover: Cover) -> Iterator[str]:
    """A line for each order that has no answer, is being executed or is to be cancelled, and for fills not yet known.

    What rests at the venue until its price comes is finished: entries at a limit, stops, targets.
    """
    for row in book.live_orders():
        if row.state in _UNANSWERED:
            yield f"{row.client_id} has no answer"
        elif row.request.kind is OrderKind.MARKET or row.state is OrderState.TRIGGERED:
            yield f"{row.client_id} is being executed"
    for symbol in sorted(book.owed_symbols()):
        yield f"{symbol} has fills that are not known yet"
    for position in book.positions.values():
        for row in cover.surplus(position):
            yield f"{row.client_id} is to be cancelled"


def bare(book: PositionBook, cover: Cover, now: int) -> Iterator[str]:
    """A line for each leg that a position needs and does not have at the venue."""
    for position in book.open_positions():
        if position.status is PositionStatus.CLOSING:
            if position.open_quantity > 0 and not book.legs(position.position_id, Leg.EXIT, live=True):
                yield f"{position.position_id} is being closed and has no exit"
            continue
        for leg, _ in cover.lacking(position, now):
            yield f"{position.position_id} lacks its {leg.name.lower()}"
