"""A process that is asked to stop, at any moment, leaves nothing bare."""

import pytest

from tests.simulation.life import Crash
from tests.simulation.scenes import lived, unbroken


@pytest.mark.parametrize("milliseconds", range(0, 300, 50))
def test_a_process_that_is_stopped_while_its_entry_fills_covers_it_first(milliseconds: int) -> None:
    """The first cycle is at 0:03; its market entry fills some hundred milliseconds later."""
    stopped = Crash(at_seconds=180 + milliseconds / 1_000, outage_seconds=300, gently=True)
    world = unbroken(lived(hours=0.15, still=True, threshold=0.001, crashes=(stopped,)))
    assert world.lived.fired["process stopped"] == 1
