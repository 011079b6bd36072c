"""One variant as it will trade: its tier's template, its file over it, and its plugins."""

from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import TypeVar

import msgspec

from bot.clock import MINUTE_MS
from bot.config import Option, VariantFile, money
from bot.errors import OperatorError
from bot.hookspecs import Candidate, EntryPlan, Options, TierTemplate
from bot.messages import Bars, ExitPlan, FilterVerdict, Floats
from bot.strategy.risk import Caps, Limits
from bot.strategy.sessions import SkipWindows
from bot.strategy.settings import Resolver, Setting
from bot.strategy.sizing import VolatilityTarget
from bot.strategy.templates import resolve_caps, resolve_exits, resolve_leverage, resolve_limits, resolve_volatility

ValueT = TypeVar("ValueT")

SHADOW = "shadow"  # the key of every filter's table that is not the plugin's

Judge = Callable[[Candidate, Options], FilterVerdict]
Propose = Callable[[Candidate, Options], EntryPlan | str]
CheckOptions = Callable[[Options], str | None]


def any_options(options: Options) -> str | None:
    """Of a plugin that takes its options as they come."""
    return None


class FilterPlugin(msgspec.Struct, frozen=True, kw_only=True):
    """A filter with the options it is called with. `judge` raises PluginFault and nothing else."""

    name: str
    options: Options
    judge: Judge
    check: CheckOptions = any_options  # what is wrong with options; None: nothing
    shadow: bool = False  # its verdicts are logged, and have no say


class EntryPlugin(msgspec.Struct, frozen=True, kw_only=True):
    """An entry with the options it is called with. `propose` raises PluginFault and nothing else."""

    name: str
    options: Options
    propose: Propose
    check: CheckOptions = any_options


