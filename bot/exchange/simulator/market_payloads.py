"""The JSON shapes of public data: symbols, bars, prices and funding, as REST answers and as stream events.

Quote volumes and taker volumes are estimates (half of a bar's volume is called the taker's): recorded bars have none.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from bot.clock import HOUR_MS, MINUTE_MS
from bot.exchange.matching.engine import Engine
from bot.exchange.matching.records import CONDITIONAL, Settings
from bot.exchange.matching.rules import offers
from bot.exchange.simulator.candles import Candle
from bot.exchange.simulator.limits import Limits
from bot.messages import Bar
from bot.venue import Instrument, MarginBracket

Shape = dict[str, Any]
QUOTE = "USDT"
PERPETUAL_UNTIL = 4_133_404_800_000
ONBOARDED = 1_567_965_300_000
MAX_ORDERS = 200


class Digits(msgspec.Struct, frozen=True):
    """How many decimals a symbol's prices and quantities are written with."""

    price: int
    quantity: int

    @classmethod
    def of(cls, instrument: Instrument) -> "Digits":
        return cls(_decimals(instrument.tick_size), _decimals(instrument.step_size))


class Quote(msgspec.Struct):
    """The prices of one symbol now; the index is the last price, and the mark follows it."""

    last: Decimal
    mark: Decimal
    funding_rate: Decimal
    next_funding_at: int


def _decimals(grid: Decimal) -> int:
    return max(0, -int(grid.as_tuple().exponent))


def exchange_info(engine: Engine, limits: Limits, now: int) -> Shape:
    return {
        "timezone": "UTC",
        "serverTime": now,
        "futuresType": "U_MARGINED",
        "rateLimits": rate_limits(limits),
        "exchangeFilters": [],
        "assets": [{"asset": QUOTE, "marginAvailable": True, "autoAssetExchange": "-10000"}],
        "symbols": [
            _symbol(engine.instrument(symbol), engine.status(symbol), engine.settings) for symbol in engine.symbols
        ],
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


def _symbol(instrument: Instrument, status: str, settings: Settings) -> Shape:
    digits = Digits.of(instrument)
    base = instrument.symbol.removesuffix(QUOTE)
    return {
        "symbol": instrument.symbol,
        "pair": instrument.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": PERPETUAL_UNTIL,
        "onboardDate": ONBOARDED,
        "status": status,
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
        "triggerProtect": f"{settings.trigger_protect:.4f}",
        "liquidationFee": "0.012500",
        "marketTakeBound": f"{settings.market_take_bound:.2f}",
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
    mark, index = f"{quote.mark:.8f}", f"{quote.last:.8f}"
    return {
        "e": "markPriceUpdate",
        "E": at,
        "s": symbol,
        "p": mark,
        "ap": mark,
        "P": mark,
        "i": index,
        "r": f"{quote.funding_rate:.8f}",
        "T": quote.next_funding_at,
        "st": 1,
    }


def all_marks(quotes: Mapping[str, Quote], at: int) -> list[Shape]:
    """The array stream, in which the exchange has mixed coin-margined contracts since 2026-06: their `st` is 2."""
    rows = [mark_price_event(symbol, quote, at) for symbol, quote in quotes.items()]
    coins = [row | {"s": row["s"].removesuffix("T") + "_PERP", "st": 2} for row in rows[:1]]
    return rows + coins


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


def depth_shape(instrument: Instrument, last: Decimal, limit: int, settings: Settings, sequence: int, at: int) -> Shape:
    """A book around the last price: a largest order at each tick, or the depth that takers find."""
    if settings.depth_usdt:
        sides = [list(offers(last, buy=buy, settings=settings, instrument=instrument))[:limit] for buy in (False, True)]
    else:
        tick, size = instrument.tick_size, instrument.max_market_quantity
        below = [(last - n * tick, size) for n in range(limit) if last > n * tick]
        sides = [below, [(last + (n + 1) * tick, size) for n in range(limit)]]
    bids, asks = ([[format(price, "f"), format(size, "f")] for price, size in side] for side in sides)
    return {"lastUpdateId": sequence, "E": at, "T": at, "bids": bids, "asks": asks}


def contract_event(instrument: Instrument, status: str, brackets: Sequence[MarginBracket], at: int) -> Shape:
    """contractInfo: a symbol's status or brackets have changed."""
    floors = [0, *(int(bracket.notional_cap) for bracket in brackets)]
    least = [*(bracket.max_leverage + 1 for bracket in brackets[1:]), 1]
    return {
        "e": "contractInfo",
        "E": at,
        "s": instrument.symbol,
        "ps": instrument.symbol,
        "ct": "PERPETUAL",
        "dt": PERPETUAL_UNTIL,
        "ot": ONBOARDED,
        "cs": status,
        "bks": [
            {
                "bs": number,
                "bnf": floor,
                "bnc": int(bracket.notional_cap),
                "mmr": float(bracket.maintenance_rate),
                "cf": int(bracket.amount),
                "mi": lowest,
                "ma": bracket.max_leverage,
            }
            for number, (floor, bracket, lowest) in enumerate(zip(floors, brackets, least, strict=False), 1)
        ],
        "st": 1,
    }


def premium_index_row(symbol: str, quote: Quote, at: int) -> Shape:
    mark, index = f"{quote.mark:.8f}", f"{quote.last:.8f}"
    return {
        "symbol": symbol,
        "markPrice": mark,
        "indexPrice": index,
        "estimatedSettlePrice": mark,
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
