"""The model room's benchmark at nano size: whatever it calls, it calls it rightly. Nothing here looks at a time."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import torch
from torch.nn import functional

from benchmarks import model, weights, windows
from benchmarks.int8 import Int8Linear, supported
from benchmarks.process_memory import BotRun
from benchmarks.products import shapes
from bot.commands.check import check
from bot.forecast.network import SPEC_200M


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_whole_benchmark_runs_at_nano_size_and_writes_every_figure(
    tmp_path: Path, one_thread: None, capsys: pytest.CaptureFixture[str]
) -> None:
    model.main(size="nano", state=tmp_path, rounds=1, bot=False)
    written = msgspec.json.decode((tmp_path / "bench" / "model.json").read_bytes())
    figures = {row["figure"]: row for row in written["rows"]}
    assert len(figures) == 7
    assert all(row["value"] > 0 and row["unit"] for row in figures.values())
    assert all(row["required"] is None for row in figures.values())  # promised for the 200M only
    assert written["tables"].keys() == {"times", "products", "accuracy", "tried"}
    for table in written["tables"].values():
        assert all(len(row) == len(table["columns"]) for row in table["rows"])
    shown = capsys.readouterr().out
    assert all(figure in shown for figure in figures)


def test_the_weights_are_written_once_and_stay(tmp_path: Path) -> None:
    weights.write_base(tmp_path, "base", model.SPECS["nano"])
    path = tmp_path / "base" / "model.safetensors"
    first = path.stat().st_mtime_ns
    weights.write_base(tmp_path, "base", model.SPECS["nano"])
    assert path.stat().st_mtime_ns == first


def test_the_counted_products_are_those_of_the_trunk_less_what_the_last_layer_may_skip() -> None:
    counted = sum(shape.flops for shape in shapes(SPEC_200M, 82, 6))
    d, rows = SPEC_200M.model_dims, 82 * 6
    whole = 2 * rows * 6 * d * d * SPEC_200M.layers
    assert whole - counted == 2 * (rows - 82) * 4 * d * d


def test_the_bots_run_has_files_that_the_bot_accepts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    BotRun(run, tmp_path, "base", tuple(weights.RANKS), windows.symbols())
    check([run / "variants"], run / "bot.toml", [run / "plugins"], as_json=True, everything=False)
    resolved = capsys.readouterr().out
    assert all(symbol in resolved for symbol in windows.symbols())


@pytest.mark.skipif(not supported(), reason="this torch has no oneDNN product in 8 bits")
def test_the_eight_bit_product_is_the_product_to_a_percent() -> None:
    generator = torch.Generator().manual_seed(1)
    weight, inputs = torch.randn(96, 64, generator=generator), torch.randn(10, 64, generator=generator)
    found, exact = Int8Linear(weight, 10)(inputs), functional.linear(inputs, weight)
    assert float((found - exact).norm() / exact.norm()) < 0.02
