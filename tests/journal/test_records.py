from decimal import Decimal

import asyncpg
import numpy as np
import pytest

from bot.clock import DAY_MS
from bot.journal.queries import Day, Queries
from bot.journal.records import Records
from bot.journal.store import Store
from bot.messages import (
    BotEvent,
    FilterVerdict,
    JournalEntry,
    PositionStatus,
    ReturnKnown,
    Severity,
    Signal,
    SignalOutcome,
)
from tests.journal.rows import AT, fill, funding, position, signal

pytestmark = pytest.mark.anyio

MIDNIGHT = AT - AT % DAY_MS


@pytest.fixture
def records(pool: asyncpg.Pool) -> Records:
    return Records(pool)


async def stored(pool: asyncpg.Pool) -> dict[str, Signal]:
    return {row.signal_id: row for row in await Queries(pool).signals()}


async def test_a_signal_comes_back_as_it_was_with_every_column(pool: asyncpg.Pool, records: Records) -> None:
    full = signal(
        atr=250.5,
        cat_trend=0.1,
        cat_momentum=-0.2,
        cat_strength=25.0,
        cat_volume=1.5,
        cat_volatility=0.01,
        fill_price=Decimal("84300.1"),
        exit_price=Decimal(86000),
        exit_reason="target",
        net_pnl=Decimal("-0.5"),
        actual_return=0.01,
    )
    bare = Signal(
        signal_id="s2", cycle_at=AT, variant="BTC", tier="t1", symbol="BTCUSDT", threshold=0.004, decision="refuse",
        decision_reason="forecast: stale", entry_method="atr05",
    )  # fmt: skip
    assert await records.write([full, bare]) == []
    assert await stored(pool) == {"s1": full, "s2": bare}


async def test_numbers_that_a_plugin_took_from_numpy_are_numbers(pool: asyncpg.Pool, records: Records) -> None:
    values = {"a": np.float64(0.5), "b": np.int64(3), "c": np.bool_(True)}
    await records.write([signal(filter_verdicts=(FilterVerdict("f", True, "", values),), rsi=np.float64(51))])
    (row,) = (await stored(pool)).values()
    assert row.filter_verdicts[0].values == {"a": 0.5, "b": 3, "c": True}


async def test_a_cycle_that_is_repeated_after_a_restart_leaves_the_first_row(
    pool: asyncpg.Pool, records: Records
) -> None:
    await records.write([signal(), SignalOutcome(signal_id="s1", fill_status="filled")])
    await records.write([signal(decision="refuse", decision_reason="again", fill_status=None)])
    await records.write([signal("s2"), signal("s2", decision_reason="twice in one batch")])
    rows = await stored(pool)
    assert rows["s1"] == signal(fill_status="filled")
    assert rows["s2"] == signal("s2")


async def test_an_outcome_changes_only_the_columns_it_brings(pool: asyncpg.Pool, records: Records) -> None:
    entries: list[JournalEntry] = [
        signal(),
        signal("s2"),
        SignalOutcome(signal_id="s1", fill_status="partial", fill_price=Decimal(84300)),
        SignalOutcome(signal_id="s2", fill_status="expired"),
        SignalOutcome(signal_id="s1", fill_status="filled"),
    ]
    assert await records.write(entries) == []
    await records.write(
        [SignalOutcome(signal_id="s1", exit_price=Decimal(86000), exit_reason="target", net_pnl=Decimal("33.10"))]
    )
    rows = await stored(pool)
    assert rows["s1"] == signal(
        fill_status="filled",
        fill_price=Decimal(84300),
        exit_price=Decimal(86000),
        exit_reason="target",
        net_pnl=Decimal("33.1"),
    )
    assert rows["s2"] == signal("s2", fill_status="expired")


async def test_an_outcome_without_a_signal_is_named(records: Records) -> None:
    assert await records.write([SignalOutcome(signal_id="gone", fill_status="filled")]) == ["gone"]


