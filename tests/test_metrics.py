"""What a scrape of the bot's page finds."""

import socket
import urllib.request

import anyio
import pytest
import trio.testing

from bot.errors import OperatorError
from bot.metrics import HOST, Metrics


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def test_a_scrape_finds_what_was_counted() -> None:
    metrics, port = Metrics(), free_port()
    metrics.forecasts.labels("t1").inc(41)
    metrics.forecasts_refused.labels("t1", "absurd_forecast").inc()
    metrics.serves("t1", "nano@1")
    metrics.serves("t1", "t1/a@2", before="nano@1")
    metrics.dead_variant.labels("BTC").set(1)
    metrics.forecast_batch_rows.observe(41)
    with metrics.served(port):
        page = scrape(port).splitlines()
    for line in (
        'forecasts_total{tier="t1"} 41.0',
        'forecasts_refused_total{reason="absurd_forecast",tier="t1"} 1.0',
        'checkpoint_info{checkpoint="nano@1",tier="t1"} 0.0',
        'checkpoint_info{checkpoint="t1/a@2",tier="t1"} 1.0',
        'dead_variant{variant="BTC"} 1.0',
        'forecast_batch_rows_bucket{le="48.0"} 1.0',
        "forecast_batch_rows_sum 41.0",
    ):
        assert line in page


def test_the_page_is_gone_with_its_block_and_the_port_free_again() -> None:
    metrics, port = Metrics(), free_port()
    for _ in range(2):
        with metrics.served(port):
            scrape(port)
    with pytest.raises(OSError):
        scrape(port)


def test_port_0_serves_nothing() -> None:
    with Metrics().served(0):
        pass


def test_a_port_that_is_taken_is_the_operators_fault() -> None:
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        with (
            pytest.raises(OperatorError, match=rf"\[metrics\] port {port}: .*expected a free port"),
            Metrics().served(port),
        ):
            pass


def test_two_bots_of_one_process_count_for_themselves() -> None:
    one, two = Metrics(), Metrics()
    one.forecasts.labels("t1").inc()
    assert two.registry.get_sample_value("forecasts_total", {"tier": "t1"}) is None


def lags(metrics: Metrics) -> dict[str, float | None]:
    read = metrics.registry.get_sample_value
    bounds = ("0.005", "0.01", "0.02", "0.05", "+Inf")
    return {bound: read("event_loop_lag_seconds_bucket", {"le": bound}) for bound in bounds}


def test_a_long_lag_weighs_as_many_timers_as_were_due_while_it_lasted() -> None:
    metrics = Metrics()
    metrics.loop_was_late(-1)
    metrics.loop_was_late(34)  # and 24, 14, 4
    assert lags(metrics) == {"0.005": 2, "0.01": 2, "0.02": 3, "0.05": 5, "+Inf": 5}


def test_a_machine_that_slept_for_the_night_counts_as_late_by_ten_seconds() -> None:
    metrics = Metrics()
    metrics.loop_was_late(8 * 3_600_000)
    assert lags(metrics)["+Inf"] == 1_000
    assert metrics.registry.get_sample_value("event_loop_lag_seconds_bucket", {"le": "5.0"}) == 500


@pytest.mark.parametrize("anyio_backend", [("trio", {"clock": trio.testing.MockClock(autojump_threshold=0)})])
@pytest.mark.anyio
async def test_the_loop_that_is_watched_tells_its_lag_and_its_tasks() -> None:
    metrics = Metrics()
    before = len(anyio.get_running_tasks())
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(anyio.sleep_forever)
        group.start_soon(metrics.watch_loop)
        await anyio.sleep(1.005)
        assert metrics.registry.get_sample_value("event_loop_tasks") == before + 4
        assert (lags(metrics)["+Inf"] or 0) >= 100  # more where this machine is late
        group.cancel_scope.cancel()


def test_the_page_tells_what_the_process_uses() -> None:
    assert (Metrics().registry.get_sample_value("process_open_fds") or 0) > 2
