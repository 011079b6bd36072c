"""How much: margin x leverage / price, on the venue's step, or why not."""

from decimal import Decimal

from bot.strategy.reasons import Reason
from bot.strategy.rounding import quantity_on_step
from bot.venue import Instrument


def size(margin: Decimal, leverage: int, price: Decimal, instrument: Instrument) -> Decimal | Reason:
    """The quantity in base units that `margin` USDT at `leverage` buys at `price`, rounded down to the step.

    Refused where the venue would refuse it, or would refuse to let it go: every way out is a market order.
    """
    quantity = quantity_on_step(margin * leverage / price, instrument.step_size)
    if quantity < instrument.min_quantity or quantity <= 0:
        return Reason.QUANTITY_BELOW_MINIMUM
    if quantity > min(instrument.max_quantity, instrument.max_market_quantity):
        return Reason.QUANTITY_ABOVE_MAXIMUM
    if quantity * price < instrument.min_notional:
        return Reason.NOTIONAL_BELOW_MINIMUM
    return quantity
