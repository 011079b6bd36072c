"""Files of other makers in: Parquet, CSV, and the zip files of Binance's public data, told apart by name and columns.

Binance's zips hold one CSV of twelve columns, with a header row or (older months) without; times are milliseconds, and
microseconds in spot files from 2025 on (its API change log of 2025-01-01). Beside a zip may lie `NAME.zip.CHECKSUM`.
"""

import hashlib
import io
import re
import zipfile
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import polars as pl

from bot.errors import OperatorError
from bot.history import bars, funding
from bot.history.layout import INTERVALS, SYMBOL, Schema, typed

What = Literal["bars", "mark", "funding"]
SUFFIXES = (".parquet", ".csv", ".zip")
SYMBOL_IN_NAME = re.compile(r"([A-Z0-9]{5,20})[-_]")
INTERVAL_IN_NAME = re.compile(rf"(?<![A-Za-z0-9])({'|'.join(INTERVALS)})(?![A-Za-z0-9])")
PLACE = re.compile(r"column_\d+")  # what polars calls the columns of a file without a header
KLINE = (
    "open_time",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "close_time",
    "quote_volume",
    "count",
    "taker_buy_volume",
    "taker_buy_quote_volume",
    "ignore",
)
OTHER_NAMES = {
    "timestamp": "open_time",
    "time": "open_time",
    "date": "open_time",
    "datetime": "open_time",
    "opentime": "open_time",
    "fundingtime": "funding_time",
    "calc_time": "funding_time",
    "last_funding_rate": "rate",
    "fundingrate": "rate",
    "funding_rate": "rate",
}
FIRST_YEAR_S, LAST_YEAR_S = 1_000_000_000, 10_000_000_000  # 2001 and 2286: what a number of seconds may be


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """What a file says it is, by its name or its place; None: not told."""

    path: Path
    what: What
    symbol: str | None
    interval_ms: int | None


class Part(msgspec.Struct, frozen=True, eq=False):
    """One symbol's rows of a file, in the columns and types that are stored. They are not judged."""

    origin: Origin
    symbol: str
    table: pl.DataFrame


def files_below(path: Path) -> list[Path]:
    """The file itself, or every file of a known kind below a folder. OperatorError where there is none."""
    if path.is_file():
        if path.suffix not in SUFFIXES:
            raise OperatorError(f"{path}: expected a file of {', '.join(SUFFIXES)}")
        return [path]
    if not path.is_dir():
        raise OperatorError(f"{path}: no such file or folder")
    found = sorted(one for one in path.rglob("*") if one.suffix in SUFFIXES and one.is_file())
    if not found:
        raise OperatorError(f"{path}: holds no file of {', '.join(SUFFIXES)}")
    return found


def origin_of(
    path: Path, *, what: What | None = None, symbol: str | None = None, interval_ms: int | None = None
) -> Origin:
    """What is given, else what name and folders tell: `BTCUSDT-1h-2025-03.zip`, `markPriceKlines/`, `funding_um`."""
    told = what or _what(path)
    named, timed = SYMBOL_IN_NAME.match(path.stem), INTERVAL_IN_NAME.search(path.stem)
    return Origin(
        path=path,
        what=told,
        symbol=symbol or (named[1] if named else None),
        interval_ms=None if told == "funding" else interval_ms or (INTERVALS[timed[1]] if timed else None),
    )


def read(origin: Origin) -> list[Part]:
    """The file's rows, by symbol; a price or volume that is no number is NaN in them.

    OperatorError names the file and what it lacks.
    """
    table = _named(origin, _raw(origin.path))
    schema = schema_of(origin.what)
    if origin.what != "funding" and origin.interval_ms is None:
        raise OperatorError(f"{origin.path}: the name does not tell the interval; give --interval")
    lacking = [name for name in schema if name not in table.columns]
    if lacking:
        raise OperatorError(f"{origin.path}: lacks the columns {', '.join(lacking)}; has {', '.join(table.columns)}")
    if not len(table):
        raise OperatorError(f"{origin.path}: holds no row")
    time, *measured = schema
    table = table.with_columns(
        _milliseconds(origin.path, table[time]), *(_numbers(origin.path, table[name]) for name in measured)
    )
    if "symbol" in table.columns:
        by_symbol = table.group_by("symbol", maintain_order=True)
        return [
            Part(origin, _symbol(origin, str(name)), typed(origin.path, part, schema)) for (name,), part in by_symbol
        ]
    if origin.symbol is None:
        raise OperatorError(f"{origin.path}: neither the name nor a column tells the symbol; give --symbol")
    return [Part(origin, origin.symbol, typed(origin.path, table, schema))]


def schema_of(what: What) -> Schema:
    return {"bars": bars.SCHEMA, "mark": bars.MARK_SCHEMA, "funding": funding.SCHEMA}[what]


