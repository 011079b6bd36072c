"""REST: several orders in one request. Each stands for itself: what is refused does not keep the others out."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from bot.exchange.matching.records import Rejection
from bot.exchange.simulator.limits import Security
from bot.exchange.simulator.payloads import Shape
from bot.exchange.simulator.rest import Call, Route, Routes, malformed
from bot.exchange.simulator.trading_routes import cancel_order, modify_order, place_order
from bot.exchange.simulator.world import World

MOST_ORDERS = 5
MOST_CANCELS = 10
Handle = Callable[[World, Call], Shape]
_decoder = msgspec.json.Decoder(list[Any], float_hook=str)  # a number stays as it was written


def place_batch(world: World, call: Call) -> list[Shape]:
    return _each(world, call, place_order, _orders(call))


def modify_batch(world: World, call: Call) -> list[Shape]:
    return _each(world, call, modify_order, _orders(call))


def cancel_batch(world: World, call: Call) -> list[Shape]:
    symbol = call.symbol(world)
    for name, key in (("orderIdList", "orderId"), ("origClientOrderIdList", "origClientOrderId")):
        if call.optional(name):
            ids = _listed(call, name, MOST_CANCELS)
            return _each(world, call, cancel_order, [{"symbol": symbol, key: str(each)} for each in ids])
    raise Rejection(-1102, "Param 'orderIdList' or 'origClientOrderIdList' must be sent, but both were empty/null!")


def _orders(call: Call) -> list[Mapping[str, str]]:
    rows = _listed(call, "batchOrders", MOST_ORDERS)
    if not all(isinstance(row, dict) for row in rows):
        raise malformed("batchOrders")
    return [{name: _text(value) for name, value in row.items() if value is not None} for row in rows]


def _listed(call: Call, name: str, most: int) -> list[Any]:
    try:
        rows = _decoder.decode(call.text(name))
    except (msgspec.DecodeError, RecursionError):
        raise malformed(name) from None
    if not 1 <= len(rows) <= most:
        raise Rejection(-4082, "Invalid number of batch place orders.")
    return rows


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _each(world: World, call: Call, handle: Handle, rows: Iterable[Mapping[str, str]]) -> list[Shape]:
    answers = []
    for params in rows:
        try:
            answers.append(handle(world, Call(call.method, call.path, params)))
        except Rejection as rejection:
            refusal = {"code": rejection.code, "msg": rejection.message}
            world.rejected += 1
            world.log.add(
                world.now, "refused", request=f"{call.method} {call.path}", params=params, status=200, **refusal
            )
            answers.append(refusal)
    return answers


BATCH_ROUTES: Routes = {
    ("POST", "/fapi/v1/batchOrders"): Route(
        place_batch, Security.SIGNED, 5, ordering=True, placing=True, order_cost=(5, 1)
    ),
    ("PUT", "/fapi/v1/batchOrders"): Route(modify_batch, Security.SIGNED, 5, ordering=True, order_cost=(5, 1)),
    ("DELETE", "/fapi/v1/batchOrders"): Route(cancel_batch, Security.SIGNED, 1),
}
