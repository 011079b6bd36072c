"""The account guards' actor: what it reads, what it says, and what a restart leaves as it was."""

import pytest

from bot.clock import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from bot.messages import BotEvent
from bot.strategy.guards import guards_check
from tests.account.world import NOON, D, World

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_the_equity_is_unknown_until_two_readings_agree_after_two_seconds() -> None:
    world = World()
    async with world.guarding():
        assert guards_check(world.state, NOON).reason == "guard_equity_unknown"
        await world.wait(2 * SECOND_MS - 1)
        assert world.state.equity_at is None
        await world.wait(1)
        assert guards_check(world.state, world.clock.now()).allow
        assert world.port.readings == 2


async def test_it_reads_at_the_marks_of_its_interval_and_sleeps_between() -> None:
    world = World()
    async with world.guarding():
        await world.wait(2 * SECOND_MS)
        assert world.clock.next_wake() == NOON + 10 * MINUTE_MS
        await world.wait(HOUR_MS)
        assert world.port.readings == 2 * 7
        assert world.state.equity_at == NOON + HOUR_MS + 2 * SECOND_MS


async def test_an_open_loss_trips_the_guard_and_midnight_releases_it() -> None:
    world = World(drawdown_pct=0)
    async with world.guarding():
        await world.wait(2 * SECOND_MS)
        world.buy("0.200")
        world.price(47_500)
        await world.wait(10 * MINUTE_MS)
        assert world.tripped() == ["day_drawdown", "daily_loss"]
        assert world.events() == ["guard_tripped", "guard_tripped"]
        assert world.gauge("guard_tripped", guard="daily_loss") == 1
        assert world.gauge("account_equity_usdt") == pytest.approx(9_495, abs=2)  # 500 lost, 5 of fee, slippage
        await world.wait(12 * HOUR_MS - 10 * MINUTE_MS - 3 * SECOND_MS)
        assert world.tripped() == ["day_drawdown", "daily_loss"]
        await world.wait(SECOND_MS)
        assert world.clock.now() == NOON + 12 * HOUR_MS
        assert world.tripped() == []
        assert world.events()[2:] == ["guard_released", "guard_released"]
        assert world.gauge("guard_tripped", guard="daily_loss") == 0


async def test_a_person_releases_a_guard_within_a_minute_and_it_measures_anew() -> None:
    world = World(day_drawdown_pct=0, daily_loss_pct=0, drawdown_pct=5)
    async with world.guarding():
        world.buy("0.200")
        await world.wait(2 * SECOND_MS)
        world.price(47_500)
        await world.wait(10 * MINUTE_MS)
        assert world.tripped() == ["drawdown"]
        world.memory.asked.append((7, "drawdown"))
        await world.wait(MINUTE_MS)
        assert world.tripped() == []
        assert world.memory.asked == []
        await world.wait(DAY_MS)
        assert world.tripped() == []
        told = [news for news in world.news if isinstance(news, BotEvent) and news.name == "guard_released"]
        assert [event.detail for event in told] == [{"guard": "drawdown", "by": "a person"}]


async def test_a_streak_of_losses_trips_and_is_released_after_its_minutes() -> None:
    world = World(losing_streak=3, losing_streak_release=60)
    async with world.guarding():
        for net in (-1, 2, -1, -1):
            await world.wait(MINUTE_MS)
            await world.closed(net)
        assert world.tripped() == []
        await world.wait(MINUTE_MS)
        await world.closed(-1)
        assert world.tripped() == ["losing_streak"]
        await world.closed(5)
        assert world.tripped() == ["losing_streak"]
        await world.wait(HOUR_MS)
        assert world.tripped() == []
        await world.wait(MINUTE_MS)
        await world.closed(-1)
        assert world.tripped() == []


async def test_deposits_and_withdrawals_trip_nothing() -> None:
    world = World()
    async with world.guarding():
        await world.wait(5 * MINUTE_MS)
        for amount in (5_000, -12_000, 100_000):
            world.engine.transfer(D(amount))
            await world.wait(20 * MINUTE_MS)
            assert world.state.equity_at is not None
            assert world.clock.now() - world.state.equity_at < 15 * MINUTE_MS
        assert world.tripped() == []
        assert world.events() == []


async def test_a_venue_that_does_not_answer_is_told_once_and_after_half_an_hour_nothing_may_open() -> None:
    world = World()
    async with world.guarding():
        await world.wait(2 * SECOND_MS)
        world.port.down = True
        await world.wait(30 * MINUTE_MS)
        assert world.events() == ["equity_unreadable"]
        assert guards_check(world.state, world.clock.now()).allow
        await world.wait(20 * SECOND_MS)
        assert guards_check(world.state, world.clock.now()).reason == "guard_equity_unknown"
        assert world.events() == ["equity_unreadable", "equity_unknown"]
        world.port.down = False
        await world.wait(20 * SECOND_MS)
        assert guards_check(world.state, world.clock.now()).allow
        assert world.events() == ["equity_unreadable", "equity_unknown", "equity_known"]


async def test_readings_that_disagree_are_not_taken_however_low() -> None:
    world = World()
    async with world.guarding():
        await world.wait(2 * SECOND_MS)
        world.port.wobble = D(-5_000)
        await world.wait(31 * MINUTE_MS)
        assert world.tripped() == []
        assert world.events() == ["equity_unknown"]


async def test_what_nothing_explains_counts_after_two_minutes() -> None:
    world = World()
    async with world.guarding():
        await world.wait(2 * SECOND_MS)
        world.engine.transfer(D(-1_000))
        world.engine.income.clear()  # the venue does not tell of it
        await world.wait(10 * MINUTE_MS)
        assert (world.events(), world.tripped()) == (["equity_unexplained"], [])
        await world.wait(3 * MINUTE_MS)
        assert world.tripped() == ["day_drawdown", "daily_loss"]


async def test_a_restart_leaves_what_was_tripped_and_counts_what_closed_meanwhile() -> None:
    world = World(losing_streak=2)
    async with world.guarding():
        world.buy("0.200")
        await world.wait(2 * SECOND_MS)
        world.price(45_000)
        await world.wait(10 * MINUTE_MS)
        before = world.state
        assert world.tripped() == ["day_drawdown", "daily_loss"]
    world.memory.trades += [(world.clock.now() + 1, D(-1)), (world.clock.now() + 2, D(-1))]
    world.price(50_000)
    world.news.clear()
    async with world.guarding():
        assert world.state.tripped[:2] == before.tripped
        assert world.tripped() == ["day_drawdown", "daily_loss", "losing_streak"]
        assert world.events() == ["guard_tripped"]


async def test_where_no_guard_is_on_nothing_is_read_and_all_is_allowed() -> None:
    world = World(day_drawdown_pct=0, drawdown_pct=0, daily_loss_pct=0, losing_streak=0)
    async with world.guarding():
        await world.wait(DAY_MS)
        assert world.port.readings == 0
        assert world.clock.next_wake() is None
        assert guards_check(world.state, world.clock.now()).allow
