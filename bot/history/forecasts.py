"""Forecasts on disk: made once, read by everything that decides over history.

CHECKPOINT/manifest.json             what they were made by
CHECKPOINT/SYMBOL/2025-03.parquet    one row for each bar whose window was whole, by the month of its close
"""

import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from bot.errors import OperatorError
from bot.history.layout import (
    SYMBOL,
    Schema,
    by_month,
    joined,
    month_files,
    read_frame,
    read_frames,
    write_frame,
    writing,
)
from bot.messages import Floats, Forecast, ForecastRefused
from bot.strategy.window import distance_refusal

MANIFEST = "manifest.json"
FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]*")
AT = "bar_close_at"

Ints = npt.NDArray[np.int64]


class StoreManifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every forecast of a store was made by; another of any of these is another forecast."""

    format: Literal[1] = 1
    checkpoint: str  # as it stands in signal rows
    base: str
    base_sha256: str
    adapter: str | None  # TIER/ID; None: the base itself
    adapter_sha256: str | None
    context: Annotated[int, msgspec.Meta(ge=1)]
    horizon: Annotated[int, msgspec.Meta(ge=1)]
    interval_ms: Annotated[int, msgspec.Meta(ge=1)]
    options: dict[str, bool]
    dtype: str
    trained_to_at: int | None  # ms UTC: training saw no bar that closed after it; None: not known


class Forecasts(msgspec.Struct, frozen=True, eq=False):
    """What a store holds of one symbol, oldest first. Returns are of the last close."""

    symbol: str
    checkpoint: str
    horizon: int
    bar_close_at: Ints  # (bars,)
    last_close: Floats  # (bars,)
    path: Floats  # (bars, horizon), predicted return of each step
    q10: Floats  # (bars,), at the horizon
    q90: Floats
    distance: Floats  # from the training windows; NaN: not known
    refused: tuple[str, ...]  # a word of `Refusal` for a model's answer that is none, else ""
    window_crc32: npt.NDArray[np.uint32]  # of the window's closes

    def __len__(self) -> int:
        return len(self.bar_close_at)

    def at(self, bar_close_at: int, max_distance: float = 0.0) -> Forecast | ForecastRefused | None:
        """What the forecaster answers live to the window of that bar; None where nothing is stored of it."""
        row = int(np.searchsorted(self.bar_close_at, bar_close_at))
        if row == len(self) or self.bar_close_at[row] != bar_close_at:
            return None
        far = distance_refusal(float(self.distance[row]), max_distance)
        if far is not None:
            return ForecastRefused(self.symbol, far)
        if self.refused[row]:
            return ForecastRefused(self.symbol, self.refused[row])
        return Forecast(
            symbol=self.symbol,
            checkpoint=self.checkpoint,
            bar_close_at=bar_close_at,
            horizon=self.horizon,
            predicted_return=float(self.path[row, -1]),
            predicted_q10=float(self.q10[row]),
            predicted_q90=float(self.q90[row]),
        )


class ForecastStore:
    """The forecasts of one checkpoint. Blocking."""

    def __init__(self, folder: Path, manifest: StoreManifest) -> None:
        self.folder = folder
        self.manifest = manifest
        steps = [f"step_{number}" for number in range(1, manifest.horizon + 1)]
        floats = ["last_close", *steps, "q10", "q90", "distance"]
        self.schema: Schema = {
            AT: pl.Int64(),
            **dict.fromkeys(floats, pl.Float64()),
            "refused": pl.String(),
            "window_crc32": pl.UInt32(),
        }

    def symbols(self) -> tuple[str, ...]:
        inside = (path.name for path in self.folder.iterdir() if SYMBOL.fullmatch(path.name))
        return tuple(sorted(name for name in inside if month_files(self.folder / name)))

    def span(self, symbol: str) -> tuple[int, int] | None:
        """The bar closes of the oldest and the newest forecast; None where nothing is stored of the symbol."""
        months = month_files(self.folder / symbol)
        ends = [read_frame(path, {AT: pl.Int64()})[AT].to_numpy() for path in months[:: max(1, len(months) - 1)]]
        if not ends or not len(ends[0]) or not len(ends[-1]):
            return None
        return int(ends[0][0]), int(ends[-1][-1])

    def load(self, symbol: str, start: int | None = None, end: int | None = None) -> Forecasts:
        """The forecasts with start <= bar_close_at < end; none where nothing is stored of the symbol."""
        paths = month_files(self.folder / symbol, start, end)
        table = read_frames(paths, self.schema)
        if start is not None:
            table = table.filter(pl.col(AT) >= start)
        if end is not None:
            table = table.filter(pl.col(AT) < end)
        steps = [f"step_{number}" for number in range(1, self.manifest.horizon + 1)]
        return Forecasts(
            symbol=symbol,
            checkpoint=self.manifest.checkpoint,
            horizon=self.manifest.horizon,
            path=table.select(steps).to_numpy().reshape(len(table), len(steps)),
            refused=tuple(table["refused"].to_list()),
            **{name: table[name].to_numpy() for name in (AT, "last_close", "q10", "q90", "distance", "window_crc32")},
        )

    def add(self, symbol: str, rows: pl.DataFrame) -> None:
        """Add rows in the columns of `schema`; of two of one bar the newer stays."""
        with writing(self.folder):
            for name, part in by_month(rows, AT):
                path = self.folder / symbol / f"{name}.parquet"
                stored = read_frame(path, self.schema) if path.exists() else part.clear()
                write_frame(path, joined(stored, part, AT))


def window_crc32(closes: Floats) -> int:
    """By which a stored forecast is told from one of other bars, after bars were replaced."""
    return zlib.crc32(np.ascontiguousarray(closes, dtype=np.float64).data)


def open_store(root: Path, checkpoint: str, *, context: int, horizon: int, interval_ms: int) -> ForecastStore:
    """The store of a checkpoint. OperatorError where there is none, or where it is of another context or horizon."""
    folder = root / _folder(checkpoint)
    if not (folder / MANIFEST).exists():
        known = ", ".join(store.manifest.checkpoint for store in stores(root)) or "none"
        raise OperatorError(
            f"{folder}: no forecasts of {checkpoint} are stored; stored are: {known}; see `python -m bot forecast`"
        )
    manifest = read_manifest(folder)
    wanted = {"checkpoint": checkpoint, "context": context, "horizon": horizon, "interval_ms": interval_ms}
    _refuse_other(folder, manifest, wanted)
    return ForecastStore(folder, manifest)


def require(store: ForecastStore, *, context: int, horizon: int, interval_ms: int) -> None:
    """OperatorError where the store is of another context, horizon or interval."""
    wanted: dict[str, object] = {"context": context, "horizon": horizon, "interval_ms": interval_ms}
    _refuse_other(store.folder, store.manifest, wanted)


def make_store(root: Path, manifest: StoreManifest) -> ForecastStore:
    """The store that `manifest` describes, made where there is none yet. OperatorError where another lies there."""
    folder = root / _folder(manifest.checkpoint)
    if (folder / MANIFEST).exists():
        wanted = msgspec.structs.asdict(manifest)
        _refuse_other(folder, read_manifest(folder), {key: wanted[key] for key in wanted if key != "trained_to_at"})
    else:
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f"{MANIFEST}.draft"
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
        os.replace(draft, folder / MANIFEST)
    return ForecastStore(folder, manifest)


def stores(root: Path) -> Iterator[ForecastStore]:
    """Every store below `root`, sorted by folder."""
    for path in sorted(root.glob(f"*/{MANIFEST}")):
        yield ForecastStore(path.parent, read_manifest(path.parent))


def read_manifest(folder: Path) -> StoreManifest:
    path = folder / MANIFEST
    try:
        return msgspec.json.decode(path.read_bytes(), type=StoreManifest)
    except msgspec.DecodeError as error:
        raise OperatorError(f"{path}: {error}; move the folder away and forecast anew") from None
    except OSError as error:
        raise OperatorError(f"{path}: {error.strerror}") from None


def _refuse_other(folder: Path, manifest: StoreManifest, wanted: dict[str, object]) -> None:
    for key, value in wanted.items():
        stored = getattr(manifest, key)
        if stored != value:
            raise OperatorError(
                f"{folder / MANIFEST}: these forecasts were made with {key} {stored}, not {value}; "
                "forecast into another --store, or move this one away"
            )


def _folder(checkpoint: str) -> str:
    name = checkpoint.replace("/", ".")
    if not FOLDER.fullmatch(name):
        raise OperatorError(f"checkpoint {checkpoint!r}: cannot be a folder's name; expected letters, digits, . _ @ -")
    return name