def _what(path: Path) -> What:
    words = " ".join((*path.parts[-6:-1], path.stem)).lower()
    if "funding" in words:
        return "funding"
    return "mark" if "mark" in words else "bars"


def _symbol(origin: Origin, name: str) -> str:
    if not SYMBOL.fullmatch(name):
        raise OperatorError(f"{origin.path}: column symbol holds {name!r}; expected a symbol such as BTCUSDT")
    return name


def _raw(path: Path) -> pl.DataFrame:
    try:
        if path.suffix == ".parquet":
            return pl.read_parquet(path)
        return _csv(_unzipped(path) if path.suffix == ".zip" else path.read_bytes())
    except (OSError, zipfile.BadZipFile, pl.exceptions.PolarsError) as error:
        words = str(error).strip().split("\n", 1)[0]
        raise OperatorError(f"{path}: cannot be read ({type(error).__name__}: {words})") from None


def _csv(content: bytes) -> pl.DataFrame:
    headed = not content.lstrip(b'\xef\xbb\xbf \r\n"')[:1].isdigit()
    return pl.read_csv(io.BytesIO(content), has_header=headed, infer_schema_length=None)


def _unzipped(path: Path) -> bytes:
    listed = path.with_name(f"{path.name}.CHECKSUM")
    if listed.exists():
        told, found = listed.read_text().split()[:1], hashlib.sha256(path.read_bytes()).hexdigest()
        if told != [found]:
            raise OperatorError(f"{path}: sha256 {found} is not the one in {listed.name}; download it again")
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(".csv")]
        if len(names) != 1:
            raise OperatorError(f"{path}: expected one .csv inside, not {len(names)}")
        return archive.read(names[0])


def _named(origin: Origin, table: pl.DataFrame) -> pl.DataFrame:
    """With our names: by the header, or by the place of each column where there is none."""
    if PLACE.fullmatch(table.columns[0]):
        names = ("funding_time", "interval_hours", "rate") if origin.what == "funding" else KLINE
        return table.rename(dict(zip(table.columns, names, strict=False)))
    lower = {name: name.strip().lower().replace(" ", "_") for name in table.columns}
    ours = {name: OTHER_NAMES.get(word, word) for name, word in lower.items()}
    if origin.what == "funding":
        ours = {name: "funding_time" if word == "open_time" else word for name, word in ours.items()}
    if len(set(ours.values())) < len(ours):
        twice = next(word for word in ours.values() if list(ours.values()).count(word) > 1)
        raise OperatorError(f"{origin.path}: two columns that could be {twice}: {', '.join(table.columns)}")
    return table.rename(ours)


def _numbers(path: Path, values: pl.Series) -> pl.Series:
    """What is no number as NaN. OperatorError where none is one."""
    if values.dtype == pl.String:
        values = values.str.strip_chars().cast(pl.Float64, strict=False)
    elif values.dtype.is_numeric() or values.dtype == pl.Null:
        values = values.cast(pl.Float64)
    else:
        raise OperatorError(f"{path}: column {values.name} must hold numbers, not {values.dtype}")
    values = values.fill_null(float("nan"))
    if not values.is_finite().any():
        raise OperatorError(f"{path}: column {values.name} holds no number")
    return values


def _milliseconds(path: Path, times: pl.Series) -> pl.Series:
    """Times as ms UTC: of dates, of texts of dates, and of numbers of s, ms, us or ns by their size."""
    if times.dtype == pl.String:
        times = times.str.to_datetime(strict=False, time_zone="UTC")
        if times.null_count():
            raise OperatorError(f"{path}: row {int(times.is_null().arg_true()[0])}: {times.name} is no date")
    if times.dtype == pl.Date or isinstance(times.dtype, pl.Datetime):
        return times.cast(pl.Datetime("ms")).dt.epoch("ms")
    numbers = times.cast(pl.Float64) if times.dtype.is_float() else times
    if not times.dtype.is_numeric() or times.null_count():
        return times  # refused by name where the columns get their types
    values = numbers.to_numpy()
    result = np.zeros(len(values), dtype=np.int64)
    known = np.zeros(len(values), dtype=np.bool_)
    for per_second in (1, 1_000, 1_000_000, 1_000_000_000):
        mine = (values >= FIRST_YEAR_S * per_second) & (values < LAST_YEAR_S * per_second)
        scaled = values[mine] * (1_000 // per_second) if per_second <= 1_000 else values[mine] // (per_second // 1_000)
        result[mine] = scaled
        known |= mine
    if not known.all():
        row = int(np.argmin(known))
        raise OperatorError(f"{path}: row {row}: {times.name} {values[row]} is no time in s, ms, us or ns since 1970")
    return pl.Series(times.name, result)
