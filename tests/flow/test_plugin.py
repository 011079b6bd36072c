"""The project's signature: one new file with one hook, named in a variant's file, trades. A broken one never does."""

from collections.abc import Iterator

import pytest

from tests.flow.processes import Left, remove, run
from tests.flow.variants import variant, write

pytestmark = [pytest.mark.flow, pytest.mark.timeout(300)]

DISCOUNT = '''
"""Waits for a fixed discount on the last price."""

from bot.hookspecs import Candidate, EntryPlan, Options, hookimpl
from bot.strategy.rounding import decimal_of

OPTIONS = {"discount_pct": 0.3}


@hookimpl
def propose(candidate: Candidate, options: Options) -> EntryPlan:
    better = candidate.side.sign * candidate.last_price * options["discount_pct"] / 100
    return EntryPlan(price=decimal_of(candidate.last_price - better), reason="discount")
'''
BROKEN = '''
"""Divides by zero."""

from bot.hookspecs import Candidate, EntryPlan, Options, hookimpl


@hookimpl
def propose(candidate: Candidate, options: Options) -> EntryPlan:
    raise ZeroDivisionError(candidate.symbol)
'''
SILENT = '''
"""Has nothing to say."""

from bot.hookspecs import Candidate, EntryPlan, Options, hookimpl


@hookimpl
def propose(candidate: Candidate, options: Options) -> EntryPlan | None:
    return None
'''


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Left]:
    folder = tmp_path_factory.mktemp("plugin")
    entries = folder / "plugins" / "entries"
    entries.mkdir(parents=True)
    for name, source in (("discount", DISCOUNT), ("broken", BROKEN), ("silent", SILENT)):
        (entries / f"{name}.py").write_text(source, encoding="utf-8")
    bitcoin = ("BTCUSDT",)
    cycles = {"minutes": "3, 33"}
    options = "[entry.discount]\ndiscount_pct = 0.1"
    files = {
        "new": variant("NEW", bitcoin, entry="discount", options=options, **cycles),
        "broken": variant("BROKEN", bitcoin, entry="broken", **cycles),
        "silent": variant("SILENT", bitcoin, entry="silent", **cycles),
    }
    state = folder / "state"
    yield run(state, write(folder / "variants", files), "--plugins", folder / "plugins", "--days", 1, "--seed", 2)
    remove(state)


def test_a_plugin_of_one_file_opens_positions(left: Left) -> None:
    rows = left.rows(
        """SELECT entry_method, filled, signal_log.entry_price AS asked, positions.entry_price AS got, positions.side
           FROM bot.positions JOIN bot.signal_log ON signal_id = position_id"""
    )
    assert {row["entry_method"] for row in rows} == {"discount"}
    filled = [row for row in rows if row["filled"] > 0]
    assert len(filled) >= 5
    assert all((row["got"] - row["asked"]) * (1 if row["side"] == "LONG" else -1) <= 0 for row in filled)
    assert left.report["ledger_equal"] is True
    assert left.report["naked_seconds"] == 0


def test_its_option_in_the_variants_file_counts(left: Left) -> None:
    rows = left.rows("SELECT entry_price, mark_price FROM bot.signal_log WHERE variant = 'NEW' AND decision = 'enter'")
    assert rows
    assert all(abs(row["entry_price"] / row["mark_price"] - 1) < 0.05 for row in rows)


@pytest.mark.parametrize("name", ["broken", "silent"])
def test_a_plugin_that_breaks_its_contract_opens_nothing(left: Left, name: str) -> None:
    rows = left.rows(f"SELECT * FROM bot.signal_log WHERE entry_method = '{name}'")
    assert len(rows) == 48
    assert {row["decision"] for row in rows} == {"refuse"}
    asked = [verdict for row in rows for verdict in row["filter_verdicts"] if verdict["filter"] == "entry"]
    assert {verdict["reason"] for verdict in asked} == {f"plugin:{name}"}
    reasons = {row["decision_reason"] for row in rows}
    assert f"plugin:{name}" in reasons
    assert {one for one in reasons if not one.startswith("guard_")} == {f"plugin:{name}", "below_threshold"}
    assert left.rows(f"SELECT * FROM bot.positions WHERE variant = '{name.upper()}'") == []
