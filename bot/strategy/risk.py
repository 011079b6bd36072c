"""What an entry may not cost: caps on positions, one side per symbol, a share of the day's volume, the next funding."""

from decimal import Decimal

import msgspec

from bot.clock import DAY_MS
from bot.messages import Bars, FilterVerdict, Side
from bot.strategy.reasons import Reason
from bot.strategy.sizing import Values
from bot.strategy.verdicts import ALLOWED, CAPS, FUNDING, VOLUME_CAP


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


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What else bounds an entry; None: not looked at."""

    volume_share: float | None = None  # of the last day's traded quote volume, for one entry's notional
    liquidation_buffer_pct: float = 0.0  # of the entry price, between stop and liquidation
    funding_share: float | None = None  # of the predicted move, for the next funding payment


class Exposure(msgspec.Struct, frozen=True):
    """Everything that counts against the caps."""

    held: tuple[Held, ...] = ()

    def plus(self, one: Held) -> "Exposure":
        return Exposure((*self.held, one))


def caps_check(wanted: Held, exposure: Exposure, caps: Caps) -> FilterVerdict:
    """Whether `wanted` may be added to what is held."""
    opposite = sum(held.symbol == wanted.symbol and held.side is not wanted.side for held in exposure.held)
    own = [held for held in exposure.held if held.variant == wanted.variant]
    counts = {
        "symbol": (sum(held.symbol == wanted.symbol for held in own), caps.symbol, Reason.CAP_SYMBOL),
        "variant": (len(own), caps.variant, Reason.CAP_VARIANT),
        "tier": (sum(held.tier == wanted.tier for held in exposure.held), caps.tier, Reason.CAP_TIER),
        "account": (len(exposure.held), caps.account, Reason.CAP_ACCOUNT),
    }
    values: Values = {"opposite": opposite}
    reasons = [Reason.OPPOSITE_POSITION] if opposite else []
    for name, (count, cap, reason) in counts.items():
        values |= {f"{name}_held": count, f"{name}_cap": cap}
        if cap is not None and count >= cap:
            reasons.append(reason)
    return FilterVerdict(CAPS, not reasons, reasons[0] if reasons else ALLOWED, values)


def volume_check(notional: Decimal, bars: Bars, share: float | None) -> FilterVerdict:
    """Whether `notional` is at most `share` of what was traded in the last day: volume x close of its closed bars."""
    count = max(1, DAY_MS // bars.interval_ms)
    traded = float((bars.volume[-count:] * bars.close[-count:]).sum())
    values: Values = {"notional": float(notional), "day_volume_usdt": traded, "share_max": share}
    refused = share is not None and float(notional) > share * traded
    return FilterVerdict(VOLUME_CAP, not refused, Reason.VOLUME_CAP if refused else ALLOWED, values)


def funding_check(
    side: Side,
    predicted_return: float,
    rate: Decimal | None,
    due_at: int | None,
    held_until: int | None,
    share: float | None,
) -> FilterVerdict:
    """Whether the next funding payment costs at most `share` of the predicted move.

    A LONG pays a positive `rate` and is paid a negative one, a SHORT the other way round. The payment counts where the
    position may still be open at `due_at`: `held_until` is the last moment that it can be (None: there is no last).
    """
    values: Values = {
        "funding_rate": None if rate is None else float(rate),
        "next_funding_at": due_at,
        "held_until": held_until,
        "predicted_return": predicted_return,
        "share_max": share,
    }
    reason = None
    if share is not None and (rate is None or due_at is None):
        reason = Reason.FUNDING_UNKNOWN
    elif share is not None and rate is not None and due_at is not None:
        reached = held_until is None or due_at <= held_until
        cost = side.sign * float(rate) if reached else 0.0
        values["cost"] = cost
        reason = Reason.FUNDING_COST if cost > share * abs(predicted_return) else None
    return FilterVerdict(FUNDING, reason is None, reason or ALLOWED, values)
