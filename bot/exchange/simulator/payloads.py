"""The JSON shapes of orders and trades, as answers to requests.

Keys and types are those of recorded live payloads (2025-2026): ids are integers, prices and quantities strings. What
this exchange does not model carries the value of an account that does not use it.
"""

from decimal import Decimal
from typing import Any

from bot.exchange.matching.records import Algo, Income, Order
from bot.venue import Fill

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
        "goodTillDate": order.good_till,
    }


def amendment_ack(order: Order, *, with_average: bool) -> Shape:
    shape = order_ack(order, with_average=with_average) | {"pair": order.symbol}
    return shape if order.modify_id is None else shape | {"modifyId": order.modify_id}


def force_order_row(order: Order) -> Shape:
    """A row of forceOrders: what the exchange closed by itself."""
    names = ("priceProtect", "priceMatch", "selfTradePreventionMode", "goodTillDate")
    row = {name: value for name, value in order_row(order).items() if name not in names}
    return row | {"type": "LIMIT", "origType": "LIMIT"}


def algo_ack(algo: Algo) -> Shape:
    activate, callback = algo.activate_price, algo.callback_rate
    return _algo(algo) | {
        "activatePrice": "" if activate is None else text(activate),
        "callbackRate": "" if callback is None else text(callback),
    }


def algo_query(algo: Algo) -> Shape:
    shape = _algo(algo) | _actual(algo) | {"tpOrderType": ""}
    return shape | {"actualType": algo.child_type if algo.order_id else "", "actualQty": text(algo.actual_quantity)}


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
        "price": text(algo.price),
        "icebergQuantity": None,
        "selfTradePreventionMode": "EXPIRE_MAKER",
        "workingType": algo.working_type,
        "priceMatch": "NONE",
        "closePosition": algo.close_position,
        "priceProtect": algo.price_protect,
        "reduceOnly": algo.reduce_only,
        "createTime": algo.created_at,
        "updateTime": algo.updated_at,
        "triggerTime": algo.triggered_at,
        "goodTillDate": algo.good_till,
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
