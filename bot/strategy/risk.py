"""What may be added to what is held: one side per symbol, and caps per symbol, variant, tier and account."""

import msgspec

from bot.messages import Side
from bot.strategy.reasons import Reason


class Held(msgspec.Struct, frozen=True):
    """One open position, resting entry, or entry on its way to the desk."""

    variant: str
    tier: str
    symbol: str
    side: Side


class Caps(msgspec.Struct, frozen=True, kw_only=True):
    """The most positions at a time; None: no cap of its own."""

    symbol: int  # of the variant on one symbol
    variant: int | None  # of the variant over all its symbols
    tier: int | None  # over all variants of the tier
    account: int


class Exposure(msgspec.Struct, frozen=True):
    """Everything that counts against the caps."""

    held: tuple[Held, ...] = ()

    def plus(self, one: Held) -> "Exposure":
        return Exposure((*self.held, one))


def refusal(wanted: Held, exposure: Exposure, caps: Caps) -> Reason | None:
    """Why `wanted` may not be added; None where it may."""
    if any(held.symbol == wanted.symbol and held.side is not wanted.side for held in exposure.held):
        return Reason.OPPOSITE_POSITION
    own = [held for held in exposure.held if held.variant == wanted.variant]
    counts = (
        (sum(held.symbol == wanted.symbol for held in own), caps.symbol, Reason.CAP_SYMBOL),
        (len(own), caps.variant, Reason.CAP_VARIANT),
        (sum(held.tier == wanted.tier for held in exposure.held), caps.tier, Reason.CAP_TIER),
        (len(exposure.held), caps.account, Reason.CAP_ACCOUNT),
    )
    for count, cap, reason in counts:
        if cap is not None and count >= cap:
            return reason
    return None
