"""Reads for the `journal` command and the report: filters in, structs out. Never writes."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, TypeVar

import asyncpg
import msgspec

from bot.hookspecs import Recent
from bot.journal.connection import values_of
from bot.journal.store import Ledger, Store, order_of
from bot.messages import Position, PositionStatus, Severity, Signal
from bot.venue import Fill, Leg, OrderRow, OrderState

RowT = TypeVar("RowT", bound=msgspec.Struct)


class BookedFill(Fill, frozen=True, kw_only=True):
    """A fill and the position it was booked to; None: none of ours."""

    position_id: str | None
    leg: Leg | None


class StoredEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `bot.bot_events`."""

    id: int
    at: int
    name: str
    severity: Severity
    detail: dict[str, Any]


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `bot.daily_log`."""

    day: str  # UTC, YYYY-MM-DD
    signals: int
    entries: int
    exits: int
    fees: Decimal
    funding: Decimal
    net_pnl: Decimal
    wallet: Decimal
    drawdown: float


class SignalCount(msgspec.Struct, frozen=True):
    decision: str
    reason: str
    count: int


class PendingReturn(msgspec.Struct, frozen=True):
    """A bar whose signals lack `actual_return`."""

    symbol: str
    bar_close_at: int


class Predicted(msgspec.Struct, frozen=True, kw_only=True):
    """What one checkpoint said of one bar, and what came, once that is known."""

    tier: str
    checkpoint: str
    symbol: str
    bar_close_at: int
    predicted_return: float
    actual_return: float | None


class _RecentRow(msgspec.Struct, frozen=True):
    """One variant on one symbol."""

    variant: str
    symbol: str
    last_entry_at: int
    last_loss_at: int | None


class EquityPoint(msgspec.Struct, frozen=True):
    """The wallet after one fill or funding payment."""

    at: int
    wallet: Decimal


class RunFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a closing report says of the whole journal."""

    signals: dict[str, int]  # by decision
    reasons: list[SignalCount]  # most frequent first
    orders: int
    entries_filled: int  # positions with at least one fill
    exits: dict[str, int]  # by reason, of positions that had fills
    open_positions: int
    ledger: Ledger
    max_drawdown: float  # largest fall of the wallet from its highest so far, as a fraction

    @property
    def net_pnl(self) -> Decimal:
        return self.ledger.realized_pnl - self.ledger.fees + self.ledger.funding


