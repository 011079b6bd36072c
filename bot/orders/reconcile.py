"""Bringing book, ledger and venue to one account of what happened: at start, and whenever the user stream was away."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TypeVar

import anyio
import msgspec

from bot.clock import DAY_MS, SECOND_MS, Clock
from bot.errors import OperatorError, VenueError, VenueRejected, VenueUnavailable
from bot.exchange.insistence import Insistence
from bot.exchange.port import TradingPort
from bot.orders.book import PositionBook
from bot.orders.ledger import Ledger
from bot.orders.states import LIVE, OrderEvent
from bot.orders.store import OrderStore
from bot.venue import Book, Fill, FundingPaid, OrderReport, OrderRow, OrderState, VenueStatus

T = TypeVar("T")

SYNCED = "synced_trade_ids"  # fact: by symbol, the trade id up to which nothing can be missing
STARTING_WALLET = "starting_wallet"  # fact: USDT, as a string; set last, so that it stands for the others
STARTED_AT = "started_at"  # fact: ms UTC
LATE_INCOME_MS = DAY_MS  # a payment may come on record this much after a later one
LAG_SECONDS = 1.0  # real time: an order sent just before we died may become visible this late
UNSEEN_MS = 10_000  # a confirmed order that a query does not show yet is not held for gone before
REPEATS = 3  # reads of one comparison that may fail once
QUICK_MS = SECOND_MS  # a read that fails later is not repeated: there is other work
MOST_NAMED = 50  # orders of others that are asked for at once, the newest
CHECKS = 3  # comparisons before a difference counts


class Difference(msgspec.Struct, frozen=True):
    """One symbol's net position in our book and at the venue."""

    ours: Decimal
    venue: Decimal

    @property
    def shortfall(self) -> Decimal:
        """What the venue has less of than we, on the same side; 0 where that is not the difference."""
        same_side = self.ours * self.venue >= 0 and self.ours != 0
        return max(abs(self.ours) - abs(self.venue), Decimal(0)) if same_side else Decimal(0)


BookFills = Callable[[Sequence[Fill]], Awaitable[None]]
BookFunding = Callable[[], Awaitable[object]]


class Findings(msgspec.Struct):
    """What a reconciliation found besides what it mended."""

    differences: dict[str, Difference] = {}  # by symbol
    strays: list[str] = []  # client ids with our prefix that the database does not know
    orphans: list[OrderRow] = []  # orders that have ended by our book and are open at the venue
    foreign: list[OrderReport] = []  # open orders of others

    @property
    def disagreement(self) -> str:
        """In words; empty where all agrees."""
        words = [f"{symbol}: ours {d.ours}, venue {d.venue}" for symbol, d in self.differences.items()]
        if self.strays:  # another instance with our prefix, or a lost database: only a person may touch them
            words.append(f"orders with our prefix that the database does not know: {', '.join(self.strays)}")
        return "; ".join(words)


