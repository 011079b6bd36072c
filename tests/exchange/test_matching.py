"""Hand-computed cases: a play (see `plays`) and the fills or events, line by line, that must come of it."""

import pytest

from tests.exchange.plays import play, told_events, told_fills, venue


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
    "a limit jumped by a gap fills at its own price": (
        """last 100
           limit buy 2 @ 99 e
           gap 97""",
        "e buy 2 @ 99 maker fee 0.0396 pnl 0",
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
           more buy 1 @ 98 maker fee 0.0196 pnl 0""",
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
