"""The command line: every fault is one line and a status, every command has a manual, JSON is on stdout alone."""

import gc
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import polars as pl
import pytest
import structlog
import typer

from bot import logs
from bot.__main__ import app, main
from bot.clock import HOUR_MS
from bot.config import JournalTable
from bot.errors import OperatorError, OurFault, VenueUnavailable
from bot.journal.connection import open_journal
from bot.training.base import TrainOptions

CHECKOUT = Path(__file__).resolve().parent.parent
BTC = "deploy/variants/btc.toml"
VARIANT = '[variant]\nname = "A"\ntier = "t1"\nsymbols = ["BTCUSDT"]\n'
FILES = {
    "unknown_key.toml": VARIANT + "treshold_pct = 1\n",
    "bad_number.toml": VARIANT + "[sizing]\nleverage = 1000\n",
    "no_plugin.toml": VARIANT + 'entry = "nowhere"\n',
    "not_toml.toml": "[variant\n",
    "bot.toml": "[model]\ncontxt = 192\n",
    "empty/readme.txt": "",
    "a_file": "",
}


@pytest.fixture(autouse=True)
def at_the_checkout(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Commands set up the process's logs, so what was there before is put back."""
    monkeypatch.chdir(CHECKOUT)
    for name in ("BINANCE_API_KEY", "BINANCE_API_SECRET", "BOT_DSN", "BOT_STATE"):
        monkeypatch.delenv(name, raising=False)
    hooks = sys.excepthook, sys.unraisablehook
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    yield
    logging.captureWarnings(False)
    structlog.reset_defaults()
    sys.excepthook, sys.unraisablehook = hooks
    root.setLevel(before[0])
    for handler in set(root.handlers) - set(before[1]):
        handler.close()
    root.handlers[:] = before[1]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory with an empty journal."""
    folder = tmp_path_factory.mktemp("state")

    async def make() -> None:
        async with open_journal(folder, JournalTable(), {}):
            pass

    anyio.run(make)
    return folder


FAULTS = [
    # of the words
    ("frob", "No such command 'frob'; see python -m bot --help"),
    ("run --nope", r"No such option: --nope .*; see python -m bot run --help"),
    ("run --days x", r"Invalid value for '--days': .*; see python -m bot run --help"),
    ("run --days 0", r"Invalid value for '--days': .* 1; see python -m bot run --help"),
    ("check --state var", "--state: this command has no use for a state directory; leave it out; see .* check --help"),
    ("--state var check", "No such option: --state; see python -m bot --help"),
    ("check --json=3", "Option '--json' does not take a value; see python -m bot.* --help"),
    ("run --keep", "--keep: goes with --simulator URL alone; a simulator of the run's own starts a new account"),
    ("simulator", "--symbol: expected one or more, or --bars with a folder of SYMBOL-1h.parquet files"),
    ("train base --out x", "Missing option '--bars'; see python -m bot train base --help"),
    ("journal signals --limit 0", r"Invalid value for '--limit': .*"),
    ("journal frob", "No such command 'frob'; see python -m bot journal --help"),
    # of variants, settings, plugins
    ("run nope.toml", "nope.toml: no such file"),
    ("nope.toml --venue replay", "nope.toml: no such file"),
    ("run {0}/empty", r"{0}/empty: no \*\.toml in this folder; expected variant files"),
    ("run --config nope.toml", "--config nope.toml: no such file"),
    ("check --config {0}/bot.toml", '{0}/bot.toml: key model.contxt is unknown; did you mean "context"\\? allowed .*'),
    ("check {0}/unknown_key.toml", "{0}/unknown_key.toml: key variant.treshold_pct is unknown; did you mean .*"),
    ("check {0}/bad_number.toml", "{0}/bad_number.toml: key sizing.leverage: 1000 is not allowed; expected .*125"),
    ("check {0}/no_plugin.toml", "{0}/no_plugin.toml: .*nowhere.*"),
    ("check {0}/not_toml.toml", "{0}/not_toml.toml: not TOML: .*"),
    ("check {0}/a_file", "{0}/a_file: key variant is missing; expected .*"),
    ("plugins --plugins {0}/nowhere", "{0}/nowhere: no such plugin folder"),
    # of the venue and its market
    (f"run {BTC} --venue moon", "--venue moon: expected one of replay, demo, live"),
    (f"{BTC} --venue moon", "--venue moon: expected one of replay, demo, live"),
    (f"run {BTC} --venue live", "environment: BINANCE_API_KEY and BINANCE_API_SECRET must be set .*"),
    (f"run {BTC} --from 2025-13-01", "--from 2025-13-01: expected a day, as 2025-03-01"),
    (f"run {BTC} --from 2025-03-02 --to 2025-03-01", "--to 2025-03-01: expected a day after --from 2025-03-02"),
    (f"run {BTC} --pace fast", r"--pace fast: expected max, or a number above 0 \(times real time\)"),
    (f"run {BTC} --profile wild", "--profile wild: expected one of calm, normal, stress"),
    (f"run {BTC} --bars {{0}}/nowhere", r"--bars {0}/nowhere: no such folder; expected .*"),
    (
        f"run {BTC} --bars {{0}}/empty",
        "{0}/empty/BTCUSDT-1h.parquet: no such file, nor months in .*",
    ),
    (f"run {BTC} --state {{0}}/a_file", "--state {0}/a_file: File exists; expected a folder for its files"),
    ("simulator --symbol btc", '--symbol btc: expected a symbol of the venue such as "BTCUSDT"'),
    ("simulator --symbol BTCUSDT --port 70000", "Invalid value for '--port': .* 65535; see .*"),
    ("train base --bars {0} --out {0}/a_file/m", "--out {0}/a_file/m: Not a directory; expected a folder .*"),
    ("simulator --symbol BTCUSDT --wallet much", "--wallet much: expected an amount of USDT above 0"),
    # of the journal, the model, the training
    ("journal signals --state {0}/none", "{0}/none: no journal here yet; run the bot with this state directory first"),
    ("journal signals --decision maybe", "--decision maybe: expected one of enter, refuse"),
    ("journal positions --status gone", "--status gone: expected one of pending, open, closing, closed"),
    ("journal orders --order-state gone", "--order-state gone: expected one of intended, unresolved, .*"),
    ("journal events --severity bad", "--severity bad: expected one of info, warning, error"),
    ("model nowhere", "model nowhere: no directory of that name below .*checkpoints and no such path; .*"),
    ("model --checkpoints {0}", "model nano: no directory of that name below {0} and no such path; .*"),
    ("train base --bars {0} --out {0}/m", r"--bars {0}: there are no 1h bars; expected .*"),
    ("train base --bars {0} --out {0}/a_file", "--out {0}/a_file: is a file; expected a folder"),
    ("train base --bars {0} --out {0}/m --cutoff soon", "--cutoff soon: expected a day, as 2025-03-01"),
    ("train base --bars {0} --out {0}/m --test-to 2024-01-01", "--cutoff, .*: expected three days, each after .*"),
]


@pytest.mark.parametrize(("words", "line"), FAULTS)
def test_a_fault_is_one_line_on_stderr_and_status_2(
    words: str, line: str, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words.format(files).split()) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert re.fullmatch(line.format(re.escape(str(files))), told.err.rstrip("\n")), told.err


def raises(error: BaseException) -> Callable[..., int]:
    def run_bot(_: object) -> int:
        raise error

    return run_bot


@pytest.mark.parametrize(
    ("error", "line", "status"),
    [
        (VenueUnavailable("nobody answers"), "VenueUnavailable: nobody answers\n", 1),
        (ExceptionGroup("", [VenueUnavailable("nobody\nanswers")]), "VenueUnavailable: nobody answers\n", 1),
        (ExceptionGroup("", [ExceptionGroup("", [OperatorError("wrong")]), OSError("x")]), "wrong\n", 2),
        (OperatorError(""), "", 2),  # a child process has said its line
        (KeyboardInterrupt(), "interrupted\n", 1),
    ],
)
def test_what_ends_a_run_is_one_line_however_deep_a_task_group_has_wrapped_it(
    error: BaseException,
    line: str,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("bot.run.run_bot", raises(error))
    assert main(["run"]) == status
    assert capsys.readouterr().err == line


def test_a_fault_of_ours_is_not_dressed_up_as_the_venues(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.run.run_bot", raises(ExceptionGroup("", [VenueUnavailable("x"), OurFault("y")])))
    with pytest.raises(ExceptionGroup):
        main(["run"])


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*path, name))


@pytest.mark.parametrize("path", list(commands(typer.main.get_command(app))), ids=" ".join)
def test_every_command_has_a_manual(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*path, "--help"]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert " ".join(("Usage: python -m bot", *path)) in told.out
    assert all(line for line in told.out.splitlines()[2:3])


@pytest.mark.parametrize("words", [[], ["checkpoints"], ["journal"], ["train"]])
def test_a_group_alone_prints_its_manual(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    assert "Commands:" in capsys.readouterr().out


def test_the_manual_comes_without_the_heavy_packages() -> None:
    heavy = ("torch", "numpy", "polars", "aiohttp", "asyncpg", "plotly", "structlog")
    code = f"import sys, bot.__main__ as m; m.main(['--help']); sys.exit(any(x in sys.modules for x in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_what_reads_the_journal_alone_comes_without_the_venues_client() -> None:
    heavy = ("torch", "aiohttp", "binance_common")
    code = f"import sys, bot.commands.audit, bot.commands.parity; sys.exit(any(x in sys.modules for x in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


@pytest.mark.parametrize(("words", "status"), [(["run", "nope.toml"], 2), (["simulator", "--list-faults"], 0)])
def test_what_a_long_run_imports_is_never_looked_through_for_garbage(words: list[str], status: int) -> None:
    gc.unfreeze()
    assert main(words) == status
    assert gc.get_freeze_count() > 100_000
    assert gc.isenabled()


@pytest.mark.parametrize("kind", ["signals", "positions", "orders", "fills", "events", "days"])
def test_the_journal_is_printed_as_json_or_as_a_table(
    kind: str, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["journal", kind, "--state", str(state), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert main(["journal", kind, "--state", str(state)]) == 0
    assert capsys.readouterr().out == "no rows\n"


def test_check_plugins_and_model_print_json(capsys: pytest.CaptureFixture[str]) -> None:
    told = {}
    for words in ("check", "plugins", "model"):
        assert main([words, "--json"]) == 0
        captured = capsys.readouterr()
        told[words] = json.loads(captured.out)
        assert captured.err == ""
    assert {row["kind"] for row in told["plugins"]} == {"tier", "filter", "entry", "rule"}
    assert told["model"]["licence"] in ("MIT", "Apache-2.0")
    assert len(told["check"]) == len(list(Path("deploy/variants").glob("*.toml")))


def test_the_tables_of_plugins_and_model_hold_what_is_asked_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins"]) == main(["model"]) == 0
    text = capsys.readouterr().out
    for words in ("atr_multiple = 0.5", "plugins/filters/rsi.py", "sha256", "may trade", "BTCUSDT", "reversal"):
        assert words in text


def test_the_shipped_recipe_is_what_is_trained_without_options(tmp_path: Path) -> None:
    from bot.commands.train import options

    nothing = dict.fromkeys(("cutoff", "validation_to", "test_to"))
    made = options((tmp_path,), tmp_path / "m", nothing, {"seed": None, "steps": 5})
    assert made == TrainOptions(bars=(tmp_path,), out=tmp_path / "m", steps=5)


def python(*words: object) -> list[str]:
    return [sys.executable, "-m", "bot", *map(str, words)]


def test_a_process_leaves_its_status_and_json_on_stdout_alone(state: Path) -> None:
    done = subprocess.run(python("journal", "days", "--state", state, "--json"), capture_output=True, text=True)
    assert done.returncode == 0
    assert json.loads(done.stdout) == []
    wrong = subprocess.run(python("run", "nope.toml"), capture_output=True, text=True)
    assert (wrong.returncode, wrong.stdout, wrong.stderr) == (2, "", "nope.toml: no such file\n")


@pytest.mark.flow
def test_what_only_the_simulator_can_know_to_be_wrong_is_told_once(tmp_path: Path) -> None:
    opened = np.arange(400) * HOUR_MS + 1_735_689_600_000
    price = np.full(400, 100.0)
    columns = {"open_time": opened, **dict.fromkeys(("open", "high", "low", "close", "volume"), price)}
    pl.DataFrame(columns).write_parquet(tmp_path / "BTCUSDT-1h.parquet")
    words = ("run", BTC, "--bars", tmp_path, "--from", "2031-01-01", "--days", 1, "--state", tmp_path / "state")
    done = subprocess.run(python(*words), capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("2031-01-0") == 1
    assert "BTCUSDT can be played until 2025-01-17" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.flow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_replay_that_is_interrupted_reports_what_was_played(number: signal.Signals, tmp_path: Path) -> None:
    output = tmp_path / "stderr"
    words = python("run", BTC, "--days", 30, "--state", tmp_path / "state", "--no-view")
    with output.open("wb") as file:
        bot = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=file, text=True, env=os.environ)
    try:
        deadline = time.monotonic() + 120
        while "signals" not in output.read_text() and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(1)
        bot.send_signal(number)
        told, _ = bot.communicate(timeout=60)
    finally:
        bot.kill()
    assert bot.returncode == 0, output.read_text()
    assert "stopped by hand" in told
    report = json.loads((tmp_path / "state" / "report" / "report.json").read_text())
    assert report["simulated_days"] < 30
    assert report["interrupted"] is True
    assert report["ledger_equal"] is (report["ledger_checks"] > 0)
    assert report["naked_seconds"] == 0


def test_a_crash_says_on_stderr_where_its_log_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bot.jsonl"
    logs.configure(file)
    sys.excepthook(KeyError, KeyError("x"), None)
    assert capsys.readouterr().err == f"crashed with KeyError; what happened is in {file}\n"
    assert json.loads(file.read_text())["event"] == "uncaught_exception"
