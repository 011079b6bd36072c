"""`check`: the whole book on one screen, one variant with the origin of every key."""

import json
from pathlib import Path

import pytest

from bot.commands.check import check

VARIANTS = Path(__file__).resolve().parents[2] / "deploy" / "variants"
ABSENT = Path("absent.toml")


def test_json_has_every_key_with_its_origin(capsys: pytest.CaptureFixture[str]) -> None:
    check([VARIANTS / "btc.toml"], ABSENT, [], as_json=True)
    [variant] = json.loads(capsys.readouterr().out)
    assert variant["variant"] == "BTC"
    assert variant["keys"]["exits.trail_pct"] == {"value": 0.5, "origin": "tier t1"}
    assert variant["keys"]["exits.stop_pct"] == {"value": 2.0, "origin": "file"}
    assert variant["keys"]["filter.rsi.long_above"] == {"value": 60.0, "origin": "plugin rsi"}
    assert variant["keys"]["filter.rsi.shadow"] == {"value": False, "origin": "default"}
    assert variant["keys"]["variant.post_only"] == {"value": False, "origin": "default"}
    assert variant["keys"]["sizing.funding_share_pct"] == {"value": 25.0, "origin": "tier t1"}


def test_one_variant_is_shown_with_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    check([VARIANTS / "btc.toml"], ABSENT, [])
    text = capsys.readouterr().out
    assert "liquidation_buffer_pct" in text
    assert "tier t1" in text


def test_many_variants_are_a_line_each_and_their_keys_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    check([VARIANTS], ABSENT, [])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(list(VARIANTS.glob("*.toml")))
    [small] = [line for line in lines if line.startswith("T3 ")]
    assert [word in small for word in ("24", "1 %", "100 x 10", "0.5 % from 1 %", "categories")] == [True] * 5
    check([VARIANTS], ABSENT, [], everything=True)
    assert capsys.readouterr().out.count("exits.stop_pct") == len(list(VARIANTS.glob("*.toml")))
