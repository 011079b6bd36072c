"""Finds plugins, refuses broken ones at start, and calls the others so that a fault never opens a trade.

A plugin is a file `tiers/NAME.py`, `filters/NAME.py`, `entries/NAME.py` or `rules/NAME.py` in a plugin folder, a
loose `NAME.py` in one, or an entry point of the group `tsfm_bot.plugins`. This is the one place that catches Exception:
what a third party's code may raise has no bound.
"""

import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType, NoneType
from typing import Any, NamedTuple, TypeGuard, TypeVar

import msgspec
import numpy as np
import pluggy

import bot
from bot.clock import MINUTE_MS
from bot.config import Option, VariantFile, decode
from bot.errors import OperatorError, PluginFault
from bot.hookspecs import PROJECT, Candidate, EntryPlan, Options, Specs, TierTemplate
from bot.messages import Bars, FilterVerdict, Floats
from bot.strategy.variant import (
    SHADOW,
    CheckOptions,
    EntryPlugin,
    FilterPlugin,
    Judge,
    Plugins,
    Propose,
    RulePlugin,
    any_options,
)
from bot.strategy.verdicts import CHECKS

ENTRY_POINTS = "tsfm_bot.plugins"
FOLDERS = {
    "tiers": "tier",
    "filters": "judge",
    "entries": "propose",
    "rules": "predict",
}  # folder: the hook of its plugins
KINDS = {"tier": "tier", "judge": "filter", "propose": "entry", "predict": "rule"}  # hook: the word for its plugins
PLAIN = frozenset({bool, int, float, str, NoneType, Decimal})
AnswerT = TypeVar("AnswerT", bound=msgspec.Struct)


class PluginRow(msgspec.Struct, frozen=True):
    """One found plugin, as the command `plugins` lists it."""

    name: str
    kind: str
    source: str  # file, or distribution of the entry point
    options: dict[str, Option]
    about: str  # first line of its docstring


class _Found(NamedTuple):
    """Something that calls itself a plugin."""

    name: str
    source: str
    load: Callable[[], object]
    hook: str | None  # the hook that its folder asks for


class PluginHost:
    """All plugins of the process, by name."""

    def __init__(self, plugins: Plugins, rows: Sequence[PluginRow]) -> None:
        self.plugins = plugins
        self._rows = tuple(rows)

    @classmethod
    def load(cls, extra: Iterable[Path] = (), *, installed: bool = True) -> "PluginHost":
        """Load the shipped plugins, those of the `extra` folders and (`installed`) those of entry points.

        OperatorError names the plugin and where it is from: a duplicate name, a broken import, no hook or several, a
        misspelt one, a wrong signature, a coroutine or generator.
        """
        manager = pluggy.PluginManager(PROJECT)
        manager.add_hookspecs(Specs)
        found = [plugin for folder in _distinct([default_folder(), *extra]) for plugin in _in_folder(folder)]
        found += _in_entry_points() if installed else []
        tiers: dict[str, TierTemplate] = {}
        filters: dict[str, FilterPlugin] = {}
        entries: dict[str, EntryPlugin] = {}
        rules: dict[str, RulePlugin] = {}
        rows: dict[str, PluginRow] = {}
        for one in found:
            if one.name in rows:
                raise _refused(one, f"the name is taken by {rows[one.name].source}")
            plugin = _loaded(one)
            hook, function = _only_hook(manager, one, plugin)
            options = _options(one, plugin)
            if hook == "tier":
                tiers[one.name] = _template(one, function)
            elif hook == "judge":
                if one.name in CHECKS:
                    raise _refused(one, f"a filter may not be named as a check of the bot's own: {', '.join(CHECKS)}")
                if SHADOW in options:
                    raise _refused(one, f"'{SHADOW}' is a key that every filter has; no option may be called so")
                judge = _guarded_judge(one.name, function)
                filters[one.name] = FilterPlugin(
                    name=one.name, options=options, judge=judge, check=_guarded_check(one, plugin)
                )
            elif hook == "predict":
                rules[one.name] = RulePlugin(
                    name=one.name, options=options, predict=_guarded_predict(one.name, function)
                )
            else:
                propose = _guarded_propose(one.name, function)
                entries[one.name] = EntryPlugin(
                    name=one.name, options=options, propose=propose, check=_guarded_check(one, plugin)
                )
            rows[one.name] = PluginRow(one.name, KINDS[hook], one.source, dict(options), _about(plugin))
        return cls(Plugins(tiers, filters, entries, rules), list(rows.values()))

    def describe(self) -> list[PluginRow]:
        """What was found and from where, by kind and name."""
        kinds = list(KINDS.values())
        return sorted(self._rows, key=lambda row: (kinds.index(row.kind), row.name))


