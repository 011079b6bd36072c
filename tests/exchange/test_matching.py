"""Hand-computed cases. A case is a play (what happens, one step a line) and the lines that must come of it.

The tick is 0.1, the step 0.001, maker 2 bps, taker 5 bps, slippage 10 bps, the wallet 10000, the leverage 20, unless
a case says otherwise. Orders: KIND SIDE QUANTITY [@ PRICE] CLIENT_ID [word...]; stops and targets are reduce-only.
"""

from decimal import Decimal

import pytest
from msgspec.structs import replace

from bot.exchange.matching import AlgoUpdated, Engine, NewAlgo, NewOrder, OrderUpdated, Rejection, Settings
from bot.venue import Instrument, VenueStatus

D = Decimal
SYMBOL = "SOLUSDT"
KINDS = {"stop": "STOP_MARKET", "target": "TAKE_PROFIT_MARKET"}


def venue(**settings: object) -> Engine:
    instrument = Instrument(
        symbol=SYMBOL,
        tick_size=D("0.1"),
        step_size=D("0.001"),
        min_quantity=D("0.001"),
        max_quantity=D(10_000),
        max_market_quantity=D(10_000),
        min_notional=D(5),
    )
    chosen = {"market_slippage_bps": D(10), "partial_fill_probability": 0.0, "percent_price": D(1)} | settings
    instruments = {SYMBOL: instrument, "ETHUSDT": replace(instrument, symbol="ETHUSDT")}
    return Engine(instruments, D(10_000), Settings(**chosen))  # type: ignore[arg-type]


def play(engine: Engine, text: str) -> Engine:
    for line in filter(None, map(str.strip, text.splitlines())):
        engine.step(engine.now + 1)
        verb, *words = line.split()
        match verb:
            case "last":
                engine.on_price(SYMBOL, D(words[0]))
            case "gap":
                engine.on_price(SYMBOL, D(words[0]), gap=True)
            case "mark":
                engine.on_mark(SYMBOL, D(words[0]))
            case "funding":
                engine.pay_funding(SYMBOL, D(words[0]))
            case "cancel":
                engine.cancel(SYMBOL, client_id=words[0])
            case "limit" | "market":
                _place(engine, verb, words)
            case "stop" | "target":
                _place_algo(engine, verb, words)
            case _:
                raise AssertionError(line)
    return engine


def _split(words: list[str]) -> tuple[str, Decimal, Decimal | None, str, list[str]]:
    side, quantity, *rest = words
    price = D(rest[1]) if rest[0] == "@" else None
    client_id, *flags = rest[2:] if price is not None else rest
    return side.upper(), D(quantity), price, client_id, flags


def _place(engine: Engine, verb: str, words: list[str]) -> None:
    side, quantity, price, client_id, flags = _split(words)
    time_in_force = next((flag for flag in flags if flag.isupper()), "GTC")
    engine.place(
        NewOrder(
            symbol=SYMBOL,
            side=side,
            type=verb.upper(),
            quantity=quantity,
            price=price,
            time_in_force=time_in_force if price is not None else None,
            reduce_only="reduce" in flags,
            client_id=client_id,
        )
    )


def _place_algo(engine: Engine, verb: str, words: list[str]) -> None:
    side, quantity, price, client_id, flags = _split(words)
    close = "close" in flags
    engine.place_algo(
        NewAlgo(
            symbol=SYMBOL,
            side=side,
            type=KINDS[verb],
            quantity=None if close else quantity,
            trigger_price=price,
            reduce_only=not close and "open" not in flags,
            close_position=close,
            working_type="MARK_PRICE" if "mark" in flags else "CONTRACT_PRICE",
            client_id=client_id,
        )
    )


def plain(value: Decimal) -> str:
    return f"{value.normalize():f}"


def told_fills(engine: Engine) -> list[str]:
    return [
        f"{fill.client_id} {'buy' if fill.buy else 'sell'} {plain(fill.quantity)} @ {plain(fill.price)} "
        f"{'maker' if fill.maker else 'taker'} fee {plain(fill.fee)} pnl {plain(fill.realized_pnl)}"
        for fill in engine.fills
    ]


def told_events(engine: Engine) -> list[str]:
    told = []
    for event in engine.take_events():
        match event:
            case OrderUpdated(order=order, execution=execution):
                reason = f" er={order.expire_reason}" if order.expire_reason else ""
                told.append(f"order {order.client_id} {execution} {order.status}{reason}")
            case AlgoUpdated(algo=algo):
                told.append(f"algo {algo.client_id} {algo.status} {algo.reject_reason}".strip())
            case _:
                told.append(f"account {event.reason} {plain(event.wallet)}")
    return told


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.strip().splitlines()]


