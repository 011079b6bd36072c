"""What must hold on every day, whatever goes wrong: the venue's truth held against the journal and the calls.

Graces are promises too: they say how long something may take, and are as short as the bot's own waits allow.
"""

from collections.abc import Callable, Iterator
from decimal import Decimal

import msgspec

from bot.clock import MINUTE_MS, SECOND_MS
from bot.config import OrdersTable
from bot.exchange.fault_kinds import FaultKind
from bot.exchange.faults import Fault, Subject
from bot.exchange.simulator.limits import Refusal
from bot.messages import Position, PositionStatus
from bot.orders.states import LIVE
from bot.venue import Leg, OrderRequest, OrderState
from tests.simulation.database import Tables
from tests.simulation.exchange import PREFIX, Exchange

K = FaultKind
ZERO = Decimal(0)
MOST_ALGOS = 200  # of an account
MOST_ORDERS = 200  # of a symbol
NAKED_MS = 3 * SECOND_MS  # from a fill to its confirmed stop, the venue answering
START_MS = 15 * SECOND_MS  # from a process's start until everything is covered
SETTLED_MS = 90 * SECOND_MS  # beyond the check's interval, until book, ledger and venue are equal again
CHANGE_MS = MINUTE_MS  # until a change that time alone brings is over, nothing being wrong

# How long a fault may keep a position from being covered, beyond its own length; what is not here, not at all.
NAKED_BY_FAULT_MS: dict[FaultKind, int] = {
    K.LOST_AFTER: 12 * SECOND_MS,  # a time-out of 5 s, then the order is asked for
    K.LOST_BEFORE: 12 * SECOND_MS,
    K.UNAVAILABLE: 6 * SECOND_MS,
    K.THROTTLED: 6 * SECOND_MS,
    K.TOO_MANY: 75 * SECOND_MS,  # until the venue's next minute where it names no time
    K.BANNED: 10 * SECOND_MS,
    K.LAG: 15 * SECOND_MS,
    K.CLOCK_STEP: 30 * SECOND_MS,
    K.TRIGGER_STUCK: 30 * SECOND_MS,
    K.TRIGGER_REJECTED: 10 * SECOND_MS,
    K.TRIGGER_LATE: 15 * SECOND_MS,
    K.CHILD_PARTIAL: 15 * SECOND_MS,
    K.EVENT_DELAYED: 10 * SECOND_MS,
    K.LISTEN_KEY_EXPIRES: 15 * SECOND_MS,
    K.SOCKET_RESET: 15 * SECOND_MS,
    K.SOCKET_CLOSED: 15 * SECOND_MS,
    K.DAY_CUT: 15 * SECOND_MS,
    K.SOCKET_SILENT: 60 * SECOND_MS,  # a connection without pongs is noticed within 45 s
    K.NO_PONG: 60 * SECOND_MS,
}
UNHEARD = frozenset({K.EVENT_LOST, K.EVENT_REORDERED})  # until the next check of the account
UNSEEN = frozenset({K.STOP_VANISHES})  # until stops are looked for
SPARE_MS = 15 * SECOND_MS  # for either, when it comes


class Broken(msgspec.Struct, frozen=True):
    """One invariant that did not hold."""

    at: int
    rule: str
    words: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.words}"


class CallWatch:
    """What calls must not do."""

    def __init__(self, exchange: Exchange, tables: Tables, fail: Callable[[str, str], None]) -> None:
        self._exchange, self._tables, self._fail = exchange, tables, fail
        self._entries: dict[str, str] = {}  # client id by position
        self.closed_until = 0  # by what the bot was told
        self.calls = 0

    def asked(self, request: Subject, now: int) -> None:
        self.calls += 1
        if now < self.closed_until:
            self._fail("no_call_during_a_ban", f"{request.name} {self.closed_until - now} ms before the silence ends")

    def told(self, until: int) -> None:
        self.closed_until = max(self.closed_until, until)

    def refused(self, refusal: Refusal, now: int) -> None:
        """By the venue's own count, and not by a fault."""
        if refusal.status == 429:
            self._fail("weights_within_limits", str(refusal))

    def ordered(self, request: OrderRequest) -> None:
        row = self._tables.orders.get(request.client_id)
        spooled = self._tables.away and request.reduce_only  # cover and exits may rest on the disk instead
        if not spooled and (row is None or row.request != request):
            self._fail("committed_before_sent", f"{request.client_id} reached the venue without its row")
        _, position_id, leg = request.client_id.split("-")
        if leg[0] == Leg.ENTRY and self._entries.setdefault(position_id, request.client_id) != request.client_id:
            self._fail("one_execution_per_intent", f"{position_id} has a second entry: {request.client_id}")

    def cancelled(self, client_id: str) -> None:
        if not client_id.startswith(PREFIX):
            self._fail("others_orders_are_not_touched", client_id)


