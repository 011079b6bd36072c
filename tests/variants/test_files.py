"""The shipped files resolve, and what an operator gets wrong is one line."""

import re
import tomllib
from decimal import Decimal
from pathlib import Path

import pytest

from bot.clock import HOUR_MS
from bot.config import BotFile, decode
from bot.errors import OperatorError
from bot.exchange.simulator.instruments import known_instruments
from bot.strategy.variant import Variant
from bot.variants.files import load_variants
from tests.strategy.scenes import shipped

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
VARIANT = '[variant]\nname = "{}"\ntier = "t1"\nsymbols = ["BTCUSDT"]\n'


MAJORS = {"BTC": 2.0, "ETH": 3.0, "XRP": 3.0, "BNB": 3.0, "SOL": 3.0, "DOGE": 4.0, "BCH": 3.0, "LINK": 3.0}
MINUTES = {
    **{"BTC": (3, 33), "ETH": (2, 32), "XRP": (4, 34), "BNB": (4, 34), "SOL": (5, 35), "DOGE": (5, 35)},
    **{"BCH": (6, 36), "LINK": (6, 36), "T2": (7, 37), "T3": (10, 40), "PAXG": (13, 43)},
}
NEVER = {"LTCUSDT", "ATOMUSDT", "INJUSDT"}  # no data of theirs may be used


@pytest.fixture(scope="module")
def book() -> dict[str, Variant]:
    return {variant.name: variant for variant in load_variants([DEPLOY / "variants"], shipped().plugins, 44)}


def test_the_book_is_eleven_variants_on_42_coins_and_two_that_are_disabled(book: dict[str, Variant]) -> None:
    trading = {name: variant for name, variant in book.items() if variant.enabled}
    assert {name: variant.minutes for name, variant in trading.items()} == MINUTES
    assert set(book) - set(trading) == {"XAG", "XAU"}
    symbols = [symbol for variant in trading.values() for symbol in variant.symbols]
    assert {name: len(variant.symbols) for name, variant in trading.items() if len(variant.symbols) > 1} == {
        "T2": 9,
        "T3": 24,
    }
    assert len(symbols) == len(set(symbols)) == 42
    assert not NEVER & set(symbols)
    assert set(symbols) <= set(known_instruments())


def test_the_demo_has_a_variant_of_every_tier() -> None:
    demo = load_variants([DEPLOY / "demo"], shipped().plugins, 44)
    assert sorted(variant.tier for variant in demo) == sorted(shipped().plugins.tiers)
    assert {symbol for variant in demo for symbol in variant.symbols} <= set(known_instruments())


def test_stops_and_targets_are_those_of_the_book(book: dict[str, Variant]) -> None:
    pairs = {name: (variant.exits.stop_pct, variant.exits.target_pct) for name, variant in book.items()}
    assert {name: pairs[name] for name in MAJORS} == {name: (stop, stop) for name, stop in MAJORS.items()}
    assert (pairs["T2"], pairs["T3"], pairs["PAXG"]) == ((3.0, 3.0), (3.0, None), (3.0, 4.0))
    assert (book["T3"].exits.trail_arm_pct, book["T3"].exits.trail_pct) == (1.0, 0.5)
    assert book["T2"].exits.trail_arm_pct is book["PAXG"].exits.trail_arm_pct is None


def test_every_variant_asks_rsi_and_categories_and_the_sessions_of_its_tier(book: dict[str, Variant]) -> None:
    asked = {name: {plugin.name: dict(plugin.options) for plugin in variant.filters} for name, variant in book.items()}
    assert all("rsi" in filters for filters in asked.values())
    wanted = {name: (filters["categories"]["set"], filters["categories"]["need"]) for name, filters in asked.items()}
    assert (wanted.pop("T2"), wanted.pop("T3")) == ((3, 2), (5, 2))
    assert set(wanted.values()) == {(3, 3)}
    assert asked["BTC"]["session"] == {"skip_weekdays": [4], "skip_hours": [6]}
    assert asked["PAXG"]["session"] == {"skip_weekdays": [2], "skip_hours": [23, 0, 1]}


@pytest.mark.parametrize(
    ("name", "threshold", "margin", "leverage", "caps", "hold_hours"),
    [
        ("BTC", 0.002, "500.0", 10, (3, None), 4),
        ("T2", 0.0075, "375.0", 10, (1, 7), 4),
        ("T3", 0.01, "100.0", 10, (1, 10), 2),
        ("PAXG", 0.003, "1000.0", 10, (3, 3), 2),
    ],
)
def test_the_tiers_numbers(
    name: str,
    threshold: float,
    margin: str,
    leverage: int,
    caps: tuple[int, int | None],
    hold_hours: int,
    book: dict[str, Variant],
) -> None:
    variant = book[name]
    assert (variant.threshold, variant.margin, variant.leverage) == (threshold, Decimal(margin), leverage)
    assert (variant.caps.symbol, variant.caps.tier) == caps
    assert variant.exits.max_hold_ms == hold_hours * HOUR_MS


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
