"""Turns a decoding fault into one line that an operator can act on: the key, what was given, what is allowed."""

import difflib
import math
import re
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import inspect

_STEP = re.compile(r"\.(?P<field>\w+)|\[(?P<index>\d+)\]|\[\.\.\.\]")
_LONGEST_VALUE = 60  # characters of a wrong value that are shown


def unknown_key(raw: dict[str, Any], kind: type[msgspec.Struct], path: str = "") -> str | None:
    """The first key of `raw` that `kind` has no field for, as a line; None where all are known."""
    hints = get_type_hints(kind, include_extras=True)
    for key, value in raw.items():
        if key not in hints:
            close = difflib.get_close_matches(key, hints, n=1)
            guess = f'did you mean "{close[0]}"? ' if close else ""
            return f"key {_join(path, key)} is unknown; {guess}allowed here: {', '.join(hints)}"
        for place, row, table in _tables(value, hints[key], _join(path, key)):
            fault = unknown_key(row, table, place)
            if fault:
                return fault
    return None


def not_finite(raw: object, path: str = "") -> str | None:
    """The first `inf` or `nan` in `raw`, as a line; TOML can spell them and no key of ours may be one."""
    for key, value in _items(raw, path):
        if isinstance(value, float) and not math.isfinite(value):
            return f"key {key}: {value} is not allowed; expected a finite number"
        fault = not_finite(value, key)
        if fault:
            return fault
    return None


def wrong_value(error: msgspec.ValidationError, raw: dict[str, Any], kind: type[msgspec.Struct]) -> str:
    """The fault that msgspec found in `raw`, whose keys are all known, as a line."""
    message, _, place = str(error).rpartition(" - at `")
    if not message:
        message, place = str(error), "$`"
    path, value, hint = _walk(place.removesuffix("`"), raw, kind)
    missing = re.fullmatch(r"Object missing required field `(\w+)`", message)
    if missing:
        table = _struct_in(hint)
        assert table is not None
        wanted = get_type_hints(table, include_extras=True)[missing[1]]
        return f"key {_join(path, missing[1])} is missing; expected {allowed(wanted)}"
    if message.startswith(("Expected ", "Invalid ", "Number out of range", "Integer out of range")):
        return f"key {path}: {_shown(value)} is not allowed; expected {allowed(hint)}"
    return f"key {path}: {message}"


def allowed(hint: Any) -> str:
    """What values a type takes, in words."""
    return _words(inspect.type_info(hint))


def _words(node: inspect.Type) -> str:
    match node:
        case inspect.Metadata(extra_json_schema={"description": str(described)}):
            return described
        case inspect.Metadata(type=inner):
            return _words(inner)
        case inspect.UnionType(types=types):
            return " or ".join(_words(each) for each in types if not isinstance(each, inspect.NoneType))
        case inspect.LiteralType(values=values):
            return "one of " + ", ".join(f'"{value}"' for value in values)
        case inspect.EnumType(cls=words):
            return "one of " + ", ".join(f'"{word.value}"' for word in words)
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return "a whole number" + _range(node)
        case inspect.FloatType():
            return "a number" + _range(node)
        case inspect.StrType():
            return "a text"
        case inspect.ListType() | inspect.VarTupleType():
            some = "a list of one or more, each " if node.min_length else "a list, each "
            return some + _words(node.item_type)
        case inspect.StructType(fields=fields):
            return "a table with keys of " + ", ".join(field.name for field in fields)
        case inspect.DictType():
            return "a table"
    raise TypeError(f"no words for {node}")


def _range(node: inspect.IntType | inspect.FloatType) -> str:
    bounds = [
        f"{word} {limit}"
        for word, limit in (("above", node.gt), ("from", node.ge), ("below", node.lt), ("up to", node.le))
        if limit is not None
    ]
    if node.multiple_of is not None:
        bounds.append(f"in steps of {node.multiple_of}")
    return "".join(f" {bound}" for bound in bounds)


def _walk(place: str, raw: Any, hint: Any) -> tuple[str, Any, Any]:
    """Follow msgspec's path from the root: the key as a person writes it, the value there, its type."""
    path = ""
    for step in _STEP.finditer(place):
        options = list(_members(hint))
        if step["field"]:
            key: Any = step["field"]
            path = _join(path, key)
            hint = get_type_hints(next(each for each in options if _is_struct(each)), include_extras=True)[key]
        elif step["index"]:
            key = int(step["index"])
            path = f"{path}[{key}]"
            hint = next(get_args(each)[0] for each in options if get_origin(each) in (list, tuple))
        else:
            hint = next(get_args(each)[1] for each in options if get_origin(each) is dict)
            key = next(key for key, value in raw.items() if not _fits(value, hint))
            path = _join(path, key)
        raw = raw[key]
    return path, raw, hint


def _members(hint: Any) -> Iterator[Any]:
    """The plain types that a hint admits, None left out."""
    origin = get_origin(hint)
    if origin is Annotated:
        yield from _members(get_args(hint)[0])
    elif origin in (Union, UnionType):
        for each in get_args(hint):
            yield from _members(each)
    elif hint is not NoneType:
        yield hint


def _is_struct(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, msgspec.Struct)


def _struct_in(hint: Any) -> type[msgspec.Struct] | None:
    return next((each for each in _members(hint) if _is_struct(each)), None)


def _tables(value: object, hint: Any, path: str) -> Iterator[tuple[str, dict[str, Any], type[msgspec.Struct]]]:
    """The table that `value` is, or each table of the list that it is."""
    table = _struct_in(hint)
    if table is not None and isinstance(value, dict):
        yield path, value, table
    for each in _members(hint):
        if get_origin(each) in (list, tuple) and isinstance(value, list):
            rows = ((f"{path}[{index}]", row) for index, row in enumerate(value))
            yield from (found for place, row in rows for found in _tables(row, get_args(each)[0], place))


def _fits(value: object, hint: Any) -> bool:
    try:
        msgspec.convert(value, hint, strict=True)
    except msgspec.ValidationError:
        return False
    return True


def _items(raw: object, path: str) -> Iterator[tuple[str, object]]:
    if isinstance(raw, dict):
        yield from ((_join(path, key), value) for key, value in raw.items())
    elif isinstance(raw, list):
        yield from ((f"{path}[{index}]", value) for index, value in enumerate(raw))


def _join(path: str, key: str) -> str:
    shown = key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else repr(key)
    return f"{path}.{shown}" if path else shown


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "an empty list" if not value else "a list"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and value.bit_length() > _LONGEST_VALUE:
        return "a whole number that large"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"
