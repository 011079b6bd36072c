"""The account guards' memory on a real server: kept, released, counted, and there again after a restart."""

from decimal import Decimal

import asyncpg
import pytest

from bot.clock import HOUR_MS, MINUTE_MS, SECOND_MS
from bot.journal.guards import GuardRows
from bot.journal.store import Store
from bot.messages import GuardTrip, PositionStatus
from bot.strategy.guards import Reading, Track
from bot.venue import Transfer
from tests.account.world import NOON, D, World
from tests.journal.rows import AT, position

pytestmark = pytest.mark.anyio
TRACK = Track(
    reading=Reading(
        at=AT,
        equity=D("10123.45678901"),
        wallet=D("1E+4"),
        ledger=D(10_000),
        transfers=(Transfer("TRANSFER:1", D("-0.00000001"), AT - 1),),
    ),
    index=0.1 + 0.2,
    peak=1 / 3,
    day=20_000,
    losses=4,
    losses_since=AT,
    tripped=(GuardTrip("drawdown", AT, 21.5, 20.0, None), GuardTrip("daily_loss", AT, 4.25, 4.0, AT + 1)),
)


async def test_what_is_kept_is_found_again_to_the_last_digit(pool: asyncpg.Pool) -> None:
    rows = GuardRows(pool)
    assert await rows.load() is None
    await rows.save(Track())
    await rows.save(TRACK)
    assert await rows.load() == TRACK


async def test_a_release_is_found_until_it_was_taken_together_with_the_memory(pool: asyncpg.Pool) -> None:
    rows = GuardRows(pool)
    await rows.ask_release("drawdown")
    await rows.ask_release("daily_loss")
    (first, second) = await rows.releases()
    assert (first[1], second[1]) == ("drawdown", "daily_loss")
    await rows.save(TRACK, [first[0]])
    assert await rows.releases() == [second]


async def test_only_filled_trades_that_closed_later_count_newest_first(pool: asyncpg.Pool) -> None:
    closed = {"status": PositionStatus.CLOSED, "filled": Decimal(1), "closed": Decimal(1)}
    await Store(pool).save(
        positions=[
            position("p1", **closed, closed_at=AT, gross_pnl=Decimal(-1)),
            position("p2", **closed, closed_at=AT + 1, gross_pnl=Decimal(-2), fees=Decimal("0.5")),
            position("p3", **closed, closed_at=AT + 3, gross_pnl=Decimal(4)),
            position("p4", status=PositionStatus.CLOSED, closed_at=AT + 4),
            position("p5", status=PositionStatus.OPEN, filled=Decimal(1)),
        ]
    )
    rows = GuardRows(pool)
    assert await rows.results(AT, 8) == [Decimal(4), Decimal("-2.5")]
    assert await rows.results(AT, 1) == [Decimal(4)]


async def test_a_tripped_guard_stays_so_over_a_restart_until_a_person_releases_it(pool: asyncpg.Pool) -> None:
    world = World(store=GuardRows(pool), drawdown_pct=10, losing_streak=0)
    async with world.guarding():
        world.buy("0.200")
        await world.wait(2 * SECOND_MS)
        world.price(43_000)
        await world.wait(10 * MINUTE_MS)
        before = world.state
    assert [trip.guard for trip in before.tripped] == ["day_drawdown", "drawdown", "daily_loss"]
    world.news.clear()
    world.price(50_000)
    async with world.guarding():
        assert world.state == before
        await world.wait(24 * HOUR_MS)
        assert world.tripped() == ["drawdown"]
        await GuardRows(pool).ask_release("drawdown")
        await world.wait(MINUTE_MS)
        assert world.tripped() == []
    world.news.clear()
    async with world.guarding():
        assert world.tripped() == []
        assert await GuardRows(pool).releases() == []
        assert world.state.equity_at is not None
        assert world.state.equity_at > NOON + 24 * HOUR_MS
