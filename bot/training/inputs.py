"""What a checkpoint's training windows were like, measured on their bars and written into its manifest."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bot.errors import ModelRefused, OperatorError
from bot.forecast.checkpoints import MANIFEST, DataUsed
from bot.forecast.distance import InputStats, describe
from bot.training.dataset import Series, TrainingSet, read_series

WINDOWS = 50_000  # enough for the 99.9 % quantile; more change it by less than neighbouring windows resemble each other


class InputOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`python -m bot train inputs`."""

    checkpoint: Path  # folder with a manifest
    bars: tuple[Path, ...]
    context: int  # where the manifest names none
    windows: int = WINDOWS


def measure(series: Sequence[Series], first: int, last: int, context: int, windows: int = WINDOWS) -> InputStats:
    """The statistics of `windows` windows at even steps through all of [first, last), ms UTC, or of all there are.

    Raises OperatorError where the bars hold too few.
    """
    chosen = TrainingSet(series, first, last, context).spread(windows)
    try:
        return describe(chosen)
    except ValueError as error:
        raise OperatorError(f"--bars: {error}") from None


def write_inputs(options: InputOptions) -> InputStats:
    """Measure on the manifest's own symbols and training range, and write the field `inputs` anew.

    Nothing else of the manifest changes, so the weights' hash stands. Raises OperatorError or ModelRefused.
    """
    path = options.checkpoint / MANIFEST
    manifest = _read(path)
    data = _data(path, manifest)
    series = [one for one in read_series(options.bars) if one.symbol in data.symbols]
    missing = sorted(set(data.symbols) - {one.symbol for one in series})
    if missing:
        raise OperatorError(f"--bars: {path} was trained on symbols that are not there: {', '.join(missing)}")
    context = int(manifest.get("context", options.context))
    stats = measure(series, data.train_from, data.train_to, context, options.windows)
    text = msgspec.json.format(msgspec.json.encode(dict(manifest) | {"inputs": stats}), indent=2) + b"\n"
    written = path.with_suffix(".part")
    written.write_bytes(text)
    os.replace(written, path)
    return stats


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError) as error:
        raise ModelRefused(f"{path}: {error}; expected the manifest of a checkpoint") from None


def _data(path: Path, manifest: Mapping[str, Any]) -> DataUsed:
    try:
        return msgspec.convert(manifest.get("data"), DataUsed)
    except msgspec.ValidationError:
        raise ModelRefused(f"{path}: does not tell the symbols and the range of its training (field data)") from None
