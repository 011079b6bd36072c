"""Where the venue would liquidate a position, and whether its stop comes first."""

from collections.abc import Sequence
from decimal import Decimal

from bot.messages import Side
from bot.strategy.reasons import Reason
from bot.strategy.verdicts import ALLOWED, LIQUIDATION, Check, Values
from bot.venue import MarginBracket


def liquidation_price(
    entry: Decimal, side: Side, quantity: Decimal, margin: Decimal, rate: Decimal, amount: Decimal
) -> Decimal:
    """The mark price at which margin + unrealised profit equals the maintenance margin (notional x rate - amount).

    Binance's formula for an isolated position in one-way mode: (WB + cum - s·q·EP) / (q·MMR - s·q), with WB the
    isolated wallet, q the quantity, s = +1 for LONG and -1 for SHORT. At or below zero for a LONG at leverage 1.
    """
    signed = side.sign * quantity
    return (margin + amount - signed * entry) / (quantity * rate - signed)


def bracket_of(brackets: Sequence[MarginBracket], notional: Decimal) -> MarginBracket:
    """The bracket that `notional` falls into; the highest one where it is beyond all."""
    for bracket in brackets:
        if notional <= bracket.notional_cap:
            return bracket
    return brackets[-1]


def liquidation_check(
    side: Side,
    entry: Decimal,
    quantity: Decimal,
    leverage: int,
    positions: int,
    stop_pct: float,
    buffer_pct: float,
    brackets: Sequence[MarginBracket],
) -> Check:
    """Whether the stop, `stop_pct` from the entry, stands at least `buffer_pct` before the liquidation price.

    Computed as if the margin was isolated (a cross account with money left is liquidated later), and with the bracket
    of `positions` positions of this size, as many as the variant may hold on the symbol: the venue nets them. Without
    brackets nothing is known and nothing is entered.
    """
    asked = (entry, quantity, leverage, positions, stop_pct, buffer_pct)
    if not brackets:
        return Check(LIQUIDATION, False, Reason.BRACKETS_MISSING, _asked, asked)
    whole = quantity * positions
    notional = whole * entry
    bracket = bracket_of(brackets, notional)
    price = liquidation_price(entry, side, whole, notional / leverage, bracket.maintenance_rate, bracket.amount)
    distance_pct = float(side.sign * (entry - price) / entry * 100)
    found = (asked, bracket, price, distance_pct)
    if leverage > bracket.max_leverage:
        return Check(LIQUIDATION, False, Reason.LEVERAGE_ABOVE_BRACKET, _found, found)
    near = distance_pct < stop_pct + buffer_pct
    return Check(LIQUIDATION, not near, Reason.LIQUIDATION_NEAR if near else ALLOWED, _found, found)


def _asked(
    entry: Decimal, quantity: Decimal, leverage: int, positions: int, stop_pct: float, buffer_pct: float
) -> Values:
    return {
        "entry": float(entry),
        "quantity": float(quantity),
        "leverage": leverage,
        "positions": positions,
        "stop_pct": stop_pct,
        "buffer_pct": buffer_pct,
    }


def _found(
    asked: tuple[Decimal, Decimal, int, int, float, float], bracket: MarginBracket, price: Decimal, distance_pct: float
) -> Values:
    return _asked(*asked) | {
        "maintenance_rate": float(bracket.maintenance_rate),
        "maintenance_amount": float(bracket.amount),
        "bracket_leverage": bracket.max_leverage,
        "liquidation_price": float(price),
        "distance_pct": distance_pct,
    }
