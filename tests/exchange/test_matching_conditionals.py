"""Conditional orders beyond the plain stop: with a limit price, trailing, protected, good till a date; and switches."""

from decimal import Decimal

import pytest
from msgspec.structs import replace

from bot.exchange.matching import AlgoUpdated, NewAlgo, NewOrder, Rejection, Switches
from bot.venue import VenueStatus
from tests.exchange.plays import SYMBOL, D, play, told_events, told_fills, venue

LONG = "last 100\nlimit buy 2 @ 100 e\nlast 100"
SELL_STOP = NewAlgo(
    symbol=SYMBOL,
    side="SELL",
    type="STOP",
    quantity=D(2),
    trigger_price=D(95),
    price=D(94),
    reduce_only=True,
    client_id="s",
)
TRAIL = NewAlgo(
    symbol=SYMBOL,
    side="SELL",
    type="TRAILING_STOP_MARKET",
    quantity=D(2),
    callback_rate=D(5),
    reduce_only=True,
    client_id="t",
)
TEN_MINUTES = 600_000


def test_a_stop_with_a_limit_above_the_market_rests_and_finishes_with_its_child() -> None:
    engine = play(venue(), LONG)
    engine.place_algo(replace(SELL_STOP, price=D(96)))
    engine.take_events()
    play(engine, "last 95")
    assert told_events(engine) == ["algo s TRIGGERING", "algo s TRIGGERED", "order s NEW NEW"]
    play(engine, "last 96")
    assert told_events(engine) == ["order s TRADE FILLED", "account ORDER 9991.9216", "algo s FINISHED"]
    assert told_fills(engine)[-1] == "s sell 2 @ 96 maker fee 0.0384 pnl -8"


def test_a_stop_with_a_limit_takes_never_worse_than_it() -> None:
    engine = play(venue(), LONG)
    engine.place_algo(SELL_STOP)
    play(engine, "gap 94.05")
    assert told_fills(engine)[-1] == "s sell 2 @ 94 taker fee 0.094 pnl -12"
    algo = engine.algo(client_id="s")
    assert (algo.status, algo.actual_price, algo.actual_quantity) == (VenueStatus.FINISHED, 94, 2)


def test_a_cancelled_child_finishes_its_conditional_order_without_a_quantity() -> None:
    engine = play(venue(), LONG)
    engine.place_algo(replace(SELL_STOP, price=D(96)))
    play(engine, "last 95\ncancel s")
    algo = engine.algo(client_id="s")
    assert (algo.status, algo.actual_quantity) == (VenueStatus.FINISHED, 0)


def test_a_post_only_child_that_would_take_expires() -> None:
    engine = play(venue(), LONG)
    engine.place_algo(replace(SELL_STOP, price=D(94), time_in_force="GTX"))
    play(engine, "last 95")
    child = engine.order(SYMBOL, client_id="s")
    assert (child.type, child.status, child.executed) == ("LIMIT", VenueStatus.EXPIRED, 0)
    assert engine.algo(client_id="s").status is VenueStatus.FINISHED


def test_a_trailing_stop_follows_the_price_up_and_triggers_on_the_way_back() -> None:
    engine = play(venue(), LONG)
    engine.place_algo(TRAIL)  # from 100: 95
    play(engine, "last 120\nlast 115")  # from 120: 114
    assert engine.position(SYMBOL).quantity == 2
    play(engine, "last 110")
    # 114 x 0.999 = 113.886
    assert told_fills(engine)[-1] == "t sell 2 @ 113.8 taker fee 0.1138 pnl 27.6"


def test_a_trailing_stop_waits_for_its_activation_and_says_when_it_follows() -> None:
    engine = play(venue(), LONG)
    engine.take_events()
    engine.place_algo(replace(TRAIL, activate_price=D(110)))
    play(engine, "last 90")
    assert engine.position(SYMBOL).quantity == 2
    play(engine, "last 111")
    told = [event.algo for event in engine.take_events() if isinstance(event, AlgoUpdated)]
    assert [(algo.status, algo.activated) for algo in told] == [(VenueStatus.NEW, False), (VenueStatus.NEW, True)]
    play(engine, "gap 105.4")  # from 111: 105.45, on the tick 105.4
    assert engine.position(SYMBOL).quantity == 0


def test_a_trailing_stop_of_a_short_mirrors_it() -> None:
    engine = play(venue(), "last 100\nlimit sell 2 @ 100 e\nlast 100")
    engine.place_algo(replace(TRAIL, side="BUY", working_type="MARK_PRICE"))
    play(engine, "mark 100\nmark 80\nmark 83.9")
    assert engine.position(SYMBOL).quantity == -2
    play(engine, "mark 84")
    assert engine.position(SYMBOL).quantity == 0


def test_a_protected_stop_waits_while_mark_and_last_are_apart() -> None:
    engine = play(venue(), f"mark 100\n{LONG}")
    engine.place_algo(replace(SELL_STOP, type="STOP_MARKET", price=None, price_protect=True))
    play(engine, "gap 90")  # 10 % below the mark, more than 5 %
    assert engine.algo(client_id="s").status is VenueStatus.NEW
    play(engine, "mark 94\nlast 97\nlast 96")
    assert engine.algo(client_id="s").status is VenueStatus.NEW
    play(engine, "last 91")
    assert engine.algo(client_id="s").status is VenueStatus.FINISHED


