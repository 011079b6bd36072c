"""Faults of recorded bars are told by rule, time and number."""

from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from bot.clock import HOUR_MS, MINUTE_MS
from bot.history.faults import Fault, Limits, absurd, disagreements, faults, gaps, whole_hours
from bot.messages import Bars
from tests.history.made import START, bars

LIMITS = Limits(jump_pct=25.0, quiet_bars=3, agree_pct=0.01)


def changed(name: str, index: int, value: float, made: Bars | None = None) -> Bars:
    whole = made or bars(48)
    column = getattr(whole, name).copy()
    column[index] = value
    return msgspec.structs.replace(whole, **{name: column})


def without(whole: Bars, *indices: int) -> Bars:
    names = ("open_time", "open", "high", "low", "close", "volume")
    return msgspec.structs.replace(whole, **{name: np.delete(getattr(whole, name), indices) for name in names})


def told(found: list[Fault]) -> list[tuple[str, str, int, int]]:
    return [(one.rule, one.level, (one.first_at - START) // HOUR_MS, one.count) for one in found]


def test_sound_bars_have_no_fault() -> None:
    assert faults(bars(500), LIMITS) == []
    assert faults(bars(0), LIMITS) == []


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (changed("open_time", 7, START + 7 * HOUR_MS + 1), "off the interval's grid"),
        (changed("open_time", 7, START + 6 * HOUR_MS), "duplicate bar"),
        (changed("open_time", 7, START + 5 * HOUR_MS), "unsorted"),
        (changed("close", 7, np.nan), "a number is missing"),
        (changed("volume", 7, np.inf), "a number is missing"),
        (changed("low", 7, 0.0), "low is not above zero"),
        (changed("low", 7, -1.0), "low is not above zero"),
        (changed("high", 7, 1.0), "high is below open or close"),
        (changed("low", 7, 1e9), "low is above open or close"),
        (changed("volume", 7, -1.0), "volume is below zero"),
    ],
)
def test_a_bar_that_cannot_have_happened_is_an_error(broken: Bars, words: str) -> None:
    found = [fault for fault in faults(broken, LIMITS) if words in fault.words]
    assert len(found) == 1
    assert (found[0].rule, found[0].level, found[0].count) == ("absurd", "error", 1)
    assert any(where[7] for what, where in absurd(broken).items() if words in what)


def test_missing_hours_are_an_error_and_missing_minutes_a_warning() -> None:
    hours = without(bars(48), 10, 11, 12, 30)
    assert gaps(hours) == [
        (START + 10 * HOUR_MS, START + 13 * HOUR_MS),
        (START + 30 * HOUR_MS, START + 31 * HOUR_MS),
    ]
    assert told(faults(hours, LIMITS)) == [("gap", "error", 10, 4)]
    assert told(faults(without(bars(120, MINUTE_MS), 60), LIMITS)) == [("gap", "warning", 1, 1)]


def test_a_jump_is_told_between_neighbours_and_not_across_a_gap() -> None:
    whole = bars(48)
    scale: Callable[[str], np.ndarray] = lambda name: np.where(  # noqa: E731
        np.arange(48) >= 20, 2 * getattr(whole, name), getattr(whole, name)
    )
    doubled = msgspec.structs.replace(whole, **{name: scale(name) for name in ("open", "high", "low", "close")})
    assert told(faults(doubled, LIMITS)) == [("jump", "warning", 20, 1)]
    assert told(faults(without(doubled, 20), LIMITS)) == [("gap", "error", 20, 1)]
    assert faults(doubled, Limits(jump_pct=150.0)) == []


def test_silence_is_told_from_an_hour_on() -> None:
    quiet = bars(48)
    quiet.volume[5:8] = 0.0
    quiet.volume[20:22] = 0.0
    assert told(faults(quiet, LIMITS)) == [("no_volume", "warning", 5, 3)]
    minutes = bars(240, MINUTE_MS)
    minutes.volume[60:119] = 0.0
    assert faults(minutes, LIMITS) == []
    minutes.volume[119] = 0.0
    assert told(faults(minutes, LIMITS)) == [("no_volume", "warning", 1, 60)]


def test_the_mark_has_no_volume_to_miss() -> None:
    marks = msgspec.structs.replace(bars(48), volume=np.zeros(48))
    assert faults(marks, LIMITS, "mark") == []


def test_detail_that_says_otherwise_than_the_hour_is_told_and_only_of_whole_hours() -> None:
    detail = bars(12 * 10, 5 * MINUTE_MS)
    hours = whole_hours(detail)
    assert disagreements(hours, detail, LIMITS) == []
    wrong = changed("high", 3, hours.high[3] * 1.001, hours)
    assert told(disagreements(wrong, detail, LIMITS)) == [("detail", "warning", 3, 1)]
    assert disagreements(wrong, without(detail, 40), LIMITS) == []
    assert disagreements(wrong, detail, Limits(agree_pct=0.2)) == []


def test_hours_are_made_of_detail_that_covers_them() -> None:
    detail = bars(12 * 3, 5 * MINUTE_MS)
    made = whole_hours(without(detail, 14))
    assert ((made.open_time - START) // HOUR_MS).tolist() == [0, 2]
    assert made.high[1] == detail.high[24:].max()
    assert (made.open[1], made.close[1]) == (detail.open[24], detail.close[-1])
    assert len(whole_hours(without(detail, 0, 12, 24))) == 0
