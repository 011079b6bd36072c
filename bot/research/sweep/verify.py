"""A row of the sweep against the exact backtest: the same trades, each price and moment the same, or what differs."""

from collections.abc import Mapping
from typing import Any

import msgspec

from bot.research.backtest.engine import run
from bot.research.backtest.market import SymbolMarket
from bot.research.backtest.signals import SignalSource
from bot.research.backtest.trade import Terms, Trade
from bot.research.sweep.assemble import Recipe
from bot.research.sweep.columns import CLOSED, coded
from bot.research.sweep.kernel import trade
from bot.research.sweep.parts import Work, days_of_one
from bot.research.sweep.signals import alone, setup_of
from bot.strategy.walk import ENDS

Key = tuple[str, int]  # symbol, time of the signal
Facts = tuple[Any, ...]  # side, fill time, fill price, exit time, exit price, reason
WORDS = ("side", "filled_at", "fill_price", "exit_at", "exit_price", "reason")


class Difference(msgspec.Struct, frozen=True):
    symbol: str
    at: int  # of the signal
    what: str
    sweep: str
    backtest: str


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    number: int
    trades: int  # of the backtest
    same: int
    differences: list[Difference]


def verify(
    recipe: Recipe,
    work: Work,
    number: int,
    markets: Mapping[str, SymbolMarket],
    source: SignalSource,
    context: int,
    terms: Terms,
) -> Verified:
    """Run the configuration through the backtest, account guards and the caps of other variants off."""
    start, end = recipe.grid.span()
    outcome = run([alone(recipe.of(number))], markets, source, setup_of(start, end, context, terms))
    exact = {(one.intent.symbol, one.intent.created_at): _exact(one) for one in outcome.trades if _closed(one)}
    swept = _swept(work, number)
    differences = []
    for key in sorted(exact.keys() | swept.keys()):
        differences += compared(key, swept.get(key), exact.get(key))
    same = sum(exact[key] == swept.get(key) for key in exact)
    return Verified(number=number, trades=len(exact), same=same, differences=differences)


def _closed(one: Trade) -> bool:
    return one.position.opened_at is not None and one.position.exit_price is not None


def _exact(one: Trade) -> Facts:
    position = one.position
    return (
        str(position.side),
        position.opened_at,
        position.entry_price,
        position.closed_at,
        position.exit_price,
        position.exit_reason,
    )


def _swept(work: Work, number: int) -> dict[Key, Facts]:
    walked = number // len(work.masks)
    entry, plan = divmod(walked, len(work.rules))
    extracted, plans = work.extracted, coded(work.rules)
    _, kept, made = days_of_one(work, number)
    found: dict[Key, Facts] = {}
    for row in (kept & (made.status[0] == CLOSED)).nonzero()[0].tolist():
        _, _, fill, fill_at, out, out_at, ended = trade(
            row, extracted.prices, extracted.signals, extracted.entries[entry], plans, plan, work.dealing, work.path
        )
        place = int(extracted.symbol[row])
        tick = extracted.ticks[place]
        side = "LONG" if extracted.signals.sign[row] > 0 else "SHORT"
        key = extracted.symbols[place], int(extracted.signals.arrives_at[row])
        found[key] = (side, fill_at, int(fill) * tick, out_at, int(out) * tick, ENDS[ended])
    return found


def compared(key: Key, swept: Facts | None, exact: Facts | None) -> list[Difference]:
    symbol, at = key
    if swept is None or exact is None:
        return [Difference(symbol, at, "trade", "none" if swept is None else "one", "none" if exact is None else "one")]
    pairs = zip(WORDS, swept, exact, strict=True)
    return [Difference(symbol, at, word, str(one), str(other)) for word, one, other in pairs if one != other]
