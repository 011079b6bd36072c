"""REST: the account's balances, positions, settings and income, and the listen key."""

from collections.abc import Mapping
from typing import Any

from bot.clock import DAY_MS
from bot.exchange.matching.forced import ADL_CLIENT_ID
from bot.exchange.matching.records import Rejection
from bot.exchange.simulator import account_payloads, payloads, user_events
from bot.exchange.simulator.account_payloads import AccountFigures, whole
from bot.exchange.simulator.limits import Refusal, Security
from bot.exchange.simulator.payloads import Shape, text
from bot.exchange.simulator.rest import Call, Route, Routes, malformed
from bot.exchange.simulator.world import World

WEEK_MS = 7 * DAY_MS


def account(world: World, call: Call) -> Shape:
    return account_payloads.account_shape(AccountFigures(world.engine), world.now)


def balance(world: World, call: Call) -> list[Shape]:
    return [account_payloads.balance_row(AccountFigures(world.engine), world.now)]


def position_risk(world: World, call: Call) -> list[Shape]:
    """Symbols with a position or an open order, as v3 lists them."""
    engine, figures = world.engine, AccountFigures(world.engine)
    held = {position.symbol for position in figures.positions} | {order.symbol for order in engine.open_orders()}
    rows = [engine.position(symbol) for symbol in call.symbols(world) if symbol in held]
    return [account_payloads.position_row(position, figures, world.now) for position in rows]


def account_v2(world: World, call: Call) -> Shape:
    shape = account_payloads.account_v2_shape(AccountFigures(world.engine), world.margin_types, world.now)
    return account_config(world, call) | {"feeBurn": True} | shape


def position_risk_v2(world: World, call: Call) -> list[Shape]:
    """Every symbol, held or not, as v2 lists them."""
    engine, figures = world.engine, AccountFigures(world.engine)
    rows = [engine.position(symbol) for symbol in call.symbols(world)]
    return [account_payloads.position_v2_row(row, figures, world.margin_types[row.symbol], world.now) for row in rows]


def account_config(world: World, call: Call) -> Shape:
    return {
        "feeTier": 0,
        "canTrade": True,
        "canDeposit": True,
        "canWithdraw": True,
        "dualSidePosition": world.dual_side,
        "updateTime": 0,
        "multiAssetsMargin": world.multi_assets,
        "tradeGroupId": -1,
    }


def symbol_config(world: World, call: Call) -> list[Shape]:
    return [
        {
            "symbol": symbol,
            "marginType": world.margin_types[symbol],
            "isAutoAddMargin": False,
            "leverage": world.engine.leverage(symbol),
            "maxNotionalValue": whole(world.engine.largest_notional(symbol)),
        }
        for symbol in call.symbols(world)
    ]


def leverage_bracket(world: World, call: Call) -> list[Shape]:
    return [
        {
            "symbol": symbol,
            "notionalCoef": 1.0,
            "brackets": account_payloads.bracket_shapes(world.engine.brackets(symbol)),
        }
        for symbol in call.symbols(world)
    ]


def commission_rate(world: World, call: Call) -> Shape:
    return {
        "symbol": call.symbol(world),
        "makerCommissionRate": text(world.settings.maker_fee),
        "takerCommissionRate": text(world.settings.taker_fee),
        "rpiCommissionRate": "0",
    }


def income(world: World, call: Call) -> list[Shape]:
    """Oldest first, the last 7 days where no start is named."""
    symbol, kind, limit = call.optional("symbol"), call.optional("incomeType"), call.limit(100, 1000)
    start, end = call.span(world.now, WEEK_MS)
    rows = [
        row
        for row in world.engine.income
        if start <= row.at <= end and symbol in (None, row.symbol) and kind in (None, row.kind)
    ]
    rows = rows[:limit] if call.optional("startTime") else rows[-limit:]
    return [payloads.income_row(row) for row in rows]


def set_leverage(world: World, call: Call) -> Shape:
    symbol, leverage = call.symbol(world), call.integer("leverage")
    if leverage is None:
        raise malformed("leverage")
    before = world.engine.leverage(symbol)
    world.engine.set_leverage(symbol, leverage)
    if leverage != before:
        world.publish_user("ACCOUNT_CONFIG_UPDATE", user_events.leverage_event(symbol, leverage, world.now))
        world.log.add(world.now, "leverage", symbol=symbol, leverage=leverage)
    return {"symbol": symbol, "leverage": leverage, "maxNotionalValue": whole(world.engine.largest_notional(symbol))}


def set_margin_type(world: World, call: Call) -> Shape:
    """The word is remembered and told; margin itself is always cross."""
    symbol, wanted = call.symbol(world), call.text("marginType")
    if wanted not in ("CROSSED", "ISOLATED"):
        raise Rejection(-1130, "Data sent for parameter 'marginType' is not valid.")
    if wanted == world.margin_types[symbol]:
        raise Rejection(-4046, "No need to change margin type.")
    if world.engine.open_orders(symbol) or world.engine.open_algos(symbol):
        raise Rejection(-4047, "Margin type cannot be changed if there exists open orders.")
    if world.engine.position(symbol).quantity:
        raise Rejection(-4048, "Margin type cannot be changed if there exists position.")
    world.margin_types[symbol] = wanted
    world.log.add(world.now, "margin_type", symbol=symbol, margin_type=wanted)
    return {"code": 200, "msg": "success"}


