"""One variant as it will trade: its tier's template, its file over it, and its plugins."""

from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import TypeVar

import msgspec

from bot.clock import MINUTE_MS
from bot.config import ExitsTable, Option, VariantFile, money
from bot.errors import OperatorError
from bot.hookspecs import Candidate, EntryPlan, Options, TierTemplate
from bot.messages import ExitPlan, FilterVerdict
from bot.strategy.risk import Caps
from bot.strategy.sessions import SkipWindows

ValueT = TypeVar("ValueT")

BASE = "base"  # the only checkpoint served so far: the base model without an adapter

Judge = Callable[[Candidate, Options], FilterVerdict]
Propose = Callable[[Candidate, Options], EntryPlan | str]


class FilterPlugin(msgspec.Struct, frozen=True, kw_only=True):
    """A filter with the options it is called with. `judge` raises PluginFault and nothing else."""

    name: str
    options: Options
    judge: Judge
    shadow: bool = False  # its verdicts are logged, and have no say


class EntryPlugin(msgspec.Struct, frozen=True, kw_only=True):
    """An entry with the options it is called with. `propose` raises PluginFault and nothing else."""

    name: str
    options: Options
    propose: Propose


class Plugins(msgspec.Struct, frozen=True):
    """What was found, by name; options are the plugins' defaults."""

    tiers: Mapping[str, TierTemplate]
    filters: Mapping[str, FilterPlugin]
    entries: Mapping[str, EntryPlugin]


