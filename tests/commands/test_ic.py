"""`ic` by its command line: over stored forecasts of a model that knows something, and over a journal."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import msgspec
import numpy as np
import polars as pl
import pytest

from bot.__main__ import main
from bot.clock import HOUR_MS
from bot.config import JournalTable
from bot.history.bars import SCHEMA
from bot.history.forecasts import StoreManifest, make_store
from bot.journal.audit import AuditRows
from bot.journal.connection import open_journal
from bot.journal.records import Records
from bot.journal.store import VENUE, Store
from bot.strategy.audit import Expectations
from tests.flow.processes import remove
from tests.history.made import START, bars
from tests.journal.rows import signal

COUNT, HORIZON = 700, 4
SYMBOLS = {"BTCUSDT": 1, "ETHUSDT": 2}
ZERO_SHOT = "base tiny@00000000"
BASE = StoreManifest(
    checkpoint="tiny@00000000",
    base="tiny",
    base_sha256="0" * 64,
    adapter=None,
    adapter_sha256=None,
    context=64,
    horizon=HORIZON,
    interval_ms=HOUR_MS,
    options={},
    dtype="float32",
    trained_to_at=START + 300 * HOUR_MS,
)
TUNED = msgspec.structs.replace(
    BASE, checkpoint="t1/a@11111111", adapter="t1/a", adapter_sha256="1" * 64, trained_to_at=START + 300 * HOUR_MS
)


def forecasts(manifest: StoreManifest, root: Path, share: float) -> None:
    """Of every bar from the 64th on; `share` of the return that comes, the rest noise."""
    store = make_store(root, manifest)
    for symbol, seed in SYMBOLS.items():
        close = bars(COUNT + HORIZON, seed=seed).close
        index = np.arange(63, COUNT)
        noise = np.random.default_rng(seed + 10).normal(0, 0.002, (len(index), HORIZON))
        steps = np.column_stack([close[index + ahead] / close[index] - 1 for ahead in range(1, HORIZON + 1)])
        path = share * steps + (1 - share) * noise
        table = {
            "bar_close_at": START + (index + 1) * HOUR_MS,
            "last_close": close[index],
            **{f"step_{number + 1}": path[:, number] for number in range(HORIZON)},
            **dict.fromkeys(("q10", "q90", "distance"), np.zeros(len(index))),
            "refused": ["absurd_forecast"] + [""] * (len(index) - 1),
            "window_crc32": np.zeros(len(index), dtype=np.int64),
        }
        store.add(symbol, pl.DataFrame(table, schema=store.schema))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("ic")
    (made / "bars").mkdir()
    for symbol, seed in SYMBOLS.items():
        whole = bars(COUNT, symbol=symbol, seed=seed)
        table = pl.DataFrame({name: getattr(whole, name) for name in SCHEMA})
        table.write_parquet(made / "bars" / f"{symbol}-1h.parquet")
    (made / "v.toml").write_text('[variant]\nname = "V"\ntier = "t1"\nsymbols = ["BTCUSDT", "ETHUSDT"]\n')
    forecasts(BASE, made / "forecasts", 0.0)
    forecasts(TUNED, made / "forecasts", 0.4)
    return made


def words(folder: Path, *more: str) -> list[str]:
    given = ("--variants", folder / "v.toml", "--bars", folder / "bars", "--store", folder / "forecasts")
    return ["ic", *map(str, given), *more]


def told(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> Any:
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_an_adapter_is_held_against_its_base(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [found] = told(capsys, words(folder))
    assert (found["tier"], found["checkpoint"], found["symbols"]) == ("t1", "t1/a@11111111", 2)
    assert (found["in_sample"], found["in_sample_left_out"]) == (2 * (300 - 64), True)
    assert found["total"]["rows"] == 2 * (COUNT - 300 - HORIZON)
    assert found["total"]["t"] > 5
    baselines = {one["name"]: one for one in found["baselines"]}
    assert list(baselines) == ["reversal 4 h", "reversal 24 h", "reversal 72 h", "momentum 168 h", ZERO_SHOT]
    assert abs(baselines[ZERO_SHOT]["ic"]) < 0.15 < found["total"]["ic"]
    assert found["from_at"].startswith("2025-03-13")


def test_a_symbol_without_forecasts_is_named(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    variant = '[variant]\nname = "V"\ntier = "t1"\nsymbols = ["BTCUSDT", "ETHUSDT", "SOLUSDT"]\n'
    (tmp_path / "v.toml").write_text(variant)
    shutil.copy(folder / "bars" / "ETHUSDT-1h.parquet", tmp_path / "SOLUSDT-1h.parquet")
    for symbol in SYMBOLS:
        shutil.copy(folder / "bars" / f"{symbol}-1h.parquet", tmp_path)
    given = words(folder, "--variants", str(tmp_path / "v.toml"), "--bars", str(tmp_path))
    given = [*given[:1], *given[3:]]
    [found] = told(capsys, given)
    assert (found["symbols"], found["without_forecasts"]) == (2, ["SOLUSDT"])
    assert main(given) == 0
    assert "left out, no forecast in this range, or in-sample alone: t1 SOLUSDT; see" in capsys.readouterr().out
    assert main(words(folder)) == 0
    assert "left out, no forecast" not in capsys.readouterr().out


def test_what_training_saw_is_counted_on_request(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [found] = told(capsys, words(folder, "--in-sample", "--symbol", "ETHUSDT", "--checkpoint", "tiny@00000000"))
    assert (found["checkpoint"], found["total"]["rows"]) == ("tiny@00000000", COUNT - 64 - HORIZON)
    assert [one["name"] for one in found["by_symbol"]] == ["ETHUSDT"]
    assert not found["in_sample_left_out"]
    assert len(found["baselines"]) == 4
    more = ["--checkpoint", "tiny@00000000", "--against", "t1/a@11111111"]
    [found] = told(capsys, words(folder, *more))
    assert found["baselines"][-1]["name"] == "t1/a@11111111"
    assert found["baselines"][-1]["ic"] > found["total"]["ic"]


def test_more_than_there_is_is_cut_and_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [found] = told(capsys, words(folder, "--from", "2025-03-20"))
    assert found["notes"] == []
    beyond = words(folder, "--from", "2024-12-01", "--to", "2026-01-01")
    [found] = told(capsys, beyond)
    line = "asked for 2024-12-01 to 2026-01-01; bars and forecasts lie from 2025-03-03T16:00Z to 2025-03-30T04:00Z"
    assert found["notes"] == [f"{line}: that is what was run"]
    assert found["total"]["rows"] == 2 * (COUNT - 300 - HORIZON)
    assert main(beyond) == 0
    assert line in capsys.readouterr().out


def test_tables_and_pictures(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    page = tmp_path / "ic.html"
    assert main(words(folder, "--html", str(page))) == 0
    said = capsys.readouterr().out
    assert f"instead: {ZERO_SHOT}" in said
    assert "in-sample rows left out: 472" in said
    assert "What the forecasts knew" in page.read_text()
    assert main(words(folder, "--by", "symbol")) == 0
    assert "ETHUSDT" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        (["--checkpoint", "other"], "no forecasts of other are stored"),
        (["--by", "moon"], "--by moon: expected one of symbol, week, hour"),
        (["--tier", "t9"], "no variant has such a symbol in such a tier"),
        (["--from", "2025-03-20", "--to", "2025-03-20"], "--to 2025-03-20: expected a day after --from"),
        (["--from", "2026-01-01"], "2026-01-01T00:00Z: there is nothing between it and --to, or the last bar"),
        (["--to", "2025-03-10"], "no bar with a forecast is left"),
    ],
)
def test_what_cannot_be_told_is_said_in_one_line(
    folder: Path, more: list[str], fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(folder, *more)) == 2
    said = capsys.readouterr().err
    assert fault.replace(" are stored", "") in said
    assert said.count("\n") == 1


@pytest.fixture(scope="module")
def state(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A journal of two variants that saw the same bars, the second half an hour later."""
    made = tmp_path_factory.mktemp("journal")
    close = bars(COUNT, seed=1).close
    rows = []
    for index in range(200, 260):
        at = START + (index + 1) * HOUR_MS
        came = float(close[index + HORIZON] / close[index] - 1)
        for number, minute in enumerate((3, 33)):
            values = {"cycle_at": at + minute * 60_000, "bar_close_at": at, "predicted_return": came * (1 + number)}
            rows.append(signal(f"s{index}m{minute}", symbol="BTCUSDT", **values))

    async def write() -> None:
        async with open_journal(made, JournalTable(), {}) as pool:
            await Store(pool).set_fact(VENUE, "replay")
            expected = Expectations(symbols={"V": 1}, context=64, horizon_ms=HORIZON * HOUR_MS, up_since=START)
            await AuditRows(pool).expect(expected)
            await Records(pool).write(rows)

    anyio.run(write)
    yield made
    remove(made)


def test_what_a_bot_really_forecast_is_read_from_its_journal(
    folder: Path, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["ic", "--journal", "--state", str(state), "--bars", str(folder / "bars")]
    [found] = told(capsys, given)
    assert (found["total"]["rows"], found["total"]["ic"]) == (60, pytest.approx(1))
    assert found["checkpoint"] == "nano-1"
    assert [one["score"]["rows"] for one in found["decay"]] == [60] * 7
