"""What a backtest came to: equity, figures, groups of trades, and how the predictions held."""

import datetime
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal

import msgspec
import numpy as np
import numpy.typing as npt

from bot.clock import DAY_MS, HOUR_MS, MINUTE_MS
from bot.messages import Floats, Position, PositionStatus, Side
from bot.research import statistics
from bot.research.backtest.engine import Outcome
from bot.research.backtest.market import SymbolMarket
from bot.research.backtest.signals import SignalSource
from bot.research.backtest.trade import Trade
from bot.research.run_facts import Group, grouped, profit_factor
from bot.strategy.variant import Variant
from bot.strategy.walk import NEVER

Times = npt.NDArray[np.int64]
YEAR_MS = 365 * DAY_MS
SHORT_RUN_MS = 30 * DAY_MS  # up to which the equity is known each five minutes, else each hour


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """NaN where there is nothing to tell. Ratios are of daily returns, annualised."""

    trades: int
    won: int
    entries: int
    filled: int
    refused: int  # entries that the venue would not have taken
    torn: int  # entries whose bars were missing
    net_pnl: Decimal
    gross_pnl: Decimal
    fees: Decimal
    funding: Decimal
    return_pct: float
    sharpe: float
    sortino: float
    calmar: float
    profit_factor: float
    max_drawdown_pct: float
    exposure: float
    turnover: float  # a year, of the mean equity
    fees_of_gross: float  # of what was won before costs
    mean_hold_minutes: float


class Predictions(msgspec.Struct, frozen=True, kw_only=True):
    """How the forecasts of the run held, acted on or not, where the return is known."""

    rows: int
    brier: float
    hits: float
    deciles: list[statistics.Group]  # hit rate by |predicted return|
    shown: list[tuple[float, float]]  # some of them: predicted, actual


class TradeRow(msgspec.Struct, frozen=True, kw_only=True):
    """One filled trade; of one that is open still there is no exit, and no payment of funding yet."""

    position_id: str  # its signal's
    variant: str
    tier: str
    symbol: str
    side: Side
    quantity: Decimal
    created_at: int
    opened_at: int | None
    entry_price: Decimal | None
    maker: bool  # the entry
    closed_at: int | None
    exit_price: Decimal | None
    exit_reason: str | None
    predicted_return: float
    gross_pnl: Decimal
    fees: Decimal
    funding: Decimal
    net_pnl: Decimal


class Results(msgspec.Struct, frozen=True, kw_only=True):
    figures: Figures
    predictions: Predictions | None
    equity: list[tuple[int, float]]
    by_symbol: dict[str, Group]
    by_variant: dict[str, Group]
    by_hour: dict[str, Group]  # UTC, of the entry
    by_exit: dict[str, Group]
    by_month: dict[str, Group]
    refusals: dict[str, int]  # signals by the reason, the most frequent first


def results_of(
    outcome: Outcome, markets: Mapping[str, SymbolMarket], start: int, end: int, wallet: Decimal
) -> tuple[Results, list[Position]]:
    """The results, and the closed positions in the order of their closing."""
    closed = sorted(
        (
            one.position
            for one in outcome.trades
            if one.position.status is PositionStatus.CLOSED and one.position.filled
        ),
        key=lambda position: (position.closed_at or 0, position.position_id),
    )
    at, equity = equity_curve(outcome.trades, markets, start, end, float(wallet))
    results = Results(
        figures=_figures(outcome, closed, at, equity, start, end),
        predictions=None,
        equity=list(zip(at.tolist(), np.round(equity, 2).tolist(), strict=True)),
        by_symbol=grouped(closed, lambda one: one.symbol),
        by_variant=grouped(closed, lambda one: one.variant),
        by_hour=_in_order(closed, lambda one: f"{_hour(one):02d}"),
        by_exit=grouped(closed, lambda one: one.exit_reason or "unknown"),
        by_month=_in_order(closed, lambda one: _month(one.closed_at or 0)),
        refusals=_refusals(outcome),
    )
    return results, closed


def equity_curve(
    trades: Iterable[Trade], markets: Mapping[str, SymbolMarket], start: int, end: int, wallet: float
) -> tuple[Times, Floats]:
    """Wallet and open positions at the prices that stand, on a grid; a trade's funding counts from its end on."""
    step = 5 * MINUTE_MS if end - start <= SHORT_RUN_MS else HOUR_MS
    at = np.arange(start, end + step, step, dtype=np.int64)
    equity = np.full(len(at), wallet)
    prices: dict[str, Floats] = {}
    for trade in trades:
        position = trade.position
        if position.opened_at is None or position.entry_price is None:
            continue
        market = markets[position.symbol]
        if position.symbol not in prices:
            prices[position.symbol] = prices_on(market, at)
        first = int(np.searchsorted(at, position.opened_at))
        last = len(at) if trade.ends_at == NEVER else int(np.searchsorted(at, trade.ends_at))
        entry, quantity = float(position.entry_price), float(position.filled) * position.side.sign
        gained = (prices[position.symbol][first:last] - entry) * quantity
        equity[first:last] += gained - abs(entry * quantity) * trade.entry_fee
        if position.status is PositionStatus.CLOSED:
            equity[last:] += float(position.net_pnl)
    return at, equity


def prices_on(market: SymbolMarket, at: Times) -> Floats:
    """The price that stands at each of the times: of a bar that opens then its open, else the close before."""
    path = market.path
    index = np.maximum(np.searchsorted(path.at, at, side="right") - 1, 0)
    opens = path.at[index] == at
    return np.asarray(np.where(opens, path.ticks[index, 0], path.ticks[index, 3]) * market.tick)


