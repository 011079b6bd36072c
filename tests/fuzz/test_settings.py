"""Whatever stands in an operator's file, it is read, or refused in one line that names the file."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.config import BotFile, VariantFile, read_toml
from bot.errors import OperatorError
from bot.exchange.faults import read_scenario
from bot.variants.files import load_variants
from tests.fuzz.effort import tried
from tests.strategy.scenes import shipped

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
VALUES = (
    "0", "-1", "1", "2.5", "1e9", "1e300", "inf", "-inf", "nan", "true", "false", '""', '"x"', '"BTCUSDT"', '"btcusdt"',
    "[]", "[1]", '["BTCUSDT", "BTCUSDT"]', "[[]]", '[1, "a", 2.5]', "{}", "{ a = 1 }", "1979-05-27", "07:32:00",
    "1979-05-27T07:32:00Z", "0x7fffffffffffffffffff", "9" * 5_000, "9" * 30, '"\\u202e"', "'''\n'''", '"\\u0000"',
    "[" * 500, "[" * 60 + "]" * 60, '"' + "x" * 5_000 + '"', "²", "1_000", "+5", "08", ".5", "'../../etc/passwd'",
    "[nan]", "[inf, 1]", '"http://user:secret@h/"', "[{ a = [{ b = 1 }] }]", '"NaN"', "-0.0", "5e-324", "[0, 60]",
    "[59]", "[true]", "",
)  # fmt: skip
KEYS = (
    "x",
    '""',
    '"a.b"',
    "a.b.c",
    '"\\n"',
    "variant",
    "filter.rsi",
    "shadow",
    "'ключ'",
    "é",
    "[x]",
    "[[variant]]",
    "#",
)


def toml(table: Mapping[str, Any], path: str = "") -> str:
    """Every key of a table of ours, with its value."""
    plain = {key: value for key, value in table.items() if not isinstance(value, dict)}
    lines = [f"[{path}]"] if path and plain else []
    lines += [f"{key} = {written(value)}" for key, value in plain.items() if value is not None]
    inside = (toml(value, f"{path}.{key}".lstrip(".")) for key, value in table.items() if isinstance(value, dict))
    return "\n".join([*lines, *inside])


def written(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(written, value))}]"
    return msgspec.json.encode(value).decode()


BOT_FILES = [toml(msgspec.to_builtins(BotFile()))]
SCENARIO_FILES = [path.read_text(encoding="utf-8") for path in sorted((DEPLOY / "scenarios").glob("*.toml"))]
VARIANT_FILES = [path.read_text(encoding="utf-8") for path in sorted((DEPLOY / "variants").glob("*.toml"))]
VARIANT_FILES.append(
    "\n".join(
        [
            VARIANT_FILES[0].partition("[exits]")[0].partition("[sizing]")[0],
            "[sizing]\nmargin_usdt = 50\nleverage = 3\nmax_positions = 3\nvolatility_target_pct = 20\n",
            "[exits]\nstop_pct = 2\ntarget_pct = 3\ntrail_arm_pct = 1\ntrail_pct = 0.5\nmax_hold_minutes = 60\n",
        ]
    )
)


@st.composite
def spoiled(draw: st.DrawFn, samples: list[str]) -> bytes:
    """One of the files with up to four lines spoiled, as bytes."""
    lines = draw(st.sampled_from(samples)).splitlines()
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(lines) - 1)))
        line = lines[at : at + 1]
        key = line[0].partition("=")[0].strip() if line else "x"
        match draw(st.sampled_from(("value", "value", "value", "value", "key", "drop", "again", "new", "text"))):
            case "value" if line and "=" in line[0]:
                lines[at] = f"{key} = {draw(st.sampled_from(VALUES))}"
            case "key" if line and "=" in line[0]:
                lines[at] = f"{draw(st.sampled_from(KEYS))} = {line[0].partition('=')[2]}"
            case "drop":
                del lines[at : at + 1]
            case "again":
                lines[at:at] = line
            case "text":
                lines[at:at] = [draw(st.text(max_size=30))]
            case _:
                lines[at:at] = [f"{draw(st.sampled_from(KEYS))} = {draw(st.sampled_from(VALUES))}"]
    content = "\n".join(lines).encode("utf-8", errors="surrogatepass")
    at = draw(st.integers(0, len(content)))
    torn = draw(st.sampled_from([b"", b"", b"", b"", b"\xff", b"\x00", b"\xef\xbb\xbf", b"\r", b"\xed\xa0\x80"]))
    return content[:at] + torn + content[at:]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("settings") / "file.toml"


def read_or_refused(path: Path, read: Any) -> None:
    try:
        read()
    except OperatorError as refused:
        problem = str(refused)
    else:
        return
    assert problem.startswith(str(path))
    assert len(problem) < 2_000
    assert not re.search(r"[\n\r\x00]", problem), problem


@tried(120)
@given(content=spoiled(BOT_FILES))
def test_bot_toml_is_read_or_refused_in_one_line(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    read_or_refused(file, lambda: read_toml(file, BotFile))


@tried(120)
@given(content=spoiled(VARIANT_FILES))
def test_a_variant_is_resolved_or_refused_in_one_line(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    read_or_refused(file, lambda: load_variants([file], shipped().plugins, 44))


@tried(60)
@given(
    content=st.one_of(st.binary(max_size=100), st.text(max_size=100).map(lambda text: text.encode(errors="replace")))
)
def test_any_bytes_are_read_or_refused_in_one_line(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    read_or_refused(file, lambda: read_toml(file, VariantFile))


def test_the_unspoiled_files_are_read(file: Path) -> None:
    for content in BOT_FILES:
        file.write_text(content, encoding="utf-8")
        assert read_toml(file, BotFile) == BotFile()
    for content in SCENARIO_FILES:
        file.write_text(content, encoding="utf-8")
        assert read_scenario(file).fault
    for content in VARIANT_FILES:
        file.write_text(content, encoding="utf-8")
        assert load_variants([file], shipped().plugins, 44)
