"""The table of bfloat16 against float32."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.accuracy import COLUMNS, NOTE, compare, predicted_returns
from benchmarks.report import Cell, Table
from bot.forecast.checkpoints import CHECKPOINTS, load
from bot.messages import Floats


def compare_dtypes(models: Mapping[str, Path | None], sources: Mapping[str, Sequence[Floats]], horizon: int) -> Table:
    """`models` by name, with the folder of their checkpoints (None: the shipped ones), on windows of each source."""
    rows: list[tuple[Cell, ...]] = []
    for name, directory in models.items():
        exact, rounded = (load(name, directory or CHECKPOINTS, dtype=dtype).engine for dtype in ("float32", "bfloat16"))
        for source, batches in sources.items():
            found = compare(predicted_returns(exact, horizon), predicted_returns(rounded, horizon), batches)
            rows.append((name, source, *found.cells))
    return Table(
        title="bfloat16 against float32", columns=("model", "windows of", *COLUMNS), rows=tuple(rows), notes=(NOTE,)
    )
