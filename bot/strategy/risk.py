"""What an entry may not cost: caps on positions, one side per symbol, a share of the day's volume, the next funding."""

from decimal import Decimal

import msgspec

from bot.clock import DAY_MS
from bot.messages import Bars, Side
from bot.strategy.reasons import Reason
from bot.strategy.verdicts import ALLOWED, CAPS, FUNDING, VOLUME_CAP, Check, Values


class Held(msgspec.Struct, frozen=True, gc=False):
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


class Counts(msgspec.Struct, frozen=True, gc=False):
    """What is held already that a wanted position comes beside."""

    opposite: int  # of its symbol, on the other side
    symbol: int  # of its variant on its symbol
    variant: int
    tier: int
    account: int


def counted(wanted: Held, exposure: Exposure) -> Counts:
    opposite = symbol = variant = tier = 0
    for held in exposure.held:
        here = held.symbol == wanted.symbol
        opposite += here and held.side is not wanted.side
        tier += held.tier == wanted.tier
        if held.variant == wanted.variant:
            variant += 1
            symbol += here
    return Counts(opposite, symbol, variant, tier, len(exposure.held))


def caps_check(wanted: Held, exposure: Exposure, caps: Caps) -> Check:
    """Whether `wanted` may be added to what is held."""
    held = counted(wanted, exposure)
    reason = ALLOWED
    if held.opposite:
        reason = Reason.OPPOSITE_POSITION
    elif held.symbol >= caps.symbol:
        reason = Reason.CAP_SYMBOL
    elif caps.variant is not None and held.variant >= caps.variant:
        reason = Reason.CAP_VARIANT
    elif caps.tier is not None and held.tier >= caps.tier:
        reason = Reason.CAP_TIER
    elif held.account >= caps.account:
        reason = Reason.CAP_ACCOUNT
    return Check(CAPS, reason is ALLOWED, reason, _caps_values, (held, caps))


def _caps_values(held: Counts, caps: Caps) -> Values:
    values: Values = {"opposite": held.opposite}
    for name in ("symbol", "variant", "tier", "account"):
        values |= {f"{name}_held": getattr(held, name), f"{name}_cap": getattr(caps, name)}
    return values


def volume_check(notional: Decimal, bars: Bars, share: float | None) -> Check:
    """Whether `notional` is at most `share` of what was traded in the last day: volume x close of its closed bars."""
    refused = share is not None and float(notional) > share * _traded(bars)
    reason = Reason.VOLUME_CAP if refused else ALLOWED
    return Check(VOLUME_CAP, not refused, reason, _volume_values, (notional, bars, share))


def _traded(bars: Bars) -> float:
    count = max(1, DAY_MS // bars.interval_ms)
    return float((bars.volume[-count:] * bars.close[-count:]).sum())


def _volume_values(notional: Decimal, bars: Bars, share: float | None) -> Values:
    return {"notional": float(notional), "day_volume_usdt": _traded(bars), "share_max": share}


def funding_check(
    side: Side,
    predicted_return: float,
    rate: Decimal | None,
    due_at: int | None,
    held_until: int | None,
    share: float | None,
) -> Check:
    """Whether the next funding payment costs at most `share` of the predicted move.

    A LONG pays a positive `rate` and is paid a negative one, a SHORT the other way round. The payment counts where the
    position may still be open at `due_at`: `held_until` is the last moment that it can be (None: there is no last).
    """
    reason, cost = ALLOWED, None
    if share is not None and (rate is None or due_at is None):
        reason = Reason.FUNDING_UNKNOWN
    elif share is not None and rate is not None and due_at is not None:
        reached = held_until is None or due_at <= held_until
        cost = side.sign * float(rate) if reached else 0.0
        reason = Reason.FUNDING_COST if cost > share * abs(predicted_return) else ALLOWED
    given = (predicted_return, rate, due_at, held_until, share, cost)
    return Check(FUNDING, reason is ALLOWED, reason, _funding_values, given)


def _funding_values(
    predicted_return: float,
    rate: Decimal | None,
    due_at: int | None,
    held_until: int | None,
    share: float | None,
    cost: float | None,
) -> Values:
    values: Values = {
        "funding_rate": None if rate is None else float(rate),
        "next_funding_at": due_at,
        "held_until": held_until,
        "predicted_return": predicted_return,
        "share_max": share,
    }
    return values if cost is None else values | {"cost": cost}
