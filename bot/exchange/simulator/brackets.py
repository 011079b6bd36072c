"""Leverage brackets by symbol, from `brackets.toml`."""

import functools
import tomllib
from decimal import Decimal
from pathlib import Path

import msgspec

from bot.venue import MarginBracket

Step = tuple[int, Decimal, int]  # notional cap, maintenance rate, highest leverage


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    ladders: dict[str, tuple[Step, ...]]
    symbols: dict[str, str]  # of the ladder; not named: `others`


@functools.cache
def brackets_of(symbol: str) -> tuple[MarginBracket, ...]:
    """By rising notional."""
    table = _table()
    brackets, amount, rate_before, floor = [], Decimal(0), Decimal(0), Decimal(0)
    for cap, rate, leverage in table.ladders[table.symbols.get(symbol, "others")]:
        amount += floor * (rate - rate_before)
        brackets.append(
            MarginBracket(notional_cap=Decimal(cap), maintenance_rate=rate, amount=amount, max_leverage=leverage)
        )
        rate_before, floor = rate, Decimal(cap)
    return tuple(brackets)


@functools.cache
def _table() -> Table:
    text = Path(__file__).with_name("brackets.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), Table)
