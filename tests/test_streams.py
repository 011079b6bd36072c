"""Bounded streams: each overflow rule, and what counts as quiet, on asyncio and trio alike."""

import anyio
import pytest
from anyio.lowlevel import checkpoint

from bot.clock import ReplayClock
from bot.errors import StreamOverflow
from bot.streams import Activity, Overflow, Stream

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def stream(overflow: Overflow, capacity: int = 2) -> tuple[Stream[tuple[str, int]], Activity]:
    activity = Activity()
    key = (lambda item: item[0]) if overflow is Overflow.REPLACE else None
    return Stream("test", capacity, overflow, activity, key), activity


async def received(source: Stream[tuple[str, int]], count: int) -> list[tuple[str, int]]:
    return [await anext(source) for _ in range(count)]


async def test_messages_arrive_in_the_order_they_were_sent() -> None:
    source, _ = stream(Overflow.HALT, capacity=3)
    for number in range(3):
        await source.send(("a", number))
    assert await received(source, 3) == [("a", 0), ("a", 1), ("a", 2)]


async def test_a_full_blocking_stream_makes_its_sender_wait_for_room() -> None:
    source, _ = stream(Overflow.BLOCK, capacity=1)
    await source.send(("a", 0))
    with anyio.move_on_after(0.02) as scope:
        await source.send(("a", 1))
    assert scope.cancelled_caught
    assert await received(source, 1) == [("a", 0)]
    with anyio.fail_after(1):
        await source.send(("a", 2))
    assert await received(source, 1) == [("a", 2)]


async def test_every_one_of_many_waiting_senders_gets_its_turn() -> None:
    source, _ = stream(Overflow.BLOCK, capacity=1)
    async with anyio.create_task_group() as group:
        for number in range(6):
            group.start_soon(source.send, ("a", number))
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(2):
            items = await received(source, 6)
    assert sorted(items) == [("a", number) for number in range(6)]


async def test_a_cancelled_sender_takes_nobody_elses_turn() -> None:
    source, _ = stream(Overflow.BLOCK, capacity=1)
    await source.send(("a", 0))
    async with anyio.create_task_group() as group:
        with anyio.move_on_after(0.02):
            await source.send(("a", 1))
        group.start_soon(source.send, ("a", 2))
        with anyio.fail_after(1):
            assert await received(source, 2) == [("a", 0), ("a", 2)]


async def test_a_blocking_stream_refuses_to_overflow_for_a_sender_that_cannot_wait() -> None:
    source, _ = stream(Overflow.BLOCK, capacity=1)
    source.send_nowait(("a", 0))
    with pytest.raises(StreamOverflow, match=r"stream test is full \(1\)"):
        source.send_nowait(("a", 1))
    assert len(source) == 1


async def test_a_full_halting_stream_raises_and_keeps_what_it_has() -> None:
    source, activity = stream(Overflow.HALT)
    source.send_nowait(("a", 0))
    source.send_nowait(("a", 1))
    with pytest.raises(StreamOverflow):
        await source.send(("a", 2))
    assert await received(source, 2) == [("a", 0), ("a", 1)]
    source.done()
    assert activity.quiet


async def test_the_newest_message_of_a_key_replaces_the_older_one_in_its_place() -> None:
    source, activity = stream(Overflow.REPLACE)
    for item in (("btc", 1), ("eth", 1), ("btc", 2)):
        await source.send(item)
    assert (len(source), source.replaced) == (2, 1)
    assert await received(source, 2) == [("btc", 2), ("eth", 1)]
    source.done()
    assert activity.quiet


async def test_a_replacing_stream_halts_on_more_keys_than_it_was_made_for() -> None:
    source, _ = stream(Overflow.REPLACE, capacity=1)
    source.send_nowait(("btc", 1))
    with pytest.raises(StreamOverflow):
        source.send_nowait(("eth", 1))


async def test_a_message_is_work_until_its_receiver_asks_for_the_next_one() -> None:
    source, activity = stream(Overflow.HALT)
    assert activity.quiet
    await source.send(("a", 0))
    assert not activity.quiet
    await anext(source)
    assert not activity.quiet
    with anyio.move_on_after(0.02):
        await anext(source)
    assert activity.quiet


async def test_a_cancelled_receiver_loses_no_message() -> None:
    source, _ = stream(Overflow.HALT)
    with anyio.move_on_after(0.01):
        await anext(source)
    await source.send(("a", 0))
    with anyio.CancelScope() as scope:
        scope.cancel()
        await anext(source)
    assert await received(source, 1) == [("a", 0)]


