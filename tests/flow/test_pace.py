"""The bot beside a market that does not wait for it."""

from collections.abc import Iterator

import pytest

from tests.flow.processes import Left, remove, run
from tests.flow.variants import calm, write

pytestmark = [pytest.mark.flow, pytest.mark.timeout(400)]

PACE = 3_000  # a day in half a minute


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Left]:
    folder = tmp_path_factory.mktemp("pace")
    state = folder / "state"
    yield run(state, write(folder / "variants", calm()), "--days", 1, "--profile", "stress", "--pace", PACE)
    remove(state)


def test_the_bot_trades_at_a_multiple_of_real_time(left: Left) -> None:
    assert left.report["entries_filled"] > 10
    assert left.report["ledger_equal"]
    assert left.report["ledger_checks"] > 0  # few moments are quiet at a pace; the last one is
    assert 25 < left.report["wall_seconds"] < 200


def test_a_position_waits_for_its_stop_no_longer_than_a_request_takes(left: Left) -> None:
    real_seconds = left.report["naked_seconds"] / PACE
    assert real_seconds / left.report["entries_filled"] < 1.0


def test_no_request_is_refused_for_its_time(left: Left) -> None:
    assert "-1021" not in (left.state / "logs" / "bot.jsonl").read_text()
