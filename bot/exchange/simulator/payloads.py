"""The JSON shapes of orders and trades, as REST answers and as user stream events.

Keys and types are those of recorded live payloads (2025-2026): ids are integers, prices and quantities strings, an
algo event's `ai` a string. What this exchange does not model carries the value of an account that does not use it.
"""

from decimal import Decimal
from typing import Any

from bot.exchange.matching.records import (
    AccountUpdated,
    Algo,
    AlgoUpdated,
    Income,
    NetPosition,
    Order,
    OrderUpdated,
)
from bot.venue import Fill, VenueStatus

ASSET = "USDT"
Shape = dict[str, Any]


def text(amount: Decimal) -> str:
    """Plain digits, never an exponent."""
    return format(amount, "f")


def order_ack(order: Order, *, with_average: bool) -> Shape:
    """Answer to placing or cancelling; live acks carry no average price since 2026-07."""
    shape = _order(order) | {"cumQty": text(order.executed)}
    if with_average:
        shape |= {"avgPrice": text(order.average_price), "cumQuote": text(order.quote)}
    return shape


def order_row(order: Order) -> Shape:
    """Answer to a query, and a row of openOrders and allOrders."""
    average = {"avgPrice": text(order.average_price), "cumQuote": text(order.quote)}
    return _order(order) | average | {"time": order.created_at}


def _order(order: Order) -> Shape:
    return {
        "clientOrderId": order.client_id,
        "executedQty": text(order.executed),
        "orderId": order.order_id,
        "origQty": text(order.quantity),
        "price": text(order.price),
        "reduceOnly": order.reduce_only,
        "side": order.side,
        "positionSide": "BOTH",
        "status": order.status.value,
        "stopPrice": "0",
        "closePosition": order.close_position,
        "symbol": order.symbol,
        "timeInForce": order.time_in_force,
        "type": order.type,
        "origType": order.original_type,
        "updateTime": order.updated_at,
        "workingType": "CONTRACT_PRICE",
        "priceProtect": False,
        "priceMatch": "NONE",
        "selfTradePreventionMode": "EXPIRE_MAKER",
        "goodTillDate": 0,
    }


def algo_ack(algo: Algo) -> Shape:
    return _algo(algo) | {"activatePrice": "", "callbackRate": ""}


def algo_query(algo: Algo) -> Shape:
    shape = _algo(algo) | _actual(algo) | {"tpOrderType": ""}
    return shape | {"actualType": "MARKET" if algo.order_id else "", "actualQty": text(algo.actual_quantity)}


def algo_row(algo: Algo) -> Shape:
    """A row of openAlgoOrders and allAlgoOrders."""
    legs = {"tpTriggerPrice": "0", "tpPrice": "0", "slTriggerPrice": "0", "slPrice": "0", "tpOrderType": ""}
    return _algo(algo) | _actual(algo) | legs


def algo_cancelled(algo: Algo) -> Shape:
    return {"algoId": algo.algo_id, "clientAlgoId": algo.client_id, "code": "200", "msg": "success"}


def _actual(algo: Algo) -> Shape:
    return {"actualOrderId": str(algo.order_id or ""), "actualPrice": text(algo.actual_price)}


def _algo(algo: Algo) -> Shape:
    return {
        "algoId": algo.algo_id,
        "clientAlgoId": algo.client_id,
        "algoType": "CONDITIONAL",
        "orderType": algo.type,
        "symbol": algo.symbol,
        "side": algo.side,
        "positionSide": "BOTH",
        "timeInForce": algo.time_in_force,
        "quantity": text(algo.quantity),
        "algoStatus": algo.status.value,
        "triggerPrice": text(algo.trigger_price),
        "price": "0",
        "icebergQuantity": None,
        "selfTradePreventionMode": "EXPIRE_MAKER",
        "workingType": algo.working_type,
        "priceMatch": "NONE",
        "closePosition": algo.close_position,
        "priceProtect": False,
        "reduceOnly": algo.reduce_only,
        "createTime": algo.created_at,
        "updateTime": algo.updated_at,
        "triggerTime": algo.triggered_at,
        "goodTillDate": 0,
    }


def trade_row(fill: Fill) -> Shape:
    """A row of userTrades."""
    return {
        "buyer": fill.buy,
        "commission": text(fill.fee),
        "commissionAsset": fill.fee_asset,
        "id": fill.trade_id,
        "maker": fill.maker,
        "orderId": fill.venue_id,
        "price": text(fill.price),
        "qty": text(fill.quantity),
        "quoteQty": text(fill.price * fill.quantity),
        "baseQty": "0",
        "marginAsset": ASSET,
        "realizedPnl": text(fill.realized_pnl),
        "side": "BUY" if fill.buy else "SELL",
        "positionSide": "BOTH",
        "symbol": fill.symbol,
        "pair": fill.symbol,
        "time": fill.at,
    }


