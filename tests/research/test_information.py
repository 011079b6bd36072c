"""The coefficient's cuts, on panels of which the answer is known."""

import math

import msgspec
import numpy as np
import pytest

from bot.clock import DAY_MS, HOUR_MS
from bot.research.correlation import rank_correlation
from bot.research.information import Study, study
from bot.research.information_page import information_page
from bot.research.panel import Panel, joined, panel_of
from tests.history.made import START, bars

COUNT, HORIZON = 1000, 2
NAMES = ("A", "B", "C", "D", "E")


def made(share: float, seed: int = 9) -> Panel:
    """Five symbols whose prediction is `share` of what comes, the rest noise."""
    rng = np.random.default_rng(seed)
    parts = []
    for number, name in enumerate(NAMES):
        whole = bars(COUNT, symbol=name, seed=number)
        at = START + np.arange(200, COUNT - 12) * HOUR_MS
        panel = panel_of(name, at, np.zeros((len(at), HORIZON)), whole, HORIZON)
        noise = rng.normal(0, 0.003, (len(at), HORIZON))
        steps = np.column_stack([panel.actual[step] for step in (1, 2)])
        parts.append(msgspec.structs.replace(panel, path=share * steps + (1 - share) * noise))
    return joined(parts)


def studied(panel: Panel) -> Study:
    return study(panel, "t1", "nano", HORIZON, 0, left_out=True)


def test_a_prophet_has_a_coefficient_of_one() -> None:
    found = studied(made(1.0))
    assert (found.total.ic, found.across.ic) == (pytest.approx(1), pytest.approx(1))
    assert found.across.hits == 1
    assert [one.ic for one in found.by_symbol] == pytest.approx([1] * 5)
    assert [group.mean for group in found.quintiles] == sorted(group.mean for group in found.quintiles)


def test_noise_is_told_as_noise() -> None:
    found = studied(made(0.0))
    assert abs(found.total.ic) < 0.05
    assert abs(found.total.t) < 2
    assert abs(found.across.t) < 2


def test_every_row_is_in_one_part_of_each_cut() -> None:
    panel = made(0.3)
    found = studied(panel)
    for cut in (found.by_symbol, found.by_week, found.by_hour, found.by_strength):
        assert sum(score.rows for score in cut) == found.total.rows == len(panel)
    assert [score.name for score in found.by_strength] == ["0-0.2 %", "0.2-0.5 %", "0.5-1 %", "1 % +"]
    assert [score.name for score in found.by_symbol] == list(NAMES)
    assert found.by_week[0].name == "2025-03-03"  # a Monday; the first row closes on Sunday the 9th
    alone = panel.where(panel.symbol == "B")
    assert found.by_symbol[1].ic == pytest.approx(rank_correlation(alone.path[:, -1], alone.actual[HORIZON]))


def test_each_horizon_is_held_against_its_own_step_and_later_ones_against_the_last() -> None:
    found = studied(made(1.0))
    assert [(one.bars, one.step) for one in found.decay] == [(1, 1), (2, 2), (4, 2), (6, 2), (12, 2)]
    assert [one.score.ic for one in found.decay[:2]] == pytest.approx([1, 1])
    assert 1 > found.decay[2].score.ic > found.decay[4].score.ic > 0


def test_periods_are_weeks_and_within_a_week_days() -> None:
    found = studied(made(0.3))
    spanned = (COUNT - 212) * HOUR_MS / DAY_MS
    assert found.total.periods == pytest.approx(spanned / 7, abs=2)
    assert max(one.periods for one in found.by_week) == 7


def test_few_symbols_are_not_ranked_against_each_other() -> None:
    panel = made(0.3)
    found = studied(panel.where(panel.symbol < "D"))
    assert math.isnan(found.across.ic)
    assert found.across.rows == 0


def test_the_page_is_one_file_with_its_pictures() -> None:
    page = information_page([studied(made(0.3))])
    assert page.count('class="chart"') == 5
    assert "http" not in page.split("</script>")[-1]
    assert "t1: by week" in page
