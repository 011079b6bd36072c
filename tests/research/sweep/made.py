"""Markets and signals made up for the tests of the sweep."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from bot.clock import HOUR_MS, MINUTE_MS
from bot.exchange.simulator.instruments import instrument_of
from bot.exchange.simulator.market import FundingRates
from bot.messages import Bars, EntryIntent, ExitPlan, Side
from bot.research.backtest.market import SymbolMarket
from bot.research.backtest.trade import Terms
from bot.research.sweep.columns import Entries, Signals
from bot.research.sweep.signals import gaps_after, join
from bot.strategy.exits import OFF
from bot.strategy.walk import PricePath

START = 1_740_787_200_000  # 2025-03-01
FIVE = 5 * MINUTE_MS
TERMS = Terms(maker_fee=Decimal("0.0002"), taker_fee=Decimal("0.0005"), slippage_bps=1.0, liquidates=False)


def market(ticks: Any, *, symbol: str = "BTCUSDT", missing: Sequence[int] = (), funding: bool = True) -> SymbolMarket:
    """Five-minute bars from START on, `ticks` (bars, 4); the bars in `missing` are not there. Funding every hour."""
    ticks = np.ascontiguousarray(ticks, dtype=np.int32)
    kept = np.setdiff1d(np.arange(len(ticks)), missing)
    at = START + kept.astype(np.int64) * FIVE
    path = PricePath(symbol, at, np.full(len(at), FIVE, dtype=np.int64), np.ascontiguousarray(ticks[kept]))
    hours = len(ticks) // 12 if funding else 0
    due = START + HOUR_MS * np.arange(1, hours + 1, dtype=np.int64)
    still = np.full(2, 100.0)
    bars = Bars(symbol, HOUR_MS, START + HOUR_MS * np.arange(-2, 0, dtype=np.int64), *[still] * 5)
    return SymbolMarket(
        bars=bars,
        path=path,
        instrument=instrument_of(symbol, 100.0),
        funding=FundingRates(due, tuple(Decimal("0.0001") for _ in range(hours))),
        began_at=START,
    )


def walk_ticks(count: int, seed: int, swing: float = 30.0, first: int = 10_000) -> Any:
    """A random walk of bars in ticks."""
    rng = np.random.default_rng(seed)
    close = np.maximum(500, first + np.cumsum(rng.normal(0, swing, count))).round()
    opened = np.concatenate([[first], close[:-1]])
    high = np.maximum(opened, close) + rng.integers(0, 2 + int(swing), count)
    low = np.minimum(opened, close) - rng.integers(0, 2 + int(swing), count)
    return np.column_stack([opened, high, low, close])


def signals_at(one: SymbolMarket, intents: Sequence[EntryIntent]) -> tuple[Signals, Entries]:
    """The columns of these entries."""
    prices, begins = join([one])
    at = np.array([intent.created_at for intent in intents], dtype=np.int64)
    first = np.searchsorted(one.path.at, at, side="right") - 1
    last, gap_at = gaps_after(prices, begins)
    tick = one.instrument.tick_size
    limits = [np.nan if one.limit_price is None else float(one.limit_price / tick) for one in intents]
    ends = [OFF if one.exits.session_end_at is None else float(one.exits.session_end_at) for one in intents]
    signals = Signals(
        first_bar=first,
        last_bar=last[first],
        gap_at=gap_at[first],
        sign=np.array([intent.side.sign for intent in intents], dtype=np.int64),
        market=np.array([one.ticks_at(int(moment)) for moment in at], dtype=np.float64),
        arrives_at=at,
    )
    entries = Entries(
        limit=np.array(limits),
        post_only=np.array([intent.post_only for intent in intents]),
        wanted=np.ones(len(intents), dtype=np.bool_),
        expires_at=np.array([intent.expires_at for intent in intents], dtype=np.int64),
        session_end_at=np.array(ends),
    )
    return signals, entries


def intent(one: SymbolMarket, at: int, side: Side, plan: ExitPlan, **facts: Any) -> EntryIntent:
    values: dict[str, Any] = {
        "signal_id": f"{at}{side}",
        "variant": "V",
        "tier": "t1",
        "symbol": one.symbol,
        "side": side,
        "quantity": Decimal(1),
        "limit_price": None,
        "post_only": False,
        "created_at": at,
        "expires_at": at + HOUR_MS,
        "leverage": 1,
        "exits": plan,
    }
    return EntryIntent(**(values | facts))
