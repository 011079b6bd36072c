"""What a row says of its bars, held against the recorded bars: live and research compute the same or it shows. Pure."""

import math
from collections.abc import Iterable, Iterator

import msgspec

from bot.messages import Bars, Severity, Signal
from bot.strategy import indicators
from bot.strategy.audit import Finding
from bot.strategy.categories import categorise
from bot.strategy.window import tail, upto

TOLERANCE = 1e-6  # of the value; what is left of it is arithmetic's


class Drift(msgspec.Struct, frozen=True):
    """One value of a row that its bars do not give."""

    signal: Signal
    column: str
    recorded: float | None  # by the recorded bars


def drift(signal: Signal, bars: Bars, context: int) -> Drift | None:
    """The first indicator of the row that the newest `context` of the recorded bars before its cycle do not give.

    None where all agree, and where the bars of its window are not on record.
    """
    if signal.bar_close_at is None:
        return None
    window = tail(upto(bars, signal.bar_close_at), context)
    if len(window) < context or window.close_at != signal.bar_close_at:
        return None
    for column, value in _measured(window):
        said = getattr(signal, column)
        if (said is None) != (value is None) or (said is not None and not _near(said, value)):
            return Drift(signal, column, value)
    return None


def _measured(window: Bars) -> Iterator[tuple[str, float | None]]:
    rsi, atr = indicators.rsi(window.close), indicators.atr(window)
    categories = categorise(window, rsi)
    yield "rsi", rsi if math.isfinite(rsi) else None
    yield "atr", atr if math.isfinite(atr) else None
    for name in ("trend", "momentum", "strength", "volume", "volatility"):
        yield f"cat_{name}", getattr(categories, name)


def _near(said: float, value: float | None) -> bool:
    return value is not None and math.isclose(said, value, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def drifted(found: Iterable[Drift]) -> Iterator[Finding]:
    for one in found:
        signal = one.signal
        yield Finding(
            rule="indicators_differ",
            severity=Severity.ERROR,
            subject=f"{signal.variant} {signal.symbol} {one.column}",
            words=f"{one.column} is {getattr(signal, one.column)} in the row {signal.signal_id} and {one.recorded} by "
            f"the recorded bars of its window",
            detail={"signal_id": signal.signal_id, "recorded": one.recorded},
        )
