from decimal import Decimal

import asyncpg
import pytest

from bot.hookspecs import Recent
from bot.journal.queries import EquityPoint, Queries, SignalCount
from bot.journal.records import Records
from bot.journal.store import Store
from bot.messages import BotEvent, PositionStatus, Severity
from bot.venue import Leg, OrderState
from tests.journal.conftest import CHECKOUT
from tests.journal.rows import AT, fill, funding, order, position, signal

pytestmark = pytest.mark.anyio


@pytest.fixture
def queries(pool: asyncpg.Pool) -> Queries:
    return Queries(pool)


async def test_signals_come_newest_first_through_their_filters(pool: asyncpg.Pool, queries: Queries) -> None:
    rows = [
        signal("a"),
        signal("b", cycle_at=AT + 1, variant="ETH", symbol="ETHUSDT"),
        signal("c", cycle_at=AT + 2, decision="refuse", decision_reason="rsi"),
    ]
    await Records(pool).write(rows)

    assert [row.signal_id for row in await queries.signals()] == ["c", "b", "a"]
    assert await queries.signals(limit=1) == [rows[2]]
    assert await queries.signals(variant="ETH") == await queries.signals(symbol="ETHUSDT") == [rows[1]]
    assert [row.signal_id for row in await queries.signals(decision="enter", symbol="BTCUSDT")] == ["a"]


async def test_what_the_models_said_comes_oldest_first_for_a_stretch_of_time(
    pool: asyncpg.Pool, queries: Queries
) -> None:
    day = 86_400_000
    await Records(pool).write(
        [
            signal("new", cycle_at=AT + 7 * day, predicted_return=None, decision_reason="absurd_forecast"),
            signal("edge", cycle_at=AT, variant="B"),
            signal("edge-first", cycle_at=AT, variant="A"),
            signal("old", cycle_at=AT - 1),
        ]
    )
    rows = await queries.said(None, 7 * day)
    assert [row.signal_id for row in rows] == ["edge-first", "edge", "new"]
    said = rows[0]
    assert (said.tier, said.checkpoint, said.predicted_return, said.threshold) == ("t1", "nano-1", 0.0123, 0.004)
    assert (rows[2].predicted_return, rows[2].decision_reason) == (None, "absurd_forecast")
    older = await queries.said(AT + 7 * day - 1, 7 * day)
    assert [row.signal_id for row in older] == ["old", "edge-first", "edge"]
    assert await queries.said(AT + 20 * day, 7 * day) == []


async def test_events_of_some_names_come_oldest_first(pool: asyncpg.Pool, queries: Queries) -> None:
    names = ("dead_variant", "started", "dead_variant_over", "dead_variant")
    await Records(pool).write([BotEvent(at=AT + index, name=name) for index, name in enumerate(names)])
    told = await queries.told(("dead_variant", "dead_variant_over"), AT + 1)
    assert [(event.name, event.at - AT) for event in told] == [("dead_variant_over", 2), ("dead_variant", 3)]


async def test_positions_orders_fills_and_events_come_through_their_filters(
    pool: asyncpg.Pool, queries: Queries
) -> None:
    await Store(pool).save(
        orders=[order("o1"), order("o2", position_id="p2", state=OrderState.WORKING)],
        positions=[position("p1"), position("p2", variant="ETH", status=PositionStatus.OPEN, created_at=AT + 1)],
        fills=[(fill(1), "p1", Leg.ENTRY), (fill(2, at=AT + 1), None, None), (fill(1, symbol="ETHUSDT"), "p2", None)],
    )
    await Records(pool).write(
        [BotEvent(at=AT, name="up"), BotEvent(at=AT + 1, name="down", severity=Severity.ERROR, detail={"n": 1.5})]
    )
    assert [row.position_id for row in await queries.positions()] == ["p2", "p1"]
    assert [row.position_id for row in await queries.positions(status=PositionStatus.OPEN)] == ["p2"]
    assert [row.position_id for row in await queries.positions(variant="BTC", symbol="BTCUSDT")] == ["p1"]
    assert [row.client_id for row in await queries.orders(position_id="p2")] == ["o2"]
    assert [row.client_id for row in await queries.orders(state=OrderState.INTENDED, symbol="BTCUSDT")] == ["o1"]
    assert [(row.symbol, row.trade_id) for row in await queries.fills(symbol="BTCUSDT")] == [
        ("BTCUSDT", 2),
        ("BTCUSDT", 1),
    ]
    (booked,) = await queries.fills(position_id="p1")
    assert (booked.price, booked.leg, booked.venue_id) == (fill(1).price, Leg.ENTRY, fill(1).venue_id)
    assert [row.name for row in await queries.events(limit=1)] == ["down"]
    assert [row.detail for row in await queries.events(severity=Severity.ERROR)] == [{"n": 1.5}]


