from decimal import Decimal

import msgspec
import pytest

from bot.messages import EntryIntent, ExitPlan, Position, PositionStatus, Side
from bot.orders.book import PositionBook
from bot.orders.cover import Cover
from bot.orders.states import OrderEvent
from bot.venue import Book, Fill, Instrument, Leg, OrderKind, OrderReport, OrderRow, OrderState, VenueStatus

D = Decimal
BTC = Instrument(
    symbol="BTCUSDT",
    tick_size=D("0.10"),
    step_size=D("0.001"),
    min_quantity=D("0.001"),
    max_quantity=D(1000),
    max_market_quantity=D(120),
    min_notional=D(50),
)
PLAN = ExitPlan(stop_pct=2.0, target_pct=2.0)


def book() -> PositionBook:
    return PositionBook("tsb", {"BTCUSDT": BTC})


def intent(signal_id: str = "sig1", side: Side = Side.LONG, quantity: str = "0.010") -> EntryIntent:
    return EntryIntent(
        signal_id=signal_id,
        variant="BTC",
        tier="t1",
        symbol="BTCUSDT",
        side=side,
        quantity=D(quantity),
        limit_price=D("50000.0"),
        post_only=False,
        created_at=1_000,
        expires_at=3_601_000,
        leverage=10,
        exits=PLAN,
    )


_trade_ids = iter(range(1, 10_000))


def fill(row: OrderRow, quantity: str, price: str, fee: str = "0.1") -> Fill:
    return Fill(
        symbol="BTCUSDT",
        trade_id=next(_trade_ids),
        venue_id=7,
        client_id=row.client_id,
        buy=row.request.buy,
        price=D(price),
        quantity=D(quantity),
        fee=D(fee),
        fee_asset="USDT",
        realized_pnl=D(0),
        maker=True,
        at=2_000,
    )


def working(a_book: PositionBook, rows: list[OrderRow]) -> list[OrderRow]:
    for row in rows:
        a_book.apply_event(row, OrderEvent.ACCEPTED, 2_000)
    return rows


def opened(a_book: PositionBook, **keys: str) -> tuple[Position, list[OrderRow]]:
    """A filled position and its live stop and target."""
    position, entry = a_book.enter(intent(**keys))  # type: ignore[arg-type]  # keys of intent
    a_book.apply_event(entry, OrderEvent.ACCEPTED, 1_000)
    a_book.apply_fill(fill(entry, str(position.intended), "50000.0"), entry.client_id)
    return position, working(a_book, Cover(a_book).rows(position, 2_000))


def left(a_book: PositionBook, position: Position) -> OrderRow:
    """The market order of a position that shall leave."""
    a_book.leave(position, "max_hold")
    (row,) = Cover(a_book).rows(position, 5_000)
    return row


def test_a_client_id_names_signal_leg_and_revision_in_the_venues_alphabet() -> None:
    _, entry = book().enter(intent("abcdefghijklm"))
    assert entry.client_id == "tsb-abcdefghijklm-e0"
    assert len(entry.client_id) <= 36


def test_a_resting_entry_needs_no_cover() -> None:
    a_book = book()
    position, _ = a_book.enter(intent())
    assert Cover(a_book).rows(position, 1_000) == []


def test_a_full_fill_asks_for_a_stop_and_then_a_target_of_its_own_quantity() -> None:
    a_book = book()
    position, (stop, target) = opened(a_book)
    assert [(r.leg, r.request.kind, r.request.trigger_price) for r in (stop, target)] == [
        (Leg.STOP, OrderKind.STOP_MARKET, D("49000.0")),
        (Leg.TARGET, OrderKind.TAKE_PROFIT_MARKET, D("51000.0")),
    ]
    assert all(r.request.reduce_only and not r.request.buy and r.request.quantity == D("0.010") for r in (stop, target))
    assert position.status is PositionStatus.OPEN
    assert Cover(a_book).rows(position, 2_000) == []
    assert Cover(a_book).surplus(position) == []


