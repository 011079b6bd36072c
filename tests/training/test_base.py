"""Training at toy size on generated hours that revert to a mean, so that there is something to learn."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
import torch

from bot.clock import HOUR_MS
from bot.errors import OperatorError
from bot.forecast.checkpoints import load, read_manifest
from bot.forecast.engine import Engine, ForecastOptions
from bot.forecast.network import ModelSpec, build_module
from bot.training.base import TrainOptions, TrainProgress, train_base, utc_ms
from bot.training.dataset import Series, TrainingSet, read_series
from bot.training.evaluate import score, spearman
from bot.training.objective import Objective, finish_module, start_module

SPEC = ModelSpec(layers=1, model_dims=16, hidden_dims=16, heads=2, output_patch=16, quantile_patch=16)
START = utc_ms("2024-01-01")
TRAIN_HOURS, LATER_HOURS = 3_000, 600


def reverting(hours: int, seed: int) -> list[float]:
    draw = np.random.default_rng(seed)
    level, closes = 0.0, []
    for shock in draw.normal(0, 0.01, hours):
        level = 0.8 * level + shock
        closes.append(100 * float(np.exp(level)))
    return closes


def write_bars(directory: Path, symbol: str, closes: list[float], start: int = START) -> None:
    directory.mkdir(exist_ok=True)
    times = [start + HOUR_MS * i for i in range(len(closes))]
    pl.DataFrame({"open_time": times, "close": closes}).write_parquet(directory / f"{symbol}-1h.parquet")


@pytest.fixture
def bars(tmp_path: Path) -> Path:
    for seed, symbol in enumerate(("AAAUSDT", "BBBUSDT")):
        write_bars(tmp_path / "bars", symbol, reverting(TRAIN_HOURS + 2 * LATER_HOURS, seed))
    return tmp_path / "bars"


def options(bars: Path, out: Path, seed: int = 7, steps: int = 60) -> TrainOptions:
    cutoff = START + TRAIN_HOURS * HOUR_MS
    return TrainOptions(
        bars=(bars,),
        out=out,
        seed=seed,
        steps=steps,
        batch=64,
        threads=1,
        cutoff=cutoff,
        validation_to=cutoff + LATER_HOURS * HOUR_MS,
        test_to=cutoff + 2 * LATER_HOURS * HOUR_MS,
        context=96,
        spec=SPEC,
        objective=Objective(near=8),
        learning_rate=1e-2,
        average=0.9,
    )


def ignore(progress: TrainProgress) -> None:
    pass


def test_training_learns_what_the_last_value_and_the_reversal_cannot_know(bars: Path, tmp_path: Path) -> None:
    seen: list[TrainProgress] = []
    out = train_base(options(bars, tmp_path / "toy"), seen.append)
    manifest = read_manifest(out / "manifest.json")
    assert manifest.validation is not None
    assert manifest.test is not None
    assert manifest.inputs is not None
    for stretch in (manifest.validation, manifest.test):
        assert stretch.loss < stretch.loss_last_value
        assert stretch.ic > stretch.ic_reversal_24h + 0.05
        assert set(stretch.by_symbol) == {"AAAUSDT", "BBBUSDT"}
    assert [progress.stage for progress in seen] == ["train", "validation", "test"]
    loaded = load("toy", tmp_path)
    assert loaded.description.sha256 == manifest.sha256
    assert loaded.description.parameters == manifest.parameters


def test_a_seed_means_one_file_and_another_seed_another(bars: Path, tmp_path: Path) -> None:
    hashes = [
        read_manifest(train_base(options(bars, tmp_path / str(i), seed, steps=4), ignore) / "manifest.json").sha256
        for i, seed in enumerate((7, 7, 8))
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_training_leaves_torch_as_it_was(bars: Path, tmp_path: Path) -> None:
    before = (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.initial_seed())
    train_base(options(bars, tmp_path / "toy", steps=1), ignore)
    assert before == (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.initial_seed())


def test_an_untrained_model_forecasts_the_last_close_with_a_spread_around_it() -> None:
    torch.manual_seed(0)
    module: Any = start_module(SPEC)
    module.output_projection_point.output_layer.weight.data.zero_()
    module.output_projection_quantiles.output_layer.weight.data.zero_()
    engine = Engine(finish_module(module).state_dict(), SPEC, ForecastOptions(), checkpoint="x", context=96)
    closes = np.array(reverting(96, 3))[None]
    prediction = engine.forecast(closes, 8)
    np.testing.assert_allclose(prediction.point, closes[:, -1:].repeat(8, axis=1), rtol=1e-4)
    assert (np.diff(prediction.quantiles, axis=-1) > 0).all()


def test_the_trained_file_has_the_packages_own_layout() -> None:
    trained = finish_module(start_module(SPEC)).state_dict()
    assert {name: tensor.shape for name, tensor in trained.items()} == {
        name: tensor.shape for name, tensor in build_module(SPEC).state_dict().items()
    }


def test_no_training_window_reaches_the_cutoff_or_spans_a_gap() -> None:
    times = np.arange(50, dtype=np.int64) * HOUR_MS
    times[30:] += 5 * HOUR_MS
    series = Series("AAAUSDT", times, np.arange(1.0, 51.0))
    windows = TrainingSet([series], 0, 45 * HOUR_MS, 10)
    drawn = windows.batch(np.random.default_rng(1), 2_000)
    assert set(np.unique(np.diff(drawn))) == {1.0}
    firsts = set(drawn[:, 0])
    assert firsts == set(np.arange(1.0, 22.0)) | {31.0}  # 31..40 is the one window after the gap that ends in time


def test_a_later_directory_only_prepends_history(tmp_path: Path) -> None:
    write_bars(tmp_path / "um", "AAAUSDT", [5.0, 6.0], START + 2 * HOUR_MS)
    write_bars(tmp_path / "spot", "AAAUSDT", [1.0, 2.0, 3.0, 4.0])
    (series,) = read_series([tmp_path / "um", tmp_path / "spot"])
    assert series.close.tolist() == [1.0, 2.0, 5.0, 6.0]


@pytest.mark.parametrize("closes", [[], [1.0, 0.0], [1.0, float("nan")]])
def test_unusable_bars_are_the_operators_fault(tmp_path: Path, closes: list[float]) -> None:
    directory = tmp_path / "bars"
    directory.mkdir()
    if closes:
        write_bars(directory, "AAAUSDT", closes)
    with pytest.raises(OperatorError, match="bars"):
        read_series([directory])


def test_too_few_bars_for_a_single_window_are_the_operators_fault(tmp_path: Path) -> None:
    write_bars(tmp_path / "bars", "AAAUSDT", reverting(100, 1))
    with pytest.raises(OperatorError, match="no symbol has 112 contiguous hours"):
        train_base(options(tmp_path / "bars", tmp_path / "toy"), ignore)


def test_spearman_shares_the_rank_of_equal_values() -> None:
    assert spearman(np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, 90.0])) == pytest.approx(1.0)
    assert spearman(np.array([1.0, 2.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0, 4.0])) == pytest.approx(0.9486833)
    assert spearman(np.array([1.0, 1.0]), np.array([1.0, 2.0])) == 0.0


def test_a_score_counts_only_bars_of_its_stretch(bars: Path) -> None:
    module = finish_module(start_module(SPEC))
    engine = Engine(module.state_dict(), SPEC, ForecastOptions(), checkpoint="x", context=96)
    first = START + TRAIN_HOURS * HOUR_MS
    scored = score(engine, read_series([bars]), first, first + LATER_HOURS * HOUR_MS, horizon=4)
    assert {one.windows for one in scored.by_symbol.values()} == {LATER_HOURS - 4}


def test_options_can_be_written_down_and_read_again(bars: Path, tmp_path: Path) -> None:
    chosen = options(bars, tmp_path / "toy")
    assert msgspec.json.decode(msgspec.json.encode(chosen.objective), type=Objective) == chosen.objective
