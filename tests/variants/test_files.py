"""The shipped files resolve, and what an operator gets wrong is one line."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from bot.config import BotFile, decode
from bot.errors import OperatorError
from bot.variants.check import check
from bot.variants.files import load_variants
from tests.strategy.scenes import shipped

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
VARIANT = '[variant]\nname = "{}"\ntier = "t1"\nsymbols = ["BTCUSDT"]\n'


def test_the_shipped_variants_resolve() -> None:
    variants = load_variants([DEPLOY / "variants"], shipped().plugins, 44)
    assert [variant.name for variant in variants] == ["BCH", "BNB", "BTC", "DOGE", "ETH", "LINK", "SOL", "XRP"]
    assert {variant.entry.name for variant in variants} == {"atr05", "fib", "market"}
    assert all([plugin.name for plugin in variant.filters] == ["session", "rsi"] for variant in variants)
    assert {variant.name: variant.exits.stop_pct for variant in variants}["DOGE"] == 4.0


def test_the_bots_file_shows_every_key_with_its_default() -> None:
    text = (DEPLOY / "bot.toml").read_text(encoding="utf-8")
    raw = tomllib.loads(re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE))
    assert decode(raw, BotFile, "bot.toml") == decode(tomllib.loads(text), BotFile, "bot.toml") == BotFile()
    for table, fields in ((name, getattr(BotFile(), name)) for name in BotFile.__struct_fields__):
        assert set(raw[table]) == set(fields.__struct_fields__)


def test_two_variants_of_one_name_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.toml").write_text(VARIANT.format("BTC"), encoding="utf-8")
    with pytest.raises(OperatorError) as caught:
        load_variants([tmp_path], shipped().plugins, 44)
    assert str(caught.value) == f"{tmp_path / 'b.toml'}: key variant.name: 'BTC' is taken by {tmp_path / 'a.toml'}"


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="no \\*.toml in this folder"):
        load_variants([tmp_path], shipped().plugins, 44)


def test_a_file_named_twice_is_one_variant(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(VARIANT.format("A"), encoding="utf-8")
    assert len(load_variants([path, tmp_path], shipped().plugins, 44)) == 1


def test_check_prints_every_key_with_its_origin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check([DEPLOY / "variants" / "btc.toml"], tmp_path / "absent.toml", [], as_json=True)
    [variant] = json.loads(capsys.readouterr().out)
    assert variant["variant"] == "BTC"
    assert variant["keys"]["exits.trail_pct"] == {"value": 0.5, "origin": "tier t1"}
    assert variant["keys"]["exits.stop_pct"] == {"value": 2.0, "origin": "file"}
    assert variant["keys"]["filter.rsi.long_above"] == {"value": 60.0, "origin": "plugin rsi"}
    assert variant["keys"]["variant.post_only"] == {"value": False, "origin": "default"}
    check([DEPLOY / "variants" / "btc.toml"], tmp_path / "absent.toml", [], as_json=False)
    assert "trail_pct" in capsys.readouterr().out
