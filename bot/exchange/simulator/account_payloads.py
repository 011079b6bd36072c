"""The JSON shapes of the account: balances, positions and totals. One asset, cross margin, one-way mode."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from bot.exchange.matching.engine import Engine
from bot.exchange.matching.records import ZERO, NetPosition
from bot.exchange.simulator.payloads import ASSET, Shape, text
from bot.venue import MarginBracket


class AccountFigures:
    """The totals that every account answer is made of."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.wallet = engine.wallet
        self.positions = engine.positions()
        self.profit = engine.unrealized_pnl()
        self.initial = sum(map(self.initial_margin, self.positions), ZERO)
        self.maintenance = sum(map(self.maintenance_margin, self.positions), ZERO)
        self.available = max(ZERO, engine.available_balance)

    def initial_margin(self, position: NetPosition) -> Decimal:
        return notional(position).copy_abs() / self._engine.leverage(position.symbol)

    def maintenance_margin(self, position: NetPosition) -> Decimal:
        return self._engine.maintenance_margin(position.symbol)

    def position(self, symbol: str) -> NetPosition:
        return self._engine.position(symbol)

    def leverage(self, symbol: str) -> int:
        return self._engine.leverage(symbol)

    def largest_notional(self, symbol: str) -> Decimal:
        return self._engine.largest_notional(symbol)

    def liquidation_price(self, symbol: str) -> Decimal:
        return self._engine.liquidation_price(symbol)


def notional(position: NetPosition) -> Decimal:
    return position.quantity * position.mark_price


def margin(amount: Decimal) -> str:
    return f"{amount:.8f}"


def balance_row(figures: AccountFigures, at: int) -> Shape:
    return {
        "accountAlias": "sim",
        "asset": ASSET,
        "balance": text(figures.wallet),
        "crossWalletBalance": text(figures.wallet),
        "crossUnPnl": margin(figures.profit),
        "availableBalance": margin(figures.available),
        "maxWithdrawAmount": margin(figures.available),
        "marginAvailable": True,
        "updateTime": at,
    }


def position_row(position: NetPosition, figures: AccountFigures, at: int) -> Shape:
    """A row of /fapi/v3/positionRisk."""
    initial = margin(figures.initial_margin(position))
    return {
        "symbol": position.symbol,
        "positionSide": "BOTH",
        "positionAmt": text(position.quantity),
        "entryPrice": text(position.entry_price),
        "breakEvenPrice": text(position.entry_price),
        "markPrice": margin(position.mark_price),
        "unRealizedProfit": margin(position.unrealized_pnl),
        "liquidationPrice": text(figures.liquidation_price(position.symbol)),
        "isolatedMargin": "0",
        "notional": margin(notional(position)),
        "marginAsset": ASSET,
        "isolatedWallet": "0",
        "initialMargin": initial,
        "maintMargin": margin(figures.maintenance_margin(position)),
        "positionInitialMargin": initial,
        "openOrderInitialMargin": "0",
        "adl": 0,
        "bidNotional": "0",
        "askNotional": "0",
        "updateTime": at,
    }


def account_shape(figures: AccountFigures, at: int) -> Shape:
    """/fapi/v3/account"""
    equity = margin(figures.wallet + figures.profit)
    asset = {
        "asset": ASSET,
        "walletBalance": text(figures.wallet),
        "unrealizedProfit": margin(figures.profit),
        "marginBalance": equity,
        "maintMargin": margin(figures.maintenance),
        "initialMargin": margin(figures.initial),
        "positionInitialMargin": margin(figures.initial),
        "openOrderInitialMargin": "0",
        "crossWalletBalance": text(figures.wallet),
        "crossUnPnl": margin(figures.profit),
        "availableBalance": margin(figures.available),
        "maxWithdrawAmount": margin(figures.available),
        "updateTime": at,
    }
    return {
        "totalInitialMargin": margin(figures.initial),
        "totalMaintMargin": margin(figures.maintenance),
        "totalWalletBalance": text(figures.wallet),
        "totalUnrealizedProfit": margin(figures.profit),
        "totalMarginBalance": equity,
        "totalPositionInitialMargin": margin(figures.initial),
        "totalOpenOrderInitialMargin": "0",
        "totalCrossWalletBalance": text(figures.wallet),
        "totalCrossUnPnl": margin(figures.profit),
        "availableBalance": margin(figures.available),
        "maxWithdrawAmount": margin(figures.available),
        "assets": [asset],
        "positions": [_account_position(position, figures, at) for position in figures.positions],
    }