def default_folder() -> Path:
    """The folder `plugins` beside the package `bot`, in a checkout and where both are installed."""
    return Path(bot.__file__).resolve().parent.parent / "plugins"


def _distinct(folders: Sequence[Path]) -> list[Path]:
    return list(dict.fromkeys(folder.resolve() for folder in folders))


def _in_folder(folder: Path) -> Iterator[_Found]:
    if not folder.is_dir():
        raise OperatorError(f"{folder}: no such plugin folder")
    for path in sorted(folder.glob("*.py")):
        if not path.name.startswith("_"):
            yield _Found(path.stem, str(path), partial(_import, path), None)
    for name, hook in FOLDERS.items():
        for path in sorted((folder / name).glob("*.py")):
            if not path.name.startswith("_"):
                yield _Found(path.stem, str(path), partial(_import, path), hook)


def _in_entry_points() -> list[_Found]:
    return [
        _Found(point.name, f"{point.dist.name} {point.dist.version}" if point.dist else point.value, point.load, None)
        for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name)
    ]


def _import(path: Path) -> ModuleType:
    name = f"bot_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _refused(one: _Found, why: str) -> OperatorError:
    return OperatorError(f"{one.source}: plugin '{one.name}': {why}")


def _loaded(one: _Found) -> object:
    try:
        return one.load()
    except Exception as error:
        raise _refused(one, f"cannot be imported: {type(error).__name__}: {error}") from error


def _only_hook(manager: pluggy.PluginManager, one: _Found, plugin: object) -> tuple[str, Callable[..., object]]:
    """The plugin's one hook and the function behind it, validated."""
    try:
        manager.register(plugin, one.name)
    except (pluggy.PluginValidationError, ValueError) as error:
        raise _refused(one, " ".join(str(error).split())) from error
    callers = manager.get_hookcallers(plugin) or []
    for caller in callers:
        if not caller.has_spec():
            raise _refused(one, f"'{caller.name}' is no hook; a plugin implements one of {', '.join(KINDS)}")
    names = [caller.name for caller in callers]
    if len(names) != 1:
        has = f"has {len(names)} hooks ({', '.join(names)})" if names else "has no hook marked with @hookimpl"
        raise _refused(one, f"{has}; a plugin implements exactly one of {', '.join(KINDS)}")
    hook = names[0]
    if one.hook is not None and hook != one.hook:
        raise _refused(one, f"implements '{hook}'; in this folder it must implement '{one.hook}'")
    [implementation] = [impl for impl in callers[0].get_hookimpls() if impl.plugin is plugin]
    function = implementation.function
    if any(check(function) for check in (inspect.iscoroutinefunction, inspect.isasyncgenfunction)):
        raise _refused(one, f"'{hook}' is async; a hook is an ordinary function")
    if inspect.isgeneratorfunction(function) or implementation.wrapper or implementation.hookwrapper:
        raise _refused(one, f"'{hook}' is a generator or wrapper; a hook is an ordinary function")
    wanted = implementation.argnames
    return hook, lambda **given: function(*[given[name] for name in wanted])


def _options(one: _Found, plugin: object) -> Mapping[str, Option]:
    options = getattr(plugin, "OPTIONS", {})  # a plugin without options need not say so
    try:
        return msgspec.convert(options, dict[str, Option], strict=True)
    except msgspec.ValidationError as error:
        raise _refused(one, f"OPTIONS must map names to numbers, text, booleans or lists: {error}") from error


def _guarded_check(one: _Found, plugin: object) -> CheckOptions:
    """The plugin's own `check_options`, which need not be there; a broken one ends the start too."""
    check = getattr(plugin, "check_options", any_options)

    def guarded(options: Options) -> str | None:
        try:
            wrong = check(options)
        except Exception as error:
            raise _refused(one, f"check_options raised {type(error).__name__}: {error}") from error
        if wrong is not None and not isinstance(wrong, str):
            raise _refused(one, f"check_options returned {type(wrong).__name__}, not text or None")
        return wrong

    return guarded


