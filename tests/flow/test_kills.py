"""The bot is killed at random moments of a replay and started again; the exchange meanwhile goes on without it."""

from collections.abc import Iterator

import pytest

from tests.flow import kill_days, verdicts
from tests.flow.journeys import Journey
from tests.flow.kill_days import Day
from tests.flow.processes import remove

pytestmark = [pytest.mark.flow, pytest.mark.timeout(600)]

KILLS = 5
SEED = 11


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    folder = tmp_path_factory.mktemp("kills")
    yield kill_days.play(folder, SEED, kill_days.kills(SEED, KILLS, start_share=0))
    remove(folder / "state")


@pytest.fixture(scope="module")
def journey(day: Day) -> Journey:
    return day.journey


def test_the_market_was_played_to_its_end_in_six_lives(journey: Journey) -> None:
    assert journey.exchange["ended"] is True
    assert journey.exchange["sessions"] == KILLS + 1
    assert journey.report["restarts"] == KILLS
    assert journey.report["entries_filled"] > 50


def test_nothing_was_done_or_written_twice(journey: Journey) -> None:
    assert verdicts.doubled(journey) == []


def test_nothing_of_what_the_exchange_has_was_lost(journey: Journey) -> None:
    assert journey.report["ledger_checks"] > 0
    assert verdicts.lost(journey) == []


def test_no_position_was_without_a_stop_while_a_bot_was_there(journey: Journey) -> None:
    assert journey.exchange["naked_seconds_connected"] == 0.0


def test_each_new_process_covers_what_was_filled_meanwhile_in_seconds(day: Day) -> None:
    assert len(day.lives) == KILLS + 1
    assert max(life.naked_seconds for life in day.lives) < 10
