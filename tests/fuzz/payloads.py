"""Payloads as Binance sends them: shapes of its documents, and whatever was recorded where recordings are at hand."""

import json
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "payloads"

ORDER = {
    "orderId": 20072994037, "symbol": "BTCUSDT", "status": "NEW", "clientOrderId": "tsb-a-e0", "price": "30005",
    "avgPrice": "0.0", "origQty": "1", "executedQty": "0", "cumQty": "0", "cumQuote": "0", "timeInForce": "GTC",
    "type": "LIMIT", "reduceOnly": False, "closePosition": False, "side": "BUY", "positionSide": "BOTH",
    "stopPrice": "0", "workingType": "CONTRACT_PRICE", "priceProtect": False, "origType": "LIMIT",
    "priceMatch": "NONE", "selfTradePreventionMode": "NONE", "goodTillDate": 0, "time": 1629182711600,
    "updateTime": 1629182711600,
}  # fmt: skip
ALGO = {
    "algoId": 2146760, "clientAlgoId": "tsb-a-s0", "algoType": "CONDITIONAL", "orderType": "STOP_MARKET",
    "symbol": "BTCUSDT", "side": "SELL", "positionSide": "BOTH", "timeInForce": "GTC", "quantity": "0.01",
    "algoStatus": "NEW", "actualOrderId": "", "actualPrice": "0.0", "actualQty": "", "triggerPrice": "750.0",
    "price": "0", "workingType": "CONTRACT_PRICE", "priceProtect": False, "reduceOnly": True,
    "createTime": 1750485492076, "updateTime": 1750485492076, "triggerTime": 0, "goodTillDate": 0,
}  # fmt: skip
TRADE = {
    "symbol": "ETHUSDT", "id": 82357626, "orderId": 831238666, "side": "SELL", "price": "2778.35", "qty": "0.005",
    "realizedPnl": "0", "quoteQty": "13.89175", "commission": "0.00555670", "commissionAsset": "USDT",
    "time": 1645930322371, "positionSide": "BOTH", "buyer": False, "maker": False,
}  # fmt: skip
INCOME = {
    "symbol": "BTCUSDT", "incomeType": "FUNDING_FEE", "income": "-0.37500000", "asset": "USDT", "info": "",
    "time": 1570608000000, "tranId": 9689322392, "tradeId": "",
}  # fmt: skip
POSITION = {
    "symbol": "BTCUSDT", "positionSide": "BOTH", "positionAmt": "0.001", "entryPrice": "50000.0",
    "breakEvenPrice": "50100.0", "markPrice": "51000.0", "unRealizedProfit": "1.0", "liquidationPrice": "0",
    "updateTime": 1625474304765,
}  # fmt: skip
BALANCE = {"accountAlias": "SgsR", "asset": "USDT", "balance": "122.12345678", "updateTime": 1617939110373}
ACCOUNT = {
    "totalWalletBalance": "103.12", "canTrade": True,
    "assets": [{"asset": "USDT", "walletBalance": "23.72469206", "marginBalance": "23.72469206", "updateTime": 1}],
    "positions": [],
}  # fmt: skip
ACCOUNT_CONFIG = {
    "feeTier": 0,
    "canTrade": True,
    "dualSidePosition": False,
    "multiAssetsMargin": False,
    "updateTime": 0,
}
BRACKETS = {
    "symbol": "ETHUSDT", "notionalCoef": 1.5,
    "brackets": [
        {"bracket": 1, "initialLeverage": 75, "notionalCap": 10000, "notionalFloor": 0, "maintMarginRatio": 0.0065,
         "cum": 0.0},
        {"bracket": 2, "initialLeverage": 50, "notionalCap": 50000, "notionalFloor": 10000, "maintMarginRatio": 0.01,
         "cum": 35.0},
    ],
}  # fmt: skip
KLINES = [
    [1499040000000, "0.01634790", "0.80000000", "0.01575800", "0.01577100", "148976.11427815", 1499644799999,
     "2434.19", 308, "1756.87", "28.46", "0"],
]  # fmt: skip
SYMBOL_INFO = {
    "symbol": "BTCUSDT", "contractType": "PERPETUAL", "status": "TRADING", "pricePrecision": 2,
    "filters": [
        {"filterType": "PRICE_FILTER", "minPrice": "556.80", "maxPrice": "4529764", "tickSize": "0.10"},
        {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "1000", "stepSize": "0.001"},
        {"filterType": "MARKET_LOT_SIZE", "minQty": "0.001", "maxQty": "120", "stepSize": "0.001"},
        {"filterType": "MAX_NUM_ORDERS", "limit": 200},
        {"filterType": "MIN_NOTIONAL", "notional": "50"},
        {"filterType": "PERCENT_PRICE", "multiplierUp": "1.05", "multiplierDown": "0.95", "multiplierDecimal": "4"},
    ],
}  # fmt: skip
EXCHANGE_INFO = {"timezone": "UTC", "serverTime": 1, "rateLimits": [], "symbols": [SYMBOL_INFO, {"symbol": "X"}]}
ERROR = {"code": -1121, "msg": "Invalid symbol."}

