"""A plugin's rule as a source of predicted returns: computed once a symbol, and tried for looking ahead."""

from collections.abc import Mapping

import msgspec
import numpy as np
import numpy.typing as npt

from bot.errors import OperatorError, PluginFault
from bot.history.layout import stamp
from bot.messages import Bars, Floats, Forecast, ForecastRefused
from bot.research.backtest.market import SymbolMarket
from bot.strategy.reasons import Reason
from bot.strategy.variant import RulePlugin, Variant
from bot.strategy.window import FIELDS, read_only, upto

CUTS = 4  # how often the bars are cut short to see whether the rule then says the same


class RuleSaid(msgspec.Struct, frozen=True, eq=False):
    symbol: str
    rule: str
    bar_close_at: npt.NDArray[np.int64]
    predicted: Floats

    @property
    def quantiles(self) -> tuple[Floats, Floats]:
        unknown = np.full(len(self.predicted), np.nan)
        return unknown, unknown

    def answer(self, at: int, bar_close_at: int) -> Forecast | ForecastRefused:
        row = int(self.bar_close_at.searchsorted(bar_close_at))
        if row == len(self.bar_close_at) or self.bar_close_at[row] != bar_close_at:
            return ForecastRefused(self.symbol, Reason.FORECAST_MISSING)
        return Forecast(
            symbol=self.symbol,
            checkpoint=f"rule:{self.rule}",
            bar_close_at=bar_close_at,
            horizon=1,
            predicted_return=float(self.predicted[row]),
            predicted_q10=float("nan"),
            predicted_q90=float("nan"),
        )


class RuleSource:
    """Cycles are at each bar's close, so that a market order meets the next bar's open."""

    def __init__(self, rule: RulePlugin, markets: Mapping[str, SymbolMarket], interval_ms: int) -> None:
        self.interval_ms = interval_ms
        self._rule = rule
        self._markets = markets
        self._said: dict[str, RuleSaid] = {}

    def offsets_ms(self, variant: Variant) -> tuple[int, ...]:
        return (0,)

    def said(self, variant: Variant, symbol: str) -> RuleSaid:
        if symbol not in self._said:
            self._said[symbol] = predicted(self._rule, self._markets[symbol].bars)
        return self._said[symbol]


def predicted(rule: RulePlugin, bars: Bars) -> RuleSaid:
    """What the rule says of each bar. OperatorError for a rule that breaks its contract."""
    bars = msgspec.structs.replace(bars, **{name: getattr(bars, name).copy() for name in FIELDS})  # the rule's own
    said = _ask(rule, bars)
    for cut in np.linspace(len(bars) // 2, len(bars) - 1, CUTS).astype(int).tolist():
        shorter = upto(bars, int(bars.open_time[cut]) + bars.interval_ms)
        again = _ask(rule, shorter)
        if np.array_equal(again, said[: len(again)], equal_nan=True):
            continue
        apart = np.flatnonzero(~np.isclose(again, said[: len(again)], rtol=1e-9, atol=1e-12, equal_nan=True))
        if len(apart):
            at = stamp(int(bars.open_time[apart[0]]))
            raise OperatorError(
                f"rule {rule.name}: looks ahead: what it says of {bars.symbol}'s bar of {at} depends on later bars"
            )
    return RuleSaid(bars.symbol, rule.name, bars.open_time + bars.interval_ms, np.nan_to_num(said, nan=0.0))


def _ask(rule: RulePlugin, bars: Bars) -> Floats:
    try:
        return rule.predict(read_only(bars), rule.options)
    except PluginFault as fault:
        raise OperatorError(f"rule {rule.name}: {fault.reason}") from fault
