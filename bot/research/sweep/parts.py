"""The run: every configuration's figures in Parquet parts, each written whole: a killed run goes on where it was.

STATE/sweeps/NAME-KEY/part-00012.parquet    rows of `columns`; KEY stands for the grid, the data and the code
"""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

import bot
from bot.history.layout import Schema, read_frame, write_frame
from bot.messages import Floats
from bot.research.sweep.columns import Bytes, Dealing, Entries, Flags, Plans, coded
from bot.research.sweep.kernel import walk
from bot.research.sweep.signals import Extracted
from bot.research.sweep.tally import FIGURES, SPAN_FIGURES, add_up, tally
from bot.research.sweep.threads import cores, share_out
from bot.strategy.walk import Times

BYTES_IN_A_PART = 64_000_000  # of results of single signals, held while a part is made
ROWS_IN_A_PART = 100_000
CODE = ("strategy", "research/backtest", "research/sweep")  # what a configuration's figures depend on

Told = Callable[[int, int], None]


class Work(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """A sweep with its signals. Configuration = (entry x plans + plan) x masks + mask."""

    extracted: Extracted
    rules: Floats  # (plans, 8), see `kernel.Plans`
    masks: Flags  # (masks, signals)
    dealing: Dealing
    path: int
    cap: int  # positions of one symbol
    first_day: int
    days: int
    spans: npt.NDArray[np.int64]  # (spans, 2), days since `first_day`

    @property
    def configurations(self) -> int:
        return len(self.extracted.entries) * len(self.rules) * len(self.masks)


class Piece(msgspec.Struct, frozen=True):
    """Some plans of one entry under all masks."""

    number: int
    entry: int
    plan_from: int
    plan_to: int


class Results(msgspec.Struct, frozen=True, eq=False):
    """What became of every signal under some plans, (plans, signals)."""

    net: Floats
    end_at: Times
    status: Bytes


def columns(spans: Sequence[str]) -> list[str]:
    return [*FIGURES, *(f"{span}_{figure}" for span in spans for figure in SPAN_FIGURES)]


def pieces(work: Work) -> list[Piece]:
    signals, masks, plans = len(work.extracted), len(work.masks), len(work.rules)
    size = max(1, min(BYTES_IN_A_PART // (17 * max(signals, 1)), ROWS_IN_A_PART // masks, plans))
    found = [
        (entry, begin, min(begin + size, plans))
        for entry in range(len(work.extracted.entries))
        for begin in range(0, plans, size)
    ]
    return [Piece(number, *one) for number, one in enumerate(found)]


def key_of(work: Work) -> str:
    """Stands for everything that the figures depend on: what was read, what was asked for, and the code."""
    digest = hashlib.blake2b(digest_size=8)
    extracted = work.extracted
    arrays: list[npt.NDArray[Any]] = [extracted.symbol, extracted.predicted, work.rules, work.masks, work.spans]
    arrays += [*extracted.prices, *extracted.signals]
    arrays += [array for entry in extracted.entries for array in entry]
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data.cast("B") if array.size else b"")
        digest.update(repr(array.shape).encode())
    digest.update(repr((work.dealing, work.path, work.cap, work.first_day, work.days)).encode())
    root = Path(bot.__file__).parent
    for path in sorted(path for room in CODE for path in (root / room).glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def run(work: Work, folder: Path, spans: Sequence[str], told: Told | None = None) -> int:
    """Make the parts that are not there yet; returns how many configurations were computed now."""
    schema: Schema = {"number": pl.Int64(), **{name: pl.Float64() for name in columns(spans)}}
    folder.mkdir(parents=True, exist_ok=True)
    missing = [piece for piece in pieces(work) if not part_file(folder, piece.number).exists()]
    members, starts = _members(work.masks)
    rows = sum(_count(work, piece) for piece in missing)
    done = 0
    with ThreadPoolExecutor(cores()) as pool:
        for piece in missing:
            figures = _figures(work, piece, members, starts, pool)
            first = (piece.entry * len(work.rules) + piece.plan_from) * len(work.masks)
            table = pl.DataFrame(figures, schema={name: kind for name, kind in schema.items() if name != "number"})
            number = pl.Series("number", np.arange(first, first + len(figures)))
            write_frame(part_file(folder, piece.number), table.with_columns(number).select(list(schema)))
            done += len(figures)
            if told is not None:
                told(done, rows)
    return done


def load(work: Work, folder: Path, spans: Sequence[str]) -> pl.DataFrame:
    """All parts, in order of the configurations' numbers."""
    schema: Schema = {"number": pl.Int64(), **{name: pl.Float64() for name in columns(spans)}}
    return pl.concat([read_frame(part_file(folder, piece.number), schema) for piece in pieces(work)])


def part_file(folder: Path, number: int) -> Path:
    return folder / f"part-{number:05}.parquet"


def results_of(work: Work, entry: Entries, plans: Plans, pool: ThreadPoolExecutor) -> Results:
    shape = len(plans.codes), len(work.extracted)
    made = Results(np.empty(shape), np.empty(shape, dtype=np.int64), np.empty(shape, dtype=np.int8))
    extracted = work.extracted

    def walk_some(begin: int, end: int) -> None:
        walk(
            begin, end, extracted.prices, extracted.signals, entry, plans, work.dealing, work.path,
            made.net, made.end_at, made.status,
        )  # fmt: skip

    share_out(pool, cores(), len(extracted), walk_some)
    return made


def days_of_one(work: Work, number: int) -> tuple[Floats, Bytes, Results]:
    """One configuration's net result by day, which of the signals had a place, and what became of all."""
    walked, mask = divmod(number, len(work.masks))
    entry, plan = divmod(walked, len(work.rules))
    with ThreadPoolExecutor(cores()) as pool:
        made = results_of(work, work.extracted.entries[entry], coded(work.rules[plan : plan + 1]), pool)
    daily, counts, kept = np.zeros(work.days), np.zeros(work.days), np.zeros(len(work.extracted), dtype=np.int8)
    signals = work.extracted.signals
    add_up(
        np.flatnonzero(work.masks[mask]), work.extracted.symbol, signals.sign, signals.arrives_at,
        made.net[0], made.end_at[0], made.status[0], work.cap, work.first_day, daily, counts, kept,
        np.zeros(len(FIGURES)),
    )  # fmt: skip
    return daily, kept, made


def _figures(work: Work, piece: Piece, members: Times, starts: Times, pool: ThreadPoolExecutor) -> Floats:
    plans = coded(work.rules[piece.plan_from : piece.plan_to])
    made = results_of(work, work.extracted.entries[piece.entry], plans, pool)
    figures = np.zeros((_count(work, piece), len(FIGURES) + len(SPAN_FIGURES) * len(work.spans)))
    extracted = work.extracted

    def tally_some(begin: int, end: int) -> None:
        tally(
            begin, end, members, starts, extracted.symbol, extracted.signals.sign, extracted.signals.arrives_at,
            made.net, made.end_at, made.status, work.cap, work.first_day, work.days, work.spans, figures,
        )  # fmt: skip

    share_out(pool, cores(), len(figures), tally_some)
    return figures


def _count(work: Work, piece: Piece) -> int:
    return (piece.plan_to - piece.plan_from) * len(work.masks)


def _members(masks: Flags) -> tuple[Times, Times]:
    """The rows of each mask one after the other, and where each mask's begin."""
    rows = [np.flatnonzero(mask) for mask in masks]
    starts = np.concatenate([[0], np.cumsum([len(one) for one in rows])]).astype(np.int64)
    return np.concatenate(rows).astype(np.int64), starts


def trials(work: Work) -> npt.NDArray[np.int64]:
    """For each configuration the first one that chooses the same signals and walks them in the same way."""
    entries = [b"".join(array.tobytes() for array in entry) for entry in work.extracted.entries]
    masks = [mask.tobytes() for mask in np.packbits(work.masks, axis=1)]
    plans = [plan.tobytes() for plan in work.rules]
    walked = np.add.outer(_firsts(entries) * len(plans), _firsts(plans)).ravel()
    return np.asarray(np.add.outer(walked * len(masks), _firsts(masks)).ravel())


def _firsts(values: Sequence[bytes]) -> npt.NDArray[np.int64]:
    seen: dict[bytes, int] = {}
    return np.array([seen.setdefault(value, place) for place, value in enumerate(values)], dtype=np.int64)