def predictions_of(
    variants: Sequence[Variant], markets: Mapping[str, SymbolMarket], source: SignalSource, horizon: int
) -> Predictions | None:
    """Over every forecast that the enabled variants' symbols had; None where none has a known return."""
    parts = []
    for symbol, variant in _owners(variants).items():
        if symbol in markets:
            said, bars = source.said(variant, symbol), markets[symbol].bars
            actual = _returns(
                said.bar_close_at, bars.open_time + bars.interval_ms, bars.close, horizon, bars.interval_ms
            )
            low, high = said.quantiles
            parts.append(np.column_stack((said.predicted, low, high, actual)))
    table = np.concatenate(parts) if parts else np.zeros((0, 4))
    table = table[np.isfinite(table[:, 0]) & np.isfinite(table[:, 3])]
    if not len(table):
        return None
    predicted, low, high, actual = table.T
    shown = table[:: max(1, len(table) // 4_000)]
    return Predictions(
        rows=len(table),
        brier=statistics.brier(statistics.probability_up(predicted, low, high), actual > 0),
        hits=float(np.mean(predicted * actual > 0)),
        deciles=statistics.hit_rates(predicted, actual),
        shown=[(float(row[0]), float(row[3])) for row in shown],
    )


def _owners(variants: Sequence[Variant]) -> dict[str, Variant]:
    """Each symbol once, with the first enabled variant that trades it."""
    owners: dict[str, Variant] = {}
    for variant in variants:
        if variant.enabled:
            for symbol in variant.symbols:
                owners.setdefault(symbol, variant)
    return owners


def _returns(wanted: Times, closes_at: Times, close: Floats, horizon: int, interval: int) -> Floats:
    """close(t + horizon) / close(t) - 1; NaN where either is missing."""
    found = np.full((2, len(wanted)), np.nan)
    for row, ahead in enumerate((0, horizon * interval)):
        index = np.minimum(np.searchsorted(closes_at, wanted + ahead), len(closes_at) - 1)
        there = closes_at[index] == wanted + ahead
        found[row, there] = close[index[there]]
    return np.asarray(found[1] / found[0] - 1)


def _figures(outcome: Outcome, closed: Sequence[Position], at: Times, equity: Floats, start: int, end: int) -> Figures:
    returns = statistics.daily(at, equity, DAY_MS)
    years = (end - start) / YEAR_MS
    entered = [trade for trade in outcome.trades if trade.position.opened_at is not None]
    factor = profit_factor(closed)
    won_gross = float(sum((one.gross_pnl for one in closed if one.gross_pnl > 0), Decimal(0)))
    fees = sum((one.fees for one in closed), Decimal(0))
    traded = sum(float(one.filled * ((one.entry_price or 0) + (one.exit_price or 0))) for one in closed)
    held = [(one.opened_at or 0, one.closed_at or end) for one in closed]
    return Figures(
        trades=len(closed),
        won=sum(one.net_pnl > 0 for one in closed),
        entries=len(outcome.trades),
        filled=len(entered),
        refused=sum(trade.position.exit_reason == "rejected" for trade in outcome.trades),
        torn=sum(trade.torn for trade in outcome.trades),
        net_pnl=sum((one.net_pnl for one in closed), Decimal(0)),
        gross_pnl=sum((one.gross_pnl for one in closed), Decimal(0)),
        fees=fees,
        funding=sum((one.funding for one in closed), Decimal(0)),
        return_pct=float(equity[-1] / equity[0] - 1) * 100,
        sharpe=statistics.sharpe(returns),
        sortino=statistics.sortino(returns),
        calmar=statistics.calmar(equity, years),
        profit_factor=math.nan if factor is None else float(factor),
        max_drawdown_pct=statistics.max_drawdown(equity) * 100,
        exposure=statistics.exposure(held, start, end),
        turnover=statistics.turnover(traded, float(np.mean(equity)), years),
        fees_of_gross=float(fees) / won_gross if won_gross else math.nan,
        mean_hold_minutes=float(np.mean([(until - since) / MINUTE_MS for since, until in held])) if held else math.nan,
    )


def _refusals(outcome: Outcome) -> dict[str, int]:
    found: Counter[str] = Counter()
    for (_, decision, reason), count in outcome.decisions.items():
        if decision == "refuse" and count:
            found[reason] += count
    return dict(found.most_common())


def trade_rows(trades: Iterable[Trade]) -> list[TradeRow]:
    """The filled ones, in the order of their decisions."""
    return [_trade_row(trade) for trade in trades if trade.position.filled]


def _trade_row(trade: Trade) -> TradeRow:
    position = trade.position
    return TradeRow(
        position_id=position.position_id,
        variant=position.variant,
        tier=position.tier,
        symbol=position.symbol,
        side=position.side,
        quantity=position.filled,
        created_at=position.created_at,
        opened_at=position.opened_at,
        entry_price=position.entry_price,
        maker=trade.maker,
        closed_at=position.closed_at,
        exit_price=position.exit_price,
        exit_reason=position.exit_reason,
        predicted_return=trade.predicted,
        gross_pnl=position.gross_pnl,
        fees=position.fees,
        funding=position.funding,
        net_pnl=position.net_pnl,
    )


def _in_order(closed: Sequence[Position], key: Callable[[Position], str]) -> dict[str, Group]:
    return dict(sorted(grouped(closed, key).items()))


def _hour(position: Position) -> int:
    return (position.opened_at or 0) // HOUR_MS % 24


def _month(at: int) -> str:
    return datetime.datetime.fromtimestamp(at / 1000, datetime.UTC).strftime("%Y-%m")
