"""Indicators of closed bars: the value at the newest bar, by TA-Lib where it has them."""

from functools import cache

import msgspec
import numpy as np

from bot.messages import Bars, Floats, Side
from bot.strategy import ta

PERIOD = 14
STOCHASTIC_PERIOD, STOCHASTIC_SMOOTHING = 14, 3
BANDS_PERIOD = 20
BANDS_NOISE = 1e-5  # of the price: narrower bands may be TA-Lib's rounding alone
SWING_WIDTH = 3  # bars on each side that confirm a turning point


def rsi(closes: Floats, period: int = PERIOD) -> float:
    """Wilder's RSI, 0 … 100; NaN with `period` closes or fewer, 50 where no close differs from another."""
    value = float(ta.RSI(closes, timeperiod=period)[-1])
    if value == 0 and closes.min() == closes.max():
        return 50.0  # a market that stands still is not oversold
    return value


def atr(bars: Bars, period: int = PERIOD) -> float:
    """Wilder's average true range in price units; NaN with `period` bars or fewer."""
    return float(ta.ATR(bars.high, bars.low, bars.close, timeperiod=period)[-1])


def ema(closes: Floats, period: int) -> float:
    """Exponential moving average, started from the simple one; NaN with fewer than `period` closes."""
    return float(ta.EMA(closes, timeperiod=period)[-1])


def stochastic(bars: Bars) -> float:
    """Lane's slow %K (14, 3), 0 … 100; NaN with 15 bars or fewer, 50 where the bars that its ranges share stand
    still."""
    enough = len(bars) > STOCHASTIC_PERIOD + STOCHASTIC_SMOOTHING - 2
    if enough and bars.high[-STOCHASTIC_PERIOD] == bars.low[-STOCHASTIC_PERIOD]:
        shared = slice(-STOCHASTIC_PERIOD, -STOCHASTIC_SMOOTHING + 1)
        if bars.high[shared].max() == bars.low[shared].min():
            return 50.0  # TA-Lib says 0 of a range of nothing
    slow_k, _ = ta.STOCH(
        bars.high,
        bars.low,
        bars.close,
        fastk_period=STOCHASTIC_PERIOD,
        slowk_period=STOCHASTIC_SMOOTHING,
        slowd_period=1,
    )
    return float(slow_k[-1])


def percent_b(closes: Floats) -> float:
    """Where the newest close lies in Bollinger's bands (20, 2), 0 the lower and 1 the upper; NaN with fewer than 20
    closes, 0.5 where they stand still."""
    upper, _, lower = ta.BBANDS(closes, timeperiod=BANDS_PERIOD, nbdevup=2.0, nbdevdn=2.0)
    last, width = float(closes[-1]), float(upper[-1] - lower[-1])
    if width < BANDS_NOISE * last and np.ptp(closes[-BANDS_PERIOD:]) == 0:
        return 0.5
    return (last - float(lower[-1])) / width


class DirectionalMovement(msgspec.Struct, frozen=True):
    """Wilder's indices, each 0 … 100."""

    adx: float
    plus_di: float
    minus_di: float


def directional_movement(bars: Bars, period: int = PERIOD) -> DirectionalMovement | None:
    """How strongly (ADX) and which way (+DI against -DI) the bars move; None with fewer than 2 x `period` bars."""
    if len(bars) < 2 * period:
        return None
    indices = (ta.ADX, ta.PLUS_DI, ta.MINUS_DI)
    return DirectionalMovement(
        *(float(index(bars.high, bars.low, bars.close, timeperiod=period)[-1]) for index in indices)
    )


@cache
def ramp(count: int) -> Floats:
    """0, 1, 2 ...: the time that a regression runs over."""
    values = np.arange(count, dtype=np.float64)
    values.flags.writeable = False
    return values


class Swing(msgspec.Struct, frozen=True):
    index: int  # of the bar
    price: float


def swing_highs(highs: Floats, width: int = SWING_WIDTH) -> list[Swing]:
    """The confirmed swing highs, oldest first.

    Bar i is one where its high is above the highs of the `width` bars before it and not below those of the `width`
    bars after it, all of which must exist: among equal highs the first counts.
    """
    if len(highs) < 2 * width + 1:
        return []
    highest = ta.MAX(highs, timeperiod=width) if width > 1 else highs  # of `width` bars, the last of them included
    middle, before, after = highs[width:-width], highest[width - 1 : -width - 1], highest[2 * width :]
    turns = np.flatnonzero((middle > before) & (middle >= after)) + width
    return [Swing(index, price) for index, price in zip(turns.tolist(), highs[turns].tolist(), strict=True)]


def swing_lows(lows: Floats, width: int = SWING_WIDTH) -> list[Swing]:
    """The confirmed swing lows, oldest first; the mirror of `swing_highs`."""
    return [Swing(swing.index, -swing.price) for swing in swing_highs(-lows, width)]


class Leg(msgspec.Struct, frozen=True):
    """A move between two turning points."""

    start: Swing
    end: Swing

    def retraced(self, ratio: float) -> float:
        """The price that gives `ratio` of the move back."""
        return self.end.price - ratio * (self.end.price - self.start.price)


def last_leg(bars: Bars, side: Side, width: int = SWING_WIDTH) -> Leg | None:
    """The last move in the direction of `side`: for LONG from the last swing low before the last swing high to that
    high, for SHORT from the last swing high before the last swing low to that low. None where there is none.
    """
    highs, lows = swing_highs(bars.high, width), swing_lows(bars.low, width)
    starts, ends = (lows, highs) if side is Side.LONG else (highs, lows)
    if not ends:
        return None
    earlier = [swing for swing in starts if swing.index < ends[-1].index]
    if not earlier or side.sign * (ends[-1].price - earlier[-1].price) <= 0:
        return None
    return Leg(earlier[-1], ends[-1])
