from decimal import Decimal

from bot.orders.nakedness import NakedMeter
from bot.orders.states import OrderEvent
from bot.venue import Leg, OrderState
from tests.orders.test_book import book, fill, intent

D = Decimal


def test_only_the_time_between_a_fill_and_its_confirmed_stop_counts() -> None:
    a_book = book()
    position, entry = a_book.enter(intent())
    a_book.apply_event(entry, OrderEvent.ACCEPTED, 1_000)
    a_book.apply_fill(fill(entry, "0.010", "50000.0"), entry.client_id)  # at 2_000
    stop = a_book.closing_row(position, Leg.STOP, 2_000, D("0.010"), D("49000.0"))
    a_book.apply_event(stop, OrderEvent.UNKNOWN, 2_500)
    a_book.apply_event(stop, OrderEvent.ACCEPTED, 3_250)
    assert position.naked_seconds == D("1.25")
    a_book.apply_event(stop, OrderEvent.ACCEPTED, 60_000)
    assert position.naked_seconds == D("1.25")


def test_a_stop_that_is_smaller_than_what_is_open_is_no_cover() -> None:
    a_book = book()
    position, entry = a_book.enter(intent())
    a_book.apply_fill(fill(entry, "0.010", "50000.0"), entry.client_id)
    small = a_book.closing_row(position, Leg.STOP, 2_000, D("0.009"), D("49000.0"))
    a_book.apply_event(small, OrderEvent.ACCEPTED, 2_000)
    a_book.apply_event(small, OrderEvent.ACCEPTED, 5_000)
    assert position.naked_seconds == 3


def test_a_stop_that_has_triggered_covers_nothing_any_more() -> None:
    a_book = book()
    position, entry = a_book.enter(intent())
    a_book.apply_fill(fill(entry, "0.010", "50000.0"), entry.client_id)
    stop = a_book.closing_row(position, Leg.STOP, 2_000, D("0.010"), D("49000.0"))
    a_book.apply_event(stop, OrderEvent.ACCEPTED, 2_000)
    a_book.apply_event(stop, OrderEvent.TRIGGERED, 10_000)
    assert stop.state is OrderState.TRIGGERED
    a_book.apply_event(stop, OrderEvent.REFUSED, 14_000)
    assert position.naked_seconds == 4


def test_time_does_not_run_backwards() -> None:
    a_book = book()
    position, entry = a_book.enter(intent())
    a_book.apply_fill(fill(entry, "0.010", "50000.0"), entry.client_id)
    meter = NakedMeter()
    meter.measure(position, [], 5_000)
    meter.measure(position, [], 4_000)
    meter.measure(position, [], 6_000)
    assert position.naked_seconds == 1
