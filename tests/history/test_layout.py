"""How rows get into the files of their months: each time once, in order, and the last word stays."""

import polars as pl
import pytest

from bot.clock import DAY_MS, HOUR_MS
from bot.history.layout import by_month, joined

JANUARY = 31 * DAY_MS  # its end


def rows(*hours: int, value: float = 1.0) -> pl.DataFrame:
    at = [JANUARY + hour * HOUR_MS for hour in hours]
    return pl.DataFrame({"at": at, "value": [value] * len(at)}, schema={"at": pl.Int64(), "value": pl.Float64()})


def hours(frame: pl.DataFrame) -> list[int]:
    return [(at - JANUARY) // HOUR_MS for at in frame["at"].to_list()]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((), {}),
        ((3,), {"1970-02": [3]}),
        ((0, 1, 2), {"1970-02": [0, 1, 2]}),
        ((-2, -1, 0), {"1970-01": [-2, -1], "1970-02": [0]}),
        ((1, -1, 2), {"1970-02": [1, 2], "1970-01": [-1]}),  # its ends are of one month, and not all between
    ],
)
def test_each_row_is_in_its_month(given: tuple[int, ...], expected: dict[str, list[int]]) -> None:
    assert {name: hours(part) for name, part in by_month(rows(*given), "at")} == expected


@pytest.mark.parametrize(
    ("stored", "added", "expected"),
    [
        ((), (0, 1), {0: 2.0, 1: 2.0}),
        ((0, 1), (2,), {0: 1.0, 1: 1.0, 2: 2.0}),
        ((0, 1), (1,), {0: 1.0, 1: 2.0}),
        ((2, 3), (1, 4, 4), {1: 2.0, 2: 1.0, 3: 1.0, 4: 2.0}),
    ],
)
def test_each_time_is_there_once_in_order_with_the_last_word_on_it(
    stored: tuple[int, ...], added: tuple[int, ...], expected: dict[int, float]
) -> None:
    whole = joined(rows(*stored), rows(*added, value=2.0), "at")
    assert list(zip(hours(whole), whole["value"].to_list(), strict=True)) == list(expected.items())
