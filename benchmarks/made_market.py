"""The market of `benchmarks.research`, from a seed: five-minute bars, as files too, and forecasts of their hours."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from bot.clock import HOUR_MS, MINUTE_MS
from bot.history.bars import SCHEMA, BarFiles
from bot.history.forecasts import StoreManifest, make_store
from bot.messages import Bars

FIVE_MS = 5 * MINUTE_MS
START = 1_735_689_600_000  # 2025-01-01
SWING = 0.0018  # of a bar's log return
CONTEXT, HORIZON = 192, 4


def five_minutes(symbol: str, count: int, seed: int, start: int = START) -> Bars:
    """A walk on the tick with fat tails."""
    random = np.random.default_rng(seed)
    moves = random.standard_t(4, count) * SWING / np.sqrt(2)
    close = 100.0 * np.exp(np.cumsum(moves - moves.mean()))
    opened = np.concatenate([[100.0], close[:-1]])
    reach = np.abs(random.normal(0, SWING / 2, (2, count)))
    high, low = np.maximum(opened, close) * (1 + reach[0]), np.minimum(opened, close) * (1 - reach[1])
    opened, high, low, close = (np.round(one, 3) for one in (opened, high, low, close))
    times = start + FIVE_MS * np.arange(count, dtype=np.int64)
    return Bars(symbol, FIVE_MS, times, opened, high, low, close, random.uniform(1e4, 1e5, count))


def hours_of(fine: Bars) -> Bars:
    rows = {name: getattr(fine, name).reshape(-1, 12) for name in SCHEMA}
    return Bars(
        fine.symbol, HOUR_MS, rows["open_time"][:, 0], rows["open"][:, 0], rows["high"].max(axis=1),
        rows["low"].min(axis=1), rows["close"][:, -1], rows["volume"].sum(axis=1),
    )  # fmt: skip


def write_bars(files: BarFiles, some: Bars) -> None:
    files.add(some.symbol, some.interval_ms, pl.DataFrame({name: getattr(some, name) for name in SCHEMA}))


def write_book(folder: Path, symbols: Sequence[str], days: int) -> tuple[Path, Path]:
    """Bars of both lengths and made-up forecasts of every hour: (folder of bars, folder of forecasts)."""
    files = BarFiles(folder / "bars")
    manifest = StoreManifest(
        checkpoint="made@0", base="made", base_sha256="0", adapter=None, adapter_sha256=None, context=CONTEXT,
        horizon=HORIZON, interval_ms=HOUR_MS, options={}, dtype="float32", trained_to_at=START,
    )  # fmt: skip
    store = make_store(folder / "forecasts", manifest)
    for seed, symbol in enumerate(symbols):
        fine = five_minutes(symbol, days * 288, seed)
        hours = hours_of(fine)
        write_bars(files, fine)
        write_bars(files, hours)
        store.add(symbol, _forecasts(hours, store.schema, seed))
    return folder / "bars", folder / "forecasts"


def _forecasts(hours: Bars, schema: Any, seed: int) -> pl.DataFrame:
    rows = np.arange(CONTEXT - 1, len(hours))
    said = np.random.default_rng(seed).normal(0, 0.004, len(rows))
    columns: dict[str, Any] = dict.fromkeys([name for name, kind in schema.items() if kind == pl.Float64()], said)
    columns |= {
        "bar_close_at": hours.open_time[rows] + HOUR_MS,
        "last_close": hours.close[rows],
        "refused": [""] * len(rows),
        "window_crc32": np.zeros(len(rows), dtype=np.uint32),
    }
    return pl.DataFrame({name: columns[name] for name in schema}, schema=schema)
