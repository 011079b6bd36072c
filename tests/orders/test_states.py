from decimal import Decimal

import pytest

from bot.errors import IllegalTransition
from bot.orders import states
from bot.orders.states import LIVE, TABLE, OrderEvent, event_of, move
from bot.venue import Book, OrderReport, OrderState, VenueStatus

S, E = OrderState, OrderEvent
ENDED = set(OrderState) - LIVE


def report(status: VenueStatus, book: Book) -> OrderReport:
    return OrderReport(
        client_id="tsb-x-s0",
        symbol="BTCUSDT",
        book=book,
        venue_id=1,
        status=status,
        buy=True,
        quantity=Decimal(1),
        filled=Decimal(0),
        at=1,
    )


def test_every_state_answers_every_event() -> None:
    assert all(set(TABLE[state]) == set(OrderEvent) for state in OrderState)


@pytest.mark.parametrize("state", sorted(ENDED))
def test_repeating_an_orders_end_changes_nothing(state: OrderState) -> None:
    own_end = {S.FILLED: E.FILLED, S.CANCELED: E.CANCELED, S.EXPIRED: E.EXPIRED, S.REJECTED: E.REFUSED}[state]
    assert move(state, own_end) is state


@pytest.mark.parametrize("event", list(OrderEvent))
def test_a_filled_order_stays_filled_whatever_comes_late(event: OrderEvent) -> None:
    assert move(S.FILLED, event) is S.FILLED


@pytest.mark.parametrize(
    ("state", "event", "after"),
    [
        (S.INTENDED, E.UNKNOWN, S.UNRESOLVED),  # the answer got lost
        (S.INTENDED, E.MISSING, S.REJECTED),  # died between commit and send
        (S.UNRESOLVED, E.ACCEPTED, S.WORKING),
        (S.UNRESOLVED, E.MISSING, S.REJECTED),
        (S.WORKING, E.UNKNOWN, S.WORKING),  # the user stream was faster than the answer
        (S.WORKING, E.REFUSED, S.REJECTED),  # a stop refused at its trigger
        (S.TRIGGERED, E.ACCEPTED, S.TRIGGERED),  # a late NEW
        (S.TRIGGERED, E.EXPIRED, S.EXPIRED),
        (S.CANCELED, E.FILLED, S.FILLED),  # a cancel crossed with a fill
        (S.EXPIRED, E.FILLED, S.FILLED),
        (S.REJECTED, E.ACCEPTED, S.WORKING),  # held for lost, and there it is
        (S.CANCELED, E.ACCEPTED, S.CANCELED),  # events out of order
    ],
)
def test_the_odd_but_real_moves(state: OrderState, event: OrderEvent, after: OrderState) -> None:
    assert move(state, event) is after


def test_an_unknown_outcome_is_neither_success_nor_failure() -> None:
    assert move(S.INTENDED, E.UNKNOWN) in LIVE


def test_a_move_that_the_table_does_not_have_is_illegal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(states.TABLE, S.FILLED, {})
    with pytest.raises(IllegalTransition, match="filled cannot take canceled"):
        move(S.FILLED, E.CANCELED)


@pytest.mark.parametrize("status", list(VenueStatus))
def test_each_status_of_either_book_means_something(status: VenueStatus) -> None:
    algo_only = {VenueStatus.TRIGGERING, VenueStatus.TRIGGERED, VenueStatus.FINISHED}
    regular_only = {VenueStatus.FILLED, VenueStatus.PARTIALLY_FILLED}
    if status not in regular_only:
        assert event_of(report(status, Book.ALGO), conditional=False) in OrderEvent
    if status not in algo_only:
        assert event_of(report(status, Book.REGULAR), conditional=False) in OrderEvent


def test_a_new_child_order_means_that_its_parent_has_triggered() -> None:
    assert event_of(report(VenueStatus.NEW, Book.REGULAR), conditional=True) is E.TRIGGERED


def test_finished_alone_does_not_mean_filled() -> None:
    assert event_of(report(VenueStatus.FINISHED, Book.ALGO), conditional=False) is E.TRIGGERED
