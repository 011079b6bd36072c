"""The JSON shapes of public data: symbols, bars, prices and funding, as REST answers and as stream events.

Quote volumes and taker volumes are estimates (half of a bar's volume is called the taker's): recorded bars have none.
"""

from decimal import Decimal
from typing import Any

import msgspec

from bot.clock import HOUR_MS, MINUTE_MS
from bot.exchange.matching.records import CONDITIONAL, Settings
from bot.exchange.simulator.candles import Candle
from bot.exchange.simulator.limits import Limits
from bot.messages import Bar
from bot.venue import Instrument

Shape = dict[str, Any]
QUOTE = "USDT"
PERPETUAL_UNTIL = 4_133_404_800_000
MAX_ORDERS = 200


class Digits(msgspec.Struct, frozen=True):
    """How many decimals a symbol's prices and quantities are written with."""

    price: int
    quantity: int

    @classmethod
    def of(cls, instrument: Instrument) -> "Digits":
        return cls(_decimals(instrument.tick_size), _decimals(instrument.step_size))


class Quote(msgspec.Struct):
    """The prices of one symbol now; the mark follows the last price."""

    last: Decimal
    funding_rate: Decimal
    next_funding_at: int


def _decimals(grid: Decimal) -> int:
    return max(0, -int(grid.as_tuple().exponent))


def exchange_info(instruments: dict[str, Instrument], limits: Limits, settings: Settings, now: int) -> Shape:
    return {
        "timezone": "UTC",
        "serverTime": now,
        "futuresType": "U_MARGINED",
        "rateLimits": rate_limits(limits),
        "exchangeFilters": [],
        "assets": [{"asset": QUOTE, "marginAvailable": True, "autoAssetExchange": "-10000"}],
        "symbols": [_symbol(instrument, settings) for instrument in instruments.values()],
    }


