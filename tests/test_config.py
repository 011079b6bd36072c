"""The config tree: what a file may say, and the one line that an operator gets for what it may not."""

import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.config import BotFile, Secrets, Table, VariantFile, decode, money, read_toml
from bot.errors import OperatorError

VARIANT = '[variant]\nname = "BTC"\ntier = "t1"\nsymbols = ["BTCUSDT"]\n'


def fault(tmp_path: Path, text: str, kind: type[Table] = VariantFile) -> str:
    path = tmp_path / "btc.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(OperatorError) as caught:
        read_toml(path, kind)
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    return line.removeprefix(f"{path}: ")


def test_a_short_variant_file_is_completed_with_defaults(tmp_path: Path) -> None:
    path = tmp_path / "btc.toml"
    path.write_text(
        VARIANT + "[filter.rsi]\nlong_max = 60\nhours = [6, 7]\n[entry.fib]\nratio = 0.5\n", encoding="utf-8"
    )
    file = read_toml(path, VariantFile)
    assert file.variant.symbols == ("BTCUSDT",)
    assert file.variant.minutes == (3, 33)
    assert file.filter == {"rsi": {"long_max": 60, "hours": [6, 7]}}
    assert file.entry == {"fib": {"ratio": 0.5}}
    assert file.sizing.margin_usdt is None


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ("minutes = [0, 30]", "key variant.minutes[0]: 0 is not allowed; expected a whole number from 1 up to 59"),
        ("minutes = [3, 77]", "key variant.minutes[1]: 77 is not allowed; expected a whole number from 1 up to 59"),
        (
            "minutes = []",
            "key variant.minutes: an empty list is not allowed; "
            "expected a list of one or more, each a whole number from 1 up to 59",
        ),
        ("minutes = [3, 3]", "key variant: minutes names 3 twice; expected each once"),
        (
            "entry = 'at market'",
            "key variant.entry: 'at market' is not allowed; expected a name of 1 to 24 letters, digits, _ or -",
        ),
        (
            "threshold_pct = 0",
            "key variant.threshold_pct: 0 is not allowed; expected a number above 0 up to 1000000000",
        ),
        ("threshold_pct = inf", "key variant.threshold_pct: inf is not allowed; expected a finite number"),
        ("threshold_pct = nan", "key variant.threshold_pct: nan is not allowed; expected a finite number"),
        ("enabled = 1", "key variant.enabled: 1 is not allowed; expected true or false"),
        ("post_only = 2020-01-01", "key variant.post_only: 2020-01-01 is not allowed; expected true or false"),
        (
            "entry_ttl_minutes = 0x" + "f" * 5_000,
            "key variant.entry_ttl_minutes: a whole number that large is not allowed; "
            "expected a whole number from 1 up to 1000000000",
        ),
        (
            "[sizing]\nleverage = 126",
            "key sizing.leverage: 126 is not allowed; expected a whole number from 1 up to 125",
        ),
        ("[exits]\nstop_pct = true", "key exits.stop_pct: true is not allowed; expected a number above 0 up to 100"),
        (
            "[exits]\nstop_prct = 1",
            'key exits.stop_prct is unknown; did you mean "stop_pct"? allowed here: stop_pct, target_pct, '
            "trail_arm_pct, trail_pct, floor_arm_pct, floor_keep_pct, max_hold_minutes, "
            "red_after_minutes, close_at_session_end",
        ),
        (
            "[zzz]",
            "key zzz is unknown; allowed here: variant, sizing, exits, filter, entry",
        ),
        ("[filter]\nrsi = 3", "key filter.rsi: 3 is not allowed; expected a table"),
        (
            "[filter.rsi]\nlow = 1\n'hi gh' = 06:00:00",
            "key filter.rsi.'hi gh': 06:00:00 is not allowed; "
            "expected a number, a text, true or false, or a list of whole numbers and texts",
        ),
        ("[entry.fib]\nx = [1, nan]", "key entry.fib.x[1]: nan is not allowed; expected a finite number"),
        (
            "[entry.fib]\nx = [[1]]",
            "key entry.fib.x[0]: a list is not allowed; expected a whole number or a text",
        ),
    ],
)
def test_a_wrong_key_or_value_is_one_line_with_key_and_what_is_allowed(tmp_path: Path, more: str, line: str) -> None:
    assert fault(tmp_path, VARIANT + more + "\n") == line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "[variant]\nname = 'BTC'\ntier = 't1'",
            "key variant.symbols is missing; expected a list of one or more, "
            'each a symbol of the venue such as "BTCUSDT"',
        ),
        ("variant = 1", "key variant: 1 is not allowed; expected a table with keys of name, "),
        ("[sizing]", "key variant is missing; expected a table with keys of name, "),
        ("[variant", "not TOML: Expected ']' at the end of a table declaration"),
        ("a = " + "[" * 5_000, "not TOML that can be read: nested too deeply"),
        ("a = " + "1" * 5_000, "not TOML: Exceeds the limit"),
    ],
)
def test_a_missing_table_or_broken_toml_is_one_line_too(tmp_path: Path, text: str, line: str) -> None:
    assert fault(tmp_path, text).startswith(line)


