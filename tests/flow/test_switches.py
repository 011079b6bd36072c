"""The whole bot against a venue that does the other thing wherever it is not known what the real one does."""

from collections.abc import Iterator

import msgspec
import pytest

from bot.exchange.matching.switches import Switches
from tests.flow.processes import Left, remove, run
from tests.flow.variants import busy, write

pytestmark = [pytest.mark.flow, pytest.mark.timeout(500)]

OTHERWISE = {  # each switch the other way than it stands when nobody says anything
    "reduce_only_algo_while_flat": False,
    "trigger_price_on_tick": False,
    "duplicate_algo_code": -4115,
    "algos_count_as_orders": True,
    "position_lag_ms": 200,
    "position_lag_code": -4118,
    "liquidation_cancels_algos": False,
    "liquidation_fill_stays_new": True,
    "countdown_cancels_algos": True,
    "open_algos_enveloped": True,
    "acks_with_average": True,
    "trade_lite": False,
    "account_update_first": True,
    "user_stream_name": "userData",
    "private_events_needed": True,
}


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Left]:
    folder = tmp_path_factory.mktemp("switches")
    scenario, state = folder / "otherwise.toml", folder / "state"
    words = [f"{name} = {msgspec.json.encode(value).decode()}" for name, value in OTHERWISE.items()]
    head = ['name = "otherwise"', 'description = "Every switch the other way."', "[switches]"]
    scenario.write_text("\n".join([*head, *words]), encoding="utf-8")
    yield run(
        state, write(folder / "variants", busy()), "--days", 1, "--profile", "stress", "--seed", 3,
        "--scenario", scenario,
    )  # fmt: skip
    remove(state)


def test_no_switch_is_left_as_it_is() -> None:
    standing = Switches()
    assert {name for name in Switches.__struct_fields__ if OTHERWISE[name] != getattr(standing, name)} == set(OTHERWISE)


def test_the_bot_trades_and_its_ledger_is_the_venues(left: Left) -> None:
    assert left.report["entries_filled"] > 10
    assert left.report["ledger_equal"]
    assert left.report["ledger_checks"] > 10


def test_no_position_waits_for_its_stop_longer_than_the_venue_makes_it(left: Left) -> None:
    assert left.report["naked_seconds"] / left.report["entries_filled"] < 2.0


def test_nothing_that_the_venue_says_is_a_surprise(left: Left) -> None:
    assert "contract_surprise" not in (left.state / "logs" / "bot.jsonl").read_text(encoding="utf-8")