def _account_position(position: NetPosition, figures: AccountFigures, at: int) -> Shape:
    return {
        "symbol": position.symbol,
        "positionSide": "BOTH",
        "positionAmt": text(position.quantity),
        "unrealizedProfit": margin(position.unrealized_pnl),
        "isolatedMargin": "0",
        "notional": margin(notional(position)),
        "isolatedWallet": "0",
        "initialMargin": margin(figures.initial_margin(position)),
        "maintMargin": margin(figures.maintenance_margin(position)),
        "updateTime": at,
    }


def account_v2_shape(figures: AccountFigures, margin_types: Mapping[str, str], at: int) -> Shape:
    """/fapi/v2/account without what `accountConfig` tells: as v3, and every symbol with its leverage."""
    shape = account_shape(figures, at)
    assets = [asset | {"marginAvailable": True} for asset in shape["assets"]]
    rows = (figures.position(symbol) for symbol in margin_types)
    positions = [_account_v2_position(row, figures, margin_types[row.symbol], at) for row in rows]
    return shape | {"assets": assets, "positions": positions}


def _account_v2_position(position: NetPosition, figures: AccountFigures, margin_type: str, at: int) -> Shape:
    initial = margin(figures.initial_margin(position))
    return {
        "symbol": position.symbol,
        "initialMargin": initial,
        "maintMargin": margin(figures.maintenance_margin(position)),
        "unrealizedProfit": margin(position.unrealized_pnl),
        "positionInitialMargin": initial,
        "openOrderInitialMargin": "0",
        "leverage": str(figures.leverage(position.symbol)),
        "isolated": margin_type == "ISOLATED",
        "entryPrice": text(position.entry_price),
        "breakEvenPrice": text(position.entry_price),
        "maxNotional": whole(figures.largest_notional(position.symbol)),
        "bidNotional": "0",
        "askNotional": "0",
        "positionSide": "BOTH",
        "positionAmt": text(position.quantity),
        "updateTime": at if position.quantity else 0,
    }


def position_v2_row(position: NetPosition, figures: AccountFigures, margin_type: str, at: int) -> Shape:
    """A row of /fapi/v2/positionRisk."""
    return {
        "symbol": position.symbol,
        "positionSide": "BOTH",
        "positionAmt": text(position.quantity),
        "entryPrice": text(position.entry_price),
        "breakEvenPrice": text(position.entry_price),
        "markPrice": margin(position.mark_price),
        "unRealizedProfit": margin(position.unrealized_pnl),
        "liquidationPrice": text(figures.liquidation_price(position.symbol)),
        "leverage": str(figures.leverage(position.symbol)),
        "maxNotionalValue": whole(figures.largest_notional(position.symbol)),
        "marginType": "cross" if margin_type == "CROSSED" else "isolated",
        "isolatedMargin": "0",
        "isAutoAddMargin": "false",
        "notional": margin(notional(position)),
        "isolatedWallet": "0",
        "updateTime": at if position.quantity else 0,
    }


def bracket_shapes(brackets: Sequence[MarginBracket]) -> list[Shape]:
    """The rows of `leverageBracket`, whose amounts are numbers and no texts."""
    floors = [0, *(int(bracket.notional_cap) for bracket in brackets)]
    return [
        {
            "bracket": number,
            "initialLeverage": bracket.max_leverage,
            "notionalCap": int(bracket.notional_cap),
            "notionalFloor": floor,
            "maintMarginRatio": float(bracket.maintenance_rate),
            "cum": float(bracket.amount),
        }
        for number, (floor, bracket) in enumerate(zip(floors, brackets, strict=False), 1)
    ]


def whole(amount: Decimal) -> str:
    return str(int(amount))
