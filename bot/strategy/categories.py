"""Five categories of indicators on closed bars: what each measures, how it votes, and which sets of them are asked.

Definitions and sources: docs/rules.md, "Categories".
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from bot.hookspecs import Categories
from bot.messages import Bars
from bot.strategy import indicators, ta

NOISE = 1e-9  # a difference below this share of what is compared is none: arithmetic's, not the market's
TRENDING_ADX = 25.0
AROON_STRONG, AROON_WEAK = 70.0, 30.0
R_SQUARED_14 = 0.27  # critical value of 14 bars at 95 % confidence
PERCENT_B_EDGE = 0.2  # of the bands' width, at either end


class Indicator(NamedTuple):
    name: str
    category: str
    measures: tuple[str, ...]  # what it votes on, in the order of `vote`'s arguments
    vote: Callable[..., int]  # 1: up, -1: down, 0: neither


def _compare(left: float, right: float, unit: float) -> int:
    """The sign of `left` - `right`, two numbers of the size of `unit`."""
    return 0 if abs(left - right) <= NOISE * abs(unit) else int(math.copysign(1, left - right))


def _above(value: float, level: float) -> int:
    return _compare(value, level, level)


def _positive(value: float) -> int:
    return _compare(value, 0.0, 1.0)


def _directed(adx: float, plus_di: float, minus_di: float) -> int:
    return _compare(plus_di, minus_di, 100.0) if adx >= TRENDING_ADX else 0


def _aroon(up: float, down: float) -> int:
    return int(up > AROON_STRONG and down < AROON_WEAK) - int(down > AROON_STRONG and up < AROON_WEAK)


def _regression(slope: float, r_squared: float, close: float) -> int:
    return _compare(slope, 0.0, close) if r_squared >= R_SQUARED_14 else 0


def _percent_b(percent_b: float) -> int:
    return int(percent_b > 1 - PERCENT_B_EDGE) - int(percent_b < PERCENT_B_EDGE)


def _outside(close: float, upper: float, lower: float) -> int:
    return int(_compare(close, upper, close) > 0) - int(_compare(close, lower, close) < 0)


INDICATORS = (
    Indicator("ema", "trend", ("ema20", "ema50"), lambda fast, slow: _compare(fast, slow, slow)),
    Indicator("macd", "trend", ("macd", "macd_signal", "close"), _compare),
    Indicator("sar", "trend", ("close", "sar"), _above),
    Indicator("rsi", "momentum", ("rsi",), lambda rsi: _above(rsi, 50.0)),
    Indicator("stochastic", "momentum", ("stochastic_k",), lambda k: _above(k, 50.0)),
    Indicator("roc", "momentum", ("roc_pct",), lambda roc: _compare(roc, 0.0, 100.0)),
    Indicator("adx", "strength", ("adx", "plus_di", "minus_di"), _directed),
    Indicator("aroon", "strength", ("aroon_up", "aroon_down"), _aroon),
    Indicator("regression", "strength", ("slope", "r_squared", "close"), _regression),
    Indicator("obv", "volume", ("obv_over_ema",), _positive),
    Indicator("chaikin", "volume", ("chaikin",), _positive),
    Indicator("force", "volume", ("force",), _positive),
    Indicator("bollinger", "volatility", ("percent_b",), _percent_b),
    Indicator("keltner", "volatility", ("close", "keltner_upper", "keltner_lower"), _outside),
    Indicator("donchian", "volatility", ("close", "donchian_high", "donchian_low"), _outside),
)
CATEGORIES = tuple(dict.fromkeys(indicator.category for indicator in INDICATORS))
THREE = {"trend": ("ema",), "momentum": ("rsi", "stochastic"), "strength": ("adx",)}
FIVE = {
    category: tuple(indicator.name for indicator in INDICATORS if indicator.category == category)
    for category in CATEGORIES
}
SETS: Mapping[int, Mapping[str, tuple[str, ...]]] = {3: THREE, 5: FIVE}  # the indicators of each category


def categorise(bars: Bars, rsi: float) -> Categories:
    """What the indicators say at the newest of `bars`, whose RSI(14) is `rsi`."""
    measures = _measured(bars, rsi)
    votes = vote(measures)
    scores = {category: score(votes, members) for category, members in FIVE.items()}
    return Categories(votes=votes, measures=measures, **scores)


def vote(measures: Mapping[str, float | None]) -> dict[str, float | None]:
    """Each indicator's vote: 1 up, -1 down, 0 neither, None where one of its measures is not known."""
    votes: dict[str, float | None] = {}
    for indicator in INDICATORS:
        given = [measures.get(name) for name in indicator.measures]
        votes[indicator.name] = None if None in given else float(indicator.vote(*given))
    return votes


