"""What a Prometheus server may scrape: the bot's own registry, and the page on which it is served."""

from collections.abc import Iterator
from contextlib import contextmanager

import anyio
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, start_http_server

from bot.clock import SECOND_MS, Stopwatch
from bot.errors import OperatorError

HOST = "127.0.0.1"  # the page has no password
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
ROWS = (1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 256)
LAGS = (0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
LOOK_MS = 10  # how often the event loop is asked how late it is
LONGEST_LAG_MS = 10_000  # a machine that slept for the night is no lag of ours
DISTANCES = (1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 8, 10, 15, 20, 50)


class Metrics:
    """The instruments by name; each actor is given this object and moves its own. Safe to read from any thread."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.forecasts = Counter("forecasts_total", "Forecasts given out", ["tier"], registry=registry)
        self.forecasts_refused = Counter(
            "forecasts_refused_total", "Windows without a forecast", ["tier", "reason"], registry=registry
        )
        self.forecast_seconds = Histogram(
            "forecast_seconds", "Real time of one pass of the model", registry=registry, buckets=SECONDS
        )
        self.forecast_batch_rows = Histogram(
            "forecast_batch_rows", "Windows in one pass of the model", registry=registry, buckets=ROWS
        )
        self.checkpoint_info = Gauge(
            "checkpoint_info",
            "1 for the checkpoint that serves the tier now",
            ["tier", "checkpoint"],
            registry=registry,
        )
        self.dead_variant = Gauge(
            "dead_variant", "1: the threshold lies above what the model says", ["variant"], registry=registry
        )
        self.predicted_return_abs = Gauge(
            "predicted_return_abs_quantile",
            "Quantiles of |predicted return| of the last 7 days",
            ["tier", "quantile"],
            registry=registry,
        )
        self.input_distance = Histogram(
            "input_distance",
            "Mahalanobis distance of a window from the training windows",
            ["tier"],
            registry=registry,
            buckets=DISTANCES,
        )
        self.loop_lag = Histogram(
            "event_loop_lag_seconds", "How late a timer rings that is due every 10 ms", registry=registry, buckets=LAGS
        )
        self.tasks = Gauge("event_loop_tasks", "Tasks that have begun and not ended", registry=registry)
        ProcessCollector(registry=registry)  # process_open_fds, process_resident_memory_bytes, processor time
        self._watch_account(registry)

    def _watch_account(self, registry: CollectorRegistry) -> None:
        """What concerns the account, its venue and its database."""
        self.guard_tripped = Gauge(
            "guard_tripped", "1: the account guard refuses entries", ["guard"], registry=registry
        )
        self.equity = Gauge("account_equity_usdt", "The account's equity at its last reading", registry=registry)
        self.equity_read_at = Gauge(
            "account_equity_read_at_seconds", "Domain time of that reading, seconds since the epoch", registry=registry
        )
        self.database_away = Gauge("database_away", "1: what is written waits in the spool", registry=registry)
        self.clock_offset = Gauge(
            "clock_offset_seconds", "What is added to the machine's clock for the venue's", registry=registry
        )
        self.clock_measured_at = Gauge(
            "clock_offset_measured_at_seconds", "When that was measured, seconds since the epoch", registry=registry
        )
        self.naked_seconds = Counter(
            "naked_seconds_total", "Seconds in which a position was larger than its live stops", registry=registry
        )

    def clock_measured(self, offset_ms: int, at: int) -> None:
        self.clock_offset.set(offset_ms / 1_000)
        self.clock_measured_at.set(at / 1_000)

    def serves(self, tier: str, checkpoint: str, before: str | None = None) -> None:
        """From now on `checkpoint` serves `tier`, and `before` no longer does."""
        if before is not None and before != checkpoint:
            self.checkpoint_info.labels(tier, before).set(0)
        self.checkpoint_info.labels(tier, checkpoint).set(1)

    @contextmanager
    def served(self, port: int) -> Iterator[None]:
        """Serve the page at http://127.0.0.1:`port`/metrics for as long as the block runs; 0 serves nothing."""
        if port == 0:
            yield
            return
        try:
            server, thread = start_http_server(port, HOST, self.registry)
        except OSError as error:
            raise OperatorError(f"[metrics] port {port}: {error.strerror}; expected a free port, or 0") from None
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    async def watch_loop(self) -> None:
        """Measure the event loop that this runs on, until cancelled."""
        look = 0
        while True:
            began = Stopwatch()
            await anyio.sleep(LOOK_MS / SECOND_MS)
            self.loop_was_late(began.seconds * SECOND_MS - LOOK_MS)
            if look % (SECOND_MS // LOOK_MS) == 0:
                self.tasks.set(len(anyio.get_running_tasks()))
            look += 1

    def loop_was_late(self, lag_ms: float) -> None:
        """Count a lag, and those of the timers due while it lasted, so that a long one weighs what it lasted."""
        left = min(max(lag_ms, 0), LONGEST_LAG_MS)
        self.loop_lag.observe(left / SECOND_MS)
        while (left := left - LOOK_MS) > 0:
            self.loop_lag.observe(left / SECOND_MS)
