"""Each refusal of the venue: what was asked of a venue in which state, and Binance's code for it."""

from decimal import Decimal

import pytest
from msgspec.structs import replace

from bot.exchange.matching import Engine, NewAlgo, NewOrder, Rejection, Settings, Switches
from bot.venue import Instrument, VenueStatus

D = Decimal
INSTRUMENT = Instrument(
    symbol="BTCUSDT",
    tick_size=D("0.10"),
    step_size=D("0.001"),
    min_quantity=D("0.002"),
    max_quantity=D(1000),
    max_market_quantity=D(120),
    min_notional=D(50),
)
LIMIT = NewOrder(symbol="BTCUSDT", side="BUY", type="LIMIT", time_in_force="GTC", quantity=D("0.1"), price=D(999))
MARKET = NewOrder(symbol="BTCUSDT", side="BUY", type="MARKET", quantity=D("0.1"))
STOP = NewAlgo(
    symbol="BTCUSDT", side="SELL", type="STOP_MARKET", quantity=D("0.1"), trigger_price=D(900), reduce_only=True
)
CLOSE = replace(STOP, quantity=None, reduce_only=False, close_position=True)


@pytest.fixture
def flat() -> Engine:
    engine = Engine(
        {"BTCUSDT": INSTRUMENT, "OLDUSDT": replace(INSTRUMENT, symbol="OLDUSDT", trading=False)},
        D(1000),
        Settings(partial_fill_probability=0),
    )
    engine.on_price("BTCUSDT", D(1000))
    engine.on_mark("BTCUSDT", D(1000))
    return engine


@pytest.fixture
def long(flat: Engine) -> Engine:
    flat.place(MARKET)
    return flat


ORDERS = [
    (-1121, replace(LIMIT, symbol="NOUSDT")),
    (-4140, replace(LIMIT, symbol="OLDUSDT")),
    (-4120, replace(LIMIT, type="STOP")),
    (-4120, replace(LIMIT, type="STOP_MARKET")),
    (-4120, replace(LIMIT, type="TAKE_PROFIT_MARKET")),
    (-4120, replace(LIMIT, type="TRAILING_STOP_MARKET")),
    (-1116, replace(LIMIT, type="ICEBERG")),
    (-1117, replace(LIMIT, side="LONG")),
    (-1102, replace(LIMIT, quantity=None)),
    (-1102, replace(LIMIT, price=None)),
    (-1102, replace(LIMIT, time_in_force=None)),
    (-1115, replace(LIMIT, time_in_force="DAY")),
    (-1106, replace(MARKET, price=D(1000))),
    (-1106, replace(MARKET, time_in_force="GTC")),
    (-4015, replace(LIMIT, client_id="")),
    (-4015, replace(LIMIT, client_id="a" * 37)),
    (-4015, replace(LIMIT, client_id="a b")),
    (-4015, replace(LIMIT, client_id="ende\n")),
    (-1111, replace(LIMIT, price=D("999.123"))),
    (-1111, replace(LIMIT, quantity=D("0.1001"))),
    (-4014, replace(LIMIT, price=D("999.15"))),
    (-4001, replace(LIMIT, price=D(0))),
    (-4016, replace(LIMIT, price=D("1050.1"))),
    (-4024, replace(LIMIT, side="SELL", price=D("949.9"))),
    (-4003, replace(LIMIT, quantity=D(0))),
    (-4003, replace(LIMIT, quantity=D(-1))),
    (-4004, replace(LIMIT, quantity=D("0.001"))),
    (-4005, replace(LIMIT, quantity=D("1000.001"))),
    (-4005, replace(MARKET, quantity=D("120.001"))),
    (-4164, replace(LIMIT, quantity=D("0.05"))),
    (-4164, replace(MARKET, quantity=D("0.049"))),
    (-2022, replace(MARKET, reduce_only=True)),
    (-2022, replace(LIMIT, reduce_only=True)),
    (-2019, replace(LIMIT, quantity=D(21))),
    (-2019, replace(MARKET, quantity=D(20))),
    (-5022, replace(LIMIT, price=D(1001), time_in_force="GTX")),
    (-5021, replace(LIMIT, price=D(999), time_in_force="FOK")),
]


@pytest.mark.parametrize(("code", "new"), ORDERS)
def test_a_refused_order_changes_nothing(flat: Engine, code: int, new: NewOrder) -> None:
    with pytest.raises(Rejection) as refusal:
        flat.place(new)
    assert refusal.value.code == code
    assert not flat.orders
    assert not flat.take_events()