def test_a_file_that_is_absent_a_folder_or_not_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"none\.toml: no such file"):
        read_toml(tmp_path / "none.toml", BotFile)
    with pytest.raises(OperatorError, match="Is a directory"):
        read_toml(tmp_path, BotFile)
    (tmp_path / "latin.toml").write_bytes(b"a = '\xe9'")
    with pytest.raises(OperatorError, match=r"latin\.toml: not TOML: 'utf-8' codec"):
        read_toml(tmp_path / "latin.toml", BotFile)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[model]\ncontext = 33", "key model.context: 33 is not allowed; expected a whole number from 32 up to 16384 "),
        ("[model]\ndtype = 'f16'", "key model.dtype: 'f16' is not allowed; expected one of "),
        ('[account]\nclient_prefix = "ab\\n"', "key account.client_prefix: 'ab\\n' is not allowed; expected 1 to 6 "),
        (
            "[exchange]\nrest_url = 'binance'",
            "key exchange.rest_url: 'binance' is not allowed; expected an http:// or ",
        ),
    ],
)
def test_the_bot_file_is_held_to_the_same(tmp_path: Path, text: str, line: str) -> None:
    assert fault(tmp_path, text, BotFile).startswith(line)


KEYS = st.sampled_from(
    ["variant", "sizing", "exits", "filter", "entry", "name", "tier", "symbols", "minutes", "leverage", "stop_pct", "a"]
) | st.text(max_size=8)
SCALARS = (
    st.none().map(lambda _: datetime.date(2025, 1, 1))
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["BTCUSDT", "t1", " - at `$.x`", "Expected `int`"])
    | st.times()
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)
VALID = {"name": "BTC", "tier": "t1", "symbols": ["BTCUSDT"]}
NEAR_VALID = st.fixed_dictionaries(
    {"variant": st.dictionaries(KEYS, VALUES, max_size=3).map(lambda more: {**VALID, **more})},
    optional={table: st.dictionaries(KEYS, VALUES, max_size=3) for table in ("sizing", "exits", "filter", "entry")},
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.dictionaries(KEYS, VALUES, max_size=5) | NEAR_VALID)
def test_any_parsed_file_is_a_struct_or_one_line(raw: dict[str, Any]) -> None:
    try:
        outcome: VariantFile | str = decode(raw, VariantFile, "x.toml")
    except OperatorError as error:
        outcome = str(error)
    if isinstance(outcome, str):
        assert outcome.startswith("x.toml: key ")
        assert "\n" not in outcome


def test_secrets_come_from_the_environment_and_never_show() -> None:
    secrets = Secrets.from_environment({"BINANCE_API_KEY": "key-1", "BINANCE_API_SECRET": "secret-1"})
    assert secrets.api_secret == "secret-1"
    assert "key-1" not in repr(secrets) + str(secrets)
    assert "secret-1" not in f"{[secrets]}"
    with pytest.raises(OperatorError, match="environment: BINANCE_API_SECRET must be set"):
        Secrets.from_environment({"BINANCE_API_KEY": "key-1", "BINANCE_API_SECRET": ""})


def test_a_configured_amount_is_the_decimal_that_was_meant() -> None:
    assert str(money(0.1)) == "0.1"
    assert str(money(500)) == "500"
