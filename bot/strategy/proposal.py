"""What would be sent to the desk for a candidate: the entry plugin's plan on the tick, with its exits and its end."""

from decimal import Decimal

import msgspec

from bot.errors import PluginFault
from bot.hookspecs import Candidate, EntryPlan
from bot.messages import EntryIntent, ExitPlan
from bot.strategy.exits import dated
from bot.strategy.reasons import Reason, broken, no_entry
from bot.strategy.rounding import limit_on_tick
from bot.strategy.variant import Variant
from bot.strategy.verdicts import ALLOWED, ENTRY, Check, Values


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """An entry but for its quantity, or why there is none."""

    created_at: int
    expires_at: int
    exits: ExitPlan
    refused: str | None = None
    price: Decimal | None = None  # None: at market
    asked: float | None = None  # the plugin's price, not on the tick yet
    post_only: bool = False
    words: str = ""  # the plugin's own

    @property
    def held_until(self) -> int | None:
        """The last moment at which what came of it may be open; None: there is no last."""
        ends = [] if self.exits.session_end_at is None else [self.exits.session_end_at]
        if self.exits.max_hold_ms is not None:
            ends.append((self.created_at if self.price is None else self.expires_at) + self.exits.max_hold_ms)
        return min(ends, default=None)


def propose(variant: Variant, candidate: Candidate, now: int) -> Proposal:
    exits = dated(variant.exits, variant.windows, now)
    expires_at = now + variant.entry_ttl_ms
    if exits.session_end_at is not None:
        expires_at = min(expires_at, exits.session_end_at)
    plan = _ask(variant, candidate)
    if isinstance(plan, str):
        return Proposal(created_at=now, expires_at=expires_at, exits=exits, refused=plan)
    if plan.price is None:
        return Proposal(created_at=now, expires_at=expires_at, exits=exits, words=plan.reason)
    empty, asked = Proposal(created_at=now, expires_at=expires_at, exits=exits), float(plan.price)
    if candidate.side.sign * (asked - candidate.last_price) > 0:
        return msgspec.structs.replace(empty, refused=str(Reason.ENTRY_WRONG_SIDE), asked=asked)
    on_tick = limit_on_tick(plan.price, candidate.side, candidate.instrument.tick_size)
    if on_tick <= 0:
        return msgspec.structs.replace(empty, refused=broken(variant.entry.name), asked=asked)
    post_only = plan.post_only or variant.post_only
    return msgspec.structs.replace(empty, price=on_tick, asked=asked, post_only=post_only, words=plan.reason)


def _ask(variant: Variant, candidate: Candidate) -> EntryPlan | str:
    try:
        plan = variant.entry.propose(candidate, variant.entry.options)
    except PluginFault:
        return broken(variant.entry.name)
    return no_entry(plan) if isinstance(plan, str) else plan


def entry_check(candidate: Candidate, proposal: Proposal) -> Check:
    """The word on the entry, with all that it takes to follow the signal to its end later, entered or not."""
    reason = proposal.refused or proposal.words or ALLOWED
    return Check(ENTRY, proposal.refused is None, reason, _entry_values, (candidate, proposal))


def _entry_values(candidate: Candidate, proposal: Proposal) -> Values:
    return {
        "last_price": candidate.last_price,
        "asked_price": proposal.asked,
        "tick_size": float(candidate.instrument.tick_size),
        "post_only": proposal.post_only,
        "created_at": proposal.created_at,
        "expires_at": proposal.expires_at,
        **msgspec.structs.asdict(proposal.exits),
    }


def intent_of(
    signal_id: str, variant: Variant, candidate: Candidate, proposal: Proposal, quantity: Decimal
) -> EntryIntent:
    return EntryIntent(
        signal_id=signal_id,
        variant=variant.name,
        tier=variant.tier,
        symbol=candidate.symbol,
        side=candidate.side,
        quantity=quantity,
        limit_price=proposal.price,
        post_only=proposal.post_only,
        created_at=proposal.created_at,
        expires_at=proposal.expires_at,
        leverage=variant.leverage,
        exits=proposal.exits,
    )
