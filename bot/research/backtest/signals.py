"""Where predicted returns come from: stored forecasts, or a rule over bars. What live asks the model, looked up."""

from collections.abc import Iterable, Mapping
from typing import Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from bot.clock import MINUTE_MS
from bot.history.forecasts import Forecasts, ForecastStore
from bot.messages import Bars, Floats, Forecast, ForecastRefused
from bot.strategy.reasons import Reason
from bot.strategy.variant import Variant
from bot.strategy.window import distance_refusal

Times = npt.NDArray[np.int64]


class Said(Protocol):
    """What a source says of one symbol for one variant, oldest first."""

    @property
    def bar_close_at(self) -> Times:
        """The bars that something is said of."""
        ...

    @property
    def predicted(self) -> Floats:
        """The predicted return as of each of them; NaN where the answer is a refusal, or no number."""
        ...

    @property
    def quantiles(self) -> tuple[Floats, Floats]:
        """The 0.1 and 0.9 quantiles beside them; NaN where they are not known."""
        ...

    def answer(self, at: int, bar_close_at: int) -> Forecast | ForecastRefused:
        """What the forecaster would answer live to the cycle at `at`."""
        ...


class SignalSource(Protocol):
    """A source of predicted returns. `interval_ms` is the length of the bars that windows are made of."""

    @property
    def interval_ms(self) -> int: ...

    def offsets_ms(self, variant: Variant) -> tuple[int, ...]:
        """How long after each bar's close the variant's cycles are."""
        ...

    def said(self, variant: Variant, symbol: str) -> Said: ...


def silent(source: SignalSource, variant: Variant, symbols: Iterable[str], start: int) -> list[str]:
    """Those of the symbols that the source says nothing of to the variant's cycles from `start` on."""
    heard = {symbol: source.said(variant, symbol).bar_close_at for symbol in symbols}
    return [symbol for symbol, at in heard.items() if not len(at) or at[-1] <= start - source.interval_ms]


def made_on_others(forecasts: Forecasts, bars: Bars) -> int:
    """How many of the forecasts were made on bars that ended at another close than these: no such answer is live's."""
    if not len(bars):
        return 0
    closes_at = bars.open_time + bars.interval_ms
    row = np.minimum(np.searchsorted(closes_at, forecasts.bar_close_at), len(bars) - 1)
    known = closes_at[row] == forecasts.bar_close_at
    return int((bars.close[row] != forecasts.last_close)[known].sum())


class StoredSaid(msgspec.Struct, frozen=True, eq=False):
    forecasts: Forecasts
    predicted: Floats
    max_distance: float

    @property
    def bar_close_at(self) -> Times:
        return self.forecasts.bar_close_at

    @property
    def quantiles(self) -> tuple[Floats, Floats]:
        return self.forecasts.q10, self.forecasts.q90

    def answer(self, at: int, bar_close_at: int) -> Forecast | ForecastRefused:
        found = self.forecasts.at(bar_close_at, self.max_distance)
        return ForecastRefused(self.forecasts.symbol, Reason.FORECAST_MISSING) if found is None else found


class StoredForecasts:
    """Forecasts that the model made once, by tier. Blocking; each symbol's are read when first asked for."""

    def __init__(
        self, stores: Mapping[str, ForecastStore], start: int, end: int, interval_ms: int, max_distance: float = 0.0
    ) -> None:
        self.interval_ms = interval_ms
        self._stores = stores
        self._range = start - interval_ms, end
        self._max_distance = max_distance
        self._read: dict[tuple[str, str], StoredSaid] = {}

    def offsets_ms(self, variant: Variant) -> tuple[int, ...]:
        return tuple(minute * MINUTE_MS for minute in variant.minutes)

    def said(self, variant: Variant, symbol: str) -> StoredSaid:
        store = self._stores[variant.tier]
        key = store.manifest.checkpoint, symbol
        if key not in self._read:
            self._read[key] = self._judged(store.load(symbol, *self._range))
        return self._read[key]

    def _judged(self, found: Forecasts) -> StoredSaid:
        predicted = found.path[:, -1].copy()
        refused = np.array([bool(word) for word in found.refused], dtype=np.bool_)
        if self._max_distance:
            far = [distance_refusal(one, self._max_distance) is not None for one in found.distance.tolist()]
            refused |= np.array(far, dtype=np.bool_)
        predicted[refused] = np.nan
        return StoredSaid(found, predicted, self._max_distance)
