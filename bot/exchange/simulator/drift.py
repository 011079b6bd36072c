"""Payloads as a changed API would send them: new keys, missing keys, numbers as texts and the reverse, new words."""

import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from bot.exchange.fault_kinds import FaultKind
from bot.exchange.faults import Fault

NUMBER = re.compile(r"-?\d+(\.\d+)?")
NEW_KEYS = {"addedLater": "1", "addedTable": {"enabled": True, "rows": [1, 2]}}
NEW_WORD = "ADDED_LATER"
FULL_LISTING = 919  # symbols that the venue lists


def bend(payload: Any, faults: Iterable[Fault]) -> Any:
    """The payload as the faults have it; what is given stays as it is."""
    for fault in faults:
        bent = _BENDS.get(fault.kind)
        if bent is not None:
            payload = bent(payload, fault)
    return payload


def extend_listing(info: dict[str, Any], symbols: int) -> dict[str, Any]:
    """exchangeInfo with so many symbols; those that are added cannot be told from real ones by their rows."""
    listed = info["symbols"]
    fillers = (_filler(listed[0], number) for number in range(len(listed), symbols))
    return info | {"symbols": [*listed, *fillers]}


def _filler(row: dict[str, Any], number: int) -> dict[str, Any]:
    name = f"FILL{number:04d}"
    return row | {"symbol": name + "USDT", "pair": name + "USDT", "baseAsset": name}


def _with_new_keys(payload: Any, fault: Fault) -> Any:
    if isinstance(payload, list):
        return [_with_new_keys(row, fault) for row in payload]
    if not isinstance(payload, dict):
        return payload
    return {key: _with_new_keys(value, fault) for key, value in payload.items()} | NEW_KEYS


def _without_key(payload: Any, fault: Fault) -> Any:
    if isinstance(payload, list):
        return [_without_key(row, fault) for row in payload]
    if not isinstance(payload, dict):
        return payload
    return {key: _without_key(value, fault) for key, value in payload.items() if key != fault.key}


def _with_values(change: Callable[[Any], Any]) -> Callable[[Any, Fault], Any]:
    """Change the values of the named key, or all where none is named, at any depth."""

    def bent(payload: Any, fault: Fault, named: bool = False) -> Any:
        if isinstance(payload, list):
            return [bent(row, fault, named) for row in payload]
        if isinstance(payload, dict):
            return {key: bent(value, fault, key == fault.key) for key, value in payload.items()}
        return change(payload) if named or fault.key is None else payload

    return bent


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _as_number(value: Any) -> Any:
    if not isinstance(value, str) or not NUMBER.fullmatch(value):
        return value
    return float(Decimal(value)) if "." in value else int(value)


def _as_new_word(value: Any) -> Any:
    return NEW_WORD if isinstance(value, str) else value


_BENDS: dict[FaultKind, Callable[[Any, Fault], Any]] = {
    FaultKind.EXTRA_KEYS: _with_new_keys,
    FaultKind.MISSING_FIELD: _without_key,
    FaultKind.NUMBER_AS_TEXT: _with_values(_as_text),
    FaultKind.TEXT_AS_NUMBER: _with_values(_as_number),
    FaultKind.UNKNOWN_ENUM: _with_values(_as_new_word),
}