class CoverWatch:
    """How long what is held has no live stop at the venue, less what a fault excuses."""

    def __init__(self, exchange: Exchange, orders: OrdersTable, fail: Callable[[str, str], None]) -> None:
        self._exchange, self._fail = exchange, fail
        self._graces = dict(NAKED_BY_FAULT_MS)
        self._graces |= dict.fromkeys(UNHEARD, orders.check_seconds * SECOND_MS + SPARE_MS)
        self._graces |= dict.fromkeys(UNSEEN, orders.watch_seconds * SECOND_MS + SPARE_MS)
        self._naked_since: dict[str, int] = {}
        self._told: set[str] = set()
        self.excused_until = 0
        self.nobody_there = False
        self.longest_ms = 0
        self.naked_ms = 0

    def excuse(self, until: int) -> None:
        self.excused_until = max(self.excused_until, until)

    def on_fault(self, fault: Fault, now: int) -> None:
        grace = self._graces.get(fault.kind)
        if grace is not None:
            self.excuse(now + fault.milliseconds() + grace)

    def look(self) -> None:
        """After every change at the venue, and now and then."""
        now = self._exchange.clock.now()
        if self.nobody_there:
            self.excuse(now)
        for symbol in self._exchange.symbols:
            if uncovered(self._exchange, symbol) > 0:
                since = self._naked_since.setdefault(symbol, now)
                self._judge(symbol, max(since, self.excused_until), now)
            elif symbol in self._naked_since:
                since = self._naked_since.pop(symbol)
                self._told.discard(symbol)
                self.naked_ms += now - since
                self._judge(symbol, max(since, self.excused_until), now)

    def must_be_whole(self) -> None:
        """The process was stopped, and no fault kept it from leaving everything behind a stop."""
        for symbol in self._exchange.symbols:
            if self.excused_until <= self._exchange.clock.now() and uncovered(self._exchange, symbol) > 0:
                self._fail("stopping_leaves_nothing_bare", f"{symbol} {self._exchange.held().get(symbol, ZERO)}")

    def _judge(self, symbol: str, since: int, now: int) -> None:
        self.longest_ms = max(self.longest_ms, now - since)
        if now - since > NAKED_MS and symbol not in self._told:
            self._told.add(symbol)
            held = self._exchange.held().get(symbol, ZERO)
            self._fail("covered_quantity_at_least_position", f"{symbol} {held}: no stop for {now - since} ms")


def uncovered(exchange: Exchange, symbol: str) -> Decimal:
    """How much of the net position no live stop of ours would close."""
    held = exchange.held().get(symbol, ZERO)
    if not held:
        return ZERO
    stops = (
        algo.quantity
        for algo in exchange.engine.open_algos(symbol)
        if algo.type == "STOP_MARKET" and algo.buy == (held < 0) and algo.client_id.startswith(PREFIX)
    )
    return abs(held) - sum(stops, ZERO)


def counts(exchange: Exchange) -> Iterator[tuple[str, str]]:
    if len(exchange.engine.open_algos()) > MOST_ALGOS:
        yield "counts_within_limits", f"{len(exchange.engine.open_algos())} conditional orders"
    for symbol in exchange.symbols:
        if len(exchange.engine.open_orders(symbol)) > MOST_ORDERS:
            yield "counts_within_limits", f"{symbol}: {len(exchange.engine.open_orders(symbol))} orders"


def settled(exchange: Exchange, tables: Tables, prefix: str = PREFIX) -> Iterator[tuple[str, str]]:
    """What holds once nothing is on its way: the ledger is the venue's account, and every order has its owner."""
    yield from _ledger(exchange, tables)
    yield from _positions(exchange, tables)
    yield from _owners(exchange, tables, prefix)
    yield from _exactly_covered(exchange, tables)


def _ledger(exchange: Exchange, tables: Tables) -> Iterator[tuple[str, str]]:
    engine = exchange.engine
    booked = {key: fill for key, (fill, _, _) in tables.fills.items() if fill.symbol in exchange.symbols}
    made = {(f.symbol, f.trade_id): f for f in engine.fills if f.symbol in exchange.symbols}
    for key in sorted(made.keys() ^ booked.keys()):
        where = "at the venue, not booked" if key in made else "booked, not at the venue"
        yield "ledger_equals_venue", f"trade {key[0]} {key[1]} is {where}"
    for key in sorted(made.keys() & booked.keys()):
        if _money(made[key]) != _money(booked[key]):
            yield "ledger_equals_venue", f"trade {key} is {_money(made[key])}, booked {_money(booked[key])}"
    funding = {row.income_id: row.amount for row in engine.income if row.kind == "FUNDING_FEE"}
    known = {payment.income_id: payment.amount for payment in tables.funding.values()}
    for income_id in sorted(set(funding.items()) ^ set(known.items())):
        yield "ledger_equals_venue", f"funding {income_id}"


