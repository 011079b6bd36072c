"""The run: which cycles there were, what was decided at each, and what came of every entry, in order of time.

A row that cannot become an entry by its numbers alone is counted and not built; every other one is decided by
`strategy.cycle.judge` on what the variants' actor would have shown it. What depends on other positions is known when
its turn comes, because an accepted entry is walked to its end at once.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from bot.clock import MINUTE_MS
from bot.config import GuardsTable
from bot.hookspecs import Categories
from bot.messages import Bars, EntryIntent, Floats, Forecast, ForecastRefused, Signal, TradingState
from bot.research.backtest.account import Account
from bot.research.backtest.market import SymbolMarket
from bot.research.backtest.signals import Said, SignalSource
from bot.research.backtest.trade import REJECTED, Terms, Trade, refused, walk
from bot.strategy.cycle import Measures, Seen, judge, measure, row_of
from bot.strategy.guards import rules_of
from bot.strategy.reasons import Reason
from bot.strategy.variant import Variant
from bot.strategy.window import refusal, refusals, until

Times = npt.NDArray[np.int64]
CONDITIONAL_ORDERS = 180  # that the desk lets positions need, of the venue's 200
MARKET = "market"  # the entry that looks at nothing
_NOTHING = Categories(trend=0, momentum=0, strength=0, volume=0, volatility=0, votes={}, measures={})
UNASKED = Measures(50.0, 1.0, _NOTHING)  # of bars whose measures nobody looks at and no row is kept of
Told = Callable[[int, int], None]  # candidates done, candidates in all


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is given besides the market and the variants."""

    start: int
    end: int
    context: int
    wallet: Decimal
    terms: Terms
    guards: GuardsTable
    every_row: bool = False  # build and keep every signal row, as the live log does


