"""Files of other makers: names, columns, headers and units of time as they are met."""

import hashlib
import zipfile
from pathlib import Path

import polars as pl
import pytest

from bot.clock import HOUR_MS
from bot.errors import OperatorError
from bot.history.foreign import files_below, origin_of, read
from tests.history.made import START

HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
)


def kline(hour: int, unit: int = 1) -> str:
    at = (START + hour * HOUR_MS) * unit
    return f"{at},100.0,101.0,99.0,100.5,{hour}.5,{at + HOUR_MS * unit - 1},1000.0,7,1.0,100.0,0"


def zipped(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{path.stem}.csv", "\n".join(lines) + "\n")
    return path


def hours(path: Path, **told: str) -> list[int]:
    (part,) = read(origin_of(path, **told))
    return [(at - START) // HOUR_MS for at in part.table["open_time"].to_list()]


@pytest.mark.parametrize("header", [[HEADER], []])
@pytest.mark.parametrize("unit", [1, 1_000])
def test_binances_zips_are_read_with_and_without_header_in_ms_and_us(
    tmp_path: Path, header: list[str], unit: int
) -> None:
    path = zipped(tmp_path / "BTCUSDT-1h-2025-03.zip", *header, *(kline(hour, unit) for hour in range(3)))
    (part,) = read(origin_of(path))
    assert (part.symbol, part.origin.what, part.origin.interval_ms) == ("BTCUSDT", "bars", HOUR_MS)
    assert part.table["open_time"].to_list() == [START, START + HOUR_MS, START + 2 * HOUR_MS]
    assert part.table["volume"].to_list() == [0.5, 1.5, 2.5]


@pytest.mark.parametrize(
    ("name", "what", "symbol", "minutes"),
    [
        ("futures/um/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2025-03-01.zip", "bars", "BTCUSDT", 1),
        ("futures/um/monthly/klines/1000PEPEUSDT/15m/1000PEPEUSDT-15m-2025-03.zip", "bars", "1000PEPEUSDT", 15),
        ("futures/um/monthly/markPriceKlines/BTCUSDT/5m/BTCUSDT-5m-2025-03.zip", "mark", "BTCUSDT", 5),
        ("futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2025-03.zip", "funding", "BTCUSDT", None),
        ("ETHUSDT-1d.csv", "bars", "ETHUSDT", 1440),
        ("mark_um_1h.parquet", "mark", None, 60),
        ("funding_um.parquet", "funding", None, None),
        ("bars.csv", "bars", None, None),
    ],
)
def test_names_and_folders_tell_what_a_file_is(name: str, what: str, symbol: str | None, minutes: int | None) -> None:
    found = origin_of(Path(name))
    assert (found.what, found.symbol) == (what, symbol)
    assert found.interval_ms == (None if minutes is None else minutes * 60_000)


def test_funding_zips_and_tables_of_many_symbols_are_read(tmp_path: Path) -> None:
    lines = ["calc_time,funding_interval_hours,last_funding_rate", f"{START + 3},8,0.00010000"]
    (part,) = read(origin_of(zipped(tmp_path / "BTCUSDT-fundingRate-2025-03.zip", *lines)))
    assert part.table.rows() == [(START + 3, 0.0001)]
    many = {"symbol": ["ETHUSDT", "BTCUSDT"], "funding_time": [START, START], "rate": [0.1, 0.2]}
    pl.DataFrame(many).write_parquet(tmp_path / "funding_um.parquet")
    parts = read(origin_of(tmp_path / "funding_um.parquet"))
    assert [(part.symbol, part.table.rows()) for part in parts] == [
        ("ETHUSDT", [(START, 0.1)]),
        ("BTCUSDT", [(START, 0.2)]),
    ]


@pytest.mark.parametrize(
    "times",
    [
        ["2025-03-01 00:00:00", "2025-03-01 01:00:00"],
        ["2025-03-01T00:00:00Z", "2025-03-01T01:00:00Z"],
        [START // 1_000, START // 1_000 + 3_600],
        [START * 1_000_000, (START + HOUR_MS) * 1_000_000],
        [float(START), float(START + HOUR_MS)],
    ],
)
def test_times_are_taken_as_dates_and_as_numbers_of_any_unit(tmp_path: Path, times: list[object]) -> None:
    prices = {name: [1.0, 1.0] for name in ("Open", "High", "Low", "Close", "Volume")}
    pl.DataFrame({"Date": times, **prices}).write_csv(tmp_path / "BTCUSDT_1h.csv")
    assert hours(tmp_path / "BTCUSDT_1h.csv") == [0, 1]


def test_dates_of_a_parquet_file_are_taken(tmp_path: Path) -> None:
    when = pl.Series([START, START + HOUR_MS]).cast(pl.Datetime("ms", "UTC"))
    prices = {name: [1.0, 1.0] for name in ("open", "high", "low", "close", "volume")}
    pl.DataFrame({"timestamp": when, **prices}).write_parquet(tmp_path / "BTCUSDT-1h.parquet")
    assert hours(tmp_path / "BTCUSDT-1h.parquet") == [0, 1]


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize("word", ["", "nan", "NaN", "n/a", '" "'])
def test_a_price_that_is_no_number_is_nan_and_the_other_rows_are_read(tmp_path: Path, word: str) -> None:
    lines = [HEADER, kline(0), kline(1).replace("100.5", word), kline(2)]
    (part,) = read(origin_of(write(tmp_path / "BTCUSDT-1h.csv", "\n".join(lines) + "\n")))
    assert part.table["close"].is_nan().to_list() == [False, True, False]
    assert part.table["volume"].to_list() == [0.5, 1.5, 2.5]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("BTCUSDT-1h.csv", "open_time,open,high\n1,2,3\n", "lacks the columns low, close, volume"),
        ("BTCUSDT.csv", f"{HEADER}\n{kline(0)}\n", "does not tell the interval; give --interval"),
        ("bars-1h.csv", f"{HEADER}\n{kline(0)}\n", "neither the name nor a column tells the symbol; give --symbol"),
        ("BTCUSDT-1h.csv", f"{HEADER}\n{kline(0).replace(str(START), '17')}\n", "is no time in s, ms, us or ns"),
        ("BTCUSDT-1h.csv", f"{HEADER}\n{kline(0).replace(str(START), 'soon')}\n", "open_time is no date"),
        ("BTCUSDT-1h.csv", f"{HEADER}\n{kline(0).replace('100.5', '')}\n", "column close holds no number"),
        ("BTCUSDT-1h.csv", f"{HEADER}\n{kline(0).replace('100.5', 'dear')}\n", "column close holds no number"),
        ("BTCUSDT-1h.csv", f"{HEADER}\n", "holds no row"),
        ("BTCUSDT-1h.csv", "", "cannot be read"),
        ("BTCUSDT-1h.zip", "no zip", "cannot be read"),
        (
            "BTCUSDT-1h.csv",
            "time,date,open,high,low,close,volume\n1,2,3,4,5,6,7\n",
            "two columns that could be open_time",
        ),
    ],
)
def test_what_cannot_be_taken_is_refused_by_file_and_fault(tmp_path: Path, name: str, text: str, words: str) -> None:
    with pytest.raises(OperatorError, match=words) as refused:
        read(origin_of(write(tmp_path / name, text)))
    assert str(tmp_path / name) in str(refused.value)


def test_a_zip_is_held_against_the_checksum_beside_it(tmp_path: Path) -> None:
    path = zipped(tmp_path / "BTCUSDT-1h-2025-03.zip", HEADER, kline(0))
    beside = path.with_name(f"{path.name}.CHECKSUM")
    beside.write_text(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")
    assert hours(path) == [0]
    beside.write_text(f"{'0' * 64}  {path.name}\n")
    with pytest.raises(OperatorError, match="download it again"):
        read(origin_of(path))


def test_a_folder_is_searched_for_files_of_known_kinds(tmp_path: Path) -> None:
    made = [zipped(tmp_path / "a" / "BTCUSDT-1h-2025-03.zip", HEADER), write(tmp_path / "BTCUSDT-1h.csv", HEADER)]
    write(tmp_path / "notes.txt", "x")
    assert files_below(tmp_path) == sorted(made)
    for wrong in (tmp_path / "notes.txt", tmp_path / "absent"):
        with pytest.raises(OperatorError, match=wrong.name):
            files_below(wrong)