def _money(fill: object) -> tuple[object, ...]:
    names = ("buy", "price", "quantity", "fee", "realized_pnl")
    return tuple(getattr(fill, name) for name in names)


def _positions(exchange: Exchange, tables: Tables) -> Iterator[tuple[str, str]]:
    ours: dict[str, Decimal] = {}
    for position in tables.open_positions():
        ours[position.symbol] = ours.get(position.symbol, ZERO) + position.open_quantity * position.side.sign
    held = exchange.held()
    for symbol in exchange.symbols:
        if ours.get(symbol, ZERO) != held.get(symbol, ZERO):
            words = f"{symbol}: booked {ours.get(symbol, ZERO)}, venue {held.get(symbol, ZERO)}"
            yield "positions_equal_venue", words


def _owners(exchange: Exchange, tables: Tables, prefix: str) -> Iterator[tuple[str, str]]:
    at_venue = {order.client_id for order in exchange.engine.open_orders()}
    at_venue |= {algo.client_id for algo in exchange.engine.open_algos()}
    for client_id in sorted(at_venue):
        if not client_id.startswith(prefix):
            continue
        row = tables.orders.get(client_id)
        position = None if row is None else tables.positions.get(row.position_id)
        if row is None or row.state not in LIVE:
            state = "no row" if row is None else f"the state {row.state}"
            yield "no_live_order_without_owner", f"{client_id} lives at the venue and has {state}"
        elif position is None or position.status is PositionStatus.CLOSED:
            yield "no_live_order_without_owner", f"{client_id} lives at the venue, its position is closed"
    for row in tables.live_orders():
        if row.client_id not in at_venue:
            yield "no_live_order_without_owner", f"{row.client_id} is {row.state} in the journal, not at the venue"


def _exactly_covered(exchange: Exchange, tables: Tables) -> Iterator[tuple[str, str]]:
    """A resting entry's stop is of all that may fill; else it is of what is open."""
    stops: dict[str, list[Decimal]] = {}
    entering = {row.position_id for row in tables.live_orders() if row.leg is Leg.ENTRY}
    for algo in exchange.engine.open_algos():
        row = tables.orders.get(algo.client_id)
        if row is not None and algo.type == "STOP_MARKET":
            stops.setdefault(row.position_id, []).append(algo.quantity)
    for position in tables.open_positions():
        if position.open_quantity > 0:
            allowed = [[position.open_quantity]]
            if position.position_id in entering:
                allowed.append([position.intended - position.closed])
            own = stops.get(position.position_id, [])
            if own not in allowed:
                words = f"{position.position_id} {position.status} holds {position.open_quantity}, stops {own}"
                yield "one_stop_of_the_exact_quantity", words


def next_change(tables: Tables, now: int, within_ms: int) -> int | None:
    """When time alone ends an entry or a position soon, or did a moment ago; None where it does neither.

    What is closed already may still have a leg that is being cancelled.
    """
    since = now - CHANGE_MS
    positions = list(tables.open_positions())
    times = [p.expires_at for p in positions if p.filled < p.intended]
    for p in positions:
        spans = (p.exits.max_hold_ms, p.exits.red_after_ms)
        times += [(p.opened_at or p.created_at) + span for span in spans if span is not None]
    times += [p.closed_at for p in tables.positions.values() if p.closed_at is not None]
    return min((at for at in times if since < at < now + within_ms), default=None)


def standing(exchange: Exchange, tables: Tables) -> dict[str, object]:
    """All that a restart without anything in between must leave as it is."""
    return {
        "positions": {p.position_id: _essence(p) for p in tables.positions.values()},
        "orders": {
            row.client_id: (row.state, row.filled)
            for row in tables.orders.values()
            if row.state is not OrderState.REJECTED  # an attempt, of which the venue has nothing
        },
        "ledger": msgspec.structs.astuple(tables.totals()),
        "held": exchange.held(),
        "venue": sorted(
            [o.client_id for o in exchange.engine.open_orders()] + [a.client_id for a in exchange.engine.open_algos()]
        ),
    }


def _essence(p: Position) -> tuple[object, ...]:
    return (p.status, p.filled, p.closed, p.stop_price, p.target_price, p.fees, p.funding, p.gross_pnl, p.exit_reason)