ALGOS = [
    (-1121, replace(STOP, symbol="NOUSDT")),
    (-1116, replace(STOP, type="LIMIT")),
    (-1117, replace(STOP, side="SHORT")),
    (-1102, replace(STOP, trigger_price=None)),
    (-1102, replace(STOP, quantity=None)),
    (-1102, replace(STOP, working_type="INDEX")),
    (-4137, replace(STOP, reduce_only=False, close_position=True)),
    (-1106, replace(CLOSE, reduce_only=True)),
    (-4015, replace(STOP, client_id="ä")),
    (-1111, replace(STOP, trigger_price=D("900.001"))),
    (-4014, replace(STOP, trigger_price=D("900.05"))),
    (-4004, replace(STOP, quantity=D("0.001"))),
    (-4164, replace(STOP, quantity=D("0.002"), reduce_only=False)),
    (-4509, CLOSE),
    (-2021, replace(STOP, trigger_price=D(1000))),
    (-2021, replace(STOP, trigger_price=D(1000), working_type="MARK_PRICE")),
    (-2021, replace(STOP, side="BUY", trigger_price=D(999))),
    (-2021, replace(STOP, type="TAKE_PROFIT_MARKET", trigger_price=D(999))),
    (-2021, replace(STOP, type="TAKE_PROFIT_MARKET", side="BUY", trigger_price=D(1001))),
]


@pytest.mark.parametrize(("code", "new"), ALGOS)
def test_a_refused_conditional_order_changes_nothing(flat: Engine, code: int, new: NewAlgo) -> None:
    with pytest.raises(Rejection) as refusal:
        flat.place_algo(new)
    assert refusal.value.code == code
    assert not flat.algos
    assert not flat.take_events()


def test_a_client_id_may_not_be_open_twice_but_may_be_used_again(flat: Engine) -> None:
    first = flat.place(replace(LIMIT, client_id="one"))
    with pytest.raises(Rejection, match="-4116"):
        flat.place(replace(LIMIT, client_id="one"))
    flat.cancel("BTCUSDT", client_id="one")
    second = flat.place(replace(LIMIT, client_id="one"))
    assert flat.order("BTCUSDT", client_id="one") == second
    assert flat.order("BTCUSDT", order_id=first.order_id).status is VenueStatus.CANCELED


def test_a_conditional_client_id_may_not_be_open_twice(flat: Engine) -> None:
    flat.place_algo(replace(STOP, client_id="s"))
    with pytest.raises(Rejection, match="-4116"):
        flat.place_algo(replace(STOP, client_id="s"))
    flat.place(replace(LIMIT, client_id="s"))


def test_reduce_only_may_not_add_to_a_position(long: Engine) -> None:
    with pytest.raises(Rejection, match="-2022"):
        long.place(replace(MARKET, reduce_only=True))


def test_a_reduce_only_order_needs_no_notional_and_no_margin(long: Engine) -> None:
    order = long.place(replace(MARKET, side="SELL", quantity=D("0.002"), reduce_only=True))
    assert order.status is VenueStatus.FILLED


def test_an_order_that_reduces_needs_no_margin_though_it_may_turn_the_position(flat: Engine) -> None:
    flat.place(replace(MARKET, quantity=D("19.8")))
    with pytest.raises(Rejection, match="-2019"):
        flat.place(replace(MARKET, quantity=D("0.5")))
    assert flat.place(replace(MARKET, side="SELL", quantity=D(30))).status is VenueStatus.FILLED


def test_a_second_close_position_order_of_one_kind_is_refused(long: Engine) -> None:
    long.place_algo(CLOSE)
    with pytest.raises(Rejection, match="-4130"):
        long.place_algo(replace(CLOSE, trigger_price=D(800)))
    long.place_algo(replace(CLOSE, type="TAKE_PROFIT_MARKET", trigger_price=D(1100)))


def test_the_account_holds_200_conditional_orders(flat: Engine) -> None:
    for _ in range(200):
        flat.place_algo(STOP)
    with pytest.raises(Rejection, match="-4045"):
        flat.place_algo(STOP)


def test_a_symbol_holds_200_orders(flat: Engine) -> None:
    for _ in range(200):
        flat.place(replace(LIMIT, quantity=D("0.06")))
    with pytest.raises(Rejection, match="-2025"):
        flat.place(replace(LIMIT, quantity=D("0.06")))


def test_a_reduce_only_stop_while_flat_is_a_question_of_settings(flat: Engine) -> None:
    assert flat.place_algo(STOP).status is VenueStatus.NEW
    strict = Engine({"BTCUSDT": INSTRUMENT}, D(1000), Settings(switches=Switches(reduce_only_algo_while_flat=False)))
    with pytest.raises(Rejection, match="-2022"):
        strict.place_algo(STOP)


def test_what_is_not_there_cannot_be_asked_for_or_cancelled(flat: Engine) -> None:
    done = flat.place(MARKET)
    for refused, code in (
        (lambda: flat.order("BTCUSDT", client_id="none"), -2013),
        (lambda: flat.order("OLDUSDT", order_id=done.order_id), -2013),
        (lambda: flat.algo(client_id="none"), -2013),
        (lambda: flat.cancel("BTCUSDT", client_id="none"), -2011),
        (lambda: flat.cancel("BTCUSDT", order_id=done.order_id), -2011),
        (lambda: flat.cancel_algo(algo_id=7), -2011),
        (lambda: flat.order("BTCUSDT"), -1102),
        (lambda: flat.algo(), -1102),
        (lambda: flat.set_leverage("BTCUSDT", 126), -4028),
    ):
        with pytest.raises(Rejection) as refusal:
            refused()
        assert refusal.value.code == code