def test_a_protected_stop_triggers_when_the_mark_has_come_after_it() -> None:
    engine = play(venue(), f"mark 100\n{LONG}")
    engine.place_algo(replace(SELL_STOP, type="STOP_MARKET", price=None, price_protect=True))
    play(engine, "gap 90\nmark 91\nlast 90.1")
    assert engine.algo(client_id="s").status is VenueStatus.FINISHED
    assert engine.position(SYMBOL).quantity == 0


def test_orders_of_both_books_end_at_their_date() -> None:
    engine = play(venue(), LONG)
    until = engine.now + TEN_MINUTES + 1
    engine.place(
        NewOrder(
            symbol=SYMBOL,
            side="BUY",
            type="LIMIT",
            quantity=D(1),
            price=D(90),
            time_in_force="GTD",
            good_till=until,
            client_id="g",
        )
    )
    engine.place_algo(replace(SELL_STOP, time_in_force="GTD", good_till=until + 1))
    engine.take_events()
    engine.step(until - 1)
    assert engine.take_events() == []
    assert engine.next_deadline == until
    engine.step(until)
    assert told_events(engine) == ["order g EXPIRED EXPIRED"]
    engine.step(until + 1)
    assert told_events(engine) == ["algo s EXPIRED"]
    assert engine.next_deadline is None


REFUSED = [
    (-1102, replace(SELL_STOP, price=None)),
    (-1106, replace(SELL_STOP, type="STOP_MARKET")),
    (-1102, replace(SELL_STOP, time_in_force="GTD")),
    (-5040, replace(SELL_STOP, time_in_force="GTD", good_till=TEN_MINUTES)),
    (-1106, replace(SELL_STOP, good_till=TEN_MINUTES)),
    (-1115, replace(SELL_STOP, time_in_force="DAY")),
    (-4136, replace(SELL_STOP, close_position=True, quantity=None, reduce_only=False)),
    (-2021, replace(SELL_STOP, trigger_price=D(100))),
    (-1111, replace(SELL_STOP, price=D("94.05"))),
    (-1102, replace(TRAIL, callback_rate=None)),
    (-1106, replace(TRAIL, trigger_price=D(90))),
    (-2007, replace(TRAIL, callback_rate=D("0.05"))),
    (-2007, replace(TRAIL, callback_rate=D("20.1"))),
    (-2021, replace(TRAIL, activate_price=D(99))),
]


@pytest.mark.parametrize(("code", "new"), REFUSED)
def test_what_a_conditional_order_may_not_be(code: int, new: NewAlgo) -> None:
    engine = play(venue(), LONG)
    with pytest.raises(Rejection) as caught:
        engine.place_algo(new)
    assert caught.value.code == code
    assert engine.open_algos() == []


def test_whether_a_trigger_must_lie_on_the_tick_is_a_switch() -> None:
    off_tick = replace(SELL_STOP, type="STOP_MARKET", price=None, trigger_price=D("95.05"))
    with pytest.raises(Rejection, match="-1111"):
        play(venue(), LONG).place_algo(off_tick)
    lenient = play(venue(switches=Switches(trigger_price_on_tick=False)), LONG)
    assert lenient.place_algo(off_tick).trigger_price == D("95.05")
    play(lenient, "last 95")
    assert lenient.position(SYMBOL).quantity == 0


def test_the_code_of_a_duplicate_client_id_is_a_switch() -> None:
    engine = play(venue(switches=Switches(duplicate_algo_code=-4111)), LONG)
    engine.place_algo(SELL_STOP)
    with pytest.raises(Rejection, match="-4111"):
        engine.place_algo(SELL_STOP)


@pytest.mark.parametrize("code", [-2022, -4118])
def test_a_position_may_be_unknown_to_reduce_only_stops_for_a_while(code: int) -> None:
    engine = play(venue(switches=Switches(position_lag_ms=500, position_lag_code=code)), LONG)  # type: ignore[arg-type]
    with pytest.raises(Rejection, match=str(code)):
        engine.place_algo(SELL_STOP)
    engine.step(engine.now + 500)
    assert engine.place_algo(SELL_STOP).is_open


def test_whether_conditional_orders_count_among_a_symbols_orders_is_a_switch() -> None:
    resting = NewOrder(symbol=SYMBOL, side="BUY", type="LIMIT", quantity=D(1), price=Decimal(90), time_in_force="GTC")
    for counted in (False, True):
        engine = play(venue(switches=Switches(algos_count_as_orders=counted)), LONG)
        for number in range(199):
            engine.place_algo(replace(SELL_STOP, client_id=f"s{number}"))
        engine.place(resting)
        if counted:
            with pytest.raises(Rejection, match="-2025"):
                engine.place(resting)
        else:
            assert engine.place(resting).is_open
