"""Prices and quantities onto the venue's grid; every direction is the one that cannot cost more than was asked for."""

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from bot.messages import Side

SIGNIFICANT_DIGITS = 12  # below a float's 15, so that 0.1 + 0.2 is 0.3 and not a tick more


def decimal_of(value: float) -> Decimal:
    """A float as the decimal it was meant to be, at 12 significant digits."""
    return Decimal(format(value, f".{SIGNIFICANT_DIGITS}g"))


def floor_to(value: Decimal, grid: Decimal) -> Decimal:
    """The largest multiple of `grid` at or below `value`, with the grid's decimals."""
    return ((value / grid).to_integral_value(ROUND_FLOOR) * grid).quantize(grid)


def ceil_to(value: Decimal, grid: Decimal) -> Decimal:
    """The smallest multiple of `grid` at or above `value`, with the grid's decimals."""
    return ((value / grid).to_integral_value(ROUND_CEILING) * grid).quantize(grid)


def on_grid(value: Decimal, grid: Decimal) -> bool:
    return value % grid == 0


def quantity_on_step(quantity: Decimal, step: Decimal) -> Decimal:
    """Down: never more than was sized."""
    return floor_to(quantity, step)


def limit_on_tick(price: Decimal, side: Side, tick: Decimal) -> Decimal:
    """An entry's limit, away from the market: a LONG buys lower, a SHORT sells higher."""
    return floor_to(price, tick) if side is Side.LONG else ceil_to(price, tick)


def stop_on_tick(price: Decimal, side: Side, tick: Decimal) -> Decimal:
    """The trigger of the stop of a position on `side`, away from the price: LONG down, SHORT up."""
    return floor_to(price, tick) if side is Side.LONG else ceil_to(price, tick)


def target_on_tick(price: Decimal, side: Side, tick: Decimal) -> Decimal:
    """The trigger of the target of a position on `side`, away from the price: LONG up, SHORT down."""
    return ceil_to(price, tick) if side is Side.LONG else floor_to(price, tick)