async def test_the_facts_of_an_empty_journal_are_zeros(queries: Queries) -> None:
    facts = await queries.run_facts()
    assert (facts.signals, facts.reasons, facts.exits, facts.orders, facts.max_drawdown) == ({}, [], {}, 0, 0.0)
    assert facts.net_pnl == 0
    assert await queries.equity_curve() == []


async def test_the_facts_of_a_run_add_up(pool: asyncpg.Pool, queries: Queries) -> None:
    store = Store(pool)
    await store.set_fact("starting_wallet", "1000")
    await Records(pool).write(
        [signal("a"), signal("b", decision="refuse", decision_reason="rsi"), signal("c", decision="refuse")]
        + [signal(f"d{number}", decision="refuse", decision_reason="rsi") for number in range(2)]
    )
    done = {"status": PositionStatus.CLOSED, "filled": Decimal(1), "closed": Decimal(1)}
    await store.save(
        orders=[order("o1"), order("o2")],
        positions=[
            position("p1", **done, exit_reason="stop", closed_at=AT + 2),
            position("p2", **done, exit_reason="target", closed_at=AT + 1),
            position("p3", **done, exit_reason="stop", closed_at=AT + 3),
            position("p4", status=PositionStatus.CLOSED, exit_reason="expired"),
            position("p5", status=PositionStatus.OPEN, filled=Decimal(1)),
        ],
        fills=[
            (fill(1, fee=Decimal(10)), "p1", Leg.ENTRY),
            (fill(2, fee=Decimal(0), realized_pnl=Decimal(110), at=AT + 2), "p1", Leg.TARGET),
            (fill(3, fee=Decimal(0), realized_pnl=Decimal(-275), at=AT + 3), "p1", Leg.STOP),
        ],
        funding=[funding(amount=Decimal("-0.5"), at=AT + 3)],
    )
    facts = await queries.run_facts()
    assert facts.signals == {"enter": 1, "refuse": 4}
    assert facts.reasons[0] == SignalCount("refuse", "rsi", 3)
    assert (facts.orders, facts.entries_filled, facts.open_positions) == (2, 4, 1)
    assert facts.exits == {"stop": 2, "target": 1}
    assert (facts.ledger.fees, facts.ledger.funding) == (Decimal(10), Decimal("-0.5"))
    assert facts.net_pnl == Decimal("-175.5")
    assert facts.max_drawdown == pytest.approx(275.5 / 1100)
    assert [row.position_id for row in await queries.closed_positions()] == ["p2", "p1", "p3"]
    assert await queries.equity_curve() == [
        EquityPoint(AT, Decimal(990)),
        EquityPoint(AT + 2, Decimal(1100)),
        EquityPoint(AT + 3, Decimal(825)),
        EquityPoint(AT + 3, Decimal("824.5")),
    ]


async def test_the_questions_of_the_manual_can_be_asked(pool: asyncpg.Pool) -> None:
    await Records(pool).write([signal(), signal("s2", decision="refuse")])
    asked = (CHECKOUT / "docs" / "journal.md").read_text(encoding="utf-8").split("```sql\n")[1].split("```")[0]
    questions = [question for question in asked.split(";") if question.strip()]
    assert len(questions) >= 3
    for question in questions:
        await pool.fetch(question)


async def test_the_last_entry_and_loss_of_each_variant_and_symbol_are_known(
    pool: asyncpg.Pool, queries: Queries
) -> None:
    filled = {"filled": Decimal(1), "entry_price": Decimal(100)}
    closed = filled | {"closed": Decimal(1), "exit_price": Decimal(99), "status": PositionStatus.CLOSED}
    rows = [
        position("loss", opened_at=AT, closed_at=AT + 1, gross_pnl=Decimal(-1), **closed),
        position("gain", opened_at=AT + 2, closed_at=AT + 3, gross_pnl=Decimal(1), **closed),
        position("rests", created_at=AT + 4),
        position("open", symbol="ETHUSDT", opened_at=AT + 5, status=PositionStatus.OPEN, fees=Decimal(1), **filled),
    ]
    await Store(pool).save(positions=rows)
    assert await queries.recent() == {
        ("BTC", "BTCUSDT"): Recent(last_entry_at=AT + 2, last_loss_at=AT + 1),
        ("BTC", "ETHUSDT"): Recent(last_entry_at=AT + 5),
    }
