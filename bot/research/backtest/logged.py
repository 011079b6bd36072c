"""The forecasts that a bot logged itself, as a source: what its own rows say that it was told."""

from collections import defaultdict
from collections.abc import Iterable

import msgspec
import numpy as np
import numpy.typing as npt

from bot.clock import HOUR_MS
from bot.messages import Floats, Forecast, ForecastRefused, Signal
from bot.strategy.reasons import Reason
from bot.strategy.variant import Variant
from bot.strategy.verdicts import DATA

NO_ROW = "no_row"  # the log has no such cycle


class LoggedSaid(msgspec.Struct, frozen=True, eq=False):
    symbol: str
    horizon: int
    bar_close_at: npt.NDArray[np.int64]
    predicted: Floats
    rows: dict[int, Signal]  # by cycle

    @property
    def quantiles(self) -> tuple[Floats, Floats]:
        unknown = np.full(len(self.predicted), np.nan)
        return unknown, unknown

    def answer(self, at: int, bar_close_at: int) -> Forecast | ForecastRefused:
        row = self.rows.get(at)
        return ForecastRefused(self.symbol, NO_ROW) if row is None else answer_of(row, self.horizon)


class LoggedSignals:
    """Rows of a signal log, by variant and symbol."""

    def __init__(self, rows: Iterable[Signal], offsets_ms: dict[str, tuple[int, ...]], horizon: int) -> None:
        self.interval_ms = HOUR_MS
        self._offsets_ms = offsets_ms
        self._horizon = horizon
        self._rows: defaultdict[tuple[str, str], dict[int, Signal]] = defaultdict(dict)
        for row in rows:
            self._rows[row.variant, row.symbol][row.cycle_at] = row

    def offsets_ms(self, variant: Variant) -> tuple[int, ...]:
        return self._offsets_ms[variant.name]

    def said(self, variant: Variant, symbol: str) -> LoggedSaid:
        rows = self._rows[variant.name, symbol]
        newest = {row.bar_close_at: row.predicted_return for row in rows.values() if row.bar_close_at is not None}
        bars = sorted(newest)
        predicted = [np.nan if (value := newest[bar]) is None else value for bar in bars]
        return LoggedSaid(symbol, self._horizon, np.array(bars, dtype=np.int64), np.array(predicted), rows)


def answer_of(row: Signal, horizon: int) -> Forecast | ForecastRefused:
    """What the model answered to the row's cycle, by the row."""
    values = next((verdict.values for verdict in row.filter_verdicts if verdict.filter == DATA), {})
    refused, close_at = values.get("forecast_refused"), values.get("forecast_close_at")
    if isinstance(refused, str):
        return ForecastRefused(row.symbol, refused)
    if not isinstance(close_at, int):
        return ForecastRefused(row.symbol, Reason.FORECAST_MISSING)
    return Forecast(
        symbol=row.symbol,
        checkpoint=row.checkpoint or "",
        bar_close_at=close_at,
        horizon=horizon,
        predicted_return=_known(row.predicted_return),
        predicted_q10=_known(row.predicted_q10),
        predicted_q90=_known(row.predicted_q90),
    )


def _known(value: float | None) -> float:
    return float("nan") if value is None else value