class Outcome(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    trades: list[Trade]  # in the order of their decisions
    decisions: Counter[tuple[str, str, str]]  # rows by variant, decision and reason
    candidates: int  # rows whose forecast reaches the threshold
    rows: list[Signal]  # where every row was asked for
    ruined_at: int | None
    unforecast: int = 0  # rows that had a window and nothing, or no number, was said of
    first_refused_at: dict[str, int] = {}  # of what was decided row by row, by reason


class _Candidates(msgspec.Struct, frozen=True, eq=False):
    """Cycles of one variant and symbol that have to be decided."""

    variant: int
    symbol: int  # its place in the variant
    at: Times
    bar_close_at: Times
    price: Floats  # in ticks; NaN: none is known
    paid: Times  # funding payments by then
    closed: Times  # bars that had closed by then


class _Row(NamedTuple):
    """One of them, by its columns in the table of all."""

    variant: int
    symbol: int
    at: int
    bar_close_at: int
    paid: int
    closed: int


def run(
    variants: Sequence[Variant],
    markets: Mapping[str, SymbolMarket],
    source: SignalSource,
    setup: Setup,
    told: Told | None = None,
) -> Outcome:
    """Decide every cycle of the enabled variants from `start` on, before `end`."""
    enabled = [variant for variant in variants if variant.enabled]
    decisions: Counter[tuple[str, str, str]] = Counter()
    found = [
        _candidates(variant, number, place, markets.get(symbol), source, setup, decisions)
        for number, variant in enumerate(enabled)
        for place, symbol in enumerate(variant.symbols)
    ]
    deciding = _Deciding(enabled, markets, source, setup, decisions)
    order, prices = _in_time(found)
    for done, (row, price) in enumerate(zip(order.tolist(), prices.tolist(), strict=True)):
        deciding.decide(_Row(*row), price)
        if told is not None and not done % 1_000:
            told(done, len(order))
    return Outcome(
        trades=deciding.trades,
        decisions=decisions,
        candidates=deciding.candidates,
        unforecast=deciding.unforecast,
        rows=deciding.rows,
        ruined_at=deciding.account.ruined_at,
        first_refused_at=deciding.first_refused_at,
    )


def _in_time(found: Sequence[_Candidates]) -> tuple[Times, Floats]:
    """Rows in the columns of `_Row`, (candidates, 6), and their prices; of one moment by variant, then by symbol."""
    rows = [
        np.column_stack((_all(one, one.variant), _all(one, one.symbol), one.at, one.bar_close_at, one.paid, one.closed))
        for one in found
    ]
    table = np.concatenate([np.zeros((0, 6), dtype=np.int64), *rows])
    prices = np.concatenate([np.zeros(0), *(one.price for one in found)])
    order = np.lexsort((table[:, 1], table[:, 0], table[:, 2]))
    return table[order], prices[order]


def _all(one: _Candidates, value: int) -> Times:
    return np.full(len(one.at), value, dtype=np.int64)


def _candidates(
    variant: Variant,
    number: int,
    place: int,
    market: SymbolMarket | None,
    source: SignalSource,
    setup: Setup,
    decisions: Counter[tuple[str, str, str]],
) -> _Candidates:
    """The cycles to decide; the others are counted by the reason that `decide` would give."""
    interval = source.interval_ms
    first = setup.start - setup.start % interval
    bars_at = np.arange(first, setup.end, interval, dtype=np.int64)
    offsets = np.array(source.offsets_ms(variant), dtype=np.int64)
    at, close_at = (bars_at[:, None] + offsets).ravel(), np.repeat(bars_at, len(offsets))
    inside = (at >= setup.start) & (at < setup.end)
    at, close_at = at[inside], close_at[inside]
    if setup.every_row:
        return _of(number, place, at, close_at, market)
    if market is None:
        decisions[variant.name, "refuse", str(Reason.INSTRUMENT_MISSING)] += len(at)
        return _of(number, place, at[:0], close_at[:0], market)
    said = source.said(variant, variant.symbols[place])
    wanted = np.ones(len(at), dtype=np.bool_)
    for reason, where in _windowless(market.bars, close_at, setup.context):
        decisions[variant.name, "refuse", str(reason)] += int((where & wanted).sum())
        wanted &= ~where
    predicted = _joined(said, close_at, interval)
    below = np.abs(predicted) < variant.threshold
    below |= predicted == 0.0
    decisions[variant.name, "refuse", str(Reason.BELOW_THRESHOLD)] += int((below & wanted).sum())
    wanted &= ~below
    return _of(number, place, at[wanted], close_at[wanted], market)


def _of(number: int, place: int, at: Times, close_at: Times, market: SymbolMarket | None) -> _Candidates:
    if market is None:
        none = np.zeros(len(at), dtype=np.int64)
        return _Candidates(number, place, at, close_at, np.full(len(at), np.nan), none, none)
    closed = np.searchsorted(market.bars.open_time, close_at - market.bars.interval_ms, side="right")
    return _Candidates(number, place, at, close_at, market.prices_at(at), market.payments_before(at), closed)


def _windowless(bars: Bars, close_at: Times, context: int) -> list[tuple[str, npt.NDArray[np.bool_]]]:
    """For which of the bars the live bot would have no window, by reason."""
    interval = bars.interval_ms
    index, there = _places(bars.open_time, close_at - interval, interval)
    found = [(str(Reason.BAR_MISSING), ~there)]
    for reason, where in refusals(bars, context, interval).items():
        found.append((str(reason), there & where[index]))
    return found


def _joined(said: Said, close_at: Times, interval: int) -> npt.NDArray[np.float64]:
    """The predicted return at each bar; NaN where nothing is said, which is decided row by row."""
    if not len(said.bar_close_at):
        return np.full(len(close_at), np.nan)
    index, there = _places(said.bar_close_at, close_at, interval)
    return np.where(there, said.predicted[index], np.nan)


def _places(known: Times, wanted: Times, interval: int) -> tuple[Times, npt.NDArray[np.bool_]]:
    """Where the wanted times stand in rising ones, and whether they do."""
    last = len(known) - 1
    if known[last] - known[0] == last * interval:
        index = np.clip((wanted - known[0]) // interval, 0, last)  # without a gap, so that nothing has to be searched
    else:
        index = np.minimum(np.searchsorted(known, wanted), last)
    return index, known[index] == wanted


def _asks(variant: Variant) -> bool:
    """Whether anything of the variant looks at what the bars measure."""
    return bool(variant.filters) or variant.entry.name != MARKET


class _Deciding:
    """Decides one candidate after the other; keeps the account as it goes."""

    def __init__(
        self,
        variants: Sequence[Variant],
        markets: Mapping[str, SymbolMarket],
        source: SignalSource,
        setup: Setup,
        decisions: Counter[tuple[str, str, str]],
    ) -> None:
        self._variants = variants
        self._markets = markets
        self._source = source
        self._setup = setup
        self._decisions = decisions
        self._seen_bars: dict[str, tuple[int, Bars, Measures | None]] = {}
        self._said: dict[tuple[str, str], Said] = {}
        self._funding: dict[str, tuple[int, tuple[Decimal, int]]] = {}  # payments made, and what is known of the next
        self.trades: list[Trade] = []
        self.rows: list[Signal] = []
        self.candidates = 0
        self.unforecast = 0
        self.first_refused_at: dict[str, int] = {}
        every_ms = setup.guards.check_minutes * MINUTE_MS
        self.account = Account(rules_of(setup.guards), every_ms, setup.start, setup.wallet, self._price_at)

    def _price_at(self, symbol: str, moment: int) -> float:
        """The price that stood; where a bar is missing then, the last one there was."""
        market = self._markets[symbol]
        found = market.ticks_at(moment)
        if found is None:
            index = int(np.searchsorted(market.path.at, moment, side="right")) - 1
            found = float(market.path.ticks[max(index, 0), 3])
        return found * market.tick

    def decide(self, row: _Row, price: float) -> None:
        """One row, and perhaps a trade. `price`: what stands then, in ticks."""
        variant = self._variants[row.variant]
        symbol = variant.symbols[row.symbol]
        self.account.pass_time(row.at)
        market = self._markets.get(symbol)
        seen, measures = self._see(variant, symbol, row, market, price)
        predicted = seen.forecast.predicted_return if isinstance(seen.forecast, Forecast) else math.nan
        self.candidates += predicted != 0.0 and abs(predicted) >= variant.threshold
        self.unforecast += seen.bars is not None and not math.isfinite(predicted)
        judged = judge(variant, seen, self.account.exposure, measures)
        self._decisions[variant.name, judged.decision, judged.reason] += 1
        if judged.intent is None:
            self.first_refused_at.setdefault(judged.reason, row.at)
        if self._setup.every_row:
            self.rows.append(row_of(judged))
        if judged.intent is not None and market is not None:
            self._enter(judged.intent, market, seen.mark_price, predicted)

    def _see(
        self, variant: Variant, symbol: str, row: _Row, market: SymbolMarket | None, price: float
    ) -> tuple[Seen, Measures | None]:
        bars, measures = None, None
        rate, next_funding_at, mark = None, None, None
        answer: Forecast | ForecastRefused = ForecastRefused(symbol, Reason.INSTRUMENT_MISSING)
        if market is not None:
            bars, measures, answer = self._window(variant, market, row)
            mark = None if math.isnan(price) else int(price) * market.instrument.tick_size
            known = self._funding.get(symbol)
            if known is None or known[0] != row.paid:
                known = self._funding[symbol] = row.paid, market.funding_known(row.paid)
            rate, next_funding_at = known[1]
        seen = Seen(
            symbol=symbol,
            cycle_at=row.at,
            now=row.at,
            bars=bars,
            forecast=answer,
            mark_price=mark,
            instrument=None if market is None else market.instrument,
            state=TradingState.ACTIVE,
            funding_rate=rate,
            next_funding_at=next_funding_at,
            guards=self.account.guard_state,
            recent=self.account.recent(variant.name, symbol, row.at),
        )
        return seen, measures

    def _window(
        self, variant: Variant, market: SymbolMarket, row: _Row
    ) -> tuple[Bars | None, Measures | None, Forecast | ForecastRefused]:
        """As the variants' actor: the newest `context` bars, or why there are none; measured once a bar."""
        symbol, context, interval = market.symbol, self._setup.context, market.bars.interval_ms
        known = self._seen_bars.get(symbol)
        if known is None or known[0] != row.bar_close_at:
            bars = until(market.bars, row.closed, context)
            if not len(bars) or bars.close_at != row.bar_close_at:
                return None, None, ForecastRefused(symbol, Reason.BAR_MISSING)
            reason = refusal(bars, context, interval) if self._setup.every_row else None  # else they are sound
            if reason is not None:
                return None, None, ForecastRefused(symbol, reason)
            known = self._seen_bars[symbol] = row.bar_close_at, bars, None
        if known[2] is None and (self._setup.every_row or _asks(variant)):
            known = self._seen_bars[symbol] = known[0], known[1], measure(known[1])
        place = variant.name, symbol
        if place not in self._said:
            self._said[place] = self._source.said(variant, symbol)
        return known[1], known[2] or UNASKED, self._said[place].answer(row.at, row.bar_close_at)

    def _enter(self, intent: EntryIntent, market: SymbolMarket, mark: Decimal | None, predicted: float) -> None:
        account, instrument = self.account, market.instrument
        notional = (intent.limit_price or mark or Decimal(0)) * intent.quantity
        full = 2 * (len(account.exposure.held) + 1) > CONDITIONAL_ORDERS
        if full or not account.affords(
            notional, intent.symbol, intent.leverage, instrument.brackets, intent.created_at
        ):
            trade = refused(intent, predicted, REJECTED)
        else:
            trade = walk(intent, market, self._setup.terms, predicted)
        self.trades.append(trade)
        account.add(trade, float(notional))