def score(votes: Mapping[str, float | None], members: tuple[str, ...]) -> float | None:
    """The mean of the members' votes, -1 ... 1; None where one of them has none."""
    total = 0.0
    for name in members:
        one = votes[name]
        if one is None:
            return None
        total += one
    return total / len(members)


def _measured(bars: Bars, rsi: float) -> dict[str, float | None]:
    close, high, low = bars.close, bars.high, bars.low
    last = float(close[-1])
    ema20 = indicators.ema(close, 20)
    macd, signal, _ = ta.MACD(close, fastperiod=12, slowperiod=26, signalperiod=9)
    aroon_down, aroon_up = ta.AROON(high, low, timeperiod=25)
    reach = 2.0 * indicators.atr(bars, 10)
    measures = {
        "close": last,
        "ema20": ema20,
        "ema50": indicators.ema(close, 50),
        "macd": macd[-1],
        "macd_signal": signal[-1],
        "sar": ta.SAR(high, low, acceleration=0.02, maximum=0.2)[-1],
        "rsi": rsi,
        "stochastic_k": indicators.stochastic(bars),
        "roc_pct": ta.ROC(close, timeperiod=10)[-1],
        **_directional(bars),
        "aroon_up": aroon_up[-1],
        "aroon_down": aroon_down[-1],
        "slope": ta.LINEARREG_SLOPE(close, timeperiod=14)[-1],
        "r_squared": ta.CORREL(close, indicators.ramp(len(close)), timeperiod=14)[-1] ** 2,
        **_volume(bars),
        "percent_b": indicators.percent_b(close),
        "keltner_upper": ema20 + reach,
        "keltner_lower": ema20 - reach,
        "donchian_high": ta.MAX(high[:-1], timeperiod=20)[-1],
        "donchian_low": ta.MIN(low[:-1], timeperiod=20)[-1],
    }
    return {name: float(value) if math.isfinite(value) else None for name, value in measures.items()}


def _directional(bars: Bars) -> dict[str, float]:
    movement = indicators.directional_movement(bars)
    return {} if movement is None else msgspec.structs.asdict(movement)


def _volume(bars: Bars) -> dict[str, float]:
    """In mean volumes of a bar, so that numbers of different markets compare; nothing where nothing was traded."""
    mean = float(bars.volume.mean())
    if not mean:
        return {}
    obv = ta.OBV(bars.close, bars.volume)
    force = ta.MOM(bars.close, timeperiod=1)[1:] * bars.volume[1:]
    chaikin = ta.ADOSC(bars.high, bars.low, bars.close, bars.volume, fastperiod=3, slowperiod=10)
    return {
        "obv_over_ema": (obv[-1] - indicators.ema(obv, 20)) / mean,
        "chaikin": chaikin[-1] / mean,
        "force": indicators.ema(force, 13) / (float(bars.close[-1]) * mean),
    }


def measures_of(categories: Categories, members: Mapping[str, tuple[str, ...]]) -> dict[str, float | None]:
    """The measures that the members of a set voted on."""
    names = {name for one in members.values() for name in one}
    used = dict.fromkeys(measure for one in INDICATORS if one.name in names for measure in one.measures)
    return {measure: categories.measures.get(measure) for measure in used}