async def test_a_batch_takes_all_that_waits_and_counts_until_it_is_done() -> None:
    source, activity = stream(Overflow.HALT, capacity=4)
    for number in range(4):
        source.send_nowait(("a", number))
    first = await anext(source)
    assert [first, *source.receive_waiting()] == [("a", number) for number in range(4)]
    assert source.receive_waiting() == []
    assert not activity.quiet
    source.done()
    assert activity.quiet


async def test_a_batch_makes_room_for_waiting_senders() -> None:
    source, _ = stream(Overflow.BLOCK, capacity=1)
    await source.send(("a", 0))
    async with anyio.create_task_group() as group:
        group.start_soon(source.send, ("a", 1))
        await anyio.wait_all_tasks_blocked()
        assert source.receive_waiting() == [("a", 0)]
        with anyio.fail_after(1):
            assert await received(source, 1) == [("a", 1)]


async def test_quiet_waits_through_a_chain_of_streams() -> None:
    activity = Activity()
    first: Stream[int] = Stream("first", 4, Overflow.BLOCK, activity)
    second: Stream[int] = Stream("second", 4, Overflow.BLOCK, activity)
    seen: list[int] = []

    async def relay() -> None:
        async for number in first:
            await anyio.sleep(0.001)
            await second.send(number)

    async def sink() -> None:
        async for number in second:
            await anyio.sleep(0.001)
            seen.append(number)

    async with anyio.create_task_group() as group:
        group.start_soon(relay)
        group.start_soon(sink)
        for number in range(4):
            await first.send(number)
        with anyio.fail_after(2):
            await activity.wait_quiet()
        assert seen == [0, 1, 2, 3]
        group.cancel_scope.cancel()


async def test_quiet_is_not_reported_after_work_began_again() -> None:
    activity = Activity()
    activity.begin()
    quiet_at_return: list[bool] = []

    async def waiter() -> None:
        await activity.wait_quiet()
        quiet_at_return.append(activity.quiet)

    async with anyio.create_task_group() as group:
        group.start_soon(waiter)
        await anyio.wait_all_tasks_blocked()
        activity.end()
        activity.begin()
        await anyio.wait_all_tasks_blocked()
        assert quiet_at_return == []
        activity.end()
    assert quiet_at_return == [True]


async def test_a_busy_stream_lets_other_tasks_run() -> None:
    source, _ = stream(Overflow.HALT, capacity=50)
    for number in range(50):
        source.send_nowait(("a", number))
    waiting_when_other_ran: list[int] = []

    async def other() -> None:
        waiting_when_other_ran.append(len(source))

    async with anyio.create_task_group() as group:
        group.start_soon(other)
        await received(source, 50)
    assert waiting_when_other_ran[0] > 0


def test_a_key_and_the_replacing_rule_belong_together() -> None:
    with pytest.raises(ValueError, match="a key belongs"):
        Stream("test", 1, Overflow.REPLACE, Activity())
    with pytest.raises(ValueError, match="a key belongs"):
        Stream[int]("test", 1, Overflow.HALT, Activity(), key=lambda item: item)
    with pytest.raises(ValueError, match="capacity below 1"):
        Stream("test", 0, Overflow.BLOCK, Activity())


@pytest.mark.parametrize("turns_of_work", range(0, 60, 7))
async def test_who_ends_its_work_late_still_has_its_turns_before_all_has_settled(turns_of_work: int) -> None:
    activity, clock = Activity(), ReplayClock()

    async def actor() -> None:
        for _ in range(turns_of_work):
            await checkpoint()
        activity.end()
        for _ in range(15):  # what it takes to move an alarm, and more
            await checkpoint()
        await clock.sleep_until(602)

    async with anyio.create_task_group() as group:
        activity.begin()
        group.start_soon(actor)
        await activity.settle(25)
        assert (activity.quiet, clock.next_wake()) == (True, 602)
        group.cancel_scope.cancel()


@pytest.mark.parametrize("every", [2, 9, 20])
async def test_work_that_comes_and_goes_between_two_looks_keeps_all_from_settling(every: int) -> None:
    activity = Activity()
    done = 0

    async def flicker() -> None:
        nonlocal done
        for _ in range(6):
            for _ in range(every):
                await checkpoint()
            activity.begin()
            activity.end()
            done += 1

    async with anyio.create_task_group() as group:
        group.start_soon(flicker)
        await activity.settle(25)
        assert done == 6