def rate_limits(limits: Limits) -> list[Shape]:
    rows = (
        ("REQUEST_WEIGHT", "MINUTE", 1, limits.weight),
        ("ORDERS", "MINUTE", 1, limits.orders_minute),
        ("ORDERS", "SECOND", 10, limits.orders_ten_seconds),
    )
    return [
        {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": window.limit}
        for kind, interval, number, window in rows
    ]


def _symbol(instrument: Instrument, settings: Settings) -> Shape:
    digits = Digits.of(instrument)
    base = instrument.symbol.removesuffix(QUOTE)
    return {
        "symbol": instrument.symbol,
        "pair": instrument.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": PERPETUAL_UNTIL,
        "onboardDate": 1_567_965_300_000,
        "status": "TRADING" if instrument.trading else "SETTLING",
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": base,
        "quoteAsset": QUOTE,
        "marginAsset": QUOTE,
        "pricePrecision": digits.price,
        "quantityPrecision": digits.quantity,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": "0.05",
        "maxMoveOrderLimit": 10_000,
        "filters": _filters(instrument, settings),
        "orderTypes": ["LIMIT", "MARKET", *sorted(CONDITIONAL)],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
        "permissionSets": ["GRID", "COPY"],
    }


def _filters(instrument: Instrument, settings: Settings) -> list[Shape]:
    tick, step = format(instrument.tick_size, "f"), format(instrument.step_size, "f")
    smallest = format(instrument.min_quantity, "f")
    lot = {"minQty": smallest, "stepSize": step}
    return [
        {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000000", "tickSize": tick},
        {"filterType": "LOT_SIZE", "maxQty": format(instrument.max_quantity, "f")} | lot,
        {"filterType": "MARKET_LOT_SIZE", "maxQty": format(instrument.max_market_quantity, "f")} | lot,
        {"filterType": "MAX_NUM_ORDERS", "limit": MAX_ORDERS},
        {"filterType": "MIN_NOTIONAL", "notional": format(instrument.min_notional, "f")},
        {
            "filterType": "PERCENT_PRICE",
            "multiplierUp": f"{1 + settings.percent_price:.4f}",
            "multiplierDown": f"{1 - settings.percent_price:.4f}",
            "multiplierDecimal": "4",
        },
        {"filterType": "POSITION_RISK_CONTROL", "positionControlSide": "NONE"},
    ]


def kline_row(bar: Bar | Candle, digits: Digits) -> list[Any]:
    """Twelve columns, as /fapi/v1/klines has them."""
    prices = [f"{value:.{digits.price}f}" for value in (bar.open, bar.high, bar.low, bar.close)]
    quote = bar.volume * (bar.open + bar.close) / 2
    return [
        bar.open_time,
        *prices,
        f"{bar.volume:.{digits.quantity}f}",
        bar.close_at - 1,
        f"{quote:.5f}",
        prints(bar),
        f"{bar.volume / 2:.{digits.quantity}f}",
        f"{quote / 2:.5f}",
        "0",
    ]


def kline_event(symbol: str, interval: str, bar: Bar | Candle, digits: Digits, *, closed: bool, at: int) -> Shape:
    quote = bar.volume * (bar.open + bar.close) / 2
    first = bar.open_time // MINUTE_MS * 100
    return {
        "e": "kline",
        "E": at,
        "s": symbol,
        "k": {
            "t": bar.open_time,
            "T": bar.close_at - 1,
            "s": symbol,
            "i": interval,
            "f": first,
            "L": first + prints(bar) - 1,
            "o": f"{bar.open:.{digits.price}f}",
            "c": f"{bar.close:.{digits.price}f}",
            "h": f"{bar.high:.{digits.price}f}",
            "l": f"{bar.low:.{digits.price}f}",
            "v": f"{bar.volume:.{digits.quantity}f}",
            "n": prints(bar),
            "x": closed,
            "q": f"{quote:.5f}",
            "V": f"{bar.volume / 2:.{digits.quantity}f}",
            "Q": f"{quote / 2:.5f}",
            "B": "0",
        },
    }


def prints(bar: Bar | Candle) -> int:
    """The number of trades: the prices that were played; of a recorded bar the four that it tells."""
    return bar.prints if isinstance(bar, Candle) else 4


def mark_price_event(symbol: str, quote: Quote, at: int) -> Shape:
    price = f"{quote.last:.8f}"
    return {
        "e": "markPriceUpdate",
        "E": at,
        "s": symbol,
        "p": price,
        "ap": price,
        "P": price,
        "i": price,
        "r": f"{quote.funding_rate:.8f}",
        "T": quote.next_funding_at,
        "st": 1,
    }


def book_ticker_event(instrument: Instrument, last: Decimal, sequence: int, at: int) -> Shape:
    size = format(instrument.max_market_quantity, "f")
    bid, ask = spread(instrument, last)
    return {
        "e": "bookTicker",
        "u": sequence,
        "s": instrument.symbol,
        "b": bid,
        "B": size,
        "a": ask,
        "A": size,
        "T": at,
        "E": at,
    }


def agg_trade_event(instrument: Instrument, last: Decimal, sequence: int, at: int) -> Shape:
    size = format(instrument.min_quantity, "f")
    return {
        "e": "aggTrade",
        "E": at,
        "a": sequence,
        "s": instrument.symbol,
        "p": format(last, "f"),
        "q": size,
        "nq": size,
        "f": sequence,
        "l": sequence,
        "T": at,
        "m": False,
    }


def spread(instrument: Instrument, last: Decimal) -> tuple[str, str]:
    """Bid and ask: the last price is the bid, one tick above is the ask."""
    return format(last, "f"), format(last + instrument.tick_size, "f")


def book_ticker_row(instrument: Instrument, last: Decimal, sequence: int, at: int) -> Shape:
    size = format(instrument.max_market_quantity, "f")
    bid, ask = spread(instrument, last)
    return {
        "symbol": instrument.symbol,
        "bidPrice": bid,
        "bidQty": size,
        "askPrice": ask,
        "askQty": size,
        "time": at,
        "lastUpdateId": sequence,
    }


def premium_index_row(symbol: str, quote: Quote, at: int) -> Shape:
    price = f"{quote.last:.8f}"
    return {
        "symbol": symbol,
        "markPrice": price,
        "indexPrice": price,
        "estimatedSettlePrice": price,
        "lastFundingRate": f"{quote.funding_rate:.8f}",
        "interestRate": "0.00010000",
        "nextFundingTime": quote.next_funding_at,
        "time": at,
    }


def funding_rate_row(symbol: str, at: int, rate: Decimal, mark: Decimal) -> Shape:
    return {
        "symbol": symbol,
        "fundingTime": at,
        "fundingRate": f"{rate:.8f}",
        "markPrice": f"{mark:.8f}",
        "rateType": "Regular",
    }


def funding_info_row(symbol: str, interval_ms: int, at: int) -> Shape:
    return {
        "symbol": symbol,
        "adjustedFundingRateCap": "0.02000000",
        "adjustedFundingRateFloor": "-0.02000000",
        "fundingIntervalHours": interval_ms // HOUR_MS,
        "disclaimer": False,
        "updateTime": at,
    }
