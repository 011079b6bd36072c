"""What a request asks of the order books: its parameters as the engine's orders and amendments."""

from bot.clock import SECOND_MS
from bot.exchange.matching.records import Amendment, NewAlgo, NewOrder, Rejection
from bot.exchange.simulator.rest import Call, malformed
from bot.exchange.simulator.world import World


def new_order(world: World, call: Call) -> NewOrder:
    _check_position_side(world, call)
    return NewOrder(
        symbol=call.text("symbol"),
        side=call.text("side"),
        type=call.text("type"),
        quantity=call.amount("quantity"),
        price=call.amount("price"),
        time_in_force=call.optional("timeInForce"),
        good_till=_good_till(call),
        reduce_only=call.flag("reduceOnly"),
        client_id=call.optional("newClientOrderId"),
    )


def amendment(world: World, call: Call) -> Amendment:
    return Amendment(
        symbol=call.symbol(world),
        side=call.text("side"),
        order_id=call.integer("orderId"),
        client_id=call.optional("origClientOrderId"),
        quantity=call.amount("quantity"),
        price=call.amount("price"),
        reduce_only=call.flag("reduceOnly") if call.optional("reduceOnly") else None,
        modify_id=call.integer("modifyId"),
    )


def new_algo(world: World, call: Call) -> NewAlgo:
    if call.text("algoType") != "CONDITIONAL":
        raise malformed("algoType")
    _check_position_side(world, call)
    return NewAlgo(
        symbol=call.text("symbol"),
        side=call.text("side"),
        type=call.text("type"),
        quantity=call.amount("quantity"),
        trigger_price=call.amount("triggerPrice"),
        price=call.amount("price"),
        time_in_force=call.optional("timeInForce"),
        good_till=_good_till(call),
        activate_price=call.amount("activatePrice"),
        callback_rate=call.amount("callbackRate"),
        reduce_only=call.flag("reduceOnly"),
        close_position=call.flag("closePosition"),
        price_protect=call.flag("priceProtect"),
        working_type=call.optional("workingType") or "CONTRACT_PRICE",
        client_id=call.optional("clientAlgoId"),
    )


def _good_till(call: Call) -> int | None:
    """To the second, as the exchange keeps it."""
    until = call.integer("goodTillDate")
    return until - until % SECOND_MS if until else None


def _check_position_side(world: World, call: Call) -> None:
    """Hedge mode can be switched on, and then no order is taken: two positions of one symbol are not modelled."""
    if world.dual_side or call.params.get("positionSide", "BOTH") != "BOTH":
        raise Rejection(-4061, "Order's position side does not match user's setting.")
