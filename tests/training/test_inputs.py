"""What training windows were like, written into a manifest that exists."""

import json
from pathlib import Path

import numpy as np
import pytest

from bot.errors import ModelRefused, OperatorError
from bot.forecast.checkpoints import CHECKPOINTS, read_manifest, sha256_of
from bot.forecast.distance import describe
from bot.training.base import utc_ms
from bot.training.dataset import Series, TrainingSet
from bot.training.inputs import InputOptions, measure, write_inputs

HOUR_MS = 3_600_000
START = utc_ms("2024-01-01")
CONTEXT = 64


def walk(hours: int, seed: int = 1) -> Series:
    steps = np.random.default_rng(seed).normal(0, 0.01, hours)
    return Series("AAAUSDT", START + HOUR_MS * np.arange(hours), 100 * np.exp(np.cumsum(steps)))


def test_only_windows_of_the_range_are_measured_and_all_of_them_where_they_are_few() -> None:
    series = walk(1_000)
    end = START + 500 * HOUR_MS
    windows = np.lib.stride_tricks.sliding_window_view(series.close[:500], CONTEXT)
    assert measure([series], START, end, CONTEXT) == describe(windows)
    assert measure([series], START, end, CONTEXT).windows == 500 - CONTEXT + 1


def test_windows_at_even_steps_reach_from_the_first_to_the_last() -> None:
    series = walk(1_000)
    windows = TrainingSet([series], 0, START + 1_000 * HOUR_MS, CONTEXT)
    some = windows.spread(200)
    assert len(windows) == 937
    assert some[:, 0].tolist() == series.close[:937:5].tolist()


@pytest.mark.parametrize("bad", ["no manifest", "no data", "no JSON"])
def test_a_folder_that_does_not_tell_its_training_is_refused(bad: str, tmp_path: Path) -> None:
    text = {"no data": "{}", "no JSON": "{"}.get(bad)
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ModelRefused, match=r"manifest\.json"):
        write_inputs(InputOptions(checkpoint=tmp_path, bars=(), context=CONTEXT))


def test_the_shipped_models_statistics_are_those_of_its_training_bars(shared_data: Path, tmp_path: Path) -> None:
    shipped = read_manifest(CHECKPOINTS / "nano" / "manifest.json")
    folder = tmp_path / "nano"
    folder.mkdir()
    stripped = json.loads((CHECKPOINTS / "nano" / "manifest.json").read_bytes())
    written = dict(stripped)
    del stripped["inputs"]
    (folder / "manifest.json").write_text(json.dumps(stripped))
    bars = (shared_data / "ohlcv" / "um", shared_data / "ohlcv" / "spot")
    write_inputs(InputOptions(checkpoint=folder, bars=bars, context=CONTEXT))
    again = read_manifest(folder / "manifest.json")
    assert again.inputs is not None
    assert shipped.inputs is not None
    assert np.allclose(again.inputs.covariance, shipped.inputs.covariance, rtol=1e-9)
    assert np.allclose(again.inputs.distances, shipped.inputs.distances, rtol=1e-9)
    assert {**json.loads((folder / "manifest.json").read_bytes()), "inputs": None} == {**written, "inputs": None}
    assert shipped.sha256 == sha256_of(CHECKPOINTS / "nano" / "model.safetensors")


def test_symbols_that_are_not_there_are_named(shared_data: Path, tmp_path: Path) -> None:
    manifest = json.loads((CHECKPOINTS / "nano" / "manifest.json").read_bytes())
    manifest["data"]["symbols"].append("NOSUCHUSDT")
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(OperatorError, match="NOSUCHUSDT"):
        write_inputs(InputOptions(checkpoint=tmp_path, bars=(shared_data / "ohlcv" / "um",), context=CONTEXT))


def test_bars_of_another_model_do_not_suffice() -> None:
    with pytest.raises(OperatorError, match="to say what training windows are like"):
        measure([walk(150)], START, START + 150 * HOUR_MS, CONTEXT)