_SIGNALS = """
SELECT * FROM bot.signal_log WHERE ($2::text IS NULL OR variant = $2) AND ($3::text IS NULL OR symbol = $3)
    AND ($4::text IS NULL OR decision = $4) ORDER BY cycle_at DESC, signal_id DESC LIMIT $1
"""
_POSITIONS = """
SELECT * FROM bot.positions WHERE ($2::text IS NULL OR variant = $2) AND ($3::text IS NULL OR symbol = $3)
    AND ($4::text IS NULL OR status = $4) ORDER BY created_at DESC, position_id DESC LIMIT $1
"""
_ORDERS = """
SELECT * FROM bot.orders WHERE ($2::text IS NULL OR symbol = $2) AND ($3::text IS NULL OR position_id = $3)
    AND ($4::text IS NULL OR state = $4) ORDER BY created_at DESC, client_id DESC LIMIT $1
"""
_FILLS = """
SELECT * FROM bot.fills WHERE ($2::text IS NULL OR symbol = $2) AND ($3::text IS NULL OR position_id = $3)
    ORDER BY at DESC, symbol, trade_id DESC LIMIT $1
"""
_EVENTS = """
SELECT * FROM bot.bot_events WHERE ($2::text IS NULL OR name = $2) AND ($3::text IS NULL OR severity = $3)
    ORDER BY at DESC, id DESC LIMIT $1
"""
_SAID = """
SELECT signal_id, cycle_at, variant, tier, symbol, bar_close_at, checkpoint, predicted_return, threshold, decision,
    decision_reason, entry_method FROM bot.signal_log
WHERE cycle_at >= coalesce($1::timestamptz, (SELECT max(cycle_at) FROM bot.signal_log)) - $2::float8 * interval '1 ms'
    AND ($1 IS NULL OR cycle_at <= $1)
ORDER BY cycle_at, variant, symbol
"""
_PREDICTED = """
SELECT DISTINCT ON (tier, checkpoint, symbol, bar_close_at)
    tier, checkpoint, symbol, bar_close_at, predicted_return, actual_return FROM bot.signal_log
WHERE predicted_return IS NOT NULL AND checkpoint IS NOT NULL AND bar_close_at IS NOT NULL
    AND ($1::timestamptz IS NULL OR bar_close_at >= $1) AND ($2::timestamptz IS NULL OR bar_close_at < $2)
ORDER BY tier, checkpoint, symbol, bar_close_at, cycle_at DESC
"""
_NAMED = "SELECT * FROM bot.bot_events WHERE name = ANY($1::text[]) AND at >= $2 ORDER BY id"
_CLOSED = "SELECT * FROM bot.positions WHERE status = 'closed' AND filled > 0 ORDER BY closed_at, position_id"
_RECENT = """
SELECT variant, symbol, max(opened_at) AS last_entry_at,
       max(closed_at) FILTER (WHERE status = 'closed' AND net_pnl < 0) AS last_loss_at
FROM bot.positions WHERE filled > 0 GROUP BY variant, symbol
"""
_PENDING = """
SELECT DISTINCT symbol, bar_close_at FROM bot.signal_log
WHERE actual_return IS NULL AND bar_close_at IS NOT NULL AND bar_close_at <= $1 ORDER BY bar_close_at, symbol
"""
_REASONS = """
SELECT decision, decision_reason AS reason, count(*) AS count FROM bot.signal_log
GROUP BY decision, decision_reason ORDER BY count DESC, decision, reason
"""
_EXITS = """
SELECT coalesce(exit_reason, 'unknown') AS reason, count(*) AS count FROM bot.positions
WHERE status = 'closed' AND filled > 0 GROUP BY reason ORDER BY count DESC, reason
"""
_COUNTS = """
SELECT (SELECT count(*) FROM bot.orders) AS orders,
       (SELECT count(*) FROM bot.positions WHERE filled > 0) AS entries_filled,
       (SELECT count(*) FROM bot.positions WHERE status <> 'closed') AS open_positions
"""
_CURVE = """
SELECT at, sum(amount) OVER (ORDER BY at, kind, id ROWS UNBOUNDED PRECEDING) AS wallet FROM (
    SELECT at, 0 AS kind, trade_id AS id,
           realized_pnl - CASE WHEN fee_asset = 'USDT' THEN fee ELSE 0 END AS amount FROM bot.fills
    UNION ALL SELECT at, 1, income_id, amount FROM bot.funding
) AS booked ORDER BY at, kind, id
"""


