"""What a scrape of the bot's page finds."""

import socket
import urllib.request

import pytest

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