FILLS = {
    "a limit that the price falls through fills at its own price as maker": (
        """last 100
           limit buy 2 @ 99 e
           last 98""",
        "e buy 2 @ 99 maker fee 0.0396 pnl 0",
    ),
    "a limit at the last price waits for the next touch": (
        """last 100
           limit buy 2 @ 100 e
           last 100""",
        "e buy 2 @ 100 maker fee 0.04 pnl 0",
    ),
    "a limit beyond the last price takes at the slipped price": (
        """last 100
           limit buy 2 @ 101 e""",
        "e buy 2 @ 100.1 taker fee 0.1001 pnl 0",
    ),
    "a taker never pays more than its limit": (
        """last 200
           limit buy 2 @ 200.1 e""",
        "e buy 2 @ 200.1 taker fee 0.2001 pnl 0",
    ),
    "a market order pays the slippage, rounded to the tick away from it": (
        """last 100.5
           market buy 1 b
           market sell 1 s""",
        # 100.5 x 1.001 = 100.6005 and 100.5 x 0.999 = 100.3995
        """b buy 1 @ 100.7 taker fee 0.05035 pnl 0
           s sell 1 @ 100.3 taker fee 0.05015 pnl -0.4""",
    ),
    "a stop met on the way fills at its trigger, slipped": (
        """last 100
           limit buy 1 @ 100 e
           last 100
           stop sell 1 @ 95 s
           last 90""",
        """e buy 1 @ 100 maker fee 0.02 pnl 0
           s sell 1 @ 94.9 taker fee 0.04745 pnl -5.1""",
    ),
    "a stop jumped by a gap fills at the new price, slipped": (
        """last 100
           limit buy 1 @ 100 e
           last 100
           stop sell 1 @ 95 s
           gap 90""",
        """e buy 1 @ 100 maker fee 0.02 pnl 0
           s sell 1 @ 89.9 taker fee 0.04495 pnl -10.1""",
    ),
    "a limit jumped by a gap fills at the new price": (
        """last 100
           limit buy 2 @ 99 e
           gap 97""",
        "e buy 2 @ 97 maker fee 0.0388 pnl 0",
    ),
    "a target of a short is met on the way down": (
        """last 100
           limit sell 1 @ 101 e
           last 101
           target buy 1 @ 90 t
           last 85""",
        # 90 x 1.001 = 90.09
        """e sell 1 @ 101 maker fee 0.0202 pnl 0
           t buy 1 @ 90.1 taker fee 0.04505 pnl 10.9""",
    ),
    "levels on one move act nearest first": (
        """last 100
           limit buy 1 @ 97 far
           limit buy 1 @ 99 near
           limit buy 1 @ 98 middle
           last 96""",
        """near buy 1 @ 99 maker fee 0.0198 pnl 0
           middle buy 1 @ 98 maker fee 0.0196 pnl 0
           far buy 1 @ 97 maker fee 0.0194 pnl 0""",
    ),
    "of two orders at one price the older fills first": (
        """last 100
           limit buy 1 @ 99 old
           limit buy 2 @ 99 young
           last 99""",
        """old buy 1 @ 99 maker fee 0.0198 pnl 0
           young buy 2 @ 99 maker fee 0.0396 pnl 0""",
    ),
    "a stop comes before a limit that waits at the same price": (
        """last 100
           market buy 1 b
           limit buy 1 @ 95 more
           stop sell 1 @ 95 s
           last 95""",
        """b buy 1 @ 100.1 taker fee 0.05005 pnl 0
           s sell 1 @ 94.9 taker fee 0.04745 pnl -5.2
           more buy 1 @ 95 maker fee 0.019 pnl 0""",
    ),
    "in a gap stops act before limits whatever their distance": (
        """last 100
           market buy 1 b
           limit buy 1 @ 98 more
           stop sell 1 @ 95 s
           gap 90""",
        """b buy 1 @ 100.1 taker fee 0.05005 pnl 0
           s sell 1 @ 89.9 taker fee 0.04495 pnl -10.2
           more buy 1 @ 90 maker fee 0.018 pnl 0""",
    ),
    "two entries are netted at their average and a part is closed against it": (
        """last 100
           limit buy 1 @ 100 a
           limit buy 3 @ 96 b
           last 96
           limit sell 2 @ 103 t reduce
           last 103""",
        # average (100 + 3 x 96) / 4 = 97
        """a buy 1 @ 100 maker fee 0.02 pnl 0
           b buy 3 @ 96 maker fee 0.0576 pnl 0
           t sell 2 @ 103 maker fee 0.0412 pnl 12""",
    ),
    "an order larger than the position turns it over": (
        """last 100
           limit buy 1 @ 100 a
           last 100
           limit sell 3 @ 104 f
           last 104
           limit buy 2 @ 101 c
           last 101""",
        """a buy 1 @ 100 maker fee 0.02 pnl 0
           f sell 3 @ 104 maker fee 0.0624 pnl 4
           c buy 2 @ 101 maker fee 0.0404 pnl 6""",
    ),
    "a reduce-only market order is cut to the position": (
        """last 100
           limit buy 1 @ 100 a
           last 100
           market sell 5 x reduce""",
        """a buy 1 @ 100 maker fee 0.02 pnl 0
           x sell 1 @ 99.9 taker fee 0.04995 pnl -0.1""",
    ),
    "a stop is cut to what is left of the net position": (
        """last 100
           limit buy 3 @ 100 a
           last 100
           stop sell 2 @ 95 s1
           stop sell 2 @ 95 s2
           last 95""",
        """a buy 3 @ 100 maker fee 0.06 pnl 0
           s1 sell 2 @ 94.9 taker fee 0.0949 pnl -10.2
           s2 sell 1 @ 94.9 taker fee 0.04745 pnl -5.1""",
    ),
    "an immediate-or-cancel order away from the market does nothing": (
        """last 100
           limit buy 1 @ 99 i IOC
           last 98""",
        "",
    ),
    "a post-only order waits": (
        """last 100
           limit sell 1 @ 100.1 p GTX
           last 100.1""",
        "p sell 1 @ 100.1 maker fee 0.02002 pnl 0",
    ),
    "a stop on the mark price ignores the last price and fills near it": (
        """last 100
           mark 100
           limit buy 1 @ 100 a
           last 100
           stop sell 1 @ 95 s mark
           last 94
           mark 95""",
        # 94 x 0.999 = 93.906
        """a buy 1 @ 100 maker fee 0.02 pnl 0
           s sell 1 @ 93.9 taker fee 0.04695 pnl -6.1""",
    ),
    "without any price a market order finds nobody": ("market buy 1 m", ""),
}


