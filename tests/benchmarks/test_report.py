"""The report of a benchmark: its JSON and its verdicts."""

from pathlib import Path

import msgspec
import pytest

from benchmarks.report import Report, Row, Table, describe_machine, number, show, utc_now, write

FAST = Row(figure="faster", value=20.0, unit="times", required=15, aim=25, better="higher")
SMALL = Row(figure="memory", value=1.5, unit="GB", required=1.2, aim=0.9, better="lower")
SEEN = Row(figure="time", value=0.25, unit="s", better="lower")


def report(*rows: Row) -> Report:
    tried = Table(title="what was tried", columns=("what", "ms"), rows=(("int8", 3.25), ("compile", None)))
    machine = describe_machine(dtype="bfloat16", threads=2)
    return Report(
        name="demo", command="make demo", measured_at=utc_now(), machine=machine, rows=rows, tables={"tried": tried}
    )


def test_the_file_has_the_machine_and_each_row_with_what_is_required_of_it(tmp_path: Path) -> None:
    written = msgspec.json.decode(write(report(FAST, SMALL), tmp_path).read_bytes())
    assert (tmp_path / "bench" / "demo.json").is_file()
    assert written["rows"][0] == {
        "figure": "faster", "value": 20.0, "unit": "times", "required": 15.0, "aim": 25.0, "better": "higher",
    }  # fmt: skip
    machine = written["machine"]
    assert machine["cpu"]
    assert machine["cores"] >= 1
    assert machine["memory_gb"] > 0
    assert (machine["dtype"], machine["threads"], machine["gpu"]) == ("bfloat16", 2, None)
    assert written["tables"]["tried"]["rows"] == [["int8", 3.25], ["compile", None]]


def test_a_second_run_replaces_the_first(tmp_path: Path) -> None:
    write(report(FAST), tmp_path)
    path = write(report(SMALL), tmp_path)
    assert [row["figure"] for row in msgspec.json.decode(path.read_bytes())["rows"]] == ["memory"]
    assert [entry.name for entry in path.parent.iterdir()] == ["demo.json"]


@pytest.mark.parametrize(
    ("value", "better", "verdict"),
    [(14.9, "higher", "missed"), (15, "higher", "met"), (25, "higher", "aim"), (None, "higher", "missed"),
     (25.1, "lower", "missed"), (25, "lower", "met"), (15, "lower", "aim")],
)  # fmt: skip
def test_a_row_is_judged_by_its_own_direction(value: float | None, better: str, verdict: str) -> None:
    required, aim = (15, 25) if better == "higher" else (25, 15)
    row = msgspec.structs.replace(FAST, value=value, better=better, required=required, aim=aim)
    assert row.verdict == verdict


def test_a_row_without_a_requirement_is_not_judged() -> None:
    assert SEEN.verdict == ""


def test_the_table_names_the_rows_that_miss_and_prints_the_extra_tables(capsys: pytest.CaptureFixture[str]) -> None:
    show(report(FAST, SMALL, SEEN))
    printed = capsys.readouterr().out
    assert "1 missed: memory" in printed
    assert "what was tried" in printed
    assert "3.25" in printed


def test_the_table_says_that_nothing_misses(capsys: pytest.CaptureFixture[str]) -> None:
    show(report(FAST))
    assert "every required figure is met" in capsys.readouterr().out


def test_json_on_stdout_is_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = report(FAST, SMALL)
    show(made, as_json=True)
    assert msgspec.json.decode(capsys.readouterr().out) == msgspec.json.decode(write(made, tmp_path).read_bytes())


@pytest.mark.parametrize(
    ("value", "text"), [(1234.5, "1,234"), (41, "41"), (0.012345, "0.0123"), (9.8765, "9.88"), (None, "-"), ("x", "x")]
)
def test_numbers_have_three_digits(value: float | str | None, text: str) -> None:
    assert number(value) == text
