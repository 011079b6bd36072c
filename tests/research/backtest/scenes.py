"""Markets of a few bars, and entries into them."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np

from bot.exchange.simulator.market import FundingRates
from bot.messages import Bars, EntryIntent, ExitPlan, Side
from bot.research.backtest.market import SymbolMarket
from bot.research.backtest.trade import Terms
from bot.strategy.follow import Path
from bot.strategy.walk import in_ticks
from bot.venue import Instrument, MarginBracket

MINUTE = 60_000
FIVE = 5 * MINUTE
HOUR = 60 * MINUTE
Bar = tuple[float, float, float, float]  # open, high, low, close
CALM: Bar = (100.0, 100.0, 100.0, 100.0)
COIN = Instrument(
    symbol="BTCUSDT",
    tick_size=Decimal("0.01"),
    step_size=Decimal("0.001"),
    min_quantity=Decimal("0.001"),
    max_quantity=Decimal(1000),
    max_market_quantity=Decimal(1000),
    min_notional=Decimal(5),
    brackets=(
        MarginBracket(
            notional_cap=Decimal(1_000_000), maintenance_rate=Decimal("0.005"), amount=Decimal(0), max_leverage=100
        ),
    ),
)
FREE = Terms(maker_fee=Decimal(0), taker_fee=Decimal(0), slippage_bps=0.0, liquidates=False)
USUAL = Terms(maker_fee=Decimal("0.0002"), taker_fee=Decimal("0.0005"), slippage_bps=1.0, liquidates=False)


def bars_of(rows: Sequence[Bar], begin: int = 0, interval_ms: int = FIVE) -> Bars:
    opened, high, low, close = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    times = begin + np.arange(len(rows), dtype=np.int64) * interval_ms
    return Bars("BTCUSDT", interval_ms, times, opened, high, low, close, np.ones(len(rows)))


def market(*rows: Bar, funding: Sequence[tuple[int, str]] = (), instrument: Instrument = COIN) -> SymbolMarket:
    bars = bars_of(rows)
    rates = FundingRates(
        np.array([at for at, _ in funding], dtype=np.int64), tuple(Decimal(rate) for _, rate in funding)
    )
    path = in_ticks(bars, float(instrument.tick_size))
    return SymbolMarket(bars=bars, path=path, instrument=instrument, funding=rates, began_at=0)


def intent(**changes: Any) -> EntryIntent:
    wanted = EntryIntent(
        signal_id="a",
        variant="V",
        tier="t1",
        symbol="BTCUSDT",
        side=Side.LONG,
        quantity=Decimal(1),
        limit_price=None,
        post_only=False,
        created_at=3 * MINUTE,
        expires_at=HOUR,
        leverage=10,
        exits=ExitPlan(stop_pct=2.0, target_pct=3.0, max_hold_ms=4 * HOUR),
    )
    return msgspec.structs.replace(wanted, **changes)


def played(terms: Terms = FREE) -> Terms:
    return msgspec.structs.replace(terms, path=Path.PLAYED)
