"""The plateau around each configuration, by hand."""

from pathlib import Path

import numpy as np
import pytest

from bot.research.sweep.grid import read_grid
from bot.research.sweep.ranking import plateaus

NAN = float("nan")


def test_a_plateau_is_the_median_of_a_row_and_of_those_one_step_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "grid.toml"
    path.write_text(
        '[sweep]\nvariant = "v.toml"\nstart = "2025-01-01"\nend = "2025-03-01"\n'
        '[exits]\nstop_pct = [1.0, 2.0, 3.0]\n[filter.sides]\nallow = ["long", "short"]\n'
        "[variant]\nthreshold_pct = [0.1, 0.2]\n"
    )
    grid = read_grid(path)
    assert grid.shape == (3, 2, 2)
    score = np.array(
        # threshold 0.1 and 0.2 of side long, then of side short, by stop
        [1.0, 2.0, 0.0, 0.0] + [9.0, 3.0, 0.0, NAN] + [5.0, NAN, 0.0, 7.0]
    )
    middle, known = plateaus(grid, score, np.arange(12))
    assert middle[0] == 2.0  # of itself 1, the threshold's 2 and the stop's 9
    assert middle[4] == 4.0  # a peak: of 9, 3 beside it, and 1 and 5 at the next stops
    assert known[4] == 3
    assert middle[8] == 7.0  # of 5 and 9; the threshold beside it has no score
    assert np.isnan(middle[9])
    assert middle[11] == pytest.approx(3.5)  # 7 and the 0 beside it; the other side is no neighbour
    same = np.arange(12)
    same[8] = 4
    assert plateaus(grid, score, same)[0][4] == 3.0, "what comes to the same trades says nothing of its neighbour"
