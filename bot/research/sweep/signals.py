"""Every signal that a grid may choose, once: its price, what each filter says to it, what each entry makes of it.

The signals are those of the exact backtest: it runs with a filter that writes down what it is asked and refuses it.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

import msgspec
import numpy as np
import numpy.typing as npt

from bot.clock import DAY_MS
from bot.config import GUARDS_OFF
from bot.errors import OperatorError
from bot.hookspecs import Candidate, Options, Recent
from bot.messages import FilterVerdict
from bot.research.backtest.engine import Setup, run
from bot.research.backtest.market import SymbolMarket
from bot.research.backtest.signals import SignalSource
from bot.research.backtest.trade import Terms
from bot.research.sweep.columns import LAST_TIME, Dealing, Entries, Flags, Prices, Signals
from bot.strategy.exits import OFF
from bot.strategy.proposal import Proposal, propose
from bot.strategy.risk import Caps, Limits
from bot.strategy.variant import FilterPlugin, Variant
from bot.strategy.walk import Times, bar_at

NOTIONAL = Decimal(
    10_000
)  # of every position, in USDT: large enough for the smallest order, small enough for any market
WALLET = Decimal(10) ** 12
UNCAPPED = 1_000_000_000
ASKED_TWICE = 500  # candidates on which a filter must not look at the variant's own past

Told = Callable[[int, int], None]
Ints = npt.NDArray[np.int64]


class Extracted(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """Rows of signals are by symbol, then by time."""

    symbols: tuple[str, ...]
    symbol: Ints  # (signals,), places in `symbols`
    ticks: tuple[Decimal, ...]  # by symbol
    predicted: npt.NDArray[np.float64]  # (signals,)
    prices: Prices
    signals: Signals
    allowed: Flags  # (filter settings, signals)
    entries: tuple[Entries, ...]

    def __len__(self) -> int:
        return len(self.symbol)


def alone(variant: Variant) -> Variant:
    """The variant as it is swept and verified: equal positions, and only the caps of its own symbols."""
    caps = Caps(symbol=variant.caps.symbol, variant=None, tier=None, account=UNCAPPED)
    return msgspec.structs.replace(
        variant, enabled=True, margin=NOTIONAL, leverage=1, volatility=None, caps=caps, limits=Limits()
    )


def setup_of(start: int, end: int, context: int, terms: Terms) -> Setup:
    """What the exact backtest is given to agree with the sweep: no guards, and a wallet that never ends."""
    return Setup(start=start, end=end, context=context, wallet=WALLET, terms=terms, guards=GUARDS_OFF)


def dealing_of(terms: Terms) -> Dealing:
    return Dealing(float(terms.maker_fee), float(terms.taker_fee), terms.slippage_bps, terms.arms)


class _Spy:
    """The filter that writes down. One verdict a filter setting, one proposal an entry."""

    def __init__(self, filters: Sequence[FilterPlugin], entries: Sequence[Variant]) -> None:
        self._filters = filters
        self._entries = entries
        self.symbols: list[str] = []
        self.at: list[int] = []
        self.marks: list[float] = []
        self.predicted: list[float] = []
        self.allowed: list[list[bool]] = []
        self.proposals: list[list[Proposal]] = []

    def judge(self, candidate: Candidate, options: Options) -> FilterVerdict:
        if len(self.at) < ASKED_TWICE:
            self._refuse_memory(candidate)
        self.symbols.append(candidate.symbol)
        self.at.append(candidate.now)
        self.marks.append(candidate.mark_price)
        self.predicted.append(candidate.forecast.predicted_return)
        self.allowed.append([one.judge(candidate, one.options).allow for one in self._filters])
        self.proposals.append([propose(variant, candidate, candidate.now) for variant in self._entries])
        return FilterVerdict("sweep", False, "written_down")

    def _refuse_memory(self, candidate: Candidate) -> None:
        just_now = Recent(last_entry_at=candidate.now - 1, last_loss_at=candidate.now - 1)
        changed = msgspec.structs.replace(candidate, recent=just_now)
        for one in self._filters:
            if one.judge(candidate, one.options).allow != one.judge(changed, one.options).allow:
                raise OperatorError(
                    f"filter '{one.name}' looks at the variant's own past and cannot be swept; "
                    "leave it out of the variant that the grid starts from"
                )


def extract(
    variant: Variant,
    filters: Sequence[FilterPlugin],
    entries: Sequence[Variant],
    markets: Mapping[str, SymbolMarket],
    source: SignalSource,
    setup: Setup,
    told: Told | None = None,
) -> Extracted:
    """All signals of `variant`, whose threshold is the lowest that is tried."""
    spy = _Spy(filters, entries)
    watched = FilterPlugin(name="sweep", options={}, judge=spy.judge)
    run([msgspec.structs.replace(alone(variant), filters=(watched,))], markets, source, setup, told)
    symbols = tuple(symbol for symbol in variant.symbols if symbol in markets)
    place = np.array([symbols.index(symbol) for symbol in spy.symbols], dtype=np.int64)
    at = np.array(spy.at, dtype=np.int64)
    order = np.lexsort((at, place))
    place, at = place[order], at[order]
    ticks = tuple(markets[symbol].instrument.tick_size for symbol in symbols)
    prices, begins = join([markets[symbol] for symbol in symbols])
    size = np.array([float(tick) for tick in ticks])[place]
    market = np.rint(np.array(spy.marks)[order] / size)
    proposals = [spy.proposals[row] for row in order.tolist()]
    allowed = np.array(spy.allowed, dtype=np.bool_).reshape(len(at), len(filters))
    return Extracted(
        symbols=symbols,
        symbol=place,
        ticks=ticks,
        predicted=np.array(spy.predicted)[order],
        prices=prices,
        signals=place_signals(markets, symbols, prices, begins, place, at, np.array(spy.predicted)[order], market),
        allowed=np.ascontiguousarray(allowed[order].T),
        entries=tuple(
            _entries([row[number] for row in proposals], [ticks[symbol] for symbol in place.tolist()])
            for number in range(len(entries))
        ),
    )


def place_signals(
    markets: Mapping[str, SymbolMarket],
    symbols: Sequence[str],
    prices: Prices,
    begins: Ints,
    symbol: Ints,
    at: Times,
    predicted: npt.NDArray[np.float64],
    market: npt.NDArray[np.float64],
) -> Signals:
    """Where in the joined prices each signal lies."""
    first = np.zeros(len(at), dtype=np.int64)
    for row, (one, moment) in enumerate(zip(symbol.tolist(), at.tolist(), strict=True)):
        index = bar_at(markets[symbols[one]].path, moment)
        assert index is not None  # a candidate has a price
        first[row] = begins[one] + index
    last, gap_at = gaps_after(prices, begins)
    return Signals(
        first_bar=first,
        last_bar=last[first],
        gap_at=gap_at[first],
        sign=np.sign(predicted).astype(np.int64),
        market=market,
        arrives_at=at,
    )


def join(markets: Sequence[SymbolMarket]) -> tuple[Prices, Ints]:
    """The markets' prices in one, and where each begins in it (and the end)."""
    begins = np.concatenate([[0], np.cumsum([len(market.path) for market in markets])]).astype(np.int64)
    return Prices(
        at=np.concatenate([market.path.at for market in markets]),
        span=np.concatenate([market.path.span for market in markets]),
        ticks=np.concatenate([market.path.ticks for market in markets]),
        funding=np.concatenate([_funding(market) for market in markets]),
    ), begins


