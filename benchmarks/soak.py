"""Does a long run leak, does its event loop keep up: `python -m benchmarks.soak`, the book at 100 times real time."""

import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from prometheus_client.parser import text_string_to_metric_families

from benchmarks import processes
from benchmarks.processes import Usage
from benchmarks.report import Report, Row, Table, describe_machine, show, utc_now, write
from bot.clock import HOUR_MS, SECOND_MS, Stopwatch
from bot.metrics import HOST

GROWTH_PCT, LAG_MS = 2.0, 20.0
START_SECONDS = 180.0  # real time until the bot trades
END_SECONDS = 120.0  # and until it has written its report
MB = 1e6
# The account's guards would end the trading of a losing day, and an idle bot leaks nothing.
UNGUARDED = "[guards]\nday_drawdown_pct = 100\ndrawdown_pct = 100\ndaily_loss_pct = 100\nlosing_streak = 100\n"


class Page(msgspec.Struct, frozen=True):
    """One scrape of the bot's metrics."""

    trading: bool
    tasks: int
    lags: dict[float, float]  # how many were at most so many seconds late


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """Bot and simulator at one moment."""

    hour: float  # simulated, since the bot trades
    bot: Usage
    simulator: Usage
    page: Page


class Stretch(msgspec.Struct, frozen=True):
    """From after the warm-up to the end; what is compared is the first and the last part of it."""

    looks: Sequence[Look]

    def ends(self, figure: Callable[[Look], float]) -> tuple[list[float], list[float]]:
        """The figure in the first and in the last hour, or quarter where that is shorter."""
        first, last = self.looks[0].hour, self.looks[-1].hour
        part = min(1.0, (last - first) / 4)
        begin = [figure(look) for look in self.looks if look.hour <= first + part]
        return begin, [figure(look) for look in self.looks if look.hour >= last - part]

    def growth_pct(self, figure: Callable[[Look], float]) -> float:
        begin, end = map(statistics.median, self.ends(figure))
        return 100 * (end - begin) / begin

    def more(self, figure: Callable[[Look], float]) -> float:
        """What does not come back: the least at the end over the most at the beginning. A connection that is opened
        now and then is no leak."""
        begin, end = self.ends(figure)
        return max(0.0, min(end) - max(begin))

    def lag_ms(self, share: float) -> float:
        """The lag that `share` of the stretch's were below; linear between the histogram's bounds."""
        before, after = self.looks[0].page.lags, self.looks[-1].page.lags
        counts = {bound: after[bound] - before[bound] for bound in sorted(after)}
        wanted = share * max(counts.values())
        below, lower = 0.0, 0.0
        for bound, count in counts.items():
            if count >= wanted and count > below:
                return SECOND_MS * (lower + (min(bound, 60.0) - lower) * (wanted - below) / (count - below))
            below, lower = count, bound
        return SECOND_MS * lower


def scrape(port: int) -> Page | None:
    """None while nobody answers."""
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return None
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    plain = {sample.name: sample.value for sample in samples if not sample.labels}
    lags = {float(s.labels["le"]): s.value for s in samples if s.name == "event_loop_lag_seconds_bucket"}
    return Page(plain["account_equity_read_at_seconds"] > 0, int(plain["event_loop_tasks"]), lags)