@pytest.mark.parametrize("case", FILLS)
def test_fills(case: str) -> None:
    text, expected = FILLS[case]
    assert told_fills(play(venue(), text)) == lines(expected)


EVENTS = {
    "a market order": (
        """last 100
           market buy 1 m""",
        """order m NEW NEW
           order m TRADE FILLED
           account ORDER 9999.94995""",
    ),
    "a trigger, its child and the orphan it leaves": (
        """last 100
           limit buy 1 @ 100 e
           last 100
           stop sell 1 @ 95 s
           target sell 1 @ 110 t
           last 95
           last 110""",
        """order e NEW NEW
           order e TRADE FILLED
           account ORDER 9999.98
           algo s NEW
           algo t NEW
           algo s TRIGGERING
           algo s TRIGGERED
           order s NEW NEW
           order s TRADE FILLED
           account ORDER 9994.83255
           algo s FINISHED
           algo t TRIGGERING
           algo t REJECTED Reduce Only reject""",
    ),
    "closePosition orders expire with the position": (
        """last 100
           limit buy 1 @ 100 e
           last 100
           stop sell 0 @ 90 s close
           target sell 0 @ 101 t close
           last 101""",
        # 101 x 0.999 = 100.899 -> 100.8, fee 0.0504
        """order e NEW NEW
           order e TRADE FILLED
           account ORDER 9999.98
           algo s NEW
           algo t NEW
           algo t TRIGGERING
           algo t TRIGGERED
           order t NEW NEW
           order t TRADE FILLED
           account ORDER 10000.7296
           algo s EXPIRED
           algo t FINISHED""",
    ),
    "a reduce-only limit falls with the position it would reduce": (
        """last 100
           limit buy 1 @ 100 e
           last 100
           limit sell 1 @ 110 t reduce
           market sell 1 x""",
        """order e NEW NEW
           order e TRADE FILLED
           account ORDER 9999.98
           order t NEW NEW
           order x NEW NEW
           order x TRADE FILLED
           account ORDER 9999.83005
           order t EXPIRED EXPIRED er=4""",
    ),
    "of two reduce-only limits the worse one falls when the better covers the position": (
        """last 100
           limit buy 1 @ 100 e
           last 100
           limit sell 1 @ 110 worse reduce
           limit sell 1 @ 105 better reduce""",
        """order e NEW NEW
           order e TRADE FILLED
           account ORDER 9999.98
           order worse NEW NEW
           order better NEW NEW
           order worse EXPIRED EXPIRED er=4""",
    ),
    "the rest of an immediate-or-cancel order, and a cancel": (
        """last 100
           limit buy 1 @ 99 i IOC
           limit buy 1 @ 98 g
           cancel g""",
        """order i NEW NEW
           order i EXPIRED EXPIRED er=2
           order g NEW NEW
           order g CANCELED CANCELED""",
    ),
    "longs pay a positive funding rate": (
        """last 100
           mark 102
           limit buy 2 @ 100 e
           last 100
           funding 0.0001
           funding -0.0005""",
        """order e NEW NEW
           order e TRADE FILLED
           account ORDER 9999.96
           account FUNDING_FEE 9999.9396
           account FUNDING_FEE 10000.0416""",
    ),
    "funding while flat is nothing": ("mark 100\nfunding 0.01", ""),
}


@pytest.mark.parametrize("case", EVENTS)
def test_events_come_in_the_venues_order(case: str) -> None:
    text, expected = EVENTS[case]
    assert told_events(play(venue(), text)) == lines(expected)


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
