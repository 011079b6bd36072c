"""The whole shipped book trades a generated day: 42 coins, every tier's caps, every check in every row."""

import re
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.flow.processes import CHECKOUT, Left, remove, run

pytestmark = [pytest.mark.flow, pytest.mark.timeout(400)]

BOOK = CHECKOUT / "deploy" / "variants"
CYCLES = 24  # one an hour, where the shipped book has two
TIERS = {"t1": 8, "t2": 9, "t3": 24, "metals": 1}  # symbols
OPEN_AT_MOST = {"t1": 24, "t2": 7, "t3": 10, "metals": 3}
CHECKS = ["data", "state", "guards", "entry", "size", "volume_cap", "liquidation", "funding", "caps"]


def trading_more(text: str) -> str:
    """A file of the book that trades on what the small model says: it forecasts less, and against the trend."""
    text = re.sub(r"^minutes = ", "threshold_pct = 0.05\nminutes = [2]  # was ", text, flags=re.MULTILINE)
    return text.replace("[filter.categories]\n", "[filter.categories]\nshadow = true\n")


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Left]:
    folder = tmp_path_factory.mktemp("book")
    (folder / "variants").mkdir()
    for path in BOOK.glob("*.toml"):
        (folder / "variants" / path.name).write_text(trading_more(path.read_text(encoding="utf-8")), encoding="utf-8")
    state = folder / "state"
    yield run(state, folder / "variants", "--days", 1, "--seed", 3, "--profile", "stress")
    remove(state)


def test_every_symbol_of_every_cycle_is_a_row(left: Left) -> None:
    rows = left.rows("SELECT tier, count(*) AS count FROM bot.signal_log GROUP BY tier")
    assert {row["tier"]: row["count"] for row in rows} == {tier: CYCLES * coins for tier, coins in TIERS.items()}
    assert len(left.report["symbols"]) == 42
    assert "XAG" not in left.report["variants"]


def test_the_ledger_is_the_venues_and_nothing_was_ever_without_a_stop(left: Left) -> None:
    assert left.report["ledger_equal"] is True
    assert left.report["naked_seconds"] == 0
    assert left.report["entries_filled"] > 50


def test_no_tier_ever_holds_more_than_it_may(left: Left) -> None:
    positions = left.rows("SELECT tier, variant, symbol, created_at, closed_at FROM bot.positions")
    assert set(OPEN_AT_MOST) == {row["tier"] for row in positions}
    for one in positions:
        at = one["created_at"]
        standing = [row for row in positions if row["created_at"] <= at < (row["closed_at"] or at + 1)]
        tiers = Counter(row["tier"] for row in standing)
        symbols = Counter((row["variant"], row["symbol"]) for row in standing)
        assert {tier: count for tier, count in tiers.items() if count > OPEN_AT_MOST[tier]} == {}
        assert all(count <= 3 for count in symbols.values())
        assert all(count <= 1 for (variant, _), count in symbols.items() if variant in ("T2", "T3"))


def test_every_candidates_row_has_every_check(left: Left) -> None:
    rows = left.rows("SELECT filter_verdicts, decision FROM bot.signal_log WHERE quantity IS NOT NULL")
    assert {row["decision"] for row in rows} == {"enter", "refuse"}
    for row in rows:
        names = [verdict["filter"] for verdict in row["filter_verdicts"]]
        assert [name for name in names if name in CHECKS] == CHECKS
