"""How a venue is opened and held, and what is remembered of it."""

import anyio
import pytest

from bot.venues import Silence

pytestmark = pytest.mark.anyio


async def test_each_later_end_of_a_silence_is_remembered_and_only_the_newest_where_several_came() -> None:
    remembered: list[int] = []

    async def remember(until: int) -> None:
        remembered.append(until)

    silence = Silence(remember)
    silence.hear(5)
    silence.hear(9)
    async with anyio.create_task_group() as group:
        group.start_soon(silence.run)
        await anyio.wait_all_tasks_blocked()
        assert remembered == [9]
        silence.hear(12)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert remembered == [9, 12]
