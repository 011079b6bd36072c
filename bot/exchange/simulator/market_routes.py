"""REST: the clock, the symbols and their rules, bars, prices, funding."""

from collections.abc import Mapping
from typing import Any

from bot.clock import DAY_MS
from bot.exchange.matching.records import Rejection
from bot.exchange.simulator import market_payloads
from bot.exchange.simulator.limits import WHOLE, Limits, Security
from bot.exchange.simulator.market_payloads import Digits, Shape
from bot.exchange.simulator.rest import Call, Route, Routes
from bot.exchange.simulator.world import FUNDING_MS, World
from bot.exchange.wire import INTERVAL_MS

FUNDING_SPAN_MS = 90 * DAY_MS
DEPTH_LIMITS = {5: 2, 10: 2, 20: 2, 50: 2, 100: 5, 500: 10, 1000: 20}  # and what each costs


def ping(world: World, call: Call) -> Shape:
    return {}


def server_time(world: World, call: Call) -> Shape:
    return {"serverTime": world.venue_time}


def klines(world: World, call: Call) -> list[list[Any]]:
    """Up to `limit` bars from startTime on, or the last ones before endTime; the last may still be open."""
    return _bars(world, call, call.symbol(world))


def continuous_klines(world: World, call: Call) -> list[list[Any]]:
    """Every contract here is a perpetual one, and its pair has its name."""
    if call.text("contractType") != "PERPETUAL":
        raise Rejection(-1130, "Data sent for parameter 'contractType' is not valid.")
    return _bars(world, call, call.known(call.text("pair"), world))


def mark_price_klines(world: World, call: Call) -> list[list[Any]]:
    """Bars of the last price, which the mark follows, without volumes."""
    return [[*row[:5], "0", row[6], "0", row[8], "0", "0", "0"] for row in klines(world, call)]


def depth(world: World, call: Call) -> Shape:
    symbol, limit = call.symbol(world), call.integer("limit") or 500
    if limit not in DEPTH_LIMITS:
        raise Rejection(-4021, "Invalid depth limit.")
    if symbol not in world.quotes:
        raise Rejection(-1122, "Invalid symbol status.")
    last, rules = world.quotes[symbol].last, world.market.instruments[symbol]
    return market_payloads.depth_shape(rules, last, limit, world.settings, world.sequence, world.now)


def _bars(world: World, call: Call, symbol: str) -> list[list[Any]]:
    limit = call.limit(500, 1500)
    length = INTERVAL_MS.get(call.text("interval"))
    if length is None or not world.candles.knows(symbol, length):
        raise Rejection(-1120, "Invalid interval.")
    start, end = call.integer("startTime"), call.integer("endTime")
    last = world.now if end is None else min(end, world.now)
    if start is None:
        start = last - last % length - (limit - 1) * length
    bars = world.candles.rows(symbol, length, max(0, start), min(last + 1, start + (limit + 1) * length), world.now)
    digits = Digits.of(world.market.instruments[symbol])
    return [market_payloads.kline_row(bar, digits) for bar in bars[:limit]]


def premium_index(world: World, call: Call) -> Shape | list[Shape]:
    rows = [market_payloads.premium_index_row(name, world.quotes[name], world.now) for name in _quoted(world, call)]
    return _one_or_list(call, rows)


def ticker_price(world: World, call: Call) -> Shape | list[Shape]:
    rows = [
        {"symbol": name, "price": format(world.quotes[name].last, "f"), "time": world.now}
        for name in _quoted(world, call)
    ]
    return _one_or_list(call, rows)


def book_ticker(world: World, call: Call) -> Shape | list[Shape]:
    rows = [
        market_payloads.book_ticker_row(
            world.market.instruments[name], world.quotes[name].last, world.sequence, world.now
        )
        for name in _quoted(world, call)
    ]
    return _one_or_list(call, rows)


def funding_rate(world: World, call: Call) -> list[Shape]:
    """What was paid since the start, oldest first."""
    symbol, limit = call.optional("symbol"), call.limit(100, 1000)
    start, end = call.span(world.now, FUNDING_SPAN_MS)
    paid = [row for row in world.funding_paid if symbol in (None, row[0]) and start <= row[1] <= end]
    paid = paid[:limit] if call.optional("startTime") else paid[-limit:]
    return [market_payloads.funding_rate_row(*row) for row in paid]


def funding_info(world: World, call: Call) -> list[Shape]:
    """Symbols whose funding does not come every 8 hours, as the exchange lists them."""
    return [
        market_payloads.funding_info_row(symbol, length, world.now)
        for symbol, length in world.funding_ms.items()
        if length != FUNDING_MS
    ]


def _quoted(world: World, call: Call) -> list[str]:
    """Symbols that have traded; a named one must have."""
    names = [name for name in call.symbols(world) if name in world.quotes]
    if call.optional("symbol") and not names:
        raise Rejection(-1122, "Invalid symbol status.")
    return names


def _one_or_list(call: Call, rows: list[Shape]) -> Shape | list[Shape]:
    return rows[0] if call.optional("symbol") else rows


def _kline_weight(params: Mapping[str, str]) -> int:
    limit = params.get("limit", "500")
    number = int(limit) if WHOLE.fullmatch(limit) else 500
    return 1 if number < 100 else 2 if number < 500 else 5 if number <= 1000 else 10


def _depth_weight(params: Mapping[str, str]) -> int:
    limit = params.get("limit") or "500"
    return DEPTH_LIMITS.get(int(limit), 20) if limit.isdigit() else 20


def market_routes(limits: Limits) -> Routes:
    def exchange_info(world: World, call: Call) -> Shape:
        return market_payloads.exchange_info(world.engine, limits, world.now)

    def order_limits(world: World, call: Call) -> list[Shape]:
        return [row for row in market_payloads.rate_limits(limits) if row["rateLimitType"] == "ORDERS"]

    def by_symbol(one: int, all_of_them: int) -> Any:
        return lambda params: one if params.get("symbol") else all_of_them

    return {
        ("GET", "/fapi/v1/ping"): Route(ping),
        ("GET", "/fapi/v1/time"): Route(server_time),
        ("GET", "/fapi/v1/exchangeInfo"): Route(exchange_info),
        ("GET", "/fapi/v1/klines"): Route(klines, weight=_kline_weight),
        ("GET", "/fapi/v1/continuousKlines"): Route(continuous_klines, weight=_kline_weight),
        ("GET", "/fapi/v1/markPriceKlines"): Route(mark_price_klines, weight=_kline_weight),
        ("GET", "/fapi/v1/depth"): Route(depth, weight=_depth_weight),
        ("GET", "/fapi/v1/premiumIndex"): Route(premium_index, weight=by_symbol(1, 10)),
        ("GET", "/fapi/v1/fundingInfo"): Route(funding_info, weight=0, funding=True),
        ("GET", "/fapi/v1/fundingRate"): Route(funding_rate, weight=0, funding=True),
        ("GET", "/fapi/v1/ticker/price"): Route(ticker_price, weight=by_symbol(1, 2)),
        ("GET", "/fapi/v2/ticker/price"): Route(ticker_price, weight=by_symbol(1, 2)),
        ("GET", "/fapi/v1/ticker/bookTicker"): Route(book_ticker, weight=by_symbol(2, 5)),
        ("GET", "/fapi/v1/rateLimit/order"): Route(order_limits, Security.SIGNED),
    }
