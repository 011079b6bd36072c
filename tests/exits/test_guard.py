"""The guard on virtual prices: what it asks the desk for, and what it leaves alone."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import anyio
import pytest

from bot.clock import HOUR_MS, ReplayClock
from bot.exits.guard import Guard, GuardMessage
from bot.messages import (
    ExitIntent,
    ExitPlan,
    Position,
    PositionChanged,
    PositionStatus,
    PriceChanged,
    Side,
    StopMove,
)
from bot.streams import Activity, Overflow, Stream

START = 1_740_787_200_000
PLAN = ExitPlan(stop_pct=2.0, trail_arm_pct=1.0, trail_pct=0.5, max_hold_ms=4 * HOUR_MS)

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def position(side: Side = Side.LONG, status: PositionStatus = PositionStatus.OPEN, plan: ExitPlan = PLAN) -> Position:
    return Position(
        position_id="p1",
        variant="BTC",
        tier="t1",
        symbol="BTCUSDT",
        side=side,
        status=status,
        intended=Decimal(1),
        filled=Decimal(1),
        entry_price=Decimal(100),
        stop_price=Decimal(98) if side is Side.LONG else Decimal(102),
        created_at=START,
        expires_at=START + HOUR_MS,
        opened_at=START,
        exits=plan,
    )


class Watch:
    def __init__(self) -> None:
        self.clock = ReplayClock(START)
        self.activity = Activity()
        self.inbox: Stream[GuardMessage] = Stream("guard", 1_000, Overflow.HALT, self.activity)
        self.asked: list[StopMove | ExitIntent] = []

    async def tell(self, message: GuardMessage) -> None:
        self.inbox.send_nowait(message)
        await self.settle()

    async def price(self, price: float, minutes: int = 0) -> None:
        self.clock.advance(self.clock.now() + minutes * 60_000)
        await self.tell(PriceChanged("BTCUSDT", Decimal(str(price)), self.clock.now()))

    async def settle(self) -> None:
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        await self.activity.wait_quiet()

    def words(self) -> list[tuple[str, str]]:
        return [(type(one).__name__, one.reason) for one in self.asked]


@asynccontextmanager
async def guarding() -> AsyncIterator[Watch]:
    watch = Watch()
    async with anyio.create_task_group() as group:
        await group.start(Guard(watch.inbox, watch.asked.append, watch.clock).run)
        yield watch
        group.cancel_scope.cancel()


async def test_the_stop_follows_the_best_price_and_never_goes_back() -> None:
    async with guarding() as watch:
        await watch.tell(PositionChanged(position()))
        for price in (100.5, 101.0, 102.0, 101.8, 103.0):
            await watch.price(price)
    levels = [one.stop_price for one in watch.asked if isinstance(one, StopMove)]
    assert levels == pytest.approx([100.5, 101.5, 102.5])


async def test_a_position_is_left_once_when_its_time_is_up_even_without_a_new_price() -> None:
    async with guarding() as watch:
        await watch.tell(PositionChanged(position()))
        await watch.price(100.2)
        watch.clock.advance(START + 4 * HOUR_MS)
        await watch.settle()
        await watch.price(100.3, minutes=1)
    assert watch.words() == [("ExitIntent", "max_hold")]


async def test_the_clock_is_asked_to_wake_the_guard_at_the_end_of_the_hold() -> None:
    async with guarding() as watch:
        await watch.tell(PositionChanged(position()))
        await watch.price(100.2)
        assert watch.clock.next_wake() == START + 4 * HOUR_MS


@pytest.mark.parametrize("status", [PositionStatus.PENDING, PositionStatus.CLOSING, PositionStatus.CLOSED])
async def test_only_open_positions_are_watched(status: PositionStatus) -> None:
    async with guarding() as watch:
        await watch.tell(PositionChanged(position(status=status)))
        await watch.price(105)
        await watch.price(90)
        watch.clock.advance(START + 5 * HOUR_MS)
        await watch.settle()
    assert watch.asked == []


async def test_a_position_in_the_red_is_left_when_its_time_comes_even_without_a_new_price() -> None:
    plan = ExitPlan(stop_pct=2.0, red_after_ms=2 * HOUR_MS, max_hold_ms=4 * HOUR_MS)
    async with guarding() as watch:
        await watch.tell(PositionChanged(position(plan=plan)))
        await watch.price(99.5)
        assert watch.clock.next_wake() == START + 2 * HOUR_MS
        watch.clock.advance(START + 2 * HOUR_MS)
        await watch.settle()
    assert watch.words() == [("ExitIntent", "red_after")]


async def test_a_position_that_is_green_at_its_hour_is_left_when_it_turns_red_or_its_hold_is_over() -> None:
    plan = ExitPlan(stop_pct=2.0, red_after_ms=2 * HOUR_MS, max_hold_ms=4 * HOUR_MS)
    async with guarding() as watch:
        await watch.tell(PositionChanged(position(plan=plan)))
        await watch.price(100.5)
        watch.clock.advance(START + 2 * HOUR_MS)
        await watch.settle()
        assert (watch.asked, watch.clock.next_wake()) == ([], START + 4 * HOUR_MS)
        await watch.price(99.9, minutes=5)
    assert watch.words() == [("ExitIntent", "red_after")]


async def test_the_end_of_the_session_is_a_time_of_its_own() -> None:
    plan = ExitPlan(stop_pct=2.0, session_end_at=START + HOUR_MS, max_hold_ms=4 * HOUR_MS)
    async with guarding() as watch:
        await watch.tell(PositionChanged(position(plan=plan)))
        await watch.price(100.5)
        watch.clock.advance(START + HOUR_MS)
        await watch.settle()
    assert watch.words() == [("ExitIntent", "session_end")]


async def test_a_time_that_comes_with_another_symbols_price_is_not_missed() -> None:
    plan = ExitPlan(stop_pct=2.0, session_end_at=START + HOUR_MS)
    async with guarding() as watch:
        await watch.tell(PositionChanged(position(plan=plan)))
        await watch.price(100.5)
        watch.clock.advance(START + HOUR_MS)
        watch.inbox.send_nowait(PriceChanged("ETHUSDT", Decimal(3000), START + HOUR_MS))
        await watch.settle()
        await watch.settle()
    assert watch.words() == [("ExitIntent", "session_end")]


async def test_prices_of_other_symbols_mean_nothing() -> None:
    async with guarding() as watch:
        await watch.tell(PositionChanged(position()))
        await watch.tell(PriceChanged("ETHUSDT", Decimal(105), START))
    assert watch.asked == []


async def test_a_short_is_trailed_as_the_mirror_of_a_long() -> None:
    async with guarding() as watch:
        await watch.tell(PositionChanged(position(Side.SHORT)))
        for price in (99.0, 97.0, 98.0):
            await watch.price(price)
    levels = [one.stop_price for one in watch.asked if isinstance(one, StopMove)]
    assert levels == pytest.approx([99.5, 97.5])


async def test_further_fills_do_not_make_the_guard_forget_the_best_price() -> None:
    async with guarding() as watch:
        await watch.tell(PositionChanged(position()))
        await watch.price(102.0)
        more = position()
        more.intended = more.filled = Decimal(2)
        more.stop_price = Decimal("101.5")
        await watch.tell(PositionChanged(more))
        await watch.price(101.9)
        await watch.price(102.6)
    levels = [one.stop_price for one in watch.asked if isinstance(one, StopMove)]
    assert levels == pytest.approx([101.5, 102.1])


async def test_a_fill_that_comes_before_the_stop_was_moved_keeps_the_best_price() -> None:
    async with guarding() as watch:
        await watch.tell(PositionChanged(position()))
        await watch.price(102.0)
        more = position()
        more.intended = more.filled = Decimal(2)
        await watch.tell(PositionChanged(more))
        await watch.price(101.9)
    levels = [one.stop_price for one in watch.asked if isinstance(one, StopMove)]
    assert levels == pytest.approx([101.5] * len(levels))
    assert levels
