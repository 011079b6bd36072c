"""Sessions: where skip windows end them, worked out on a calendar."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.strategy.sessions import SkipWindows

HOUR = 3_600_000
FRIDAY, WEDNESDAY = 4, 2
T1 = SkipWindows((FRIDAY,), (6,))
METALS = SkipWindows((WEDNESDAY,), (23, 0, 1))


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000)


@pytest.mark.parametrize(
    ("windows", "at", "skipped", "end"),
    [
        # Thursday 2025-03-13
        (T1, "2025-03-13 05:33", False, "2025-03-13 06:00"),
        (T1, "2025-03-13 06:00", True, "2025-03-14 00:00"),
        (T1, "2025-03-13 07:03", False, "2025-03-14 00:00"),
        (T1, "2025-03-14 06:30", True, "2025-03-15 06:00"),
        (T1, "2025-03-15 00:00", False, "2025-03-15 06:00"),
        (METALS, "2025-03-10 22:59", False, "2025-03-10 23:00"),
        (METALS, "2025-03-10 23:30", True, "2025-03-11 23:00"),
        (METALS, "2025-03-11 22:00", False, "2025-03-11 23:00"),
        (METALS, "2025-03-11 23:00", True, "2025-03-13 23:00"),  # through Wednesday and Thursday's first two hours
        (SkipWindows((), (12,)), "2025-03-10 12:00", True, "2025-03-11 12:00"),
        (SkipWindows((0,), ()), "2025-03-10 00:00", True, "2025-03-17 00:00"),
        (SkipWindows(), "2025-03-10 12:00", False, None),
        (SkipWindows(tuple(range(7)), ()), "2025-03-10 12:00", True, None),
    ],
)
def test_a_session_ends_where_the_next_skip_window_begins(
    windows: SkipWindows, at: str, skipped: bool, end: str | None
) -> None:
    assert windows.skips(ms(at)) is skipped
    assert windows.session_end(ms(at)) == (None if end is None else ms(end))


@settings(max_examples=100)
@given(
    days=st.sets(st.integers(0, 6), max_size=6),
    hours=st.sets(st.integers(0, 23), max_size=23),
    at=st.integers(ms("2025-01-01"), ms("2026-01-01")),
)
def test_between_a_time_in_a_session_and_its_end_no_hour_is_skipped(days: set[int], hours: set[int], at: int) -> None:
    windows = SkipWindows(tuple(days), tuple(hours))
    end = windows.session_end(at)
    if end is None:
        assert not days
        assert not hours
        return
    assert end > at
    assert windows.skips(end)
    if not windows.skips(at):
        assert not any(windows.skips(hour) for hour in range(at, end, HOUR))
