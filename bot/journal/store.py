"""The desk's tables: orders, positions, fills and funding in, the ledger out. Each call is one transaction."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

import asyncpg
import msgspec

from bot.errors import OperatorError, OurFault
from bot.journal.connection import values_of
from bot.messages import Position
from bot.venue import Fill, FundingPaid, Leg, OrderRequest, OrderRow

AttributedFill = tuple[Fill, str | None, Leg | None]
Row = tuple[Any, ...]
VENUE = "venue"  # fact: whose journal this is
_EMPTIED = (
    "signal_log",
    "positions",
    "orders",
    "fills",
    "funding",
    "bot_events",
    "daily_log",
    "account",
    "guard_releases",
)

_REQUEST = ("symbol", "kind", "buy", "quantity", "price", "trigger_price", "reduce_only", "post_only")
_ORDER = (
    ("client_id", "position_id", "leg", "revision")
    + _REQUEST
    + ("state", "filled", "venue_id", "created_at", "updated_at", "reason")
)
_POSITION = Position.__struct_fields__

_SAVE = """
WITH saved_orders AS (
    INSERT INTO bot.orders SELECT * FROM unnest($1::bot.orders[])
    ON CONFLICT (client_id) DO UPDATE SET
        state = excluded.state, filled = excluded.filled, venue_id = excluded.venue_id,
        updated_at = excluded.updated_at, reason = excluded.reason
), saved_positions AS (
    INSERT INTO bot.positions ({position}, net_pnl)
    SELECT {position}, gross_pnl - fees + funding FROM unnest($2::bot.positions[])
    ON CONFLICT (position_id) DO UPDATE SET {position_update}, net_pnl = excluded.net_pnl
), saved_funding AS (
    INSERT INTO bot.funding SELECT * FROM unnest($4::bot.funding[]) ON CONFLICT DO NOTHING
)
INSERT INTO bot.fills SELECT * FROM unnest($3::bot.fills[]) ON CONFLICT DO NOTHING RETURNING symbol, trade_id
""".format(
    position=", ".join(_POSITION),
    position_update=", ".join(f"{name} = excluded.{name}" for name in _POSITION if name != "position_id"),
)

_DIFFERENT = """
SELECT given.client_id FROM unnest($1::bot.orders[]) AS given JOIN bot.orders AS stored USING (client_id)
WHERE {} LIMIT 1
""".format(" OR ".join(f"given.{name} IS DISTINCT FROM stored.{name}" for name in _ORDER[1:12]))

_LEDGER = """
SELECT (SELECT coalesce(sum(realized_pnl), 0) FROM bot.fills) AS realized_pnl,
       (SELECT coalesce(sum(fee) FILTER (WHERE fee_asset = 'USDT'), 0) FROM bot.fills) AS fees,
       (SELECT coalesce(sum(amount), 0) FROM bot.funding) AS funding,
       (SELECT max(at) FROM bot.funding) AS last_funding_at,
       (SELECT count(*) FROM bot.fills) AS fills,
       (SELECT (value #>> '{}')::numeric FROM bot.account WHERE key = 'starting_wallet') AS starting_wallet
"""

_PER_SYMBOL = """
SELECT symbol, max(trade_id) AS last_trade_id, sum(CASE WHEN buy THEN quantity ELSE -quantity END) AS quantity
FROM bot.fills GROUP BY symbol
"""

# trim_scale(x)::text is format(x.normalize(), "f") without the 28 digits that Python's context would round to.
_DIGEST = """
SELECT encode(sha256(convert_to(coalesce(string_agg(
    symbol || '|' || trade_id || '|' || CASE WHEN buy THEN 'BUY' ELSE 'SELL' END || '|' || trim_scale(price) || '|' ||
    trim_scale(quantity) || '|' || trim_scale(fee) || '|' || trim_scale(realized_pnl) || E'\\n',
    '' ORDER BY symbol COLLATE "C", trade_id), ''), 'UTF8')), 'hex') FROM bot.fills
"""


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over everything booked so far, exact; in USDT where money. Fees paid in another asset are not in `fees`."""

    starting_wallet: Decimal | None  # None: the fact has not been set
    realized_pnl: Decimal
    fees: Decimal
    funding: Decimal
    fills: int
    last_funding_at: int | None
    last_trade_id: Mapping[str, int]
    net: Mapping[str, Decimal]  # signed quantity by symbol, from the fills; 0 where flat again

    @property
    def wallet(self) -> Decimal:
        if self.starting_wallet is None:
            raise OurFault("the ledger has no starting wallet: the fact starting_wallet was never set")
        return self.starting_wallet + self.realized_pnl - self.fees + self.funding


class Store:
    """Reads and writes what the desk owns. Safe to call again with the same arguments."""

    at_hand = True  # nothing else is behind it

    def __init__(self, pool: "asyncpg.Pool") -> None:
        self._pool = pool

    async def bind(self, venue: str, *, fresh: bool) -> None:
        """Tie the journal to one venue; `fresh` empties it first, which only a replay's journal allows.

        Raises OperatorError where the journal is another venue's: two accounts in one ledger add up to nothing.
        """
        owner = await self.get_fact(VENUE)
        if owner is not None and owner != venue:
            raise OperatorError(
                f"the journal belongs to the venue {owner}, not {venue}; give this run a state directory of its own "
                f"(--state var/{venue})"
            )
        if fresh and owner is not None:
            await self._pool.execute(f"TRUNCATE {', '.join(f'bot.{table}' for table in _EMPTIED)} RESTART IDENTITY")
        await self.set_fact(VENUE, venue)

    async def commit_orders(self, rows: Sequence[OrderRow], positions: Sequence[Position] = ()) -> None:
        """Insert new orders; one that is there already stays as it is.

        Raises OurFault, and writes nothing, where a client id is taken by an order that asks for something else.
        """
        orders = _order_rows(rows)
        async with self._pool.acquire() as connection, connection.transaction():
            taken = await connection.fetchval(_DIFFERENT, orders)
            if taken is not None:
                raise OurFault(f"client id {taken} belongs to another order")
            await connection.execute(
                "INSERT INTO bot.orders SELECT * FROM unnest($1::bot.orders[]) ON CONFLICT DO NOTHING", orders
            )
            await connection.fetch(_SAVE, [], _position_rows(positions), [], [])

    async def save(
        self,
        orders: Sequence[OrderRow] = (),
        positions: Sequence[Position] = (),
        fills: Sequence[AttributedFill] = (),
        funding: Sequence[FundingPaid] = (),
    ) -> list[Fill]:
        """Upsert all of it in one transaction and one round trip; returns the fills that were new, in the given order.

        Of an order that exists only state, filled, venue_id, updated_at and reason change. Fills and payments that
        exist stay as they are.
        """
        new = await self._pool.fetch(
            _SAVE,
            _order_rows(orders),
            _position_rows(positions),
            [_fill_row(*fill) for fill in fills],
            [(payment.symbol, payment.amount, payment.at, payment.income_id) for payment in funding],
        )
        keys = {(row["symbol"], row["trade_id"]) for row in new}
        first = {(fill.symbol, fill.trade_id): fill for fill, _, _ in reversed(fills)}
        return [fill for fill, _, _ in fills if (fill.symbol, fill.trade_id) in keys and _is(first, fill)]

    async def load_open_positions(self) -> list[Position]:
        """Every position that is not closed, oldest first."""
        return _positions(
            await self._pool.fetch(
                "SELECT * FROM bot.positions WHERE status <> 'closed' ORDER BY created_at, position_id"
            )
        )

    async def load_position(self, position_id: str) -> Position | None:
        found = await self._pool.fetch("SELECT * FROM bot.positions WHERE position_id = $1", position_id)
        return next(iter(_positions(found)), None)

    async def load_untold(self) -> list[Position]:
        """Closed positions whose signal's row lacks its last outcome, oldest first."""
        query = """SELECT positions.* FROM bot.positions JOIN bot.signal_log ON signal_id = position_id
                   WHERE status = 'closed' AND (fill_status = 'pending' OR
                       filled > 0 AND signal_log.net_pnl IS DISTINCT FROM positions.net_pnl)
                   ORDER BY created_at, position_id"""
        return _positions(await self._pool.fetch(query))

    async def load_lost_intents(self) -> list[str]:
        """Ids of the signals whose entry is pending without a position, oldest first."""
        query = """SELECT signal_id FROM bot.signal_log WHERE fill_status = 'pending' AND NOT EXISTS
                   (SELECT FROM bot.positions WHERE position_id = signal_id) ORDER BY cycle_at, signal_id"""
        return [row["signal_id"] for row in await self._pool.fetch(query)]

    async def load_orders(self, position_ids: Sequence[str]) -> list[OrderRow]:
        """All orders of these positions, oldest first."""
        query = "SELECT * FROM bot.orders WHERE position_id = ANY($1) ORDER BY created_at, revision, client_id"
        return [order_of(row) for row in await self._pool.fetch(query, list(position_ids))]

    async def load_live_orders(self) -> list[OrderRow]:
        """Every order whose end is not known, oldest first."""
        query = """SELECT * FROM bot.orders WHERE state IN ('intended', 'unresolved', 'working', 'triggered')
                   ORDER BY created_at, revision, client_id"""
        return [order_of(row) for row in await self._pool.fetch(query)]

    async def find_order(self, client_id: str) -> OrderRow | None:
        row = await self._pool.fetchrow("SELECT * FROM bot.orders WHERE client_id = $1", client_id)
        return None if row is None else order_of(row)

    async def find_orders_with_prefix(self, prefix: str) -> list[OrderRow]:
        """The orders whose client id starts with `prefix`, oldest first."""
        query = "SELECT * FROM bot.orders WHERE starts_with(client_id, $1) ORDER BY created_at, revision, client_id"
        return [order_of(row) for row in await self._pool.fetch(query, prefix)]

    async def fill_ids(self, since: Mapping[str, int]) -> set[tuple[str, int]]:
        """(symbol, trade id) of the booked fills with an id at or above their symbol's in `since` (0 where none)."""
        query = """SELECT symbol, trade_id FROM bot.fills
                   LEFT JOIN unnest($1::text[], $2::bigint[]) AS since (symbol, first) USING (symbol)
                   WHERE trade_id >= coalesce(since.first, 0)"""
        rows = await self._pool.fetch(query, list(since), list(since.values()))
        return {(row["symbol"], row["trade_id"]) for row in rows}

    async def income_ids(self, since: int) -> set[int]:
        """Ids of the booked funding payments at or after `since`."""
        return {row[0] for row in await self._pool.fetch("SELECT income_id FROM bot.funding WHERE at >= $1", since)}

    async def ledger(self) -> Ledger:
        async with (
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            sums = await connection.fetchrow(_LEDGER)
            symbols = await connection.fetch(_PER_SYMBOL)
        return Ledger(
            **values_of(sums),
            last_trade_id={row["symbol"]: row["last_trade_id"] for row in symbols},
            net={row["symbol"]: values_of(row)["quantity"] for row in symbols},
        )

    async def fills_digest(self) -> str:
        """sha256 (hex) over the lines "symbol|trade_id|BUY or SELL|price|quantity|fee|realized_pnl\\n" of all fills.

        In the order (symbol, trade_id); numbers without exponent and trailing zeros. The simulator makes the same.
        """
        return cast(str, await self._pool.fetchval(_DIGEST))

    async def get_fact(self, key: str) -> Any:
        """The JSON value of one fact; None where it was never set."""
        return await self._pool.fetchval("SELECT value FROM bot.account WHERE key = $1", key)

    async def set_fact(self, key: str, value: Any) -> None:
        query = "INSERT INTO bot.account VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
        await self._pool.execute(query, key, value)


def _is(first: Mapping[tuple[str, int], Fill], fill: Fill) -> bool:
    return first[fill.symbol, fill.trade_id] is fill


def _order_rows(rows: Sequence[OrderRow]) -> list[Row]:
    """Whole rows of bot.orders; of several with one client id the last."""
    return list({row.client_id: _order_row(row) for row in rows}.values())


def _order_row(row: OrderRow) -> Row:
    if row.request.client_id != row.client_id:
        raise OurFault(f"order {row.client_id} asks for {row.request.client_id}")
    request = tuple(getattr(row.request, name) for name in _REQUEST)
    intent = (row.client_id, row.position_id, row.leg, row.revision, *request)
    return (*intent, row.state, row.filled, row.venue_id, row.created_at, row.updated_at, row.reason)


def _position_rows(positions: Sequence[Position]) -> list[Row]:
    """Whole rows of bot.positions, net_pnl left to the database; of several with one id the last."""
    rows = {}
    for position in positions:
        *values, naked_seconds = msgspec.structs.astuple(position)
        rows[position.position_id] = (*values, None, naked_seconds)  # the order of the table's columns
    return list(rows.values())


def _fill_row(fill: Fill, position_id: str | None, leg: Leg | None) -> Row:
    return (*msgspec.structs.astuple(fill), position_id, leg)


def order_of(row: "asyncpg.Record") -> OrderRow:
    values = values_of(row)
    request = {name: values.pop(name) for name in _REQUEST}
    values["request"] = msgspec.convert({"client_id": values["client_id"], **request}, OrderRequest)
    return msgspec.convert(values, OrderRow)


def _positions(rows: Sequence["asyncpg.Record"]) -> list[Position]:
    return [msgspec.convert(values_of(row), Position) for row in rows]
