"""Journal entries in, rows of signal_log, bot_events and daily_log out. Each call is one transaction."""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from bot.logs import redact
from bot.messages import BotEvent, JournalEntry, ReturnKnown, Signal, SignalOutcome

if TYPE_CHECKING:
    import asyncpg

_SIGNALS = "INSERT INTO bot.signal_log SELECT * FROM unnest($1::bot.signal_log[]) ON CONFLICT DO NOTHING"

_OUTCOMES = """
UPDATE bot.signal_log AS stored SET
    fill_status = coalesce(given.fill_status, stored.fill_status),
    fill_price = coalesce(given.fill_price, stored.fill_price),
    exit_price = coalesce(given.exit_price, stored.exit_price),
    exit_reason = coalesce(given.exit_reason, stored.exit_reason),
    net_pnl = coalesce(given.net_pnl, stored.net_pnl)
FROM unnest($1::text[], $2::text[], $3::numeric[], $4::numeric[], $5::text[], $6::numeric[])
    AS given (signal_id, fill_status, fill_price, exit_price, exit_reason, net_pnl)
WHERE stored.signal_id = given.signal_id RETURNING stored.signal_id
"""

_RETURNS = """
UPDATE bot.signal_log AS stored SET actual_return = given.actual_return
FROM unnest($1::text[], $2::timestamptz[], $3::float8[]) AS given (symbol, bar_close_at, actual_return)
WHERE stored.symbol = given.symbol AND stored.bar_close_at = given.bar_close_at AND stored.actual_return IS NULL
"""

_EVENTS = """
INSERT INTO bot.bot_events (at, name, severity, detail)
SELECT * FROM unnest($1::timestamptz[], $2::text[], $3::text[], $4::jsonb[])
"""

# The last three days written are written again: what happened on them may have become known after they were over.
_DAYS = """
WITH start AS (
    SELECT (value #>> '{}')::numeric AS wallet FROM bot.account WHERE key = 'starting_wallet'
), booked AS (
    SELECT at, 0 AS kind, trade_id AS id, realized_pnl, 0::numeric AS funding,
           CASE WHEN fee_asset = 'USDT' THEN fee ELSE 0 END AS fee FROM bot.fills
    UNION ALL SELECT at, 1, income_id, 0, amount, 0 FROM bot.funding
), wallets AS (
    SELECT booked.*, (SELECT wallet FROM start) + sum(realized_pnl - fee + funding) OVER earlier AS wallet,
           row_number() OVER earlier AS place
    FROM booked WINDOW earlier AS (ORDER BY at, kind, id ROWS UNBOUNDED PRECEDING)
), curve AS (
    SELECT *, greatest((SELECT wallet FROM start), max(wallet) OVER (ORDER BY place)) AS peak FROM wallets
), days AS (
    SELECT day::date AS day, day AT TIME ZONE 'UTC' AS begin, (day + interval '1 day') AT TIME ZONE 'UTC' AS finish
    FROM generate_series(
        coalesce((SELECT min(day) FROM (SELECT day FROM bot.daily_log ORDER BY day DESC LIMIT 3) AS latest),
                 (SELECT (min(at) AT TIME ZONE 'UTC')::date FROM (
                     SELECT min(cycle_at) AS at FROM bot.signal_log UNION ALL SELECT min(at) FROM booked) AS all_times)
        )::timestamp, ($1::timestamptz AT TIME ZONE 'UTC')::date, interval '1 day') AS day
)
INSERT INTO bot.daily_log
SELECT day,
    (SELECT count(*) FROM bot.signal_log WHERE cycle_at >= begin AND cycle_at < finish),
    (SELECT count(*) FROM bot.positions WHERE opened_at >= begin AND opened_at < finish),
    (SELECT count(*) FROM bot.positions
     WHERE status = 'closed' AND filled > 0 AND closed_at >= begin AND closed_at < finish),
    coalesce(sum(curve.fee), 0), coalesce(sum(curve.funding), 0),
    coalesce(sum(curve.realized_pnl - curve.fee + curve.funding), 0),
    coalesce((SELECT last.wallet FROM curve AS last WHERE last.at < finish ORDER BY place DESC LIMIT 1), start.wallet),
    greatest(0, max((curve.peak - curve.wallet) / nullif(curve.peak, 0)),
             (SELECT (last.peak - last.wallet) / nullif(last.peak, 0) FROM curve AS last
              WHERE last.at < begin ORDER BY place DESC LIMIT 1))
FROM days CROSS JOIN start LEFT JOIN curve ON curve.at >= begin AND curve.at < finish
GROUP BY day, begin, finish, start.wallet
ON CONFLICT (day) DO UPDATE SET signals = excluded.signals, entries = excluded.entries, exits = excluded.exits,
    fees = excluded.fees, funding = excluded.funding, net_pnl = excluded.net_pnl, wallet = excluded.wallet,
    drawdown = excluded.drawdown
"""