class Queries:
    """Newest first, at most `limit` rows, where a method does not say otherwise. None as a filter lets all pass."""

    def __init__(self, pool: "asyncpg.Pool") -> None:
        self._pool = pool

    async def signals(
        self, limit: int = 50, variant: str | None = None, symbol: str | None = None, decision: str | None = None
    ) -> list[Signal]:
        return await self._rows(Signal, _SIGNALS, limit, variant, symbol, decision)

    async def said(self, until: int | None, span_ms: int) -> list[Signal]:
        """What the models said in the `span_ms` before `until` (None: the newest row), oldest first.

        Of each row only the columns up to `threshold` that a forecast's health is judged on, and the decision.
        """
        return await self._rows(Signal, _SAID, until, float(span_ms))

    async def predicted(self, since: int | None, until: int | None) -> list[Predicted]:
        """Every forecast once, by tier, checkpoint, symbol and bar, whichever variants and cycles used it."""
        return await self._rows(Predicted, _PREDICTED, since, until)

    async def positions(
        self,
        limit: int = 50,
        variant: str | None = None,
        symbol: str | None = None,
        status: PositionStatus | None = None,
    ) -> list[Position]:
        return await self._rows(Position, _POSITIONS, limit, variant, symbol, status)

    async def closed_positions(self) -> list[Position]:
        """All closed positions that had a fill, in the order of their closing."""
        return await self._rows(Position, _CLOSED)

    async def recent(self) -> dict[tuple[str, str], Recent]:
        """When each variant last entered and last lost on each symbol, by (variant, symbol)."""
        found = await self._rows(_RecentRow, _RECENT)
        return {
            (row.variant, row.symbol): Recent(last_entry_at=row.last_entry_at, last_loss_at=row.last_loss_at)
            for row in found
        }

    async def orders(
        self,
        limit: int = 50,
        symbol: str | None = None,
        position_id: str | None = None,
        state: OrderState | None = None,
    ) -> list[OrderRow]:
        return [order_of(row) for row in await self._pool.fetch(_ORDERS, limit, symbol, position_id, state)]

    async def fills(
        self, limit: int = 50, symbol: str | None = None, position_id: str | None = None
    ) -> list[BookedFill]:
        return await self._rows(BookedFill, _FILLS, limit, symbol, position_id)

    async def events(
        self, limit: int = 50, name: str | None = None, severity: Severity | None = None
    ) -> list[StoredEvent]:
        return await self._rows(StoredEvent, _EVENTS, limit, name, severity)

    async def told(self, names: Sequence[str], since: int) -> list[StoredEvent]:
        """All events of those names since then, oldest first."""
        return await self._rows(StoredEvent, _NAMED, list(names), since)

    async def days(self, limit: int = 50) -> list[Day]:
        query = """SELECT day::text, signals, entries, exits, fees, funding, net_pnl, wallet, drawdown
                   FROM bot.daily_log ORDER BY bot.daily_log.day DESC LIMIT $1"""
        return await self._rows(Day, query, limit)

    async def pending_returns(self, before: int) -> list[PendingReturn]:
        """Bars closed at or before `before` whose signals lack `actual_return`, oldest first."""
        return await self._rows(PendingReturn, _PENDING, before)

    async def equity_curve(self) -> list[EquityPoint]:
        """The wallet after every fill and funding payment, oldest first; without the starting point."""
        start = (await Store(self._pool).ledger()).starting_wallet
        if start is None:
            return []
        rows = map(values_of, await self._pool.fetch(_CURVE))
        return [EquityPoint(row["at"], start + row["wallet"]) for row in rows]

    async def run_facts(self) -> RunFacts:
        reasons = await self._rows(SignalCount, _REASONS)
        signals: dict[str, int] = {}
        for reason in reasons:
            signals[reason.decision] = signals.get(reason.decision, 0) + reason.count
        counts = await self._pool.fetchrow(_COUNTS)
        ledger = await Store(self._pool).ledger()
        return RunFacts(
            signals=signals,
            reasons=reasons,
            exits={row["reason"]: row["count"] for row in await self._pool.fetch(_EXITS)},
            ledger=ledger,
            max_drawdown=_max_drawdown(ledger.starting_wallet, await self.equity_curve()),
            **counts,
        )

    async def _rows(self, kind: type[RowT], query: str, *arguments: object) -> list[RowT]:
        return [msgspec.convert(values_of(row), kind) for row in await self._pool.fetch(query, *arguments)]


def _max_drawdown(start: Decimal | None, curve: Sequence[EquityPoint]) -> float:
    """As a fraction of the highest wallet so far; 0 for a wallet that never fell."""
    largest = Decimal(0)
    peak = start
    for point in curve:
        peak = point.wallet if peak is None else max(peak, point.wallet)
        if peak > 0:
            largest = max(largest, (peak - point.wallet) / peak)
    return float(largest)