KLINE_EVENT = {
    "e": "kline", "E": 1638747660000, "s": "BTCUSDT",
    "k": {"t": 1638747600000, "T": 1638747659999, "s": "BTCUSDT", "i": "1m", "o": "1.0", "c": "2.0", "h": "2.5",
          "l": "1.0", "v": "1000", "n": 100, "x": True},
}  # fmt: skip
MARK_EVENT = {
    "e": "markPriceUpdate", "E": 1562305380000, "s": "BTCUSDT", "p": "11794.15000000", "i": "11784.62659091",
    "P": "11784.25641265", "r": "0.00038167", "T": 1562306400000, "st": 1,
}  # fmt: skip
ORDER_EVENT = {
    "e": "ORDER_TRADE_UPDATE", "T": 1742585119595, "E": 1742585119596,
    "o": {"s": "BTCUSDT", "c": "tsb-1", "S": "BUY", "o": "LIMIT", "f": "GTC", "q": "0.100", "p": "84000", "ap": "0",
          "sp": "0", "x": "TRADE", "X": "PARTIALLY_FILLED", "i": 4129479931, "l": "0.050", "z": "0.050",
          "L": "84146.50", "n": "3.36586000", "N": "USDT", "T": 1742585119595, "t": 310194316, "m": False,
          "R": False, "ps": "BOTH", "rp": "0", "er": "0"},
}  # fmt: skip
ALGO_EVENT = {
    "e": "ALGO_UPDATE", "T": 1789835582916, "E": 1789835582917,
    "o": {"caid": "tsb-2", "aid": 4000001910701524, "at": "CONDITIONAL", "o": "STOP_MARKET", "s": "BTCUSDT",
          "S": "SELL", "ps": "BOTH", "f": "GTC", "q": "5", "X": "TRIGGERED", "ai": "", "aq": "", "tp": "1.1637",
          "R": True, "rm": ""},
}  # fmt: skip
FUNDING_EVENT = {
    "e": "ACCOUNT_UPDATE", "E": 1564745798939, "T": 1564745798938,
    "a": {"m": "FUNDING_FEE", "B": [{"a": "USDT", "wb": "122624.1", "cw": "100.1", "bc": "50.1"}], "P": []},
}  # fmt: skip
EXPIRED_EVENT = {"e": "listenKeyExpired", "E": 1736996475556, "listenKey": "OfYG"}
SUBSCRIBED = {"result": None, "id": 1}
REFUSED = {"error": {"code": 2, "msg": "Invalid request"}, "id": 1}


def enveloped(events: list[Any]) -> list[Any]:
    """Each event bare, and as a combined stream carries it."""
    return [*events, *({"stream": "btcusdt@kline_1h", "data": event} for event in events)]


def recorded(name: str) -> list[Any]:
    """The events of a recorded stream; none where there is no recording."""
    path = RECORDED / name
    return [json.loads(line)["event"] for line in path.read_text().splitlines()] if path.exists() else []


MARKET_FRAMES = enveloped([KLINE_EVENT, MARK_EVENT]) + [SUBSCRIBED, REFUSED, *recorded("market_stream_recorded.jsonl")]
USER_FRAMES = [
    *enveloped([ORDER_EVENT, ALGO_EVENT, FUNDING_EVENT, EXPIRED_EVENT]),
    *recorded("user_stream_recorded.jsonl"),
]
