"""Order filters of well-known symbols from `instruments.toml`, and derived ones for every other name."""

import functools
import math
import tomllib
from decimal import Decimal
from pathlib import Path

import msgspec

from bot.exchange.simulator.brackets import brackets_of
from bot.venue import Instrument

# A largest order of about this much reproduces the venue's own figures within a factor of ten.
LARGEST_ORDER_USDT = 50_000_000


class KnownInstrument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    tick: Decimal
    step: Decimal
    min_notional: Decimal
    price: Decimal  # a round price of mid 2025
    max_quantity: Decimal | None = None
    max_market_quantity: Decimal | None = None


@functools.cache
def known_instruments() -> dict[str, KnownInstrument]:
    text = Path(__file__).with_name("instruments.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), dict[str, KnownInstrument])


def instrument_of(symbol: str, price: float) -> Instrument:
    """The filters of `symbol`; what is not known is derived from a typical `price`."""
    magnitude = math.floor(math.log10(price))
    known = known_instruments().get(symbol)
    if known is None:
        step = Decimal(1).scaleb(-min(3, max(0, magnitude)))
        known = KnownInstrument(tick=power_of_ten(magnitude - 4), step=step, min_notional=Decimal(5), price=Decimal(0))
    largest = power_of_ten(round(math.log10(LARGEST_ORDER_USDT / price)))
    return Instrument(
        symbol=symbol,
        tick_size=known.tick,
        step_size=known.step,
        min_quantity=known.step,
        max_quantity=known.max_quantity or largest,
        max_market_quantity=known.max_market_quantity or largest / 10,
        min_notional=known.min_notional,
        brackets=brackets_of(symbol),
    )


def with_tick(instrument: Instrument, tick: Decimal) -> Instrument:
    return msgspec.structs.replace(instrument, tick_size=tick)


def power_of_ten(exponent: int) -> Decimal:
    """10**exponent without an exponent in its text form where it is a whole number."""
    return Decimal(10) ** exponent if exponent >= 0 else Decimal(1).scaleb(exponent)