def test_each_partial_fill_is_covered_before_the_smaller_cover_is_dropped() -> None:
    a_book = book()
    position, entry = a_book.enter(intent())
    a_book.apply_event(entry, OrderEvent.ACCEPTED, 1_000)
    a_book.apply_fill(fill(entry, "0.004", "50000.0"), entry.client_id)
    first = working(a_book, Cover(a_book).rows(position, 2_000))
    assert [r.request.quantity for r in first] == [D("0.004"), D("0.004")]

    a_book.apply_fill(fill(entry, "0.006", "50000.0"), entry.client_id)
    second = Cover(a_book).rows(position, 2_000)
    assert [r.request.quantity for r in second] == [D("0.010"), D("0.010")]
    assert Cover(a_book).surplus(position) == []  # the new cover is not confirmed yet
    working(a_book, second)
    assert Cover(a_book).surplus(position) == first


@pytest.mark.parametrize(("leg", "price", "gross"), [(0, "49000.0", "-10.0"), (1, "51000.0", "10.0")])
def test_one_leg_done_closes_the_position_and_leaves_its_twin_to_be_cancelled(leg: int, price: str, gross: str) -> None:
    a_book = book()
    position, legs = opened(a_book)
    a_book.apply_fill(fill(legs[leg], "0.010", price), legs[leg].client_id)
    assert position.status is PositionStatus.CLOSED
    assert position.exit_reason == ("stop_loss", "target")[leg]
    assert position.gross_pnl == D(gross)
    assert position.net_pnl == D(gross) - D("0.2")
    assert Cover(a_book).surplus(position) == [legs[1 - leg]]


def test_a_childs_fill_may_come_before_its_parents_trigger() -> None:
    a_book = book()
    position, (stop, _) = opened(a_book)
    a_book.apply_fill(fill(stop, "0.010", "49000.0"), stop.client_id)
    late = OrderReport(
        client_id=stop.client_id,
        symbol="BTCUSDT",
        book=Book.ALGO,
        venue_id=99,
        status=VenueStatus.TRIGGERED,
        buy=False,
        quantity=D("0.010"),
        filled=D(0),
        at=3_000,
    )
    a_book.apply_report(late)
    assert stop.state is OrderState.FILLED
    assert position.status is PositionStatus.CLOSED


def test_a_fill_that_crossed_with_the_cancel_reopens_the_position() -> None:
    a_book = book()
    position, entry = a_book.enter(intent())
    a_book.apply_event(entry, OrderEvent.ACCEPTED, 1_000)
    a_book.apply_event(entry, OrderEvent.CANCELED, 2_000)
    assert (position.status, position.exit_reason) == (PositionStatus.CLOSED, "not_filled")
    a_book.apply_fill(fill(entry, "0.003", "50000.0"), entry.client_id)
    assert position.status is PositionStatus.OPEN
    assert Cover(a_book).rows(position, 2_000)[0].request.quantity == D("0.003")


def test_a_stop_only_ever_moves_in_the_positions_favour() -> None:
    a_book = book()
    position, _ = opened(a_book)
    assert a_book.move_stop(position, 50_250.04, "trailing_stop")
    assert position.stop_price == D("50250.0")
    assert not a_book.move_stop(position, 50_200.0, "trailing_stop")
    assert position.stop_price == D("50250.0")


def test_a_moved_stop_is_placed_before_the_old_one_goes() -> None:
    a_book = book()
    position, (old, target) = opened(a_book)
    a_book.move_stop(position, 50_250.0, "trailing_stop")
    (new,) = Cover(a_book).rows(position, 3_000)
    assert (new.leg, new.revision, new.request.trigger_price) == (Leg.STOP, 1, D("50250.0"))
    assert Cover(a_book).surplus(position) == []
    working(a_book, [new])
    assert Cover(a_book).surplus(position) == [old]
    a_book.apply_event(old, OrderEvent.CANCELED, 3_000)
    a_book.apply_fill(fill(new, "0.010", "50250.0"), new.client_id)
    assert position.exit_reason == "trailing_stop"
    assert Cover(a_book).surplus(position) == [target]


