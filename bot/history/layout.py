"""Where things lie below a folder of recordings, and how a file gets into place.

    SYMBOL/1h/2025-03.parquet         bars of last-trade prices, one file a month (UTC)
    SYMBOL/mark-1h/2025-03.parquet    bars of the mark price
    SYMBOL/funding.parquet            funding rates

A flat folder of SYMBOL-1h.parquet files is read too; see `BarFiles`.
"""

import contextlib
import datetime
import fcntl
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from bot.clock import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from bot.errors import OperatorError

Kind = Literal["bars", "mark"]
Schema = Mapping[str, pl.DataType]

INTERVALS = {  # the venue's names
    "1m": MINUTE_MS,
    "3m": 3 * MINUTE_MS,
    "5m": 5 * MINUTE_MS,
    "15m": 15 * MINUTE_MS,
    "30m": 30 * MINUTE_MS,
    "1h": HOUR_MS,
    "2h": 2 * HOUR_MS,
    "4h": 4 * HOUR_MS,
    "6h": 6 * HOUR_MS,
    "8h": 8 * HOUR_MS,
    "12h": 12 * HOUR_MS,
    "1d": DAY_MS,
}
INTERVAL_NAME = {length: name for name, length in INTERVALS.items()}
SYMBOL = re.compile(r"[A-Z0-9]{5,20}")
MONTH = re.compile(r"\d{4}-\d{2}\.parquet")
FUNDING = "funding.parquet"
LOCK = ".lock"


def interval_of(option: str, name: str) -> int:
    """OperatorError where `name`, given with `option`, is no interval."""
    if name not in INTERVALS:
        raise OperatorError(f"{option} {name}: expected one of {', '.join(INTERVALS)}")
    return INTERVALS[name]


def series_name(interval_ms: int, kind: Kind = "bars") -> str:
    """The name of a series' folder: 1h, mark-1h."""
    name = INTERVAL_NAME[interval_ms]
    return name if kind == "bars" else f"{kind}-{name}"


def parse_series(name: str) -> tuple[Kind, int] | None:
    """The reverse of `series_name`; None for a folder of something else."""
    kind: Kind = "mark" if name.startswith("mark-") else "bars"
    length = INTERVALS.get(name.removeprefix("mark-"))
    return None if length is None else (kind, length)


def month_of(at: int) -> str:
    return datetime.datetime.fromtimestamp(at / SECOND_MS, datetime.UTC).strftime("%Y-%m")


def month_files(folder: Path, start: int | None = None, end: int | None = None) -> list[Path]:
    """The months of a series, oldest first; only those that may hold a time with start <= time < end."""
    first = "" if start is None else month_of(start)
    last = "9999-99" if end is None else month_of(max(end - 1, 0))
    if not folder.is_dir():
        return []
    found = (path for path in folder.iterdir() if MONTH.fullmatch(path.name))
    return sorted(path for path in found if first <= path.stem <= last)


def stamp(at: int) -> str:
    return datetime.datetime.fromtimestamp(at / SECOND_MS, datetime.UTC).strftime("%Y-%m-%dT%H:%MZ")


def read_frame(path: Path, schema: Schema) -> pl.DataFrame:
    """The columns of `schema`, in its types. OperatorError names the file and what is wrong with it."""
    try:
        table = pl.read_parquet(path, columns=list(schema))
    except FileNotFoundError:
        raise OperatorError(f"{path}: no such file") from None
    except pl.exceptions.ColumnNotFoundError as error:
        raise OperatorError(f"{path}: needs the columns {', '.join(schema)} ({_first_line(error)})") from None
    except (OSError, pl.exceptions.PolarsError) as error:
        raise OperatorError(f"{path}: not a Parquet file that can be read ({_first_line(error)})") from None
    return typed(path, table, schema)


def read_frames(paths: Sequence[Path], schema: Schema) -> pl.DataFrame:
    """`read_frame` of files one after the other, in one go where all are sound and alike."""
    if len(paths) > 1:
        try:
            whole = pl.read_parquet(list(paths), columns=list(schema), glob=False, hive_partitioning=False)
        except (OSError, pl.exceptions.PolarsError):
            whole = None  # one by one, which says what is wrong with which
        if whole is not None and whole.schema == schema and not sum(whole.null_count().row(0)):
            return whole.select(list(schema))
    return pl.concat([pl.DataFrame(schema=schema), *(read_frame(path, schema) for path in paths)])


def typed(source: Path, table: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """The table's columns in the types of `schema`. OperatorError where one is null or no number."""
    for name, kind in schema.items():
        if kind.is_numeric() and not table[name].dtype.is_numeric():
            raise OperatorError(f"{source}: column {name} must hold numbers, not {table[name].dtype}")
        if table[name].null_count():
            row = int(table[name].is_null().arg_true()[0])
            raise OperatorError(f"{source}: row {row}: {name} is null")
    return table.select(pl.col(name).cast(kind) for name, kind in schema.items())


def write_frame(path: Path, frame: pl.DataFrame) -> None:
    """Into place in one step: a process that is killed leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    frame.write_parquet(draft, compression="zstd")
    os.replace(draft, path)


def by_month(frame: pl.DataFrame, at: str) -> list[tuple[str, pl.DataFrame]]:
    """The rows of each month by its name; `at` is the column of their times. The next rows of one month are not cut."""
    months = {month_of(int(end)) for end in (frame[at][0], frame[at][-1])} if len(frame) else set()
    if len(months) == 1 and _rises(frame[at]):
        return [(months.pop(), frame)]
    month = pl.from_epoch(at, time_unit="ms").dt.strftime("%Y-%m")
    return [(str(name), part) for (name,), part in frame.group_by(month, maintain_order=True)]


def joined(stored: pl.DataFrame, added: pl.DataFrame, at: str) -> pl.DataFrame:
    """Both, by time, each time once: the last word on it stays. Rows that follow what is stored are not sorted."""
    whole = pl.concat([stored, added])
    return whole if _rises(whole[at]) else whole.unique(at, keep="last").sort(at)


def _rises(times: pl.Series) -> bool:
    return bool((np.diff(times.to_numpy()) > 0).all())


@contextlib.contextmanager
def writing(directory: Path) -> Iterator[None]:
    """Writers of one folder take turns, also those of other processes: a file is read, added to and replaced."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0]
