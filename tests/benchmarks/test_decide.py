"""The benchmark of a decision asks all that a decision can ask."""

from pathlib import Path

from benchmarks.decide import SYMBOLS, book, measure, using
from bot.strategy.cycle import decide
from bot.strategy.risk import Exposure
from bot.strategy.verdicts import CHECKS
from tests.strategy.scenes import shipped

BOOK = Path(__file__).resolve().parents[2] / "deploy" / "variants"


def test_every_filter_and_check_is_asked_of_41_symbols() -> None:
    plugins = shipped().plugins
    work = using(book(plugins, BOOK), list(plugins.filters.values()), plugins.entries["atr05"])
    assert len({seen.symbol for _, seen in work}) == SYMBOLS == 41
    for variant, seen in work:
        signal, _ = decide(variant, seen, Exposure())
        assert {verdict.filter for verdict in signal.filter_verdicts} == set(CHECKS) | set(plugins.filters)
        assert all(not verdict.reason.startswith("plugin fault") for verdict in signal.filter_verdicts)


def test_cycles_are_measured_one_by_one() -> None:
    plugins = shipped().plugins
    assert len(measure(book(plugins, BOOK), 3)) == 3
