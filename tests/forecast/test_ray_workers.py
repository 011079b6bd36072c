"""The same batches on a Ray cluster; skipped where the extra is not installed."""

from pathlib import Path

import numpy as np
import pytest

from bot.errors import OperatorError
from bot.forecast.backfill import backfill, missing
from bot.forecast.workers import Local
from bot.history.forecasts import make_store
from tests.forecast.checkpoints_made import make_adapter, make_base
from tests.forecast.test_backfill import END, START, chosen, ignore, walk

ray_workers = pytest.importorskip("bot.forecast.ray_workers", reason="ray is not installed", exc_type=ImportError)


@pytest.mark.filterwarnings("ignore")  # of ray's own start
def test_a_cluster_answers_as_one_process_does(tmp_path: Path) -> None:
    checkpoints = tmp_path / "checkpoints"
    make_adapter(checkpoints, make_base(checkpoints), "a")
    choice, setup = chosen(checkpoints)
    alone, shared = (make_store(tmp_path / name, choice.manifest) for name in ("one", "two"))
    for store, workers in ((alone, Local(setup)), (shared, ray_workers.RayWorkers(setup, "local", 2))):
        backfill(store, choice, [missing(walk(1), store, START, END)], workers, 25, ignore)
    assert np.array_equal(alone.load("BTCUSDT").path, shared.load("BTCUSDT").path)


def test_an_address_where_nobody_listens_is_refused_at_once(tmp_path: Path) -> None:
    make_base(tmp_path)
    setup = chosen(tmp_path, "base")[1]
    for address in ("127.0.0.1:1", "ray://127.0.0.1:1"):
        with pytest.raises(OperatorError, match=f"--ray {address}: nobody answers there"):
            next(ray_workers.RayWorkers(setup, address, 1).answers(iter(())))
