"""Stored forecasts: what is written is what is read, and another model's are never taken for these."""

from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from bot.clock import DAY_MS, HOUR_MS
from bot.errors import OperatorError
from bot.history.forecasts import ForecastStore, StoreManifest, make_store, open_store, stores, window_crc32
from bot.messages import Forecast, ForecastRefused

MANIFEST = StoreManifest(
    checkpoint="t1/a@12345678",
    base="tiny",
    base_sha256="0" * 64,
    adapter="t1/a",
    adapter_sha256="1" * 64,
    context=64,
    horizon=3,
    interval_ms=HOUR_MS,
    options={"flip_invariance": True},
    dtype="float32",
    trained_to_at=None,
)
MAKE = {"context": 64, "horizon": 3, "interval_ms": HOUR_MS}


def table(store: ForecastStore, first: int, count: int, value: float = 0.01) -> pl.DataFrame:
    numbers = np.arange(count)
    columns = {
        "bar_close_at": (first + numbers) * HOUR_MS,
        "last_close": 100.0 + numbers,
        **{f"step_{step}": np.full(count, value * step) for step in (1, 2, 3)},
        "q10": np.full(count, -0.02),
        "q90": np.full(count, 0.05),
        "distance": np.full(count, 1.5),
        "refused": ["absurd_forecast" if number == 1 else "" for number in numbers],
        "window_crc32": numbers + 7,
    }
    return pl.DataFrame(columns, schema=store.schema)


def test_what_is_stored_is_what_the_decision_gets(tmp_path: Path) -> None:
    store = make_store(tmp_path, MANIFEST)
    store.add("BTCUSDT", table(store, 10, 3))
    found = open_store(tmp_path, MANIFEST.checkpoint, **MAKE).load("BTCUSDT")
    told = found.at(10 * HOUR_MS)
    assert isinstance(told, Forecast)
    assert (told.checkpoint, told.bar_close_at, told.horizon) == ("t1/a@12345678", 10 * HOUR_MS, 3)
    assert (told.predicted_return, told.predicted_q10, told.predicted_q90) == (0.03, -0.02, 0.05)
    assert found.at(11 * HOUR_MS) == ForecastRefused("BTCUSDT", "absurd_forecast")
    assert found.at(13 * HOUR_MS) is None
    assert found.path.shape == (3, 3)
    assert found.at(10 * HOUR_MS, max_distance=1.0) == ForecastRefused("BTCUSDT", "input_unlike_training")


def test_the_span_is_from_the_oldest_to_the_newest_of_all_months(tmp_path: Path) -> None:
    store = make_store(tmp_path, MANIFEST)
    assert store.span("BTCUSDT") is None
    store.add("BTCUSDT", table(store, 10, 3))
    assert store.span("BTCUSDT") == (10 * HOUR_MS, 12 * HOUR_MS)
    for first in (1_000, 2_000):
        store.add("BTCUSDT", table(store, first, 3))
    assert store.span("BTCUSDT") == (10 * HOUR_MS, 2_002 * HOUR_MS)


def test_rows_may_be_added_in_any_order_and_months_are_files(tmp_path: Path) -> None:
    store = make_store(tmp_path, MANIFEST)
    january = 31 * 24
    store.add("BTCUSDT", table(store, january + 5, 5))
    store.add("BTCUSDT", table(store, january - 5, 12, value=0.02))
    found = store.load("BTCUSDT")
    assert (found.bar_close_at // HOUR_MS).tolist() == list(range(january - 5, january + 10))
    assert found.path[:, 0].tolist() == [0.02] * 12 + [0.01] * 3
    assert sorted(path.name for path in (store.folder / "BTCUSDT").iterdir()) == ["1970-01.parquet", "1970-02.parquet"]
    part = store.load("BTCUSDT", 31 * DAY_MS, 31 * DAY_MS + 2 * HOUR_MS)
    assert (part.bar_close_at // HOUR_MS).tolist() == [january, january + 1]


def test_a_symbol_without_forecasts_has_empty_arrays(tmp_path: Path) -> None:
    found = make_store(tmp_path, MANIFEST).load("BTCUSDT")
    assert (len(found), found.path.shape, found.at(0)) == (0, (0, 3), None)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"context": 96}, "made with context 64, not 96"),
        ({"horizon": 4}, "made with horizon 3, not 4"),
        ({"interval_ms": DAY_MS}, "made with interval_ms 3600000, not 86400000"),
    ],
)
def test_a_store_of_another_make_is_refused_by_name(tmp_path: Path, wanted: dict[str, int], words: str) -> None:
    make_store(tmp_path, MANIFEST)
    with pytest.raises(OperatorError, match=words):
        open_store(tmp_path, MANIFEST.checkpoint, **(MAKE | wanted))


def test_a_checkpoint_that_is_not_stored_is_refused_with_what_is(tmp_path: Path) -> None:
    make_store(tmp_path, MANIFEST)
    with pytest.raises(OperatorError, match="no forecasts of nano@1 are stored; stored are: t1/a@12345678"):
        open_store(tmp_path, "nano@1", **MAKE)
    with pytest.raises(OperatorError, match="cannot be a folder's name"):
        open_store(tmp_path, "../a", **MAKE)


def test_a_store_is_not_mixed_with_other_weights(tmp_path: Path) -> None:
    make_store(tmp_path, MANIFEST)
    make_store(tmp_path, msgspec.structs.replace(MANIFEST, trained_to_at=5))
    with pytest.raises(OperatorError, match="made with dtype float32, not bfloat16"):
        make_store(tmp_path, msgspec.structs.replace(MANIFEST, dtype="bfloat16"))
    assert [store.manifest.checkpoint for store in stores(tmp_path)] == [MANIFEST.checkpoint]


def test_a_broken_manifest_is_the_operators_to_move(tmp_path: Path) -> None:
    folder = make_store(tmp_path, MANIFEST).folder
    (folder / "manifest.json").write_text("{}")
    with pytest.raises(OperatorError, match=r"manifest\.json: .*forecast anew"):
        list(stores(tmp_path))


def test_a_windows_checksum_depends_on_its_closes_alone() -> None:
    closes = np.arange(1.0, 200.0)
    view = np.lib.stride_tricks.sliding_window_view(closes, 64)[5]
    assert window_crc32(view) == window_crc32(view.copy()) != window_crc32(view + 1e-9)


def test_the_store_needs_no_torch() -> None:
    import subprocess
    import sys

    program = "import sys; import bot.history.forecasts; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