class Reconciler:
    """Asks the venue; the desk, which owns book and ledger, books what it brings."""

    def __init__(
        self,
        port: TradingPort,
        store: OrderStore,
        book: PositionBook,
        symbols: Sequence[str],
        clock: Clock,
        insistence: Insistence,
    ) -> None:
        self._clock = clock
        self._port = port
        self._insistence = insistence
        self._store = store
        self._book = book
        self._symbols = symbols
        self._synced: dict[str, int] = {}
        self._seen: set[tuple[str, int]] = set()
        self._answered: dict[str, int] = {}  # by symbol, the newest trade id that an answer has brought
        self._seen_income: dict[int, int] = {}  # id -> time
        self._funding_since = 0
        self._venue_ids: dict[int, str] = {}  # regular order id -> client id
        self._nameless: set[int] = set()  # regular orders that were asked for in vain
        self._repeats = 0  # that are left to the comparison under way
        self._confirmed: dict[str, Difference] = {}  # by symbol; no execution has been told of there since

    def is_new(self, fill: Fill) -> bool:
        """True once per (symbol, trade id)."""
        if self.knows(fill):
            return False
        self._seen.add((fill.symbol, fill.trade_id))
        self._confirmed.pop(fill.symbol, None)
        return True

    def knows(self, fill: Fill) -> bool:
        return (fill.symbol, fill.trade_id) in self._seen or fill.trade_id <= self._synced.get(fill.symbol, 0)

    async def load(self, now: int) -> Ledger:
        """The ledger as the database has it; on the very first start the account's present state is the origin.

        The venue's errors go through once it was asked often enough.
        """
        start = await self._store.get_fact(STARTING_WALLET)
        synced = await self._store.get_fact(SYNCED)
        if not isinstance(start, str) or not isinstance(synced, dict):
            start, synced = await self._origin(now)
        self._synced = {symbol: int(trade_id) for symbol, trade_id in synced.items()}
        await self._start_from_now([symbol for symbol in self._symbols if symbol not in self._synced])
        await self._refuse_stranger()
        self._seen = await self._store.fill_ids(self._synced)
        totals = await self._store.ledger()
        started_at = int(await self._store.get_fact(STARTED_AT))
        last_funding_at = totals.last_funding_at or started_at
        self._funding_since = max(started_at, last_funding_at - LATE_INCOME_MS)
        self._seen_income = dict.fromkeys(await self._store.income_ids(self._funding_since), last_funding_at)
        for position in await self._store.load_open_positions():
            self._book.adopt(position, await self._store.load_orders([position.position_id]))
        for row in await self._store.load_live_orders():
            await self._adopt_closed(row.position_id)
        return Ledger(
            starting_wallet=Decimal(start),
            realized_pnl=totals.realized_pnl,
            fees=totals.fees,
            funding=totals.funding,
            fills=totals.fills,
            net=dict(totals.net),
            last_funding_at=last_funding_at,
        )

    async def recall(self, client_id: str) -> None:
        """Bring a position back into the book whose order speaks up after it was closed and forgotten."""
        if client_id in self._book.orders or not self._book.ours(client_id):
            return
        row = await self._store.find_order(client_id)
        if row is not None:
            await self._adopt_closed(row.position_id)

    async def _adopt_closed(self, position_id: str) -> None:
        """A process that dies between a position's last fill and the cancel of its other leg leaves that leg alive."""
        if position_id in self._book.positions:
            return
        position = await self._store.load_position(position_id)
        if position is not None:
            self._book.adopt(position, await self._store.load_orders([position_id]))

    async def _refuse_stranger(self) -> None:
        """A venue that knows none of the trades that the journal ends with holds another account, or was reset.

        Its trade ids would be taken for booked ones. Raises OperatorError.
        """
        traded = {symbol: trade_id for symbol, trade_id in self._synced.items() if trade_id > 0}
        for attempt in range(CHECKS if traded else 0):
            if attempt:  # an old answer may be empty
                await anyio.sleep(LAG_SECONDS)
            for symbol, trade_id in traded.items():
                if await self._fills_to_start_with(symbol, trade_id):
                    return
        if traded:
            raise OperatorError(
                "the venue knows none of this journal's trades: it is another account's, or the account was reset; "
                "use a state directory of its own (--state DIR)"
            )

    async def _origin(self, now: int) -> tuple[str, dict[str, int]]:
        wallet = format(await self._insistence.read("wallet", self._port.wallet), "f")
        synced = {symbol: await self._newest_trade(symbol) for symbol in self._symbols}
        await self._store.set_fact(SYNCED, synced)
        await self._store.set_fact(STARTED_AT, now)
        await self._store.set_fact(STARTING_WALLET, wallet)
        return wallet, synced

    async def _start_from_now(self, symbols: Sequence[str]) -> None:
        """What was traded on a symbol before it came into our hands is no business of the ledger's."""
        for symbol in symbols:
            self._synced[symbol] = await self._newest_trade(symbol)
        if symbols:
            await self._store.set_fact(SYNCED, self._synced)

    async def _newest_trade(self, symbol: str) -> int:
        return max((fill.trade_id for fill in await self._fills_to_start_with(symbol, 0)), default=0)

    async def _fills_to_start_with(self, symbol: str, from_trade_id: int) -> Sequence[Fill]:
        return await self._insistence.read(f"trades of {symbol}", lambda: self._port.fills(symbol, from_trade_id))

    async def run(self, book_fills: BookFills, book_funding: BookFunding) -> Findings:
        """Settle every order, fetch every missing fill and payment, compare the positions. Venue errors go through."""
        self._repeats = REPEATS
        await self._read(self._port.check_account)
        return await self._agree(book_fills, book_funding, self._involved())

    async def check(self, book_fills: BookFills, book_funding: BookFunding) -> Findings:
        """The same for what the book holds now; for want of a gap the other symbols' trades are not asked for."""
        self._repeats = REPEATS
        symbols = sorted({row.request.symbol for row in self._book.orders.values()})
        return await self._agree(book_fills, book_funding, symbols)

    async def _agree(self, book_fills: BookFills, book_funding: BookFunding, symbols: Sequence[str]) -> Findings:
        findings = Findings()
        on_venue = {report.client_id: report for report in await self._read(self._port.open_orders)}
        for client_id in on_venue:
            await self.recall(client_id)
        self._report_foreign(on_venue.values(), findings)
        rows = [r for r in self._book.orders.values() if r.state in LIVE or r.client_id in on_venue]
        failures = await self._settle(rows, on_venue)
        findings.orphans = [row for row in rows if row.client_id in on_venue and row.state not in LIVE]
        for symbol in symbols:
            await book_fills(await self.missing_fills(symbol))
        if failures:
            raise failures[-1]
        await book_funding()
        await self._mark_synced()
        findings.differences = await self._compare(book_fills)
        return findings

    async def _read(self, ask: Callable[[], Awaitable[T]]) -> T:
        """A comparison takes many reads: what is refused at once is asked again, or hardly any would be finished."""
        began = self._clock.now()
        try:
            return await ask()
        except VenueUnavailable as failed:
            slow = self._clock.now() - began >= QUICK_MS
            if failed.retry_at is not None or slow or self._repeats <= 0:
                raise
        self._repeats -= 1
        return await ask()

    async def look_up(self, row: OrderRow) -> list[OrderReport]:
        """What the venue says of one of our orders, in both books where it may be in both."""
        book = row.request.kind.book
        first = await self._read(lambda: self._port.find(row.request.symbol, row.client_id, book))
        reports = [] if first is None else [first]
        triggered = {VenueStatus.TRIGGERING, VenueStatus.TRIGGERED, VenueStatus.FINISHED}
        if book is Book.ALGO and first is not None and first.status in triggered:
            child = await self._read(lambda: self._port.find(row.request.symbol, row.client_id, Book.REGULAR))
            reports += [] if child is None else [child]
        for report in reports:
            if report.book is Book.REGULAR:
                self._venue_ids[report.venue_id] = report.client_id
        return reports

    async def not_standing(self, rows: Sequence[OrderRow], *, one_by_one: bool) -> list[OrderRow]:
        """Those conditional orders that the venue does not show as waiting for their trigger."""
        if one_by_one:
            reports = [await self._port.find(row.request.symbol, row.client_id, Book.ALGO) for row in rows]
        else:
            reports = list(await self._port.open_orders())
        standing = {
            r.client_id for r in reports if r is not None and r.book is Book.ALGO and r.status is VenueStatus.NEW
        }
        return [row for row in rows if row.client_id not in standing]

    async def missing_fills(self, symbol: str) -> list[Fill]:
        """The symbol's executions that are not booked yet, with their client ids where they are ours."""
        fills = await self._read(lambda: self._port.fills(symbol, self._synced.get(symbol, 0) + 1))
        self._answered[symbol] = max([self._answered.get(symbol, 0), *(fill.trade_id for fill in fills)])
        for row in self._book.orders.values():
            if row.venue_id is not None and row.request.kind.book is Book.REGULAR:
                self._venue_ids[row.venue_id] = row.client_id
        missing = [fill for fill in fills if (fill.symbol, fill.trade_id) not in self._seen]
        unattributed = {f.venue_id for f in missing if not f.client_id and f.venue_id not in self._venue_ids}
        if unattributed:
            for row in [r for r in self._book.orders.values() if r.request.symbol == symbol]:
                await self.look_up(row)
            await self._ask_for_names(symbol, sorted(unattributed - self._venue_ids.keys())[-MOST_NAMED:])
        return [
            msgspec.structs.replace(fill, client_id=fill.client_id or self._venue_ids.get(fill.venue_id, ""))
            for fill in missing
        ]

    async def _ask_for_names(self, symbol: str, venue_ids: Sequence[int]) -> None:
        """Whose orders are those that none of our rows knows: what the venue itself closes has names of its own.

        What cannot be read breaks off one comparison and no second one: our own executions wait to be booked.
        """
        failure: VenueUnavailable | VenueRejected | None = None
        for venue_id in venue_ids:
            try:
                report = await self._port.find_by_id(symbol, venue_id)
            except (VenueUnavailable, VenueRejected) as error:
                failure = failure if venue_id in self._nameless else error
                self._nameless.add(venue_id)
                continue
            if report is not None:
                self._venue_ids[venue_id] = report.client_id
        if failure is not None:
            raise failure

    async def _mark_synced(self) -> None:
        """What the stream told and no answer has brought yet may still have a hole before it."""
        for symbol, trade_id in self._answered.items():
            self._synced[symbol] = max(trade_id, self._synced.get(symbol, 0))
        self._answered.clear()
        self._seen = {(symbol, trade_id) for symbol, trade_id in self._seen if trade_id > self._synced.get(symbol, 0)}
        self._venue_ids.clear()
        self._nameless.clear()
        await self._store.set_fact(SYNCED, self._synced)

    async def missing_funding(self) -> list[FundingPaid]:
        payments = await self._read(lambda: self._port.funding(self._funding_since))
        missing = [payment for payment in payments if payment.income_id not in self._seen_income]
        self._seen_income |= {payment.income_id: payment.at for payment in payments}
        newest = max((payment.at for payment in payments), default=0)
        self._funding_since = max(self._funding_since, newest - LATE_INCOME_MS)
        self._seen_income = {key: at for key, at in self._seen_income.items() if at >= self._funding_since}
        return missing

    async def _settle(self, rows: Sequence[OrderRow], on_venue: Mapping[str, OrderReport]) -> list[VenueError]:
        """Move each order by the venue's word; what it does not know is missing, once lag is ruled out.

        An order that cannot be asked for keeps its state, and the others do not wait for it; the errors are returned.
        """
        unknown: list[OrderRow] = []
        failures: list[VenueError] = []
        for row in rows:
            report = on_venue.get(row.client_id)
            if report is not None and row.state is not OrderState.TRIGGERED:
                self._book.apply_report(report)
            elif await self._is_unknown(row, failures):
                unknown.append(row)
        if unknown:
            await anyio.sleep(LAG_SECONDS)
        for row in unknown:
            young = row.state is OrderState.WORKING and self._clock.now() - row.updated_at < UNSEEN_MS
            if await self._is_unknown(row, failures) and row.state in LIVE and not young:
                self._book.apply_event(row, OrderEvent.MISSING, row.updated_at, "the venue does not know it")
        return failures

    async def _is_unknown(self, row: OrderRow, failures: list[VenueError]) -> bool:
        """Whether the venue answered, and knows no such order."""
        try:
            reports = await self.look_up(row)
        except (VenueUnavailable, VenueRejected) as error:
            failures.append(error)
            return False
        for report in reports:
            self._book.apply_report(report)
        return not reports

    def _report_foreign(self, reports: Iterable[OrderReport], findings: Findings) -> None:
        """Those that look ours and are in no row are strays."""
        for report in reports:
            if not self._book.ours(report.client_id):
                findings.foreign.append(report)
            elif report.client_id not in self._book.orders:
                findings.strays.append(report.client_id)

    def _involved(self) -> list[str]:
        return sorted({*self._symbols, *(row.request.symbol for row in self._book.orders.values())})

    async def _compare(self, book_fills: BookFills) -> dict[str, Difference]:
        """Our net positions beside the venue's. Executions may still be on their way, but to what is confirmed."""
        differences = await self._differences()
        for _ in range(CHECKS - 1):
            if all(self._confirmed.get(symbol) == difference for symbol, difference in differences.items()):
                break
            await anyio.sleep(LAG_SECONDS)
            for symbol in differences:
                await book_fills(await self.missing_fills(symbol))
            differences = await self._differences()
        self._confirmed = dict(differences)
        return differences

    async def _differences(self) -> dict[str, Difference]:
        at_venue = {p.symbol: p.quantity for p in await self._read(self._port.positions)}
        both = {
            symbol: Difference(self._book.net(symbol), at_venue.get(symbol, Decimal(0))) for symbol in self._involved()
        }
        return {symbol: difference for symbol, difference in both.items() if difference.ours != difference.venue}
