"""A checkpoint is activated while the whole process trades: taken at a cycle's boundary, journaled, in every row."""

import json
import re
import shutil
import time
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from bot.clock import DAY_MS
from bot.forecast import pointers
from bot.forecast.checkpoints import CHECKPOINTS, Loaded, load
from bot.forecast.registry import ADAPTER
from tests.flow.processes import Bot, Left, remove
from tests.flow.variants import variant, write
from tests.forecast.checkpoints_made import make_adapter, random_tensors
from tests.test_metrics import free_port, scrape

pytestmark = [pytest.mark.flow, pytest.mark.timeout(300)]

MANY_MINUTES = ", ".join(str(minute) for minute in range(1, 60, 4))
DAYS = 2
WAIT_SECONDS = 60.0  # real time for one line of the log


def small_adapter(directory: Path, loaded: Loaded, name: str, seed: int) -> Path:
    """A LoRA that moves the shipped model's forecasts without breaking them."""
    spec = loaded.engine.spec
    tensors = random_tensors(seed, magnitude=False, spec=spec)
    tensors = {key: value * 0.1 for key, value in tensors.items()}
    return make_adapter(directory, loaded, name, tensors=tensors, method="lora")


def wait_for(bot: Bot, words: str) -> None:
    """Until the log of the running bot holds `words`."""
    log = bot.state / "logs" / "bot.jsonl"
    deadline = time.monotonic() + WAIT_SECONDS
    while not (log.exists() and words in log.read_text()):
        assert bot.running, f"the bot ended before {words}:\n{bot.output.read_text()[-2000:]}"
        assert time.monotonic() < deadline, words
        time.sleep(0.02)


def point_at(checkpoints: Path, name: str) -> None:
    """Write the pointer as a careless hand would: nothing is verified."""
    path = checkpoints / "t1" / pointers.POINTER
    pointer = json.loads(path.read_bytes())
    pointer["current"]["checkpoint"] = name
    new = path.with_suffix(".hand")
    new.write_text(json.dumps(pointer))
    new.replace(path)


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Left]:
    folder = tmp_path_factory.mktemp("activation")
    checkpoints, state = folder / "checkpoints", folder / "state"
    shutil.copytree(CHECKPOINTS / "nano", checkpoints / "nano")
    loaded = load("nano", checkpoints)
    small_adapter(checkpoints, loaded, "good", 1)
    weights = small_adapter(checkpoints, loaded, "broken", 2) / ADAPTER
    weights.write_bytes(weights.read_bytes()[:-1])
    files = {name: variant(name.upper(), ("BTCUSDT",), minutes=MANY_MINUTES, threshold=5) for name in ("a", "b")}
    port, config = free_port(), folder / "bot.toml"
    config.write_text(f"[metrics]\nport = {port}\n")
    words = ("--days", DAYS, "--checkpoints", checkpoints, "--config", config)
    bot = Bot(state, write(folder / "variants", files), *words)
    wait_for(bot, '"input_distances"')
    pointers.activate(checkpoints, "t1", "good", loaded.base, at=1, by="test")
    wait_for(bot, '"checkpoint_activated"')
    (folder / "metrics").write_text(scrape(port))
    point_at(checkpoints, "broken")
    wait_for(bot, '"checkpoint_refused"')
    yield bot.end()
    remove(state)


def events(left: Left, name: str) -> list[dict[str, Any]]:
    return left.rows(f"SELECT * FROM bot.bot_events WHERE name = '{name}' ORDER BY id")


def test_every_row_carries_its_checkpoint_and_no_cycle_has_two(left: Left) -> None:
    rows = left.rows("SELECT cycle_at, checkpoint FROM bot.signal_log ORDER BY cycle_at")
    cycles = [
        (at, {row["checkpoint"] for row in group}) for at, group in groupby(rows, key=lambda row: row["cycle_at"])
    ]
    assert {len(ids) for _, ids in cycles} == {1}
    order = [name for name, _ in groupby(name for _, ids in cycles for name in ids)]
    assert len(order) == 2
    assert re.fullmatch(r"nano@[0-9a-f]{8}", order[0])
    assert re.fullmatch(r"t1/good@[0-9a-f]{8}", order[1])
    [activated] = events(left, "checkpoint_activated")
    first = next(at for at, ids in cycles if ids == {order[1]})
    assert (activated["at"], activated["detail"]["before"], activated["detail"]["after"]) == (first, *order)


def test_another_checkpoint_says_something_else_of_the_same_bar(left: Left) -> None:
    said = left.rows(
        """SELECT symbol, bar_close_at, count(DISTINCT predicted_return) AS said, count(DISTINCT checkpoint) AS ids
           FROM bot.signal_log WHERE predicted_return IS NOT NULL GROUP BY symbol, bar_close_at"""
    )
    assert {row["said"] for row in said if row["ids"] == 2} <= {2}
    assert {row["said"] for row in said if row["ids"] == 1} == {1}


def test_a_broken_checkpoint_is_refused_and_the_running_one_stays(left: Left) -> None:
    [refused] = events(left, "checkpoint_refused")
    assert refused["severity"] == "error"
    assert refused["detail"]["before"] == refused["detail"]["after"]
    assert "broken" in refused["detail"]["reason"]
    [served] = events(left, "checkpoint_served")
    assert served["detail"]["tier"] == "t1"
    assert left.report["ledger_equal"]


def test_a_scrape_of_the_running_bot_tells_what_serves(left: Left) -> None:
    page = (left.state.parent / "metrics").read_text()
    assert re.search(r'^checkpoint_info\{checkpoint="nano@\w+",tier="t1"\} 0\.0$', page, re.MULTILINE)
    assert re.search(r'^checkpoint_info\{checkpoint="t1/good@\w+",tier="t1"\} 1\.0$', page, re.MULTILINE)
    assert re.search(r'^forecasts_total\{tier="t1"\} [1-9]', page, re.MULTILINE)
    assert re.search(r"^forecast_seconds_count [1-9]", page, re.MULTILINE)


def test_variants_whose_threshold_is_out_of_reach_are_told_within_a_day(left: Left) -> None:
    told = events(left, "dead_variant")
    first = left.value("SELECT min(cycle_at) AS first FROM bot.signal_log")
    assert {row["detail"]["variant"] for row in told if row["at"] - first < DAY_MS} == {"A", "B"}
    for row in told:
        assert row["severity"] == "warning"
        assert row["detail"]["checkpoint"].startswith("t1/good@")
        assert row["detail"]["p99"] < row["detail"]["threshold"] == 0.05
