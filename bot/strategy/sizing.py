"""How much: margin x leverage / price, scaled by filters and volatility, on the venue's step, or why not."""

import math
from decimal import Decimal
from typing import Any

import msgspec

from bot.strategy.reasons import Reason
from bot.strategy.rounding import decimal_of, quantity_on_step
from bot.strategy.verdicts import ALLOWED, SIZE, Check, Values
from bot.venue import Instrument


class VolatilityTarget(msgspec.Struct, frozen=True, kw_only=True):
    """Positions that swing alike: the margin is scaled by target / realised volatility x strength.

    Constant-volatility scaling as in Moskowitz, Ooi & Pedersen, "Time series momentum", Journal of Financial Economics
    104 (2012), equation 5; the strength stands for the scaled forecast of Carver, "Systematic Trading" (2015), ch. 7.
    """

    target: float  # annualised, as a fraction
    bars: int  # returns that the realised volatility is taken of
    least: float  # the scale is kept within these two
    most: float


class Volatility(msgspec.Struct, frozen=True):
    """What a size is scaled by."""

    target: VolatilityTarget
    realised: float  # annualised, as a fraction; NaN: too few bars to tell
    strength: float  # |predicted return| / threshold, at least 1 for a signal that reached the threshold

    @property
    def scale(self) -> float | None:
        """The factor on the margin; None where the realised volatility is not known."""
        if not math.isfinite(self.realised):
            return None
        wanted = self.target.target / self.realised * self.strength if self.realised > 0 else math.inf
        return min(self.target.most, max(self.target.least, wanted))

    def values(self) -> Values:
        return {
            "volatility_target": self.target.target,
            "realised_volatility": self.realised if math.isfinite(self.realised) else None,
            "strength": self.strength,
            "volatility_scale_min": self.target.least,
            "volatility_scale_max": self.target.most,
            "volatility_scale": self.scale,
        }


class Sized(msgspec.Struct, frozen=True, gc=False):
    quantity: Decimal | None  # in base units; None: the verdict refuses
    verdict: Check


def size(
    margin: Decimal,
    leverage: int,
    price: Decimal,
    instrument: Instrument,
    filter_scale: float = 1.0,
    volatility: Volatility | None = None,
) -> Sized:
    """What `margin` USDT x the scales buys at `price` with `leverage`, rounded down to the step.

    `filter_scale` is what the filters left of the margin. Refused where the venue would refuse the quantity, or would
    refuse to let it go: every way out is a market order.
    """
    largest = min(instrument.max_quantity, instrument.max_market_quantity)
    scale: float | None = filter_scale
    if volatility is not None:
        scale = None if volatility.scale is None else filter_scale * volatility.scale
    asked = (margin, leverage, price, filter_scale, instrument, largest, volatility)
    if scale is None:
        return Sized(None, Check(SIZE, False, Reason.VOLATILITY_UNKNOWN, _asked, asked))
    quantity = quantity_on_step(margin * decimal_of(scale) * leverage / price, instrument.step_size)
    notional = quantity * price
    reason = None
    if quantity < instrument.min_quantity or quantity <= 0:
        reason = Reason.QUANTITY_BELOW_MINIMUM
    elif quantity > largest:
        reason = Reason.QUANTITY_ABOVE_MAXIMUM
    elif notional < instrument.min_notional:
        reason = Reason.NOTIONAL_BELOW_MINIMUM
    verdict = Check(SIZE, reason is None, reason or ALLOWED, _found, (asked, quantity, notional))
    return Sized(None if reason else quantity, verdict)


def _asked(
    margin: Decimal,
    leverage: int,
    price: Decimal,
    filter_scale: float,
    instrument: Instrument,
    largest: Decimal,
    volatility: Volatility | None,
) -> Values:
    values: Values = {
        "margin_usdt": float(margin),
        "leverage": leverage,
        "price": float(price),
        "filter_scale": filter_scale,
        "step_size": float(instrument.step_size),
        "min_quantity": float(instrument.min_quantity),
        "max_quantity": float(largest),
        "min_notional": float(instrument.min_notional),
    }
    return values if volatility is None else values | volatility.values()


def _found(asked: tuple[Any, ...], quantity: Decimal, notional: Decimal) -> Values:
    return _asked(*asked) | {"quantity": float(quantity), "notional": float(notional)}
