"""What the venue does by itself: margin call, liquidation, ADL, settlement, statuses; and a book of limited depth."""

import pytest

from bot.exchange.matching import Engine, Execution, MarginCalled, NewOrder, OrderUpdated, Rejection, Switches
from bot.venue import VenueStatus
from tests.exchange.plays import SYMBOL, D, play, told_events, told_fills, venue

LARGE = "mark 100\nlast 100\nlimit buy 1000 @ 100 e\nlast 100\nstop sell 1000 @ 80 s"


def told(engine: Engine) -> list[str]:
    ids = {fill.client_id for fill in engine.fills if fill.client_id.startswith(("autoclose-", "settlement_"))}
    lines = told_events(engine)
    for client_id in ids:
        lines = [line.replace(client_id, client_id.split("-")[0]) for line in lines]
    return lines


def test_a_liquidation_expires_orders_of_both_books_and_closes_at_the_mark() -> None:
    engine = play(venue(), f"{LARGE}\nlimit buy 1 @ 50 o")
    engine.take_events()
    play(engine, "mark 90.4")
    assert told(engine) == [
        "order o EXPIRED EXPIRED er=5",
        "algo s EXPIRED",
        "order autoclose NEW NEW",
        "order autoclose CALCULATED FILLED",
        "account ORDER 334.8",
    ]


def test_whether_a_liquidation_ends_conditional_orders_is_a_switch() -> None:
    engine = play(venue(switches=Switches(liquidation_cancels_algos=False)), f"{LARGE}\nmark 90.4")
    assert engine.position(SYMBOL).quantity == 0
    assert engine.algo(client_id="s").status is VenueStatus.NEW


def test_the_margin_call_comes_once_until_the_account_has_recovered() -> None:
    engine = play(venue(), LARGE)
    engine.take_events()
    play(engine, "mark 90.5\nmark 90.51\nmark 95\nmark 90.5")
    calls = [event for event in engine.take_events() if isinstance(event, MarginCalled)]
    assert [call.at for call in calls] == [engine.now - 3, engine.now]
    ((position, maintenance),) = calls[0].positions
    assert (position.symbol, position.mark_price, maintenance) == (SYMBOL, D("90.5"), D("452.5"))


def test_an_auto_deleveraging_takes_a_part_of_the_position() -> None:
    engine = play(venue(), f"{LARGE}\nmark 110")
    engine.take_events()
    engine.deleverage(SYMBOL, D(400))
    filled = [event for event in engine.take_events() if isinstance(event, OrderUpdated) and event.fill]
    assert [(event.order.client_id, event.execution) for event in filled] == [("adl_autoclose", Execution.CALCULATED)]
    assert (engine.position(SYMBOL).quantity, engine.fills[-1].price, engine.fills[-1].realized_pnl) == (600, 110, 4000)
    assert engine.algo(client_id="s").is_open


def test_nothing_is_deleveraged_where_nothing_is_held() -> None:
    with pytest.raises(Rejection, match="-2022"):
        play(venue(), "last 100").deleverage(SYMBOL, D(1))


def test_a_settlement_ends_all_orders_and_closes_at_the_mark() -> None:
    engine = play(venue(), f"{LARGE}\nlimit buy 1 @ 50 o\nmark 101")
    engine.take_events()
    engine.settle_symbol(SYMBOL)
    assert told(engine)[:4] == [
        "order o EXPIRED EXPIRED er=7",
        "algo s EXPIRED",
        "order settlement_autoclose NEW NEW",
        "order settlement_autoclose CALCULATED FILLED",
    ]
    assert (engine.status(SYMBOL), engine.fills[-1].price) == ("SETTLING", 101)
    with pytest.raises(Rejection, match="-4140"):
        play(engine, "market buy 1 again")


def test_a_closed_symbol_takes_nothing_and_one_that_does_not_trade_only_what_reduces() -> None:
    engine = play(venue(), "last 100\nmarket buy 2 e")
    engine.set_status(SYMBOL, "PRE_SETTLE")
    with pytest.raises(Rejection, match="-4140"):
        play(engine, "market buy 1 more")
    play(engine, "market sell 1 less reduce")
    engine.set_status(SYMBOL, "CLOSE")
    with pytest.raises(Rejection, match="-4141"):
        play(engine, "market sell 1 rest reduce")
    with pytest.raises(Rejection, match="-4141"):
        play(engine, "stop sell 1 @ 90 s")


def test_a_taker_sweeps_a_book_of_limited_depth_price_by_price() -> None:
    engine = play(venue(depth_usdt=D(1000)), "last 100\nmarket buy 25 b")
    # 100.1: 1000 / 100.1 = 9.990, 100.2: 9.980, 100.3 the rest
    assert told_fills(engine) == [
        "b buy 9.99 @ 100.1 taker fee 0.4999995 pnl 0",
        "b buy 9.98 @ 100.2 taker fee 0.499998 pnl 0",
        "b buy 5.03 @ 100.3 taker fee 0.2522545 pnl 0",
    ]


def test_what_the_book_does_not_have_of_a_market_order_expires() -> None:
    engine = play(venue(depth_usdt=D(1000)), "last 100\nmarket buy 200 b")
    order = engine.order(SYMBOL, client_id="b")
    assert (len(engine.fills), order.status, order.expire_reason) == (10, VenueStatus.EXPIRED, 9)


def test_a_limit_takes_what_its_price_reaches_and_rests_with_the_remainder() -> None:
    engine = play(venue(depth_usdt=D(1000)), "last 100\nlimit buy 25 @ 100.2 b")
    order = engine.order(SYMBOL, client_id="b")
    assert (order.executed, order.status) == (D("19.97"), VenueStatus.PARTIALLY_FILLED)


def test_a_fill_or_kill_order_wants_all_of_it_in_the_book() -> None:
    engine = play(venue(depth_usdt=D(1000)), "last 100\nlimit buy 19 @ 100.2 b FOK")
    assert engine.order(SYMBOL, client_id="b").status is VenueStatus.FILLED
    with pytest.raises(Rejection, match="-5021"):
        engine.place(
            NewOrder(symbol=SYMBOL, side="BUY", type="LIMIT", quantity=D(20), price=D("100.2"), time_in_force="FOK")
        )


def test_a_market_order_does_not_take_far_from_the_mark() -> None:
    engine = play(venue(), "mark 100\nlast 104\nmarket buy 1 near\nlast 105")
    with pytest.raises(Rejection, match="-4131"):
        play(engine, "market buy 1 far")
    play(engine, "market sell 1 back")