class Setting(msgspec.Struct, frozen=True):
    """One resolved key and where its value comes from."""

    key: str  # as in the TOML file
    value: Option | list[str] | None
    origin: str  # "file", "tier NAME", "plugin NAME" or "default"


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a decision of this variant depends on."""

    name: str
    tier: str
    checkpoint: str
    symbols: tuple[str, ...]
    minutes: tuple[int, ...]  # of the hour, ascending
    enabled: bool
    threshold: float  # |predicted return| that a signal needs, as a fraction
    margin: Decimal  # USDT per position
    leverage: int
    caps: Caps
    exits: ExitPlan
    windows: SkipWindows  # of the session filter where the variant has one, else the tier's
    filters: tuple[FilterPlugin, ...]  # in the order of the file
    entry: EntryPlugin
    entry_ttl_ms: int
    post_only: bool
    settings: tuple[Setting, ...]


class _Resolver:
    """Picks each value from the file, else from the tier, and remembers which it was."""

    def __init__(self, source: str, tier: TierTemplate) -> None:
        self.source = source
        self.tier = tier
        self.settings: list[Setting] = []

    def fault(self, key: str, allowed: str) -> OperatorError:
        return OperatorError(f"{self.source}: key {key}: {allowed}")

    def note(self, key: str, value: Option | list[str] | None, origin: str) -> None:
        self.settings.append(Setting(key, value, origin))

    def pick(self, key: str, given: float | None, template: float | None) -> float | None:
        """The file's value or the tier's; None: there is none."""
        value = template if given is None else given
        self.note(key, value, f"tier {self.tier.name}" if given is None else "file")
        return value

    def needed(self, key: str, given: float | None, template: float) -> float:
        value = self.pick(key, given, template)
        assert value is not None
        return value

    def optional(self, key: str, given: float | None, template: float | None) -> float | None:
        """As `pick`, but 0 switches the rule off."""
        value = self.pick(key, given, template)
        return value or None


def resolve(
    source: str,
    file: VariantFile,
    plugins: Plugins,
    account_max_positions: int,
    written: Collection[str] | None = None,
) -> Variant:
    """The variant that `file` (read from `source`) describes. OperatorError names file, key and what is allowed.

    `written`: the keys that stand in the file's table [variant]; None: those that differ from the default.
    """
    table = file.variant
    tier = _named(source, "variant.tier", table.tier, plugins.tiers, "tier")
    resolver = _Resolver(source, tier)
    _note_variant(resolver, file, written)
    if tier.checkpoint != BASE:
        raise resolver.fault(
            "variant.tier",
            f"tier '{tier.name}' names the checkpoint '{tier.checkpoint}'; expected '{BASE}', no other is served",
        )
    threshold = resolver.needed("variant.threshold_pct", table.threshold_pct, tier.threshold_pct)
    margin = resolver.needed("sizing.margin_usdt", file.sizing.margin_usdt, tier.margin_usdt)
    leverage = resolver.needed("sizing.leverage", file.sizing.leverage, tier.leverage)
    caps = _caps(resolver, file, account_max_positions)
    filters = _filters(resolver, file, plugins.filters)
    windows = _windows(tier, filters)
    exits = _exits(resolver, file.exits, tier.exits, leverage, windows)
    return Variant(
        name=table.name,
        tier=tier.name,
        checkpoint=tier.checkpoint,
        symbols=table.symbols,
        minutes=tuple(sorted(table.minutes)),
        enabled=table.enabled,
        threshold=threshold / 100,
        margin=money(margin),
        leverage=int(leverage),
        caps=caps,
        exits=exits,
        windows=windows,
        filters=filters,
        entry=_entry(resolver, file, plugins.entries),
        entry_ttl_ms=table.entry_ttl_minutes * MINUTE_MS,
        post_only=table.post_only,
        settings=tuple(resolver.settings),
    )


def _named(source: str, key: str, name: str, found: Mapping[str, ValueT], kind: str) -> ValueT:
    if name not in found:
        names = ", ".join(sorted(found)) or "none"
        raise OperatorError(f"{source}: key {key}: there is no {kind} plugin '{name}'; expected one of: {names}")
    return found[name]


def _note_variant(resolver: _Resolver, file: VariantFile, written: Collection[str] | None) -> None:
    table = file.variant
    defaults = {field.name: field.default for field in msgspec.structs.fields(table)}
    for key in ("name", "tier", "symbols", "minutes", "enabled", "entry", "filters", "entry_ttl_minutes", "post_only"):
        value = getattr(table, key)
        in_file = value != defaults[key] if written is None else key in written
        origin = "file" if in_file else "default"
        resolver.note(f"variant.{key}", list(value) if isinstance(value, tuple) else value, origin)
    resolver.note("variant.checkpoint", resolver.tier.checkpoint, f"tier {resolver.tier.name}")


def _caps(resolver: _Resolver, file: VariantFile, account: int) -> Caps:
    sizing, tier = file.sizing, resolver.tier
    symbol = resolver.needed(
        "sizing.max_positions_per_symbol", sizing.max_positions_per_symbol, tier.max_positions_per_symbol
    )
    variant = sizing.max_positions
    resolver.note("sizing.max_positions", variant, "default" if variant is None else "file")
    resolver.note("tier.max_positions", tier.max_positions, f"tier {tier.name}")
    resolver.note("account.max_positions", account, "bot.toml")
    return Caps(symbol=int(symbol), variant=variant, tier=tier.max_positions, account=account)


def _windows(tier: TierTemplate, filters: Sequence[FilterPlugin]) -> SkipWindows:
    for plugin in filters:
        if "skip_weekdays" in plugin.options and "skip_hours" in plugin.options:
            return SkipWindows(tuple(plugin.options["skip_weekdays"]), tuple(plugin.options["skip_hours"]))
    return SkipWindows(tier.skip_weekdays, tier.skip_hours)


def _exits(resolver: _Resolver, given: ExitsTable, tier: ExitPlan, leverage: float, windows: SkipWindows) -> ExitPlan:
    stop = resolver.needed("exits.stop_pct", given.stop_pct, tier.stop_pct)
    if stop * leverage >= 100:
        raise resolver.fault(
            "exits.stop_pct",
            f"{stop} is not allowed: at leverage {leverage:g} liquidation is nearer; expected below {100 / leverage:g}",
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


def _duration(resolver: _Resolver, key: str, minutes: int | None, tier_ms: int | None) -> int | None:
    template = None if tier_ms is None else tier_ms // MINUTE_MS
    chosen = resolver.optional(key, minutes, template)
    return None if chosen is None else int(chosen) * MINUTE_MS


def _pair(
    resolver: _Resolver, given: ExitsTable, tier: ExitPlan, first: str, second: str
) -> tuple[float | None, float | None]:
    """Two keys that make one rule: 0 in either switches it off, one without the other is a mistake."""
    values = [resolver.pick(f"exits.{key}", getattr(given, key), getattr(tier, key)) for key in (first, second)]
    if 0 in values:
        return None, None
    for key, other, value in ((first, second, values[0]), (second, first, values[1])):
        if value is None and values != [None, None]:
            raise resolver.fault(f"exits.{key}", f"is missing; expected together with {other} (0 switches both off)")
    return values[0], values[1]


def _filters(resolver: _Resolver, file: VariantFile, found: Mapping[str, FilterPlugin]) -> tuple[FilterPlugin, ...]:
    names = file.variant.filters
    _no_orphans(resolver, "filter", file.filter, names)
    filters = []
    for name in names:
        plugin = _named(resolver.source, "variant.filters", name, found, "filter")
        options = _options(resolver, f"filter.{name}", plugin.name, plugin.options, file.filter.get(name, {}))
        filters.append(msgspec.structs.replace(plugin, options=options))
    return tuple(filters)


def _entry(resolver: _Resolver, file: VariantFile, found: Mapping[str, EntryPlugin]) -> EntryPlugin:
    name = file.variant.entry
    plugin = _named(resolver.source, "variant.entry", name, found, "entry")
    _no_orphans(resolver, "entry", file.entry, (name,))
    options = _options(resolver, f"entry.{name}", name, plugin.options, file.entry.get(name, {}))
    return msgspec.structs.replace(plugin, options=options)


def _no_orphans(resolver: _Resolver, kind: str, tables: Mapping[str, object], named: Sequence[str]) -> None:
    for name in tables:
        if name not in named:
            raise resolver.fault(
                f"{kind}.{name}", f"this variant does not use it; expected one of: {', '.join(named) or 'none'}"
            )


def _options(
    resolver: _Resolver, key: str, plugin: str, defaults: Options, given: Mapping[str, Option]
) -> Mapping[str, Option]:
    """The file's options over the tier's (its skip windows, for a plugin with options of those names) over the
    plugin's own."""
    tier = resolver.tier
    windows: dict[str, Option] = {"skip_weekdays": list(tier.skip_weekdays), "skip_hours": list(tier.skip_hours)}
    for name in given:
        if name not in defaults:
            raise resolver.fault(f"{key}.{name}", f"is unknown; allowed here: {', '.join(sorted(defaults)) or 'none'}")
    options: dict[str, Option] = {}
    for name, default in defaults.items():
        if name in given:
            options[name], origin = _fitting(resolver, f"{key}.{name}", given[name], default), "file"
        elif windows.get(name):
            options[name], origin = windows[name], f"tier {tier.name}"
        else:
            options[name], origin = default, f"plugin {plugin}"
        resolver.note(f"{key}.{name}", options[name], origin)
    return MappingProxyType(options)


def _fitting(resolver: _Resolver, key: str, value: Option, default: Option) -> Option:
    """`value`, which must be of the default's type (a whole number will do for a float)."""
    limit = {"skip_weekdays": 6, "skip_hours": 23}.get(key.rpartition(".")[2])
    if limit and isinstance(value, list) and not all(type(one) is int and 0 <= one <= limit for one in value):
        raise resolver.fault(key, f"{value!r} is not allowed; expected a list of whole numbers from 0 up to {limit}")
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not type(default):
        kind = {float: "a number", int: "a whole number", str: "a string", bool: "true or false", list: "a list"}
        raise resolver.fault(key, f"{value!r} is not allowed; expected {kind[type(default)]}")
    return value
