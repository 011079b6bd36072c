"""An open limit order that gets another quantity and price."""

import pytest
from msgspec.structs import replace

from bot.exchange.matching import Amendment, NewOrder, Rejection
from bot.venue import VenueStatus
from tests.exchange.plays import SYMBOL, D, play, told_events, told_fills, venue

RESTING = "last 100\nlimit buy 2 @ 99 e"
WANTED = Amendment(symbol=SYMBOL, side="BUY", client_id="e", quantity=D(3), price=D(98), modify_id=5)


def test_an_order_keeps_its_ids_and_gets_quantity_and_price() -> None:
    engine = play(venue(), RESTING)
    before = engine.order(SYMBOL, client_id="e")
    engine.take_events()
    after = engine.modify(WANTED)
    assert (after.order_id, after.quantity, after.price, after.modify_id) == (before.order_id, 3, 98, 5)
    assert told_events(engine) == ["order e AMENDMENT NEW"]
    play(engine, "last 98.5")
    assert engine.fills == []
    play(engine, "last 98")
    assert told_fills(engine) == ["e buy 3 @ 98 maker fee 0.0588 pnl 0"]


def test_an_amended_order_loses_its_place_among_equals() -> None:
    engine = play(venue(), f"{RESTING}\nlimit buy 1 @ 99 later")
    engine.modify(replace(WANTED, quantity=D(1), price=D(99)))
    play(engine, "last 99")
    assert [fill.client_id for fill in engine.fills] == ["later", "e"]


def test_a_price_beyond_the_market_takes() -> None:
    engine = play(venue(), RESTING)
    assert engine.modify(replace(WANTED, price=D(101))).status is VenueStatus.FILLED
    assert told_fills(engine) == ["e buy 3 @ 100.1 taker fee 0.15015 pnl 0"]


def test_a_quantity_that_is_executed_already_cancels_the_rest() -> None:
    engine = play(venue(partial_fill_probability=1.0), f"{RESTING}\nlast 99")
    partly = engine.order(SYMBOL, client_id="e")
    assert partly.status is VenueStatus.PARTIALLY_FILLED
    assert engine.modify(replace(WANTED, quantity=partly.executed)).status is VenueStatus.CANCELED


def test_a_post_only_order_that_would_take_is_cancelled() -> None:
    engine = play(venue(), "last 100\nlimit buy 2 @ 99 e GTX")
    assert engine.modify(replace(WANTED, price=D(101))).status is VenueStatus.CANCELED
    assert engine.fills == []


@pytest.mark.parametrize(
    ("code", "change"),
    [
        (-2013, {"client_id": "nobody"}),
        (-1102, {"quantity": None}),
        (-1102, {"price": None}),
        (-1117, {"side": "SELL"}),
        (-5047, {"reduce_only": True}),
        (-5027, {"quantity": D(2), "price": D(99)}),
        (-1111, {"price": D("98.05")}),
        (-1111, {"quantity": D("3.0005")}),
        (-5029, {"quantity": D("0.01")}),
        (-2019, {"quantity": D(5000)}),
    ],
)
def test_what_an_amendment_may_not_be(code: int, change: dict[str, object]) -> None:
    engine = play(venue(), RESTING)
    before = engine.order(SYMBOL, client_id="e")
    with pytest.raises(Rejection) as caught:
        engine.modify(replace(WANTED, **change))  # type: ignore[arg-type]
    assert caught.value.code == code
    assert engine.order(SYMBOL, client_id="e") == before


def test_margin_is_asked_for_what_is_added_alone() -> None:
    engine = play(venue(), "last 100\nlimit buy 1900 @ 99 e")  # binds 9405 of 10000
    assert engine.modify(replace(WANTED, quantity=D(2000), price=D(99))).quantity == 2000
    with pytest.raises(Rejection, match="-2019"):
        engine.modify(replace(WANTED, quantity=D(2100), price=D(99)))


def test_an_order_is_amended_ten_thousand_times_at_most() -> None:
    engine = play(venue(), RESTING)
    for number in range(10_000):
        engine.modify(replace(WANTED, price=D(98) if number % 2 else D(97)))
    with pytest.raises(Rejection, match="-5026"):
        engine.modify(replace(WANTED, price=D(96)))


def test_a_market_order_is_not_amended() -> None:
    engine = venue()
    engine.place(NewOrder(symbol=SYMBOL, side="BUY", type="MARKET", quantity=D(1), client_id="e"))
    with pytest.raises(Rejection, match="-2013"):  # it never rests
        engine.modify(WANTED)
