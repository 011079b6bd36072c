"""Partial fills, conditional orders, margin, liquidation and leverage, one behaviour a test."""

from decimal import Decimal

import pytest

from bot.exchange.matching import NewOrder, OrderUpdated, Rejection
from bot.exchange.matching.account import Holding
from bot.venue import VenueStatus
from tests.exchange.plays import SYMBOL, play, told_events, venue

D = Decimal
LONG = """last 100
          limit buy 2 @ 100 e
          last 100"""


def test_a_partial_fill_leaves_the_rest_resting() -> None:
    engine = play(venue(partial_fill_probability=1.0), "last 100\nlimit buy 2 @ 99 e\nlast 98.5")
    first = engine.order(SYMBOL, client_id="e")
    assert first.status is VenueStatus.PARTIALLY_FILLED
    assert 0 < first.executed < 2

    play(engine, "last 99.1")
    assert engine.order(SYMBOL, client_id="e") == first

    play(engine, "last 99")
    assert engine.order(SYMBOL, client_id="e").status is VenueStatus.FILLED
    assert [fill.price for fill in engine.fills] == [99, 99]
    assert sum(fill.quantity for fill in engine.fills) == 2


def test_a_partly_filled_order_can_be_cancelled_and_keeps_its_fill() -> None:
    engine = play(venue(partial_fill_probability=1.0), "last 100\nlimit buy 2 @ 99 e\nlast 99\ncancel e\nlast 98")
    order = engine.order(SYMBOL, client_id="e")
    assert order.status is VenueStatus.CANCELED
    assert order.executed == engine.position(SYMBOL).quantity == engine.fills[0].quantity


def test_a_market_order_may_come_in_two_executions() -> None:
    engine = play(venue(partial_fill_probability=1.0), "last 100\nmarket buy 2 m")
    assert [event.order.status for event in engine.take_events() if isinstance(event, OrderUpdated)] == [
        VenueStatus.NEW,
        VenueStatus.PARTIALLY_FILLED,
        VenueStatus.FILLED,
    ]
    assert [fill.trade_id for fill in engine.fills] == [1, 2]


@pytest.mark.parametrize("words", ["buy 1 @ 101 i IOC", "sell 1 @ 99 i IOC reduce"])
def test_an_immediate_or_cancel_order_expires_with_the_rest_of_a_partial_fill(words: str) -> None:
    engine = play(venue(partial_fill_probability=1.0), f"{LONG}\nlast 100\nlimit {words}")
    order = engine.order(SYMBOL, client_id="i")
    assert (order.status, order.expire_reason) == (VenueStatus.EXPIRED, 2)
    assert 0 < order.executed < 1


def test_how_an_order_fills_does_not_depend_on_what_else_was_placed() -> None:
    alone = play(venue(partial_fill_probability=1.0, seed=4), "last 100\nlimit buy 2 @ 99 e\nlast 99")
    crowded = play(
        venue(partial_fill_probability=1.0, seed=4), "last 100\nlimit buy 3 @ 90 o\nlimit buy 2 @ 99 e\nlast 99"
    )
    assert [fill.quantity for fill in alone.fills] == [fill.quantity for fill in crowded.fills]


def test_a_triggered_order_and_its_child_know_each_other() -> None:
    engine = play(venue(), f"{LONG}\nstop sell 2 @ 95 s\nlast 94")
    algo, child = engine.algo(client_id="s"), engine.order(SYMBOL, client_id="s")
    assert algo.algo_id > 10**15
    assert child.order_id > 10**11
    assert (algo.order_id, child.algo_id) == (child.order_id, algo.algo_id)
    assert (algo.actual_price, algo.actual_quantity) == (D("94.9"), 2)
    assert (child.type, child.original_type, child.reduce_only) == ("MARKET", "STOP_MARKET", True)
    assert algo.status is VenueStatus.FINISHED


def test_an_orphan_stop_outlives_its_position_and_reduces_the_next_one() -> None:
    engine = play(venue(), f"{LONG}\nstop sell 2 @ 95 s\nmarket sell 2 x")
    assert [algo.client_id for algo in engine.open_algos()] == ["s"]
    play(engine, "limit buy 1 @ 97 e2\nlast 90")
    assert engine.positions() == []
    assert engine.algo(client_id="s").actual_quantity == 1


def test_a_conditional_entry_without_the_margin_is_rejected_at_its_trigger() -> None:
    engine = play(venue(), "last 100\nstop buy 2500 @ 110 s open\nlast 110")
    assert engine.algo(client_id="s").status is VenueStatus.REJECTED
    assert engine.algo(client_id="s").reject_reason == "Margin is insufficient."


