"""REST: the account's balances, positions, settings and income, and the listen key."""

from typing import Any

from bot.clock import DAY_MS
from bot.exchange.matching import rules
from bot.exchange.matching.records import Rejection
from bot.exchange.simulator import account_payloads, payloads
from bot.exchange.simulator.account_payloads import AccountFigures
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
            "marginType": "CROSSED",
            "isAutoAddMargin": False,
            "leverage": world.engine.leverage(symbol),
            "maxNotionalValue": str(rules.LARGEST_NOTIONAL),
        }
        for symbol in call.symbols(world)
    ]


def leverage_bracket(world: World, call: Call) -> list[Shape]:
    known = world.engine.brackets()
    return [
        {"symbol": symbol, "notionalCoef": 1.0, "brackets": [account_payloads.bracket_shape(known[symbol])]}
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
        world.publish_user("ACCOUNT_CONFIG_UPDATE", payloads.leverage_event(symbol, leverage, world.now))
        world.log.add(world.now, "leverage", symbol=symbol, leverage=leverage)
    return {"symbol": symbol, "leverage": leverage, "maxNotionalValue": str(rules.LARGEST_NOTIONAL)}


def set_margin_type(world: World, call: Call) -> Shape:
    """Only cross margin is modelled."""
    call.symbol(world)
    if call.text("marginType") == "CROSSED":
        raise Rejection(-4046, "No need to change margin type.")
    raise Rejection(-1130, "Data sent for parameter 'marginType' is not valid.")


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


def _signed(handle: Any, weight: Any = 1) -> Route:
    return Route(handle, Security.SIGNED, weight)


ACCOUNT_ROUTES: Routes = {
    ("GET", "/fapi/v3/account"): _signed(account, 5),
    ("GET", "/fapi/v3/balance"): _signed(balance, 5),
    ("GET", "/fapi/v2/balance"): _signed(balance, 5),
    ("GET", "/fapi/v3/positionRisk"): _signed(position_risk, 5),
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
