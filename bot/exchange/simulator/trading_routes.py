"""REST: placing, cancelling and asking for orders of both books, and the account's executions."""

from typing import Any, TypeVar

from msgspec.structs import replace

from bot.clock import DAY_MS
from bot.exchange.matching import rules
from bot.exchange.matching.records import ZERO, Algo, Order, Rejection
from bot.exchange.simulator import payloads
from bot.exchange.simulator.limits import Security
from bot.exchange.simulator.order_requests import amendment, new_algo, new_order
from bot.exchange.simulator.payloads import Shape
from bot.exchange.simulator.rest import Call, Route, Routes, malformed
from bot.exchange.simulator.world import World
from bot.venue import VenueStatus

WEEK_MS = 7 * DAY_MS
ALL_CANCELLED = {"code": 200, "msg": "The operation of cancel all open order is done."}
Row = TypeVar("Row", Order, Algo)


def place_order(world: World, call: Call) -> Shape:
    new = new_order(world, call)
    order = world.engine.place(new)
    if call.optional("newOrderRespType") != "RESULT":
        order = _as_accepted(order)
    return payloads.order_ack(order, with_average=world.settings.switches.acks_with_average)


def check_order(world: World, call: Call) -> Shape:
    """order/test: the checks that need neither position nor balance, and no order."""
    new = new_order(world, call)
    instrument = world.market.instruments[call.symbol(world)]
    rules.check_type(new.type)
    rules.check_order_parameters(new, world.now)
    rules.check_client_id(new.client_id, duplicate=False)
    quantity = rules.sent(new.quantity, "quantity")
    rules.check_precision(new.price, quantity, instrument)
    if new.price is not None:
        rules.check_price(new.price, instrument)
    rules.check_quantity(quantity, instrument, market=new.type == "MARKET")
    order = Order(
        order_id=0,
        client_id=new.client_id or "",
        symbol=new.symbol,
        side=new.side,
        type=new.type,
        time_in_force=new.time_in_force or "GTC",
        quantity=quantity,
        price=new.price or ZERO,
        reduce_only=new.reduce_only,
        created_at=world.now,
        updated_at=world.now,
        original_type=new.type,
    )
    return payloads.order_ack(order, with_average=True)


def modify_order(world: World, call: Call) -> Shape:
    order = world.engine.modify(amendment(world, call))
    return payloads.amendment_ack(order, with_average=world.settings.switches.acks_with_average)


def cancel_order(world: World, call: Call) -> Shape:
    order = world.engine.cancel(call.symbol(world), call.integer("orderId"), call.optional("origClientOrderId"))
    return payloads.order_ack(order, with_average=world.settings.switches.acks_with_average)


def query_order(world: World, call: Call) -> Shape:
    order = world.engine.order(call.symbol(world), call.integer("orderId"), call.optional("origClientOrderId"))
    return payloads.order_row(order)


def query_open_order(world: World, call: Call) -> Shape:
    order = world.engine.order(call.symbol(world), call.integer("orderId"), call.optional("origClientOrderId"))
    if not order.is_open:
        raise Rejection(-2013, "Order does not exist.")
    return payloads.order_row(order)


def open_orders(world: World, call: Call) -> list[Shape]:
    symbol = call.symbol(world) if call.optional("symbol") else None
    return [payloads.order_row(order) for order in world.engine.open_orders(symbol)]


def all_orders(world: World, call: Call) -> list[Shape]:
    rows = _recent(world, call, list(world.engine.orders.values()), call.integer("orderId"))
    return [payloads.order_row(order) for order in rows]


def cancel_all_orders(world: World, call: Call) -> Shape:
    world.engine.cancel_all(call.symbol(world))
    return ALL_CANCELLED


def countdown_cancel_all(world: World, call: Call) -> Shape:
    """Cancel the symbol's regular orders unless the call comes again in time; 0 stops the countdown."""
    symbol, countdown = call.symbol(world), call.integer("countdownTime")
    if countdown is None:
        raise malformed("countdownTime")
    if countdown:
        world.countdowns[symbol] = world.now + countdown
    else:
        world.countdowns.pop(symbol, None)
    return {"symbol": symbol, "countdownTime": str(countdown)}


def user_trades(world: World, call: Call) -> list[Shape]:
    """Oldest first: from a trade id, or a span of time (the last 7 days where none is named)."""
    symbol, limit = call.symbol(world), call.limit(500, 1000)
    fills = [fill for fill in world.engine.fills if fill.symbol == symbol]
    order_id, from_id = call.integer("orderId"), call.integer("fromId")
    if order_id is not None:
        fills = [fill for fill in fills if fill.venue_id == order_id]
    if from_id is not None:
        fills = [fill for fill in fills if fill.trade_id >= from_id][:limit]
    else:
        start, end = call.span(world.now, WEEK_MS)
        fills = [fill for fill in fills if start <= fill.at <= end]
        fills = fills[:limit] if call.optional("startTime") else fills[-limit:]
    return [payloads.trade_row(fill) for fill in fills]


