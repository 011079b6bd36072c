"""The actor that keeps closed bars: in batches, and at the end the rest."""

from pathlib import Path

import anyio
import pytest

from bot.clock import HOUR_MS
from bot.history.bars import BarFiles
from bot.market.history import HistoryWriter
from bot.messages import Bar, BarClosed
from bot.streams import Activity, Overflow, Stream


def bar(at: int, symbol: str = "BTCUSDT") -> Bar:
    return Bar(symbol, HOUR_MS, at * HOUR_MS, 1.0, 3.0, 1.0, 2.0, 5.0)


def hours(files: BarFiles) -> list[int]:
    return [int(at) // HOUR_MS for at in files.load("BTCUSDT", HOUR_MS).open_time]


@pytest.mark.anyio
async def test_the_writer_writes_full_batches_and_at_the_end_the_rest(tmp_path: Path) -> None:
    files = BarFiles(tmp_path)
    activity = Activity()
    inbox: Stream[BarClosed] = Stream("history", 100, Overflow.BLOCK, activity)
    async with anyio.create_task_group() as group:
        group.start_soon(HistoryWriter(files, inbox, batch=4).run)
        for at in range(6):
            await inbox.send(BarClosed(bar(at)))
            await inbox.send(BarClosed(bar(at, "ETHUSDT")))
        with anyio.fail_after(5):
            await activity.wait_quiet()
        assert hours(files) == [0, 1, 2, 3, 4, 5]
        await inbox.send(BarClosed(bar(6)))
        await activity.wait_quiet()
        assert hours(files) == [0, 1, 2, 3, 4, 5]
        group.cancel_scope.cancel()
    assert hours(files) == [0, 1, 2, 3, 4, 5, 6]