class Soak:
    """One run of the real processes, watched from outside; its files are below `folder`."""

    def __init__(self, folder: Path, variants: Path, *, pace: float, hours: float, seed: int, threshold: float) -> None:
        self._folder, self._pace, self._hours = folder, pace, hours
        shutil.rmtree(folder / "variants", ignore_errors=True)
        (folder / "variants").mkdir(parents=True)
        for path in variants.glob("*.toml"):
            keys = f"threshold_pct = {threshold}\nminutes = "
            text = re.sub(r"^minutes = ", keys, path.read_text(), flags=re.MULTILINE)
            text = text.replace("[filter.categories]\n", "[filter.categories]\nshadow = true\n")
            (folder / "variants" / path.name).write_text(text)
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            self._port = int(probe.getsockname()[1])
        (folder / "bot.toml").write_text(f"[metrics]\nport = {self._port}\n{UNGUARDED}")
        days = max(1, -(-hours // 24))
        self._to_the_end = hours == days * 24  # the bot then ends by itself
        self._command = [
            sys.executable, "-m", "bot", "run", str(folder / "variants"), "--venue", "replay",
            "--config", str(folder / "bot.toml"), "--state", str(folder / "state"), "--no-view",
            "--days", f"{days:.0f}", "--pace", str(pace), "--seed", str(seed), "--profile", "stress",
        ]  # fmt: skip

    def run(self, every: float) -> list[Look]:
        """Looks from the start of trading to the end, one in `every` seconds. RuntimeError where the bot fails."""
        log = self._folder / "run.log"
        with log.open("wb") as out, subprocess.Popen(self._command, stdout=out, stderr=subprocess.STDOUT) as bot:
            try:
                self._wait_until_it_trades(bot)
                looks = self._watch(bot, every)
                if not self._to_the_end:
                    bot.send_signal(signal.SIGTERM)
                bot.wait(END_SECONDS)
            finally:
                bot.kill()
        if bot.returncode != 0:
            raise RuntimeError(f"{' '.join(self._command)} ended with {bot.returncode}:\n{log.read_text()[-3000:]}")
        return looks

    def left(self) -> dict[str, Any]:
        report: dict[str, Any] = msgspec.json.decode((self._folder / "state" / "report" / "report.json").read_bytes())
        return report

    def _wait_until_it_trades(self, bot: subprocess.Popen[bytes]) -> None:
        waited = Stopwatch()
        while waited.seconds < START_SECONDS and bot.poll() is None:
            page = scrape(self._port)
            if page is not None and page.trading:
                return
            time.sleep(0.2)
        raise RuntimeError(f"the bot does not trade:\n{(self._folder / 'run.log').read_text()[-3000:]}")

    def _watch(self, bot: subprocess.Popen[bytes], every: float) -> list[Look]:
        simulator = processes.child(bot.pid, "simulator")
        traded, looks = Stopwatch(), list[Look]()
        while simulator is not None and (hour := traded.seconds * self._pace * SECOND_MS / HOUR_MS) < self._hours:
            page, seen, beside = scrape(self._port), processes.usage(bot.pid), processes.usage(simulator)
            if page is None or seen is None or beside is None:
                break  # the market has ended
            looks.append(Look(hour=hour, bot=seen, simulator=beside, page=page))
            _progress(looks[-1], self._hours)
            time.sleep(every)
        return looks


def _progress(look: Look, hours: float) -> None:
    sys.stderr.write(
        f"\rhour {look.hour:5.2f} of {hours:g}: {look.bot.resident / MB:7.1f} MB, {look.bot.descriptors} descriptors, "
        f"{look.page.tasks} tasks, simulator {look.simulator.resident / MB:7.1f} MB"
    )
    sys.stderr.flush()


def rows(stretch: Stretch, left: Mapping[str, Any], pace: float) -> tuple[Row, ...]:
    def row(figure: str, value: float, unit: str, required: float | None = None) -> Row:
        return Row(figure=figure, value=value, unit=unit, required=required, better="lower")

    return (
        row("the bot's memory: growth", stretch.growth_pct(lambda look: look.bot.resident), "%", GROWTH_PCT),
        row("the same without mapped files", stretch.growth_pct(lambda look: look.bot.anonymous), "%", GROWTH_PCT),
        row("file descriptors more than at the start", stretch.more(lambda look: look.bot.descriptors), "", 0),
        row("tasks more than at the start", stretch.more(lambda look: look.page.tasks), "", 0),
        row("threads more than at the start", stretch.more(lambda look: look.bot.threads), ""),
        row("event-loop lag, 99 % are below", stretch.lag_ms(0.99), "ms", LAG_MS),
        row("event-loop lag, 99.9 % are below", stretch.lag_ms(0.999), "ms"),
        row("event-loop lag, half are below", stretch.lag_ms(0.5), "ms"),
        row("the simulator's memory: growth", stretch.growth_pct(lambda look: look.simulator.resident), "%"),
        row("ledgers that differ from the venue's", float(not left["ledger_equal"]), "", 0),
        row("real seconds without a stop, per entry", _naked_seconds(left, pace), "s"),
    )


def _naked_seconds(left: Mapping[str, Any], pace: float) -> float:
    naked: float = left["naked_seconds"]
    entries: int = left["entries_filled"]
    return naked / pace / max(1, entries)


def hourly(looks: Sequence[Look]) -> Table:
    """One row an hour, the first look of each."""
    firsts = {int(look.hour): look for look in reversed(looks)}
    return Table(
        title="Hour by hour",
        columns=("hour", "bot MB", "of it anonymous", "simulator MB", "descriptors", "tasks", "threads"),
        rows=tuple(
            (
                hour,
                round(look.bot.resident / MB, 1),
                round(look.bot.anonymous / MB, 1),
                round(look.simulator.resident / MB, 1),
                look.bot.descriptors,
                look.page.tasks,
                look.bot.threads,
            )
            for hour, look in sorted(firsts.items())
        ),
    )


def main(
    state: Annotated[Path, typer.Option(help="Where bench/soak.json is written.")] = Path("var"),
    variants: Annotated[Path, typer.Option(help="The book.")] = Path("deploy/variants"),
    hours: Annotated[float, typer.Option(min=1, help="Simulated hours.")] = 24,
    warm_up: Annotated[float, typer.Option(min=0, help="Simulated hours that are not counted.")] = 2,
    pace: Annotated[float, typer.Option(min=1, help="Times real time.")] = 100,
    threshold: Annotated[float, typer.Option(min=0.001, help="Percent; low, so that the small model trades.")] = 0.05,
    seed: Annotated[int, typer.Option(help="Of the generated market.")] = 1,
    every: Annotated[float, typer.Option(min=0.5, help="Real seconds between two looks.")] = 4,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    folder = state / "bench" / "soak"
    soak = Soak(folder, variants, pace=pace, hours=hours, seed=seed, threshold=threshold)
    looks = soak.run(every)
    sys.stderr.write("\n")
    counted = [look for look in looks if look.hour >= warm_up]
    if len(counted) < 8:
        raise RuntimeError(f"only {len(counted)} looks after the warm-up; see {folder / 'run.log'}")
    left = soak.left()
    report = Report(
        name="soak",
        command=f"python -m benchmarks.soak --hours {hours:g} --warm-up {warm_up:g} --pace {pace:g} --seed {seed}",
        measured_at=utc_now(),
        machine=describe_machine(),
        rows=rows(Stretch(counted), left, pace),
        tables={"hours": hourly(looks)},
        notes=(
            f"{len(left['symbols'])} symbols, {left['orders']} orders, {left['entries_filled']} entries filled.",
            f"Compared: medians of the first hour after the warm-up and of the last, until hour {looks[-1].hour:.1f}; "
            "of what is counted the least in the last and the most in the first.",
        ),
    )
    write(report, state)
    show(report, as_json=as_json)


if __name__ == "__main__":
    typer.run(main)
