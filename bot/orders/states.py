"""The life of one order: a table of (state, event) -> state; what the table does not have is illegal.

Rules
- An order is INTENDED once its row is committed, and only then is it sent.
- A send ends in one of three ways: the venue accepted, the venue refused, or nobody knows. The last one is a state of
  its own, UNRESOLVED; only asking the venue for the client id leads out of it.
- A conditional order has two lives: its own in the algo book, and that of the child order which its trigger makes. The
  child has the same client id, so both feed the same row. The child's fill may arrive before the parent's TRIGGERED.
- Ends are not as final as they look. A cancel may cross with a fill (CANCELED -> FILLED), a market remainder expires
  after it filled in part, and an order that we held for lost may appear after all (REJECTED -> WORKING); it is then
  cancelled.
- An event that repeats an order's end changes nothing.
"""

import enum

from bot.errors import IllegalTransition
from bot.venue import Book, OrderReport, OrderState, VenueStatus


class OrderEvent(enum.StrEnum):
    ACCEPTED = "accepted"
    UNKNOWN = "unknown"  # the send's outcome
    REFUSED = "refused"
    MISSING = "missing"  # the venue does not know the id, and lag is ruled out
    TRIGGERED = "triggered"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"


S, E = OrderState, OrderEvent

_ENDS: dict[OrderEvent, OrderState] = {
    E.FILLED: S.FILLED,
    E.CANCELED: S.CANCELED,
    E.EXPIRED: S.EXPIRED,
}

TABLE: dict[OrderState, dict[OrderEvent, OrderState]] = {
    S.INTENDED: {
        E.ACCEPTED: S.WORKING,
        E.UNKNOWN: S.UNRESOLVED,
        E.REFUSED: S.REJECTED,
        E.MISSING: S.REJECTED,  # the process died between commit and send
        E.TRIGGERED: S.TRIGGERED,
        **_ENDS,
    },
    S.UNRESOLVED: {
        E.ACCEPTED: S.WORKING,
        E.UNKNOWN: S.UNRESOLVED,
        E.REFUSED: S.REJECTED,
        E.MISSING: S.REJECTED,
        E.TRIGGERED: S.TRIGGERED,
        **_ENDS,
    },
    S.WORKING: {
        E.ACCEPTED: S.WORKING,
        E.UNKNOWN: S.WORKING,  # the user stream was faster than the answer that got lost
        E.REFUSED: S.REJECTED,  # a conditional order may be refused when it triggers
        E.MISSING: S.REJECTED,
        E.TRIGGERED: S.TRIGGERED,
        **_ENDS,
    },
    S.TRIGGERED: {
        E.ACCEPTED: S.TRIGGERED,  # a late NEW
        E.UNKNOWN: S.TRIGGERED,
        E.REFUSED: S.REJECTED,
        E.MISSING: S.REJECTED,
        E.TRIGGERED: S.TRIGGERED,
        **_ENDS,
    },
    S.FILLED: dict.fromkeys(E, S.FILLED),
    S.CANCELED: {**dict.fromkeys(E, S.CANCELED), E.FILLED: S.FILLED},
    S.EXPIRED: {**dict.fromkeys(E, S.EXPIRED), E.FILLED: S.FILLED},
    S.REJECTED: {
        **dict.fromkeys((E.UNKNOWN, E.REFUSED, E.MISSING), S.REJECTED),
        E.ACCEPTED: S.WORKING,
        E.TRIGGERED: S.TRIGGERED,
        **_ENDS,
    },
}

LIVE = frozenset({S.INTENDED, S.UNRESOLVED, S.WORKING, S.TRIGGERED})


def move(state: OrderState, event: OrderEvent) -> OrderState:
    """The next state; raises IllegalTransition where the table has none."""
    try:
        return TABLE[state][event]
    except KeyError:
        raise IllegalTransition(f"order {state} cannot take {event}") from None


_ALGO_EVENTS = {
    VenueStatus.NEW: E.ACCEPTED,
    VenueStatus.TRIGGERING: E.TRIGGERED,
    VenueStatus.TRIGGERED: E.TRIGGERED,
    VenueStatus.FINISHED: E.TRIGGERED,  # filled or cancelled: only the child order knows
    VenueStatus.CANCELED: E.CANCELED,
    VenueStatus.EXPIRED: E.EXPIRED,
    VenueStatus.REJECTED: E.REFUSED,
}
_REGULAR_EVENTS = {
    VenueStatus.NEW: E.ACCEPTED,
    VenueStatus.PARTIALLY_FILLED: E.ACCEPTED,
    VenueStatus.FILLED: E.FILLED,
    VenueStatus.CANCELED: E.CANCELED,
    VenueStatus.EXPIRED: E.EXPIRED,
    VenueStatus.REJECTED: E.REFUSED,
}


def event_of(report: OrderReport, conditional: bool) -> OrderEvent | None:
    """What a venue report means for a row; None where its book has no such status.

    `conditional`: the row's order lives in the algo book.

    A child order that is cancelled or expires has ended the conditional order without closing what it covered.
    """
    if report.book is Book.ALGO:
        return _ALGO_EVENTS.get(report.status)
    event = _REGULAR_EVENTS.get(report.status)
    return E.TRIGGERED if conditional and event is E.ACCEPTED else event
