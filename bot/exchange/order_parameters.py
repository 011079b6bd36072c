"""An order as the SDK's methods want it: every number as plain digits, for the venue reads no exponents."""

from bot.venue import OrderKind, OrderRequest


def order_parameters(request: OrderRequest) -> dict[str, str]:
    parameters = _common_parameters(request) | {
        "new_client_order_id": request.client_id,
        "new_order_resp_type": "RESULT",
    }
    if request.kind is OrderKind.LIMIT:
        if request.price is None:
            raise ValueError(f"{request.client_id}: a limit order needs a price")
        parameters["time_in_force"] = "GTX" if request.post_only else "GTC"
        parameters["price"] = format(request.price, "f")
    return parameters


def algo_parameters(request: OrderRequest) -> dict[str, str]:
    if request.trigger_price is None:
        raise ValueError(f"{request.client_id}: a conditional order needs a trigger price")
    return _common_parameters(request) | {
        "algo_type": "CONDITIONAL",
        "client_algo_id": request.client_id,
        "trigger_price": format(request.trigger_price, "f"),
        "working_type": "CONTRACT_PRICE",
    }


def _common_parameters(request: OrderRequest) -> dict[str, str]:
    return {
        "symbol": request.symbol,
        "side": "BUY" if request.buy else "SELL",
        "type": request.kind.value,
        "quantity": format(request.quantity, "f"),
    } | ({"reduce_only": "true"} if request.reduce_only else {})
