"""Leverage brackets: how large a position may be, what it must keep, and where it is liquidated."""

from decimal import Decimal

import pytest
from msgspec.structs import replace

from bot.exchange.matching import Engine, NewOrder, Rejection, Settings
from bot.exchange.simulator.brackets import brackets_of
from bot.venue import MarginBracket
from tests.exchange.plays import SYMBOL, D, play, venue

BRACKETS = (
    MarginBracket(notional_cap=D(10_000), maintenance_rate=D("0.01"), amount=D(0), max_leverage=50),
    MarginBracket(notional_cap=D(50_000), maintenance_rate=D("0.02"), amount=D(100), max_leverage=20),
    MarginBracket(notional_cap=D(100_000), maintenance_rate=D("0.05"), amount=D(1600), max_leverage=5),
)


def engine_with_brackets() -> Engine:
    instrument = replace(venue().instrument(SYMBOL), brackets=BRACKETS)
    settings = Settings(partial_fill_probability=0.0, percent_price=D(1))
    return play(Engine({SYMBOL: instrument}, D(10_000), settings), "mark 100\nlast 100")


def limit(quantity: str, side: str = "BUY", price: str = "100") -> NewOrder:
    return NewOrder(symbol=SYMBOL, side=side, type="LIMIT", quantity=D(quantity), price=D(price), time_in_force="GTC")


def test_position_and_orders_may_not_exceed_what_the_leverage_allows() -> None:
    engine = engine_with_brackets()
    assert engine.largest_notional(SYMBOL) == 50_000  # at 20
    engine.place(limit("400"))
    with pytest.raises(Rejection, match="-2027"):
        engine.place(limit("101"))
    engine.place(limit("500", "SELL"))
    engine.place(limit("100"))


def test_a_smaller_leverage_allows_a_larger_position() -> None:
    engine = engine_with_brackets()
    engine.set_leverage(SYMBOL, 5)
    assert engine.largest_notional(SYMBOL) == 100_000
    with pytest.raises(Rejection, match="-2019"):
        engine.place(limit("900"))  # allowed, but 18000 of margin are not there


def test_the_leverage_is_bounded_by_the_symbol_and_by_what_is_open() -> None:
    engine = engine_with_brackets()
    with pytest.raises(Rejection, match="-4028"):
        engine.set_leverage(SYMBOL, 51)
    engine.place(limit("200"))
    with pytest.raises(Rejection, match="-2027"):
        engine.set_leverage(SYMBOL, 21)
    assert engine.leverage(SYMBOL) == 20


def test_the_maintenance_margin_is_that_of_the_bracket_and_has_no_jumps() -> None:
    engine = play(engine_with_brackets(), "limit buy 100 @ 100 e\nlast 100")
    assert engine.maintenance_margin(SYMBOL) == 100  # 10000 x 0.01
    play(engine, "limit buy 100 @ 100 f\nlast 100")
    assert engine.maintenance_margin(SYMBOL) == 300  # 20000 x 0.02 - 100
    for before, after in zip(BRACKETS, BRACKETS[1:], strict=False):
        edge = before.notional_cap
        assert edge * before.maintenance_rate - before.amount == edge * after.maintenance_rate - after.amount


def test_a_short_is_liquidated_in_the_bracket_that_its_loss_carries_it_into() -> None:
    engine = play(engine_with_brackets(), "limit sell 400 @ 100 e\nlast 100")
    price = engine.liquidation_price(SYMBOL)
    # wallet 9992: 9992 + 40000 - 400 p = 400 p x 0.02 - 100, p = 122.77; 49110 is in the second bracket
    assert price == D("122.77450980")
    engine.impose_leverage(SYMBOL, 5)
    play(engine, "limit sell 60 @ 100 f\nlast 100")
    # wallet 9990.8: 9990.8 + 46000 - 460 p = 460 p x 0.05 - 1600, p = 119.24; 54848 is in the third
    assert engine.liquidation_price(SYMBOL) == D("119.23561077")
    play(engine, "mark 119.2")
    assert engine.position(SYMBOL).quantity == -460
    play(engine, "mark 119.3")
    assert engine.position(SYMBOL).quantity == 0


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT", "SOLUSDT", "MADEUPUSDT"])
def test_the_simulators_brackets_rise_and_keep_the_margin_continuous(symbol: str) -> None:
    brackets = brackets_of(symbol)
    assert brackets[0].amount == 0
    for before, after in zip(brackets, brackets[1:], strict=False):
        edge = before.notional_cap
        assert after.notional_cap > edge
        assert after.max_leverage < before.max_leverage
        assert edge * before.maintenance_rate - before.amount == edge * after.maintenance_rate - after.amount
        assert after.maintenance_rate <= Decimal(1) / after.max_leverage