# A batch is one transaction; of one that is there already nothing is written again.
_NUMBER = """
INSERT INTO bot.journal_batches AS stored (number) VALUES ($1)
ON CONFLICT (single) DO UPDATE SET number = excluded.number WHERE stored.number < excluded.number RETURNING number
"""


class Records:
    """Writes what the journal's inbox brings."""

    def __init__(self, pool: "asyncpg.Pool") -> None:
        self._pool = pool

    async def write(self, entries: Sequence[JournalEntry]) -> list[str]:
        """Write the entries in their order; returns the ids of outcomes whose signal is not there.

        A signal whose id is there stays as it is; an outcome changes only what it brings; a return fills only gaps.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            return await _write_all(connection, entries)

    async def write_once(self, number: int, entries: Sequence[JournalEntry]) -> list[str]:
        """As `write`, for the batch `number`; numbers rise, and a batch that is there already is left alone."""
        async with self._pool.acquire() as connection, connection.transaction():
            if await connection.fetchval(_NUMBER, number) is None:
                return []
            return await _write_all(connection, entries)

    async def last_batch(self) -> int:
        return int(await self._pool.fetchval("SELECT number FROM bot.journal_batches") or 0)

    async def write_days(self, through: int) -> None:
        """Bring bot.daily_log up to the UTC day of `through`; nothing before the starting wallet is known."""
        await self._pool.execute(_DAYS, through)


async def _write_all(connection: "asyncpg.Connection", entries: Sequence[JournalEntry]) -> list[str]:
    missing: list[str] = []
    for _, run in itertools.groupby(entries, type):
        missing += await _write_run(connection, list(run))
    return missing


async def _write_run(connection: "asyncpg.Connection", run: Sequence[JournalEntry]) -> list[str]:
    """Write entries of one kind; returns the ids of outcomes whose signal is not there."""
    match run[0]:
        case Signal():
            await connection.execute(_SIGNALS, [msgspec.structs.astuple(signal) for signal in run])
        case SignalOutcome():
            merged = _merge([entry for entry in run if isinstance(entry, SignalOutcome)])
            found = await connection.fetch(_OUTCOMES, *_columns(merged))
            return sorted({outcome.signal_id for outcome in merged} - {row["signal_id"] for row in found})
        case ReturnKnown():
            await connection.execute(_RETURNS, *_columns(run))
        case BotEvent():
            await connection.execute(_EVENTS, *_columns([_redacted(entry) for entry in run]))
    return []


def _columns(rows: Sequence[msgspec.Struct]) -> list[list[object]]:
    return [list(column) for column in zip(*(msgspec.structs.astuple(row) for row in rows), strict=True)]


def _redacted(entry: JournalEntry) -> JournalEntry:
    return msgspec.structs.replace(entry, detail=redact(entry.detail)) if isinstance(entry, BotEvent) else entry


def _merge(outcomes: Sequence[SignalOutcome]) -> list[SignalOutcome]:
    """One outcome for each signal: of every column the last that was given."""
    merged: dict[str, SignalOutcome] = {}
    for outcome in outcomes:
        given = {name: value for name, value in msgspec.structs.asdict(outcome).items() if value is not None}
        merged[outcome.signal_id] = msgspec.structs.replace(merged.get(outcome.signal_id, outcome), **given)
    return list(merged.values())