def add_position_margin(world: World, call: Call) -> Shape:
    """Isolated margin is not modelled, so there is no position that takes any."""
    symbol, amount = call.symbol(world), call.amount("amount")
    if amount is None:
        raise malformed("amount")
    if call.text("type") not in ("1", "2"):
        raise malformed("type")
    if amount <= 0:
        raise Rejection(-4055, "Amount must be positive.")
    if not world.engine.position(symbol).quantity:
        raise Rejection(-4054, "Cannot add position margin: position is 0.")
    raise Rejection(-4053, "Auto add margin only support for isolated position.")


def force_orders(world: World, call: Call) -> list[Shape]:
    """What the exchange closed by itself, newest first, the last 7 days where no start is named."""
    symbol, kind, limit = call.optional("symbol"), call.optional("autoCloseType"), call.limit(50, 100)
    prefixes = {None: ("autoclose-", ADL_CLIENT_ID), "LIQUIDATION": ("autoclose-",), "ADL": (ADL_CLIENT_ID,)}.get(kind)
    if prefixes is None:
        raise malformed("autoCloseType")
    start, end = call.span(world.now, WEEK_MS)
    rows = [
        order
        for order in world.engine.orders.values()
        if symbol in (None, order.symbol) and order.client_id.startswith(prefixes) and start <= order.created_at <= end
    ]
    return [payloads.force_order_row(order) for order in reversed(rows[-limit:])]


def position_mode(world: World, call: Call) -> Shape:
    return {"dualSidePosition": world.dual_side}


def set_position_mode(world: World, call: Call) -> Shape:
    call.text("dualSidePosition")
    wanted = call.flag("dualSidePosition")
    if wanted == world.dual_side:
        raise Rejection(-4059, "No need to change position side.")
    if world.engine.open_orders() or world.engine.open_algos():
        raise Rejection(-4067, "Position side cannot be changed if there exists open orders.")
    if world.engine.positions():
        raise Rejection(-4068, "Position side cannot be changed if there exists position.")
    world.dual_side = wanted
    world.log.add(world.now, "position_mode", dual_side=wanted)
    return {"code": 200, "msg": "success"}


def multi_assets_mode(world: World, call: Call) -> Shape:
    return {"multiAssetsMargin": world.multi_assets}


def set_multi_assets_mode(world: World, call: Call) -> Shape:
    """The switch is remembered; collateral in other assets is not modelled."""
    call.text("multiAssetsMargin")
    wanted = call.flag("multiAssetsMargin")
    if wanted == world.multi_assets:
        raise Rejection(-4171, "No need to change asset mode.")
    world.multi_assets = wanted
    world.publish_user("ACCOUNT_CONFIG_UPDATE", user_events.multi_assets_event(wanted, world.now))
    world.log.add(world.now, "multi_assets", on=wanted)
    return {"code": 200, "msg": "success"}


def open_listen_key(world: World, call: Call) -> Shape:
    return {"listenKey": world.keys.open(world.now)}


def extend_listen_key(world: World, call: Call) -> Shape:
    key = world.keys.extend(world.now)
    if key is None:
        raise Refusal(400, -1125, "This listenKey does not exist.")
    return {"listenKey": key}


def close_listen_key(world: World, call: Call) -> Shape:
    world.keys.close()
    return {}


def _force_orders_weight(params: Mapping[str, str]) -> int:
    return 20 if params.get("symbol") else 50


def _signed(handle: Any, weight: Any = 1) -> Route:
    return Route(handle, Security.SIGNED, weight)


ACCOUNT_ROUTES: Routes = {
    ("GET", "/fapi/v3/account"): _signed(account, 5),
    ("GET", "/fapi/v3/balance"): _signed(balance, 5),
    ("GET", "/fapi/v2/balance"): _signed(balance, 5),
    ("GET", "/fapi/v3/positionRisk"): _signed(position_risk, 5),
    ("GET", "/fapi/v2/account"): _signed(account_v2, 5),
    ("GET", "/fapi/v2/positionRisk"): _signed(position_risk_v2, 5),
    ("GET", "/fapi/v1/forceOrders"): _signed(force_orders, _force_orders_weight),
    ("POST", "/fapi/v1/positionMargin"): _signed(add_position_margin),
    ("GET", "/fapi/v1/accountConfig"): _signed(account_config, 5),
    ("GET", "/fapi/v1/symbolConfig"): _signed(symbol_config, 5),
    ("GET", "/fapi/v1/leverageBracket"): _signed(leverage_bracket),
    ("GET", "/fapi/v1/commissionRate"): _signed(commission_rate, 20),
    ("GET", "/fapi/v1/income"): _signed(income, 30),
    ("GET", "/fapi/v1/positionSide/dual"): _signed(position_mode, 30),
    ("POST", "/fapi/v1/positionSide/dual"): _signed(set_position_mode),
    ("GET", "/fapi/v1/multiAssetsMargin"): _signed(multi_assets_mode, 30),
    ("POST", "/fapi/v1/multiAssetsMargin"): _signed(set_multi_assets_mode),
    ("POST", "/fapi/v1/leverage"): _signed(set_leverage),
    ("POST", "/fapi/v1/marginType"): _signed(set_margin_type),
    ("POST", "/fapi/v1/listenKey"): Route(open_listen_key, Security.KEY),
    ("PUT", "/fapi/v1/listenKey"): Route(extend_listen_key, Security.KEY),
    ("DELETE", "/fapi/v1/listenKey"): Route(close_listen_key, Security.KEY),
}
