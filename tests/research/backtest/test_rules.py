"""A rule in the place of a model: what it says, and what it may not know."""

from pathlib import Path

import numpy as np
import pytest

from bot.errors import OperatorError
from bot.messages import Bars
from bot.plugin_host import PluginHost
from bot.research.backtest.rules import RuleSource, predicted
from bot.strategy import ta
from bot.strategy.variant import RulePlugin
from tests.research.backtest.test_engine import market_of, wandering
from tests.strategy.scenes import make_variant, shipped

HEAD = "import numpy as np\nfrom bot.hookspecs import hookimpl\n\n@hookimpl\ndef predict(bars):\n"


def rule_of(folder: Path, body: str) -> RulePlugin:
    (folder / "rules").mkdir()
    (folder / "rules" / "mine.py").write_text(HEAD + body, encoding="utf-8")
    return PluginHost.load([folder], installed=False).plugins.rules["mine"]


def crossings(bars: Bars) -> np.ndarray:
    strength = ta.RSI(bars.close, timeperiod=14)
    return np.flatnonzero((strength[1:] < 30) & (strength[:-1] >= 30)) + 1


def test_the_shipped_rule_says_a_rise_where_the_rsi_has_crossed_below_its_bound() -> None:
    bars = wandering(5)
    said = predicted(shipped().plugins.rules["rsi_dip"], bars)
    assert np.flatnonzero(said.predicted).tolist() == crossings(bars).tolist()
    assert len(crossings(bars)) > 0
    assert set(said.predicted) == {0.0, 0.01}


def test_its_cycles_are_at_the_closes_and_its_answer_is_the_bars_own() -> None:
    market = market_of(wandering(5))
    source = RuleSource(shipped().plugins.rules["rsi_dip"], {"BTCUSDT": market}, market.bars.interval_ms)
    variant = make_variant()
    assert source.offsets_ms(variant) == (0,)
    close_at = int(market.bars.open_time[crossings(market.bars)[0]]) + market.bars.interval_ms
    answer = source.said(variant, "BTCUSDT").answer(close_at, close_at)
    assert (answer.predicted_return, answer.checkpoint) == (0.01, "rule:rsi_dip")  # type: ignore[union-attr]


def test_a_rule_that_looks_ahead_is_refused_by_name(tmp_path: Path) -> None:
    rule = rule_of(tmp_path, "    return np.append(bars.close[1:] / bars.close[:-1] - 1, 0.0)\n")
    with pytest.raises(OperatorError, match="rule mine: looks ahead: what it says of BTCUSDT's bar of 2025"):
        predicted(rule, wandering())


@pytest.mark.parametrize("body", ["    return None\n", "    return np.zeros(3)\n", "    return bars.close > 0\n"])
def test_a_rule_that_answers_anything_else_is_refused(tmp_path: Path, body: str) -> None:
    with pytest.raises(OperatorError, match="rule mine: must return an array of"):
        predicted(rule_of(tmp_path, body), wandering())


def test_a_rule_that_raises_is_named(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="rule mine: raised ZeroDivisionError"):
        predicted(rule_of(tmp_path, "    return 1 / 0\n"), wandering())
