"""A variant's sizing, caps, limits and exits: its file over its tier's template, each key checked."""

from bot.clock import MINUTE_MS
from bot.config import ExitsTable, SizingTable
from bot.messages import ExitPlan
from bot.strategy.risk import Caps, Limits
from bot.strategy.sessions import SkipWindows
from bot.strategy.settings import Resolver
from bot.strategy.sizing import VolatilityTarget


def resolve_leverage(resolver: Resolver, given: SizingTable) -> int:
    tier = resolver.tier
    leverage = int(resolver.needed("sizing.leverage", given.leverage, tier.leverage))
    if tier.leverage_range is not None:
        least, most = tier.leverage_range
        resolver.note("tier.leverage_range", f"{least} to {most}", f"tier {tier.name}")
        if not least <= leverage <= most:
            raise resolver.fault(
                "sizing.leverage",
                f"{leverage} is not allowed in tier '{tier.name}'; expected a whole number from {least} up to {most}",
            )
    return leverage


def resolve_caps(resolver: Resolver, given: SizingTable, account: int) -> Caps:
    tier = resolver.tier
    symbol = resolver.needed(
        "sizing.max_positions_per_symbol", given.max_positions_per_symbol, tier.max_positions_per_symbol
    )
    variant = given.max_positions
    resolver.note("sizing.max_positions", variant, "default" if variant is None else "file")
    resolver.note("tier.max_positions", tier.max_positions, f"tier {tier.name}")
    resolver.note("account.max_positions", account, "bot.toml")
    return Caps(symbol=int(symbol), variant=variant, tier=tier.max_positions, account=account)


def resolve_volatility(resolver: Resolver, given: SizingTable) -> VolatilityTarget | None:
    """None where the target is 0: sizes do not depend on volatility."""
    template = resolver.tier.risk
    target, bars, least, most = (
        resolver.needed(f"sizing.{key}", getattr(given, key), getattr(template, key))
        for key in ("volatility_target_pct", "volatility_bars", "volatility_scale_min", "volatility_scale_max")
    )
    if least > most:
        raise resolver.fault(
            "sizing.volatility_scale_min", f"{least} is not allowed; expected at most volatility_scale_max ({most})"
        )
    return VolatilityTarget(target=target / 100, bars=int(bars), least=least, most=most) if target else None


def resolve_limits(resolver: Resolver, given: SizingTable) -> Limits:
    template = resolver.tier.risk
    volume = resolver.optional("sizing.volume_share_pct", given.volume_share_pct, template.volume_share_pct)
    buffer = resolver.needed(
        "sizing.liquidation_buffer_pct", given.liquidation_buffer_pct, template.liquidation_buffer_pct
    )
    funding = resolver.optional("sizing.funding_share_pct", given.funding_share_pct, template.funding_share_pct)
    return Limits(
        volume_share=None if volume is None else volume / 100,
        liquidation_buffer_pct=buffer,
        funding_share=None if funding is None else funding / 100,
    )


def resolve_exits(
    resolver: Resolver, given: ExitsTable, leverage: int, buffer_pct: float, windows: SkipWindows
) -> ExitPlan:
    """The exits of a position at `leverage`, whose stop must stand `buffer_pct` before the liquidation price."""
    tier = resolver.tier.exits
    stop = resolver.needed("exits.stop_pct", given.stop_pct, tier.stop_pct)
    if stop + buffer_pct >= 100 / leverage:
        raise resolver.fault(
            "exits.stop_pct",
            f"{stop} is not allowed: at leverage {leverage} liquidation is nearer; "
            f"expected below {100 / leverage - buffer_pct:g}",
        )
    target = resolver.optional("exits.target_pct", given.target_pct, tier.target_pct)
    arm, trail = _pair(resolver, given, tier, "trail_arm_pct", "trail_pct")
    floor_arm, floor_keep = _pair(resolver, given, tier, "floor_arm_pct", "floor_keep_pct")
    if floor_arm is not None and floor_keep is not None and floor_keep >= floor_arm:
        raise resolver.fault(
            "exits.floor_keep_pct", f"{floor_keep} is not allowed; expected below floor_arm_pct ({floor_arm})"
        )
    at_session_end = bool(
        resolver.pick("exits.close_at_session_end", given.close_at_session_end, tier.close_at_session_end)
    )
    if at_session_end and windows.session_end(0) is None:
        raise resolver.fault(
            "exits.close_at_session_end", "true is not allowed; expected skip windows to end a session"
        )
    return ExitPlan(
        stop_pct=stop,
        target_pct=target,
        trail_arm_pct=arm,
        trail_pct=trail,
        floor_arm_pct=floor_arm,
        floor_keep_pct=floor_keep,
        max_hold_ms=_duration(resolver, "exits.max_hold_minutes", given.max_hold_minutes, tier.max_hold_ms),
        red_after_ms=_duration(resolver, "exits.red_after_minutes", given.red_after_minutes, tier.red_after_ms),
        close_at_session_end=at_session_end,
    )


def _duration(resolver: Resolver, key: str, minutes: int | None, tier_ms: int | None) -> int | None:
    template = None if tier_ms is None else tier_ms // MINUTE_MS
    chosen = resolver.optional(key, minutes, template)
    return None if chosen is None else int(chosen) * MINUTE_MS


def _pair(
    resolver: Resolver, given: ExitsTable, tier: ExitPlan, first: str, second: str
) -> tuple[float | None, float | None]:
    """Two keys that make one rule: 0 in either switches it off, one without the other is a mistake."""
    values = [resolver.pick(f"exits.{key}", getattr(given, key), getattr(tier, key)) for key in (first, second)]
    if 0 in values:
        return None, None
    for key, other, value in ((first, second, values[0]), (second, first, values[1])):
        if value is None and values != [None, None]:
            raise resolver.fault(f"exits.{key}", f"is missing; expected together with {other} (0 switches both off)")
    return values[0], values[1]