def gaps_after(prices: Prices, begins: Ints) -> tuple[Ints, Times]:
    """For each bar: one past the last bar before the next gap, and when that gap begins (LAST_TIME: the bars end)."""
    ends = prices.at + prices.span
    breaks = np.flatnonzero(prices.at[1:] != ends[:-1]) + 1
    stops = np.union1d(breaks, begins[1:])
    is_end = np.isin(stops, begins[1:])
    gap_at = np.where(is_end, LAST_TIME, ends[stops - 1])
    place = np.searchsorted(stops, np.arange(len(prices.at)), side="right")
    return stops[place], gap_at[place]


def _funding(market: SymbolMarket) -> npt.NDArray[np.float64]:
    """For each bar, the sum of rate x price of the payments due by its opening; a payment is due on the hour."""
    paid = []
    for due, rate in zip(market.funding.at.tolist(), market.funding.rate, strict=True):
        price = market.ticks_at(due - 1)
        paid.append(0.0 if price is None else float(rate) * price)
    total = np.concatenate([[0.0], np.cumsum(paid)])
    return np.asarray(total[np.searchsorted(market.funding.at, market.path.at, side="right")])


def _entries(proposals: Sequence[Proposal], ticks: Sequence[Decimal]) -> Entries:
    limits = [
        np.nan if one.price is None else float(one.price / tick) for one, tick in zip(proposals, ticks, strict=True)
    ]
    ends = [OFF if one.exits.session_end_at is None else float(one.exits.session_end_at) for one in proposals]
    return Entries(
        limit=np.array(limits, dtype=np.float64),
        post_only=np.array([one.post_only for one in proposals], dtype=np.bool_),
        wanted=np.array([one.refused is None for one in proposals], dtype=np.bool_),
        expires_at=np.array([one.expires_at for one in proposals], dtype=np.int64),
        session_end_at=np.array(ends, dtype=np.float64),
    )


def days_of(start: int, end: int) -> tuple[int, int]:
    """(first day, days) since 1970 that exits may fall on: what is open at the end may close later."""
    return start // DAY_MS, max(1, -(-end // DAY_MS) - start // DAY_MS)