def test_a_stuck_trigger_never_executes_and_cannot_be_cancelled() -> None:
    engine = play(venue(stuck_trigger_probability=1.0), f"{LONG}\nstop sell 2 @ 95 s\nlast 90\nlast 80")
    assert engine.algo(client_id="s").status is VenueStatus.TRIGGERING
    assert engine.position(SYMBOL).quantity == 2
    with pytest.raises(Rejection, match="-2011"):
        engine.cancel_algo(client_id="s")


def test_the_views_of_an_open_position() -> None:
    engine = play(venue(), f"mark 100\n{LONG}\nlimit buy 3 @ 90 more\nmark 104")
    (position,) = engine.positions()
    assert (position.quantity, position.entry_price, position.unrealized_pnl) == (2, 100, 8)
    assert engine.wallet == D("9999.96")
    assert engine.initial_margin(SYMBOL) == D("23.9")  # (2 x 104 + 3 x 90) / 20
    assert engine.available_balance == D("9984.06")  # 9999.96 + 8 - 23.9
    assert engine.maintenance_margin(SYMBOL) == D("1.04")
    assert engine.liquidation_price(SYMBOL) == 0
    assert [row.kind for row in engine.income] == ["COMMISSION"]


def test_the_account_is_liquidated_at_the_mark_when_it_falls_to_its_maintenance_margin() -> None:
    engine = play(venue(), "mark 100\nlast 100\nlimit buy 1000 @ 100 e\nlast 100\nlimit buy 1 @ 50 o")
    assert engine.wallet == 9980
    # 9980 + 1000 (p - 100) = 0.005 x 1000 p
    price = engine.liquidation_price(SYMBOL)
    assert price == D("90.47236181")
    engine.take_events()
    play(engine, "mark 90.5\nmark 90.4")
    assert [line.replace(engine.fills[-1].client_id, "auto") for line in told_events(engine)] == [
        "margin call",
        "order o EXPIRED EXPIRED er=5",
        "order auto NEW NEW",
        "order auto CALCULATED FILLED",
        "account ORDER 334.8",  # 9980 - 9600 - 45.2
    ]
    assert engine.fills[-1].client_id.startswith("autoclose-")
    assert engine.fills[-1].price == D("90.4")


def test_liquidation_takes_the_largest_position_first_and_stops_when_the_rest_is_safe() -> None:
    engine = play(venue(), "last 100\nlimit buy 1000 @ 100 e\nlast 100")
    engine.on_price("ETHUSDT", D(100))
    engine.place(NewOrder(symbol="ETHUSDT", side="BUY", type="MARKET", quantity=D(50)))
    # 9980 - 2.5025 + 1000 (p - 100) + 50 (100 - 100.1) - 0.005 x 50 x 100 = 0.005 x 1000 p
    assert engine.liquidation_price(SYMBOL) == D("90.50502764")
    play(engine, "mark 90.4")
    assert [(held.symbol, held.quantity) for held in engine.positions()] == [("ETHUSDT", 50)]


def test_a_share_of_the_cost_that_a_partial_close_rounds_away_comes_back_with_the_last_close() -> None:
    text = """last 100
              limit buy 3 @ 100 a
              last 100
              limit buy 4 @ 99.9 b
              last 99.9
              limit sell 1 @ 101 x
              last 101
              limit sell 6 @ 101 y
              last 101"""
    engine = play(venue(maker_fee=D(0)), text)
    assert [fill.realized_pnl for fill in engine.fills[2:]] == [D("1.05714286"), D("6.34285714")]
    assert engine.realized_pnl == D("7.4")  # 7 x 101 - 699.6


def test_a_position_that_is_closed_whole_leaves_no_cost_behind_however_fine_its_grid() -> None:
    holding = Holding()
    holding.trade(D("0.001"), D("0.0000123"), at=1)
    assert holding.trade(D("-0.001"), D("0.0000125"), at=2) == D("0.0000000002")
    assert holding.cost == 0


def test_leverage_sets_what_a_position_binds() -> None:
    engine = play(venue(), "last 100")
    engine.set_leverage(SYMBOL, 1)
    with pytest.raises(Rejection, match="-2019"):
        play(engine, "limit buy 101 @ 99.9 big")
    engine.set_leverage(SYMBOL, 2)
    play(engine, "limit buy 101 @ 99.9 big")
    with pytest.raises(Rejection, match="-2019"):
        engine.set_leverage(SYMBOL, 1)
    assert engine.leverage(SYMBOL) == 2


def test_cancelling_a_symbol_leaves_the_other_book_alone() -> None:
    engine = play(venue(), f"{LONG}\nlimit buy 1 @ 90 o\nstop sell 2 @ 95 s")
    engine.cancel_all(SYMBOL)
    assert engine.open_orders() == []
    assert [algo.client_id for algo in engine.open_algos(SYMBOL)] == ["s"]
    engine.cancel_all_algos(SYMBOL)
    assert engine.open_algos() == []