class RulePlugin(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that predicts from bars alone. `predict` raises PluginFault and nothing else."""

    name: str
    options: Options
    predict: Callable[[Bars, Options], Floats]


class Plugins(msgspec.Struct, frozen=True):
    """What was found, by name; options are the plugins' defaults."""

    tiers: Mapping[str, TierTemplate]
    filters: Mapping[str, FilterPlugin]
    entries: Mapping[str, EntryPlugin]
    rules: Mapping[str, RulePlugin] = {}


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
    volatility: VolatilityTarget | None  # None: the size does not depend on it
    caps: Caps
    limits: Limits
    exits: ExitPlan
    windows: SkipWindows  # of the session filter where the variant has one, else the tier's
    filters: tuple[FilterPlugin, ...]  # in the order of the file
    entry: EntryPlugin
    entry_ttl_ms: int
    post_only: bool
    settings: tuple[Setting, ...]


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
    resolver = Resolver(source, tier)
    _note_variant(resolver, file, written)
    threshold = resolver.needed("variant.threshold_pct", table.threshold_pct, tier.threshold_pct)
    margin = resolver.needed("sizing.margin_usdt", file.sizing.margin_usdt, tier.margin_usdt)
    leverage = resolve_leverage(resolver, file.sizing)
    caps = resolve_caps(resolver, file.sizing, account_max_positions)
    volatility = resolve_volatility(resolver, file.sizing)
    limits = resolve_limits(resolver, file.sizing)
    filters = _filters(resolver, file, plugins.filters)
    windows = _windows(tier, filters)
    exits = resolve_exits(resolver, file.exits, leverage, limits.liquidation_buffer_pct, windows)
    return Variant(
        name=table.name,
        tier=tier.name,
        checkpoint=tier.checkpoint,
        symbols=table.symbols,
        minutes=tuple(sorted(table.minutes)),
        enabled=table.enabled,
        threshold=threshold / 100,
        margin=money(margin),
        leverage=leverage,
        volatility=volatility,
        caps=caps,
        limits=limits,
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


def _note_variant(resolver: Resolver, file: VariantFile, written: Collection[str] | None) -> None:
    table = file.variant
    defaults = {field.name: field.default for field in msgspec.structs.fields(table)}
    for key in ("name", "tier", "symbols", "minutes", "enabled", "entry", "filters", "entry_ttl_minutes", "post_only"):
        value = getattr(table, key)
        in_file = value != defaults[key] if written is None else key in written
        origin = "file" if in_file else "default"
        resolver.note(f"variant.{key}", list(value) if isinstance(value, tuple) else value, origin)
    resolver.note("variant.checkpoint", resolver.tier.checkpoint, f"tier {resolver.tier.name}")


def _windows(tier: TierTemplate, filters: Sequence[FilterPlugin]) -> SkipWindows:
    for plugin in filters:
        if "skip_weekdays" in plugin.options and "skip_hours" in plugin.options:
            return SkipWindows(tuple(plugin.options["skip_weekdays"]), tuple(plugin.options["skip_hours"]))
    return SkipWindows(tier.skip_weekdays, tier.skip_hours)


def _filters(resolver: Resolver, file: VariantFile, found: Mapping[str, FilterPlugin]) -> tuple[FilterPlugin, ...]:
    names = file.variant.filters
    _no_orphans(resolver, "filter", file.filter, names)
    filters = []
    for name in names:
        plugin = _named(resolver.source, "variant.filters", name, found, "filter")
        given = dict(file.filter.get(name, {}))
        shadow = _shadow(resolver, f"filter.{name}.{SHADOW}", given.pop(SHADOW, None))
        options = _options(resolver, f"filter.{name}", plugin, given)
        filters.append(msgspec.structs.replace(plugin, options=options, shadow=shadow))
    return tuple(filters)


def _shadow(resolver: Resolver, key: str, given: Option | None) -> bool:
    """The one key that every filter has: whether its verdicts are logged only."""
    resolver.note(key, given is not None and given, "default" if given is None else "file")
    return given is not None and bool(_fitting(resolver, key, given, False))


def _entry(resolver: Resolver, file: VariantFile, found: Mapping[str, EntryPlugin]) -> EntryPlugin:
    name = file.variant.entry
    plugin = _named(resolver.source, "variant.entry", name, found, "entry")
    _no_orphans(resolver, "entry", file.entry, (name,))
    options = _options(resolver, f"entry.{name}", plugin, file.entry.get(name, {}))
    return msgspec.structs.replace(plugin, options=options)


def _no_orphans(resolver: Resolver, kind: str, tables: Mapping[str, object], named: Sequence[str]) -> None:
    for name in tables:
        if name not in named:
            raise resolver.fault(
                f"{kind}.{name}", f"this variant does not use it; expected one of: {', '.join(named) or 'none'}"
            )


def _options(
    resolver: Resolver, key: str, plugin: FilterPlugin | EntryPlugin, given: Mapping[str, Option]
) -> Mapping[str, Option]:
    """The file's options over the tier's (its skip windows, for a plugin with options of those names) over the
    plugin's own."""
    tier = resolver.tier
    windows: dict[str, Option] = {"skip_weekdays": list(tier.skip_weekdays), "skip_hours": list(tier.skip_hours)}
    for name in given:
        if name not in plugin.options:
            allowed = ", ".join(sorted(plugin.options)) or "none"
            raise resolver.fault(f"{key}.{name}", f"is unknown; allowed here: {allowed}")
    options: dict[str, Option] = {}
    for name, default in plugin.options.items():
        if name in given:
            options[name], origin = _fitting(resolver, f"{key}.{name}", given[name], default), "file"
        elif windows.get(name):
            options[name], origin = windows[name], f"tier {tier.name}"
        else:
            options[name], origin = default, f"plugin {plugin.name}"
        resolver.note(f"{key}.{name}", options[name], origin)
    wrong = plugin.check(options)
    if wrong is not None:
        raise resolver.fault(key, wrong)
    return MappingProxyType(options)


def _fitting(resolver: Resolver, key: str, value: Option, default: Option) -> Option:
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