def _about(plugin: object) -> str:
    lines = (inspect.getdoc(plugin) or "").splitlines()
    return lines[0] if lines else ""


def _template(one: _Found, function: Callable[..., object]) -> TierTemplate:
    """The tier's template, whose numbers must be such as a variant's file may give."""
    try:
        template = _answer(one.name, function, TierTemplate)
    except PluginFault as fault:
        raise _refused(one, fault.reason) from fault
    if template.name != one.name:
        raise _refused(one, f"its template is named '{template.name}'; it must carry the plugin's name")
    exits = {key: value for key, value in msgspec.structs.asdict(template.exits).items() if value is not None}
    for rule in ("max_hold", "red_after"):
        if f"{rule}_ms" in exits:
            exits[f"{rule}_minutes"] = exits.pop(f"{rule}_ms") // MINUTE_MS
    table = {"name": one.name, "tier": one.name, "symbols": ["ANYUSDT"], "threshold_pct": template.threshold_pct}
    sizing = {key: getattr(template, key) for key in ("margin_usdt", "leverage", "max_positions_per_symbol")}
    sizing |= msgspec.structs.asdict(template.risk)
    decode({"variant": table, "sizing": sizing, "exits": exits}, VariantFile, f"{one.source}: plugin '{one.name}'")
    return template


def _guarded_judge(name: str, function: Callable[..., object]) -> Judge:
    def judge(candidate: Candidate, options: Options) -> FilterVerdict:
        verdict = _answer(name, function, FilterVerdict, candidate=candidate, options=options)
        return msgspec.structs.replace(verdict, filter=name)

    return judge


def _guarded_propose(name: str, function: Callable[..., object]) -> Propose:
    def propose(candidate: Candidate, options: Options) -> EntryPlan | str:
        answer = _call(name, function, candidate=candidate, options=options)
        if isinstance(answer, str) and answer:
            return answer
        plan = answer if _is_plan(answer) else _checked(name, answer, EntryPlan)
        price: object = getattr(answer, "price", None)  # `plan` has it converted, from a float or text too
        if price is not None and not (isinstance(price, Decimal) and price.is_finite() and price > 0):
            raise PluginFault(name, f"proposed the price {price!r}, which is no Decimal above 0")
        return plan

    return propose


def _is_plan(answer: object) -> TypeGuard[EntryPlan]:
    """Whether its fields have their very types: the usual answer, which needs no conversion."""
    return (
        type(answer) is EntryPlan
        and type(answer.price) in (NoneType, Decimal)
        and type(answer.post_only) is bool
        and type(answer.reason) is str
    )


def _guarded_predict(name: str, function: Callable[..., object]) -> Callable[[Bars, Options], Floats]:
    def predict(bars: Bars, options: Options) -> Floats:
        answer = _call(name, function, bars=bars, options=options)
        if not isinstance(answer, np.ndarray) or answer.shape != (len(bars),) or answer.dtype != np.float64:
            raise PluginFault(name, f"must return an array of {len(bars)} floats, one a bar")
        return answer

    return predict


def _answer(name: str, function: Callable[..., object], kind: type[AnswerT], **given: object) -> AnswerT:
    return _checked(name, _call(name, function, **given), kind)


def _call(name: str, function: Callable[..., object], **given: object) -> object:
    try:
        return function(**given)
    except Exception as error:
        raise PluginFault(name, f"raised {type(error).__name__}: {error}") from error


def _checked(name: str, answer: object, kind: type[AnswerT]) -> AnswerT:
    """`answer` as a `kind` whose fields have their types too, which a struct's constructor does not check."""
    if not isinstance(answer, kind):
        if inspect.iscoroutine(answer):
            answer.close()
        raise PluginFault(name, f"returned {type(answer).__name__}, not {kind.__name__}")
    try:
        return msgspec.convert(_plain(answer), kind, strict=True)
    except (msgspec.ValidationError, TypeError) as error:
        raise PluginFault(name, f"returned a broken {kind.__name__}: {error}") from error


def _plain(value: Any) -> Any:
    """Structs as dictionaries and NumPy's scalars as Python's, for the type check."""
    if isinstance(value, msgspec.Struct):
        value = msgspec.structs.asdict(value)
    if isinstance(value, Mapping):
        return {key: one if type(one) in PLAIN else _plain(one) for key, one in value.items()}
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return value.item()
    return value