def test_a_position_that_shall_leave_keeps_its_stop_until_it_is_gone() -> None:
    a_book = book()
    position, (stop, target) = opened(a_book)
    leave = left(a_book, position)
    assert (leave.request.kind, leave.request.reduce_only) == (OrderKind.MARKET, True)
    assert Cover(a_book).surplus(position) == []
    a_book.apply_fill(fill(leave, "0.010", "50100.0"), leave.client_id)
    assert position.exit_reason == "max_hold"
    assert Cover(a_book).surplus(position) == [stop, target]


def test_an_exit_that_the_venue_refused_is_asked_for_again_after_a_pause() -> None:
    a_book = book()
    position, _ = opened(a_book)
    leave = left(a_book, position)
    cover = Cover(a_book)
    assert cover.rows(position, 5_000) == []
    a_book.apply_event(leave, OrderEvent.REFUSED, 5_000)
    cover.hold_exit(position, 10_000)
    assert cover.rows(position, 9_999) == []
    (again,) = cover.rows(position, 10_000)
    assert (again.leg, again.revision) == (Leg.EXIT, 1)


def test_what_a_twin_closed_too_much_is_booked_on_the_sibling_that_lost_it() -> None:
    a_book = book()
    first, (stop, target) = opened(a_book, signal_id="sig1")
    second, _ = opened(a_book, signal_id="sig2")
    a_book.apply_fill(fill(target, "0.010", "51000.0"), target.client_id)
    applied = a_book.apply_fill(fill(stop, "0.010", "49000.0"), stop.client_id)
    assert [part.position_id for part in applied] == ["sig2"]
    assert first.status is second.status is PositionStatus.CLOSED
    assert a_book.net("BTCUSDT") == 0


def test_a_sibling_that_anothers_exit_took_says_so() -> None:
    a_book = book()
    first, (stop, _) = opened(a_book, signal_id="sig1")
    second, _ = opened(a_book, signal_id="sig2")
    leave = left(a_book, first)
    a_book.apply_fill(fill(stop, "0.010", "49000.0"), stop.client_id)
    a_book.apply_fill(fill(leave, "0.010", "49000.0"), leave.client_id)
    assert (first.exit_reason, second.exit_reason) == ("stop_loss", "sibling_exit")


def test_what_was_closed_beyond_all_our_positions_is_nobodys_part() -> None:
    a_book = book()
    _, (stop, target) = opened(a_book)
    a_book.apply_fill(fill(target, "0.010", "51000.0"), target.client_id)
    assert a_book.apply_fill(fill(stop, "0.010", "49000.0"), stop.client_id) == []
    assert a_book.net("BTCUSDT") == 0


def test_a_fee_in_another_asset_is_in_no_sum_of_usdt() -> None:
    a_book = book()
    position, entry = a_book.enter(intent())
    paid_in_bnb = msgspec.structs.replace(fill(entry, "0.010", "50000.0"), fee_asset="BNB")
    a_book.apply_fill(paid_in_bnb, entry.client_id)
    assert position.fees == 0


def test_a_short_is_the_mirror_of_a_long() -> None:
    a_book = book()
    position, entry = a_book.enter(intent(side=Side.SHORT))
    a_book.apply_event(entry, OrderEvent.ACCEPTED, 1_000)
    a_book.apply_fill(fill(entry, "0.010", "50000.0"), entry.client_id)
    stop, target = Cover(a_book).rows(position, 2_000)
    assert (stop.request.buy, stop.request.trigger_price) == (True, D("51000.0"))
    assert (target.request.buy, target.request.trigger_price) == (True, D("49000.0"))


def test_closed_positions_are_forgotten_only_when_all_their_orders_have_ended() -> None:
    a_book = book()
    _, (stop, target) = opened(a_book)
    a_book.apply_fill(fill(target, "0.010", "51000.0"), target.client_id)
    assert a_book.forget_closed() == []
    a_book.apply_event(stop, OrderEvent.CANCELED, 3_000)
    assert a_book.forget_closed() == ["sig1"]
    assert not a_book.orders
