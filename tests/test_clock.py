"""Domain time: the replay's clock wakes in order, an alarm follows its deadline, on asyncio and trio alike."""

import anyio
import pytest
from anyio.lowlevel import checkpoint

from bot.clock import SECOND_MS, Alarm, ReplayClock, SystemClock, Turn

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_in_turns_sleepers_are_woken_one_by_one_in_the_order_of_their_times() -> None:
    clock = ReplayClock()
    clock.take_turns()
    woken: list[int] = []

    async def sleep(at: int) -> None:
        await clock.sleep_until(at)
        woken.append(at)

    async with anyio.create_task_group() as group:
        for at in (30, 10, 20):
            group.start_soon(sleep, at)
        await anyio.wait_all_tasks_blocked()
        clock.advance(20)
        await anyio.wait_all_tasks_blocked()
        assert woken == []
        for expected in ([10], [10, 20]):
            assert clock.wake_next()
            await anyio.wait_all_tasks_blocked()
            assert woken == expected
        assert not clock.wake_next()
        clock.advance(30)
        assert clock.wake_next()


async def settle() -> None:
    await anyio.wait_all_tasks_blocked()


async def test_a_replay_clock_stands_still_until_it_is_moved_and_never_goes_back() -> None:
    clock = ReplayClock(1_000)
    await clock.sleep_until(1_000)
    clock.advance(5_000)
    clock.advance(4_000)
    assert clock.now() == 5_000


async def test_sleepers_wake_only_once_their_time_has_come_and_the_earliest_is_known() -> None:
    clock = ReplayClock()
    woken: list[int] = []

    async def sleeper(at: int) -> None:
        await clock.sleep_until(at)
        assert clock.now() >= at
        woken.append(at)

    async with anyio.create_task_group() as group:
        for at in (30, 10, 20, 10):
            group.start_soon(sleeper, at)
        await settle()
        assert clock.next_wake() == 10
        clock.advance(9)
        await settle()
        assert woken == []
        clock.advance(10)
        await settle()
        assert woken == [10, 10]
        assert clock.next_wake() == 20
        clock.advance(100)
        await settle()
        assert sorted(woken) == [10, 10, 20, 30]
    assert clock.next_wake() is None


async def test_at_one_moment_the_turn_says_who_comes_first_whoever_lay_down_first() -> None:
    clock = ReplayClock()
    clock.take_turns()
    woken: list[Turn] = []

    async def sleeper(turn: Turn) -> None:
        await clock.sleep_until(10, turn)
        woken.append(turn)

    async with anyio.create_task_group() as group:
        for turn in (Turn.VARIANTS, Turn.ACCOUNT, Turn.AUDIT, Turn.MARKET, Turn.ORDERS, Turn.EXITS):
            group.start_soon(sleeper, turn)
            await settle()
        clock.advance(10)
        while clock.wake_next():
            await settle()
    assert woken == sorted(Turn)


async def test_a_cancelled_sleeper_is_forgotten() -> None:
    clock = ReplayClock()
    async with anyio.create_task_group() as group:
        group.start_soon(clock.sleep_until, 10)
        group.start_soon(clock.sleep_until, 20)
        await settle()
        group.cancel_scope.cancel()
    assert clock.next_wake() is None


async def test_the_system_clock_sleeps_until_the_offset_moment() -> None:
    clock = SystemClock(offset_ms=3_600_000)
    at = clock.now() + 20
    await clock.sleep_until(at)
    assert at <= clock.now() < at + 10 * SECOND_MS


async def test_the_system_clock_lets_others_run_even_when_the_time_has_passed() -> None:
    ran: list[str] = []

    async def other() -> None:
        ran.append("other")

    async with anyio.create_task_group() as group:
        group.start_soon(other)
        await SystemClock().sleep_until(0)
        await checkpoint()
        assert ran == ["other"]


class Bell:
    """An alarm on a replay clock, and the times at which it rang."""

    def __init__(self) -> None:
        self.clock = ReplayClock()
        self.alarm = Alarm(self.clock, Turn.MARKET)
        self.rang: list[int] = []
        self.then: list[int | None] = []  # what `ring` sets the alarm to, in turn

    async def ring(self) -> None:
        self.rang.append(self.clock.now())
        if self.then:
            self.alarm.set(self.then.pop(0))

    async def advance(self, now: int) -> None:
        self.clock.advance(now)
        await settle()

    async def set(self, at: int | None) -> None:
        self.alarm.set(at)
        await settle()


async def test_an_alarm_rings_once_at_its_time() -> None:
    bell = Bell()
    async with anyio.create_task_group() as group:
        group.start_soon(bell.alarm.run, bell.ring)
        await bell.set(100)
        await bell.advance(99)
        assert bell.rang == []
        await bell.advance(100)
        await bell.advance(500)
        assert bell.rang == [100]
        group.cancel_scope.cancel()


async def test_an_alarm_moved_earlier_rings_at_the_earlier_time_only() -> None:
    bell = Bell()
    async with anyio.create_task_group() as group:
        group.start_soon(bell.alarm.run, bell.ring)
        await bell.set(100)
        await bell.set(50)
        assert bell.clock.next_wake() == 50
        await bell.advance(50)
        await bell.advance(100)
        assert bell.rang == [50]
        group.cancel_scope.cancel()


async def test_an_alarm_moved_later_keeps_silent_until_then() -> None:
    bell = Bell()
    async with anyio.create_task_group() as group:
        group.start_soon(bell.alarm.run, bell.ring)
        await bell.set(100)
        await bell.set(200)
        assert bell.clock.next_wake() == 200
        await bell.advance(150)
        assert bell.rang == []
        await bell.advance(200)
        assert bell.rang == [200]
        group.cancel_scope.cancel()


async def test_a_cleared_alarm_does_not_ring() -> None:
    bell = Bell()
    async with anyio.create_task_group() as group:
        group.start_soon(bell.alarm.run, bell.ring)
        await bell.set(100)
        await bell.set(None)
        assert bell.clock.next_wake() is None
        await bell.advance(1_000)
        assert bell.rang == []
        group.cancel_scope.cancel()


@pytest.mark.parametrize("moved_to", [200, None])
async def test_an_alarm_moved_in_the_very_moment_it_falls_due_obeys_the_move(moved_to: int | None) -> None:
    bell = Bell()
    async with anyio.create_task_group() as group:
        group.start_soon(bell.alarm.run, bell.ring)
        await bell.set(100)
        bell.clock.advance(100)
        await bell.set(moved_to)
        assert bell.rang == []
        await bell.advance(300)
        assert bell.rang == ([] if moved_to is None else [300])
        group.cancel_scope.cancel()


async def test_a_ring_may_set_the_next_alarm_even_one_that_is_due_already() -> None:
    bell = Bell()
    bell.then = [100, 300, None]
    async with anyio.create_task_group() as group:
        group.start_soon(bell.alarm.run, bell.ring)
        await bell.set(100)
        await bell.advance(200)
        assert bell.rang == [200, 200]
        await bell.advance(300)
        assert bell.rang == [200, 200, 300]
        group.cancel_scope.cancel()


async def test_an_alarm_set_to_the_time_it_has_leaves_its_sleeper_alone() -> None:
    bell = Bell()
    async with anyio.create_task_group() as group:
        group.start_soon(bell.alarm.run, bell.ring)
        await bell.set(100)
        await bell.set(100)
        await bell.advance(100)
        assert bell.rang == [100]
        group.cancel_scope.cancel()