def place_algo(world: World, call: Call) -> Shape:
    return payloads.algo_ack(world.engine.place_algo(new_algo(world, call)))


def cancel_algo(world: World, call: Call) -> Shape:
    algo = world.engine.cancel_algo(call.integer("algoId"), call.optional("clientAlgoId"))
    return payloads.algo_cancelled(algo)


def query_algo(world: World, call: Call) -> Shape:
    return payloads.algo_query(world.engine.algo(call.integer("algoId"), call.optional("clientAlgoId")))


def open_algos(world: World, call: Call) -> list[Shape] | Shape:
    symbol = call.symbol(world) if call.optional("symbol") else None
    wanted = call.integer("algoId")
    algos = world.engine.open_algos(symbol)
    rows = [payloads.algo_row(algo) for algo in algos if wanted in (None, algo.algo_id)]
    return {"orders": rows} if world.settings.switches.open_algos_enveloped else rows


def all_algos(world: World, call: Call) -> list[Shape]:
    call.symbol(world)
    rows = _recent(world, call, list(world.engine.algos.values()), call.integer("algoId"))
    return [payloads.algo_row(algo) for algo in rows]


def cancel_all_algos(world: World, call: Call) -> Shape:
    world.engine.cancel_all_algos(call.symbol(world))
    return ALL_CANCELLED


def _as_accepted(order: Order) -> Order:
    """The order as an ACK tells it: before anything was executed."""
    return replace(order, status=VenueStatus.NEW, executed=ZERO, quote=ZERO, expire_reason=0)


def _recent(world: World, call: Call, rows: list[Row], from_id: int | None) -> list[Row]:
    """Rows of the named symbol (or all), oldest first, from an id on or within a span of time."""
    symbol, limit = call.optional("symbol"), call.limit(500, 1000)
    rows = [row for row in rows if symbol in (None, row.symbol)]
    if from_id is not None:
        return [row for row in rows if _id_of(row) >= from_id][:limit]
    start, end = call.span(world.now, WEEK_MS)
    rows = [row for row in rows if start <= row.created_at <= end]
    return rows[:limit] if call.optional("startTime") else rows[-limit:]


def _id_of(row: Order | Algo) -> int:
    return row.order_id if isinstance(row, Order) else row.algo_id


def _one_or_all(params: Any) -> int:
    return 1 if params.get("symbol") else 40


def _signed(handle: Any, weight: Any = 1, **more: Any) -> Route:
    return Route(handle, Security.SIGNED, weight, **more)


PLACING = {"ordering": True, "placing": True, "order_cost": (1, 1)}
TRADING_ROUTES: Routes = {
    ("POST", "/fapi/v1/order"): _signed(place_order, 0, **PLACING),
    ("PUT", "/fapi/v1/order"): _signed(modify_order, 0, ordering=True, order_cost=(1, 1)),
    ("GET", "/fapi/v1/order"): _signed(query_order),
    ("DELETE", "/fapi/v1/order"): _signed(cancel_order),
    ("POST", "/fapi/v1/order/test"): _signed(check_order, 0),
    ("GET", "/fapi/v1/openOrder"): _signed(query_open_order),
    ("GET", "/fapi/v1/openOrders"): _signed(open_orders, _one_or_all),
    ("GET", "/fapi/v1/allOrders"): _signed(all_orders, 5),
    ("GET", "/fapi/v1/userTrades"): _signed(user_trades, 5),
    ("DELETE", "/fapi/v1/allOpenOrders"): _signed(cancel_all_orders),
    ("POST", "/fapi/v1/countdownCancelAll"): _signed(countdown_cancel_all, 10),
    ("POST", "/fapi/v1/algoOrder"): _signed(place_algo, 0, **PLACING),
    ("GET", "/fapi/v1/algoOrder"): _signed(query_algo),
    ("DELETE", "/fapi/v1/algoOrder"): _signed(cancel_algo),
    ("GET", "/fapi/v1/openAlgoOrders"): _signed(open_algos, _one_or_all),
    ("GET", "/fapi/v1/allAlgoOrders"): _signed(all_algos, 5),
    ("DELETE", "/fapi/v1/algoOpenOrders"): _signed(cancel_all_algos),
}
