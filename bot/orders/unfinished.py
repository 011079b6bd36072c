"""What the desk has begun and the venue has not ended yet: stopped in the middle of it, something may be bare. Pure."""

from collections.abc import Iterator

from bot.messages import PositionStatus
from bot.orders.book import PositionBook
from bot.orders.cover import Cover
from bot.venue import OrderKind, OrderState

_UNANSWERED = frozenset({OrderState.INTENDED, OrderState.UNRESOLVED})


def unfinished(book: PositionBook, cover: Cover, now: int) -> Iterator[str]:
    """A line for each order that is on its way, and for each position that lacks a stop or has an order too many.

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
        if position.status is not PositionStatus.CLOSED:
            for leg, _ in cover.lacking(position, now):
                yield f"{position.position_id} lacks its {leg}"
        for row in cover.surplus(position):
            yield f"{row.client_id} is to be cancelled"