async def test_a_return_fills_the_gaps_of_its_symbol_and_bar_alone(pool: asyncpg.Pool, records: Records) -> None:
    bar = signal().bar_close_at
    assert bar is not None
    others = [
        signal("refused", decision="refuse", variant="BTC2"),
        signal("known", actual_return=0.5),
        signal("symbol", symbol="ETHUSDT"),
        signal("bar", bar_close_at=bar + 3_600_000),
        signal("none", bar_close_at=None),
    ]
    await records.write([signal(), *others])
    assert {(row.symbol, row.bar_close_at) for row in await Queries(pool).pending_returns(bar)} == {
        ("BTCUSDT", bar),
        ("ETHUSDT", bar),
    }
    await records.write([ReturnKnown(symbol="BTCUSDT", bar_close_at=bar, actual_return=-0.01)])
    await records.write([ReturnKnown(symbol="BTCUSDT", bar_close_at=bar, actual_return=99.0)])
    returns = {name: row.actual_return for name, row in (await stored(pool)).items()}
    assert returns == {"s1": -0.01, "refused": -0.01, "known": 0.5, "symbol": None, "bar": None, "none": None}


async def test_events_keep_their_order_and_lose_their_secrets(pool: asyncpg.Pool, records: Records) -> None:
    detail = {"symbol": "BTCUSDT", "listenKey": "abc", "text": "GET /x?a=1&signature=ff\0", "n": Decimal("1.10")}
    await records.write([BotEvent(at=AT, name="first", detail=detail), BotEvent(at=AT, name="second")])
    second, first = await Queries(pool).events()
    assert (first.name, second.name, second.severity) == ("first", "second", Severity.INFO)
    assert first.detail == {"symbol": "BTCUSDT", "listenKey": "***", "text": "GET /x?***", "n": "1.10"}


async def test_a_batch_with_one_row_that_breaks_a_rule_leaves_nothing(pool: asyncpg.Pool, records: Records) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await records.write([BotEvent(at=AT, name="x"), signal(), signal("s2", decision="maybe")])
    assert await stored(pool) == {}
    assert await Queries(pool).events() == []


async def test_days_add_up_what_was_booked_on_them(pool: asyncpg.Pool, records: Records) -> None:
    store = Store(pool)
    await store.set_fact("starting_wallet", "1000")
    await records.write([signal(), signal("s2", cycle_at=MIDNIGHT + DAY_MS)])
    opened = position(opened_at=AT, filled=Decimal("0.02"), status=PositionStatus.OPEN)
    closed = position("p2", opened_at=AT, filled=Decimal("0.02"), closed_at=AT + DAY_MS, status=PositionStatus.CLOSED)
    expired = position("p3", closed_at=AT + DAY_MS, status=PositionStatus.CLOSED)
    await store.save(
        positions=[opened, closed, expired],
        fills=[
            (fill(1, fee=Decimal(1), realized_pnl=Decimal(101)), "p1", None),
            (fill(2, fee=Decimal(0), realized_pnl=Decimal(-220), at=AT + 1), "p1", None),
            (fill(3, fee=Decimal(5), fee_asset="BNB", realized_pnl=Decimal(110), at=AT + 2 * DAY_MS), "p1", None),
        ],
        funding=[funding(amount=Decimal(-10), at=AT + 2)],
    )
    await records.write_days(MIDNIGHT + 3 * DAY_MS - 1)
    assert await Queries(pool).days() == [
        Day(
            day="2025-03-03", signals=0, entries=0, exits=0, fees=Decimal(0), funding=Decimal(0),
            net_pnl=Decimal(110), wallet=Decimal(980), drawdown=230 / 1100,
        ),
        Day(
            day="2025-03-02", signals=1, entries=0, exits=1, fees=Decimal(0), funding=Decimal(0),
            net_pnl=Decimal(0), wallet=Decimal(870), drawdown=230 / 1100,
        ),
        Day(
            day="2025-03-01", signals=1, entries=2, exits=0, fees=Decimal(1), funding=Decimal(-10),
            net_pnl=Decimal(-130), wallet=Decimal(870), drawdown=230 / 1100,
        ),
    ]  # fmt: skip


async def test_a_day_is_written_again_with_what_became_known_later(pool: asyncpg.Pool, records: Records) -> None:
    store = Store(pool)
    await store.set_fact("starting_wallet", "1000")
    await records.write([signal()])
    await records.write_days(AT)
    await records.write_days(AT + DAY_MS)
    await store.save(fills=[(fill(1, fee=Decimal(1)), None, None)])
    await records.write_days(AT + DAY_MS)
    assert [(day.day, day.wallet, day.fees) for day in await Queries(pool).days()] == [
        ("2025-03-02", Decimal(999), Decimal(0)),
        ("2025-03-01", Decimal(999), Decimal(1)),
    ]


async def test_before_the_starting_wallet_is_known_there_are_no_days(pool: asyncpg.Pool, records: Records) -> None:
    await records.write([signal()])
    await records.write_days(AT)
    assert await Queries(pool).days() == []
