"""Bars on disk: what is appended is what is loaded, whatever the order and however it was cut."""

from pathlib import Path

import anyio
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.clock import HOUR_MS
from bot.errors import OperatorError
from bot.market.history import BarHistory, HistoryWriter, gaps
from bot.messages import Bar, BarClosed
from bot.streams import Activity, Overflow, Stream


def bar(at: int, symbol: str = "BTCUSDT", close: float = 2.0) -> Bar:
    return Bar(symbol, HOUR_MS, at * HOUR_MS, 1.0, 3.0, 1.0, close, 5.0)


def hours(history: BarHistory, symbol: str = "BTCUSDT") -> list[int]:
    return [int(at) // HOUR_MS for at in history.load(symbol, HOUR_MS).open_time]


@given(batches=st.lists(st.lists(st.integers(0, 40), max_size=12), max_size=5))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bars_load_sorted_and_once_however_they_were_appended(batches: list[list[int]], tmp_path: Path) -> None:
    history = BarHistory(tmp_path / str(len(list(tmp_path.iterdir()))))
    for batch in batches:
        history.append([bar(at) for at in batch])
    assert hours(history) == sorted({at for batch in batches for at in batch})


def test_the_newer_word_on_a_bar_stays(tmp_path: Path) -> None:
    history = BarHistory(tmp_path)
    history.append([bar(1), bar(2)])
    history.append([bar(2, close=2.5)])
    assert list(history.load("BTCUSDT", HOUR_MS).close) == [2.0, 2.5]


def test_holes_are_told_by_their_first_missing_and_next_present_bar(tmp_path: Path) -> None:
    history = BarHistory(tmp_path)
    history.append([bar(at) for at in (1, 2, 5, 6, 8)])
    found = gaps(history.load("BTCUSDT", HOUR_MS))
    assert found == [(3 * HOUR_MS, 5 * HOUR_MS), (7 * HOUR_MS, 8 * HOUR_MS)]
    assert gaps(history.load("NOUSDT", HOUR_MS)) == []


def test_the_file_is_one_that_a_replay_plays(tmp_path: Path) -> None:
    BarHistory(tmp_path).append([bar(1)])
    frame = pl.read_parquet(tmp_path / "BTCUSDT-1h.parquet")
    assert frame.columns == ["open_time", "open", "high", "low", "close", "volume"]


def test_a_file_of_something_else_is_the_operators_to_move(tmp_path: Path) -> None:
    (tmp_path / "BTCUSDT-1h.parquet").write_bytes(b"not parquet")
    with pytest.raises(OperatorError, match=r"BTCUSDT-1h\.parquet"):
        BarHistory(tmp_path).load("BTCUSDT", HOUR_MS)
    pl.DataFrame({"x": [1]}).write_parquet(tmp_path / "ETHUSDT-1h.parquet")
    with pytest.raises(OperatorError, match=r"ETHUSDT-1h\.parquet"):
        BarHistory(tmp_path).append([bar(1, "ETHUSDT")])


@pytest.mark.anyio
async def test_the_writer_writes_full_batches_and_at_the_end_the_rest(tmp_path: Path) -> None:
    history = BarHistory(tmp_path)
    activity = Activity()
    inbox: Stream[BarClosed] = Stream("history", 100, Overflow.BLOCK, activity)
    async with anyio.create_task_group() as group:
        group.start_soon(HistoryWriter(history, inbox, batch=4).run)
        for at in range(6):
            await inbox.send(BarClosed(bar(at)))
            await inbox.send(BarClosed(bar(at, "ETHUSDT")))
        with anyio.fail_after(5):
            await activity.wait_quiet()
        assert hours(history) == [0, 1, 2, 3, 4, 5]
        await inbox.send(BarClosed(bar(6)))
        await activity.wait_quiet()
        assert hours(history) == [0, 1, 2, 3, 4, 5]
        group.cancel_scope.cancel()
    assert hours(history) == [0, 1, 2, 3, 4, 5, 6]
