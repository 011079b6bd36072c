"""The command `health` on a journal: what a person reads, and what a tool gets."""

import json
import re
from pathlib import Path

import anyio
import numpy as np
import pytest

from bot.commands.health import print_health
from bot.config import JournalTable
from bot.journal.connection import open_journal
from bot.journal.records import Records
from bot.messages import Signal
from tests.journal.rows import AT, signal

HOUR = 3_600_000
DRAWN = np.random.default_rng(1).normal(0, 0.002, 48)


def rows() -> list[Signal]:
    found = []
    for hour, predicted in enumerate(DRAWN.tolist()):
        at = AT + hour * HOUR
        for variant, threshold in (("REACH", 0.001), ("FAR", 0.05)):
            changes = {"cycle_at": at, "bar_close_at": at - at % HOUR, "variant": variant, "threshold": threshold}
            found.append(signal(f"{variant}{hour}", predicted_return=predicted, **changes))
    bad = {"cycle_at": AT + 48 * HOUR, "variant": "REACH", "threshold": 0.001, "predicted_return": None}
    return [*found, signal("bad", decision="refuse", decision_reason="absurd_forecast", **bad)]


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("state")

    async def make() -> None:
        async with open_journal(folder, JournalTable(), {}) as pool:
            await Records(pool).write(rows())

    anyio.run(make)
    return folder


def test_the_table_says_who_is_dead(
    state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    print_health(state, state / "absent.toml", as_json=False)
    text = capsys.readouterr().out
    p99 = float(np.abs(DRAWN).max())
    assert re.search(rf"t1 +nano-1 +now +97 +1\.0% +absurd_forecast 1 +48 .* {p99:.3%}", text)
    assert re.search(rf"FAR +t1 +48 .* {p99:.3%} +5\.000% +0\.0% +dead", text)
    assert re.search(r"REACH +t1 +48 .* 0\.100% +[1-9][0-9]\.\d% +no", text)


def test_json_has_the_same_figures_unrounded(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_health(state, state / "absent.toml", as_json=True)
    found = json.loads(capsys.readouterr().out)
    [tier] = found["tiers"]
    assert (tier["rows"], tier["refused"], tier["spread"]["forecasts"]) == (97, {"absurd_forecast": 1}, 48)
    assert tier["spread"]["p50"] == float(np.quantile(np.abs(DRAWN), 0.5, method="higher"))
    assert [(one["variant"], one["dead"]) for one in found["variants"]] == [("FAR", True), ("REACH", False)]
    assert found["newest_at"] == "2025-03-03T00:03:00.123Z"
