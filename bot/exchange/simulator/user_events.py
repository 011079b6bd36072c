"""The user stream's events, in the real exchange's order and shape, of what the engine did.

Keys and types are those of recorded live payloads (2025-2026): ids are integers, prices and quantities strings, an
algo event's `ai` a string.
"""

from collections.abc import Iterator, Mapping, Sequence

from bot.exchange.matching.records import (
    AccountUpdated,
    Algo,
    AlgoUpdated,
    EngineEvent,
    Execution,
    MarginCalled,
    NetPosition,
    Order,
    OrderUpdated,
)
from bot.exchange.matching.switches import Switches
from bot.exchange.simulator.payloads import ASSET, Shape, text
from bot.venue import Fill, VenueStatus

CROSSED = "CROSSED"
Told = tuple[str, Shape]


def told(events: Sequence[EngineEvent], switches: Switches, margin_types: Mapping[str, str]) -> Iterator[Told]:
    """(event name, payload); the execution of an order before what it did to the account, or after it."""
    number = 0
    while number < len(events):
        event = events[number]
        number += 1
        booking = events[number] if number < len(events) else None
        if not isinstance(event, OrderUpdated) or event.fill is None:
            yield _told(event, switches, margin_types)
            continue
        if switches.trade_lite:
            yield "TRADE_LITE", trade_lite_event(event.order, event.fill)
        if switches.account_update_first and isinstance(booking, AccountUpdated):
            yield _told(booking, switches, margin_types)
            number += 1
        yield _told(event, switches, margin_types)


def _told(event: EngineEvent, switches: Switches, margin_types: Mapping[str, str]) -> Told:
    match event:
        case OrderUpdated():
            return "ORDER_TRADE_UPDATE", order_event(event, switches)
        case AccountUpdated():
            return "ACCOUNT_UPDATE", account_event(event, margin_types)
        case AlgoUpdated():
            return "ALGO_UPDATE", algo_event(event)
        case MarginCalled():
            return "MARGIN_CALL", margin_call_event(event, margin_types)


def order_event(update: OrderUpdated, switches: Switches) -> Shape:
    """ORDER_TRADE_UPDATE"""
    order = _order(update.order, update.fill, update.at) | {"x": update.execution.value}
    if update.execution is Execution.CALCULATED and switches.liquidation_fill_stays_new:
        order["X"] = VenueStatus.NEW.value
    if update.execution is Execution.AMENDMENT and update.order.modify_id is not None:
        order["M"] = str(update.order.modify_id)
    return {"e": "ORDER_TRADE_UPDATE", "T": update.at, "E": update.at, "o": order}


def _order(order: Order, fill: Fill | None, at: int) -> Shape:
    resting = text(order.remaining * order.price) if order.is_open else "0"
    return {
        "s": order.symbol,
        "c": order.client_id,
        "S": order.side,
        "o": order.type,
        "f": order.time_in_force,
        "q": text(order.quantity),
        "p": text(order.price),
        "ap": text(order.average_price),
        "sp": "0",
        "X": order.status.value,
        "i": order.order_id,
        "l": text(fill.quantity) if fill else "0",
        "z": text(order.executed),
        "L": text(fill.price) if fill else "0",
        "n": text(fill.fee) if fill else "0",
        "N": fill.fee_asset if fill else ASSET,
        "T": at,
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
        "gtd": order.good_till,
        "er": str(order.expire_reason),
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


def account_event(update: AccountUpdated, margin_types: Mapping[str, str]) -> Shape:
    """ACCOUNT_UPDATE"""
    wallet = text(update.wallet)
    return {
        "e": "ACCOUNT_UPDATE",
        "T": update.at,
        "E": update.at,
        "a": {
            "B": [{"a": ASSET, "wb": wallet, "cw": wallet, "bc": text(update.balance_change)}],
            "P": [_position_change(held, margin_types[held.symbol]) for held in update.positions],
            "m": update.reason,
            "S": update.symbol,
        },
    }


def _position_change(position: NetPosition, margin_type: str) -> Shape:
    return {
        "s": position.symbol,
        "pa": text(position.quantity),
        "ep": text(position.entry_price),
        "cr": text(position.realized_pnl),
        "up": text(position.unrealized_pnl),
        "mt": "cross" if margin_type == CROSSED else "isolated",
        "iw": "0",
        "ps": "BOTH",
        "ma": ASSET,
        "bep": text(position.entry_price),
    }


def algo_event(update: AlgoUpdated) -> Shape:
    """ALGO_UPDATE; a cancel is told with fewer keys, a triggered order with what became of it."""
    algo = update.algo
    order = _algo(algo)
    if algo.status is not VenueStatus.CANCELED:
        order |= {"V": "EXPIRE_MAKER", "wt": algo.working_type, "pm": "NONE"}
        order |= {"cp": algo.close_position, "pP": algo.price_protect}
    if algo.order_id is not None:
        order |= {"ap": text(algo.actual_price), "aq": text(algo.actual_quantity), "act": algo.child_type}
    if algo.reject_reason:
        order["rm"] = algo.reject_reason
    return {"e": "ALGO_UPDATE", "T": update.at, "E": update.at, "o": order}


def _algo(algo: Algo) -> Shape:
    return {
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
        "p": text(algo.price),
        "R": algo.reduce_only,
        "tt": algo.triggered_at,
        "gtd": algo.good_till,
        "ia": algo.activated,
    }


def leverage_event(symbol: str, leverage: int, at: int) -> Shape:
    return {"e": "ACCOUNT_CONFIG_UPDATE", "E": at, "T": at, "ac": {"s": symbol, "l": leverage}}


def multi_assets_event(on: bool, at: int) -> Shape:
    return {"e": "ACCOUNT_CONFIG_UPDATE", "E": at, "T": at, "ai": {"j": on}}


def margin_call_event(call: MarginCalled, margin_types: Mapping[str, str]) -> Shape:
    """MARGIN_CALL, whose margin type is written in capitals."""
    rows = [
        {
            "s": position.symbol,
            "ps": "BOTH",
            "pa": text(position.quantity),
            "mt": margin_types[position.symbol],
            "iw": "0",
            "mp": text(position.mark_price),
            "up": text(position.unrealized_pnl),
            "mm": text(maintenance),
        }
        for position, maintenance in call.positions
    ]
    return {"e": "MARGIN_CALL", "E": call.at, "cw": text(call.wallet), "p": rows}


def listen_key_event(key: str, at: int) -> Shape:
    return {"e": "listenKeyExpired", "E": at, "listenKey": key}
