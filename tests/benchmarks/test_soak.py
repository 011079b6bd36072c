"""What the soak says of its looks: growth, what has become more, and how late the loop was."""

import os
import socket

import pytest

from benchmarks.processes import Usage, usage
from benchmarks.soak import Look, Page, Stretch, hourly, scrape
from bot.metrics import HOST, Metrics


def look(hour: float, megabytes: float, *, tasks: int = 20, lags: dict[float, float] | None = None) -> Look:
    seen = Usage(resident=round(megabytes * 1e6), anonymous=round(megabytes * 5e5), descriptors=30, threads=9)
    return Look(hour=hour, bot=seen, simulator=seen, page=Page(True, tasks, lags or {0.01: 0.0, 0.02: 0.0}))


def test_growth_is_between_the_medians_of_the_first_and_the_last_hour() -> None:
    looks = [look(hour / 4, 100 + hour / 4) for hour in range(8, 97)]
    looks[3] = look(looks[3].hour, 900)  # one odd look is no growth
    assert Stretch(looks).growth_pct(lambda one: one.bot.resident) == pytest.approx(
        100 * (123.5 - 102.5) / 102.5, abs=0.3
    )


def test_a_task_more_at_the_end_is_a_task_more() -> None:
    looks = [look(hour, 100, tasks=20 + (hour > 12)) for hour in range(25)]
    assert Stretch(looks).more(lambda one: one.page.tasks) == 1


def test_what_comes_and_goes_is_not_more() -> None:
    looks = [look(hour / 4, 100, tasks=20 + (hour % 3 > 0) * (1 + (hour > 90))) for hour in range(8, 97)]
    assert Stretch(looks).more(lambda one: one.page.tasks) == 0


def test_the_lag_is_that_of_the_stretch_and_linear_within_its_bounds() -> None:
    before = {0.01: 500.0, 0.02: 500.0, 0.05: 500.0}
    after = {0.01: 1_400.0, 0.02: 1_490.0, 0.05: 1_500.0}
    stretch = Stretch([look(2, 100, lags=before), look(24, 100, lags=after)])
    assert stretch.lag_ms(0.9) == pytest.approx(10)
    assert stretch.lag_ms(0.99) == pytest.approx(20)
    assert stretch.lag_ms(0.995) == pytest.approx(35)
    assert stretch.lag_ms(0.45) == pytest.approx(5)


def test_a_page_is_read_as_the_bot_serves_it() -> None:
    metrics = Metrics()
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = int(probe.getsockname()[1])
    assert scrape(port) is None
    metrics.loop_was_late(14)  # and 4
    metrics.tasks.set(7)
    with metrics.served(port):
        idle = scrape(port)
        metrics.equity_read_at.set(1_700_000_000)
        page = scrape(port)
    assert idle is not None
    assert page is not None
    assert (idle.trading, page.trading, page.tasks) == (False, True, 7)
    assert [page.lags[bound] for bound in (0.002, 0.005, 0.01, 0.015)] == [0, 1, 1, 2]


def test_this_process_is_read_and_one_that_is_gone_is_not() -> None:
    seen = usage(os.getpid())
    assert seen is not None
    assert seen.resident > seen.anonymous > 0
    assert seen.descriptors > 2
    assert seen.threads >= 1
    assert usage(2**22 + 1) is None


def test_each_hour_is_one_row() -> None:
    assert [row[0] for row in hourly([look(hour / 4, 100) for hour in range(12)]).rows] == [0, 1, 2]
