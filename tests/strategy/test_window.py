"""Windows are refused by name, and the buffer never invents a bar."""

import math
import random

import msgspec
import numpy as np
import pytest

from bot.messages import Bar, Bars, ForecastRefused, Window
from bot.strategy.window import Appended, BarBuffer, make_window, refusal, refusals, tail

HOUR = 3_600_000


def bar(index: int, close: float = 0.0) -> Bar:
    close = close or 100.0 + index
    return Bar("BTCUSDT", HOUR, index * HOUR, close, close + 1, close - 1, close, 5.0)


def filled(count: int, capacity: int = 8) -> BarBuffer:
    buffer = BarBuffer("BTCUSDT", HOUR, capacity)
    for index in range(count):
        assert buffer.append(bar(index)) is Appended.ADDED
    return buffer


def with_close(bars: Bars, value: float) -> Bars:
    closes = bars.close.copy()
    closes[-2] = value
    return msgspec.structs.replace(bars, close=closes)


def test_a_window_is_the_newest_context_closes() -> None:
    window = make_window(filled(30).bars(), 4, HOUR)
    assert isinstance(window, Window)
    assert window.closes.tolist() == [126.0, 127.0, 128.0, 129.0]
    assert window.bar_close_at == 30 * HOUR


@pytest.mark.parametrize(
    ("bars", "reason"),
    [
        (filled(3).bars(), "window_short"),
        (with_close(filled(8).bars(), math.nan), "window_not_finite"),
        (with_close(filled(8).bars(), math.inf), "window_not_finite"),
        (with_close(filled(8).bars(), 0.0), "window_not_positive"),
        (with_close(filled(8).bars(), -1.0), "window_not_positive"),
        (msgspec.structs.replace(filled(8).bars(), interval_ms=HOUR // 12), "window_interval"),
        (msgspec.structs.replace(filled(8).bars(), open_time=np.arange(8) * HOUR + 1), "window_interval"),
        (msgspec.structs.replace(filled(8).bars(), open_time=np.delete(np.arange(9), 6) * HOUR), "window_gap"),
        (msgspec.structs.replace(filled(8).bars(), open_time=np.arange(8)[::-1] * HOUR), "window_order"),
        (
            msgspec.structs.replace(filled(8).bars(), open_time=np.array([0, 1, 2, 3, 4, 6, 5, 7]) * HOUR),
            "window_order",
        ),
        (
            msgspec.structs.replace(filled(8).bars(), open_time=np.array([0, 1, 2, 3, 4, 5, 5, 6]) * HOUR),
            "window_order",
        ),
    ],
)
def test_bars_that_are_no_window_are_refused_by_name(bars: Bars, reason: str) -> None:
    assert make_window(bars, 4, HOUR) == ForecastRefused("BTCUSDT", reason)


def test_a_fault_older_than_the_context_does_not_matter() -> None:
    bars = with_close(filled(8).bars(), math.nan)
    assert isinstance(make_window(bars, 1, HOUR), Window)


def test_the_same_open_time_twice_changes_nothing() -> None:
    buffer = filled(5)
    assert buffer.append(bar(4, close=1.0)) is Appended.DUPLICATE
    assert buffer.bars().close.tolist() == [100, 101, 102, 103, 104]


def test_bars_older_than_the_buffer_or_of_another_interval_are_refused() -> None:
    buffer = filled(20)
    assert buffer.append(bar(11)) is Appended.OUT_OF_ORDER
    assert buffer.append(msgspec.structs.replace(bar(20), interval_ms=HOUR // 2)) is Appended.WRONG_INTERVAL
    assert buffer.append(msgspec.structs.replace(bar(20), open_time=20 * HOUR + 1)) is Appended.WRONG_INTERVAL


def test_a_gap_is_reported_refused_as_a_window_and_healed_by_the_missing_bars() -> None:
    buffer = filled(5)
    assert buffer.append(bar(7)) is Appended.GAP
    assert make_window(buffer.bars(), 4, HOUR) == ForecastRefused("BTCUSDT", "window_gap")
    assert buffer.append(bar(6)) is Appended.FILLED
    assert buffer.append(bar(5)) is Appended.FILLED
    assert buffer.append(bar(5)) is Appended.DUPLICATE
    assert isinstance(make_window(buffer.bars(), 8, HOUR), Window)


def test_a_gap_longer_than_the_buffer_starts_it_anew() -> None:
    buffer = filled(5)
    assert buffer.append(bar(500)) is Appended.GAP
    assert buffer.bars().open_time.tolist() == [500 * HOUR]


def test_views_stay_as_they_were_while_the_buffer_rolls_on() -> None:
    buffer = filled(8)
    seen = tail(buffer.bars(), 3)
    before = seen.close.tolist()
    for index in range(8, 60):
        buffer.append(bar(index))
    assert seen.close.tolist() == before
    assert buffer.bars().close.tolist() == [152.0 + index for index in range(8)]


def test_in_any_order_of_arrival_the_buffer_holds_what_came() -> None:
    rng = random.Random(7)
    for _ in range(200):
        buffer, arrived = BarBuffer("BTCUSDT", HOUR, 8), {}
        for _ in range(25):
            index = max(0, max(arrived, default=10) + rng.choice([-9, -3, -2, -1, 0, 1, 1, 1, 2, 5, 9]))
            if buffer.append(bar(index)) in (Appended.ADDED, Appended.GAP, Appended.FILLED):
                arrived[index] = True
        held = [int(at) // HOUR for at in buffer.bars().open_time]
        newest = max(arrived)
        assert set(held) <= set(arrived)
        assert held == sorted(held)
        assert held[-1] == newest
        assert buffer.bars().close.tolist() == [100.0 + index for index in held]
        assert len(buffer) == len(held)


@pytest.mark.parametrize("seed", range(40))
def test_all_windows_at_once_are_judged_as_each_alone(seed: int) -> None:
    dice = random.Random(seed)
    bars = filled(40, 64).bars()
    fields = {name: getattr(bars, name).copy() for name in ("open_time", "open", "close", "volume")}
    for _ in range(dice.randint(0, 3)):
        at = dice.randrange(40)
        fields[dice.choice(("open", "close", "volume"))][at] = dice.choice((math.nan, math.inf, 0.0, -1.0))
    if dice.random() < 0.5:
        fields["open_time"][dice.randrange(40) :] += dice.choice((HOUR, -HOUR, 1, -2 * HOUR))
    bars = msgspec.structs.replace(bars, **fields)
    found = refusals(bars, 8, HOUR)
    for index in range(40):
        alone = refusal(msgspec.structs.replace(tail(bars, 40), **{
            name: getattr(bars, name)[: index + 1] for name in ("open_time", "open", "high", "low", "close", "volume")
        }), 8, HOUR)  # fmt: skip
        assert [reason for reason, where in found.items() if where[index]] == ([] if alone is None else [alone])


def test_no_window_of_another_interval_is_whole() -> None:
    found = refusals(filled(20, 32).bars(), 8, HOUR // 12)
    assert {reason: int(where.sum()) for reason, where in found.items()} == {"window_interval": 20}
