"""TA-Lib's functions on arrays, without the wrapper that looks for pandas and polars series: it is half of a call."""

from inspect import unwrap

import talib

ADOSC = unwrap(talib.ADOSC)
ADX = unwrap(talib.ADX)
AROON = unwrap(talib.AROON)
ATR = unwrap(talib.ATR)
BBANDS = unwrap(talib.BBANDS)
CORREL = unwrap(talib.CORREL)
EMA = unwrap(talib.EMA)
LINEARREG_SLOPE = unwrap(talib.LINEARREG_SLOPE)
MACD = unwrap(talib.MACD)
MAX = unwrap(talib.MAX)
MIN = unwrap(talib.MIN)
MINUS_DI = unwrap(talib.MINUS_DI)
MOM = unwrap(talib.MOM)
OBV = unwrap(talib.OBV)
PLUS_DI = unwrap(talib.PLUS_DI)
ROC = unwrap(talib.ROC)
RSI = unwrap(talib.RSI)
SAR = unwrap(talib.SAR)
STOCH = unwrap(talib.STOCH)