def income_row(income: Income) -> Shape:
    return {
        "symbol": income.symbol,
        "incomeType": income.kind,
        "income": text(income.amount),
        "asset": ASSET,
        "info": str(income.trade_id or ""),
        "time": income.at,
        "tranId": income.income_id,
        "tradeId": str(income.trade_id or ""),
    }


def order_event(update: OrderUpdated) -> Shape:
    """ORDER_TRADE_UPDATE"""
    order, fill = update.order, update.fill
    resting = text(order.remaining * order.price) if order.is_open else "0"
    return {
        "e": "ORDER_TRADE_UPDATE",
        "T": update.at,
        "E": update.at,
        "o": {
            "s": order.symbol,
            "c": order.client_id,
            "S": order.side,
            "o": order.type,
            "f": order.time_in_force,
            "q": text(order.quantity),
            "p": text(order.price),
            "ap": text(order.average_price),
            "sp": "0",
            "x": update.execution.value,
            "X": order.status.value,
            "i": order.order_id,
            "l": text(fill.quantity) if fill else "0",
            "z": text(order.executed),
            "L": text(fill.price) if fill else "0",
            "n": text(fill.fee) if fill else "0",
            "N": fill.fee_asset if fill else ASSET,
            "T": update.at,
            "t": fill.trade_id if fill else 0,
            "b": resting if order.buy else "0",
            "a": "0" if order.buy else resting,
            "m": fill.maker if fill else False,
            "R": order.reduce_only,
            "wt": "CONTRACT_PRICE",
            "ot": order.original_type,
            "ps": "BOTH",
            "cp": order.close_position,
            "rp": text(fill.realized_pnl) if fill else "0",
            "pP": False,
            "si": 0,
            "ss": 0,
            "V": "EXPIRE_MAKER",
            "pm": "NONE",
            "gtd": 0,
            "er": str(order.expire_reason),
        },
    }


def trade_lite_event(order: Order, fill: Fill) -> Shape:
    """TRADE_LITE, which arrives before the ORDER_TRADE_UPDATE of the same fill."""
    return {
        "e": "TRADE_LITE",
        "E": fill.at,
        "T": fill.at,
        "s": fill.symbol,
        "q": text(order.quantity),
        "p": text(order.price),
        "m": fill.maker,
        "c": order.client_id,
        "S": order.side,
        "L": text(fill.price),
        "l": text(fill.quantity),
        "t": fill.trade_id,
        "i": order.order_id,
    }


def account_event(update: AccountUpdated) -> Shape:
    """ACCOUNT_UPDATE"""
    wallet = text(update.wallet)
    return {
        "e": "ACCOUNT_UPDATE",
        "T": update.at,
        "E": update.at,
        "a": {
            "B": [{"a": ASSET, "wb": wallet, "cw": wallet, "bc": text(update.balance_change)}],
            "P": [_position_change(position) for position in update.positions],
            "m": update.reason,
            "S": update.symbol,
        },
    }


def _position_change(position: NetPosition) -> Shape:
    return {
        "s": position.symbol,
        "pa": text(position.quantity),
        "ep": text(position.entry_price),
        "cr": text(position.realized_pnl),
        "up": text(position.unrealized_pnl),
        "mt": "cross",
        "iw": "0",
        "ps": "BOTH",
        "ma": ASSET,
        "bep": text(position.entry_price),
    }


def algo_event(update: AlgoUpdated) -> Shape:
    """ALGO_UPDATE; a cancel is told with fewer keys, a triggered order with what became of it."""
    algo = update.algo
    order: Shape = {
        "caid": algo.client_id,
        "aid": algo.algo_id,
        "at": "CONDITIONAL",
        "o": algo.type,
        "s": algo.symbol,
        "S": algo.side,
        "ps": "BOTH",
        "f": algo.time_in_force,
        "q": text(algo.quantity),
        "X": algo.status.value,
        "ai": str(algo.order_id or ""),
        "tp": text(algo.trigger_price),
        "p": "0",
        "R": algo.reduce_only,
        "tt": algo.triggered_at,
        "gtd": 0,
        "ia": False,
    }
    if algo.status is not VenueStatus.CANCELED:
        order |= {"V": "EXPIRE_MAKER", "wt": algo.working_type, "pm": "NONE", "cp": algo.close_position, "pP": False}
    if algo.order_id is not None:
        order |= {"ap": text(algo.actual_price), "aq": text(algo.actual_quantity), "act": "MARKET"}
    if algo.reject_reason:
        order["rm"] = algo.reject_reason
    return {"e": "ALGO_UPDATE", "T": update.at, "E": update.at, "o": order}


def leverage_event(symbol: str, leverage: int, at: int) -> Shape:
    return {"e": "ACCOUNT_CONFIG_UPDATE", "E": at, "T": at, "ac": {"s": symbol, "l": leverage}}


def listen_key_event(key: str, at: int) -> Shape:
    return {"e": "listenKeyExpired", "E": at, "listenKey": key}
