"""Cover at the venue: what positions lack is committed, then sent; what was refused, lost or not reached goes on."""

from collections.abc import Sequence

from bot.clock import DAY_MS, MINUTE_MS, SECOND_MS, Clock
from bot.messages import Position, PositionStatus, Severity
from bot.orders.book import PositionBook
from bot.orders.cover import Cover
from bot.orders.gate import Gate
from bot.orders.news import News
from bot.orders.sender import COVER, RECHECK_MS, RECONCILE, Sender, Sent
from bot.orders.states import OrderEvent
from bot.orders.store import AttributedFill, OrderStore
from bot.venue import FundingPaid, Leg, OrderRow

NOT_WHILE_FLAT = "no_stop_while_flat"  # fact: ms UTC at which the venue refused one
ASKED_AGAIN_MS = DAY_MS  # after which it is tried once more
ATTEMPTS = 4
NOT_SEEN_MS = 1_500  # how long the venue may not know of a position after its fill
WOULD_TRIGGER_AT_ONCE = "-2021"
POSITION_NOT_SEEN = ("-2022", "-4118")  # right after its fill the venue may not know of the position yet
SEEN_AFTER_MS = 300


class Protection:
    """Sends for the desk, cover first. Whatever stays uncovered is asked for again within a second."""

    def __init__(
        self,
        book: PositionBook,
        cover: Cover,
        gate: Gate,
        store: OrderStore,
        sender: Sender,
        news: News,
        clock: Clock,
    ) -> None:
        self._book = book
        self._cover = cover
        self._gate = gate
        self._store = store
        self._sender = sender
        self._news = news
        self._clock = clock
        self._unprotected: set[str] = set()  # positions that were told of
        self._not_seen: dict[str, int] = {}  # positions that the venue does not know of yet, and since when

    async def load(self) -> None:
        """Take up what the venue refused an earlier process."""
        refused_at = await self._store.get_fact(NOT_WHILE_FLAT)
        if refused_at is not None and self._clock.now() - int(refused_at) < ASKED_AGAIN_MS:
            self._cover.arms = False

    async def cover(
        self,
        positions: Sequence[Position],
        new: Sequence[OrderRow] = (),
        fills: Sequence[AttributedFill] = (),
        funding: Sequence[FundingPaid] = (),
    ) -> list[OrderRow]:
        """Commit everything and send what the positions lack, then `new`; the rows that were sent.

        While trading is HALTED nothing is sent, and what stands at the venue stays.
        """
        entries = [row for row in new if row.leg is Leg.ENTRY]
        rows = [*self._lacking(positions), *(row for row in new if row.leg is not Leg.ENTRY)]
        await self.commit(positions, fills, funding)
        sent: list[OrderRow] = []
        for attempt in range(ATTEMPTS):
            if attempt:
                rows = self._lacking([p for p in positions if p.position_id not in self._not_seen])
                if not rows:
                    break
                await self.commit(positions)
            answers = [(row, await self._sender.send(row)) for row in rows]
            sent += rows
            for row in [row for row, answer in answers if answer is Sent.REFUSED]:
                await self._after_refusal(row)
            if any(answer is Sent.AWAY for _, answer in answers):
                break
        for row in entries:
            await self._send_entry(row)
        self._watch(positions)
        return [*sent, *entries]

    async def commit(
        self,
        positions: Sequence[Position],
        fills: Sequence[AttributedFill] = (),
        funding: Sequence[FundingPaid] = (),
    ) -> None:
        orders = [row for position in positions for row in self._book.legs(position.position_id)]
        await self._store.save(orders=orders, positions=positions, fills=fills, funding=funding)

    def _lacking(self, positions: Sequence[Position]) -> list[OrderRow]:
        if self._gate.halted:
            return []
        now = self._clock.now()
        return [row for position in positions for row in self._cover.rows(position, now)]

    async def _send_entry(self, row: OrderRow) -> None:
        """An entry whose stop the venue has not confirmed, or that is in the spool alone, does not leave the house."""
        position = self._book.positions[row.position_id]
        if self._cover.armed(position) and self._store.at_hand:
            await self._sender.send(row)
            return
        why = "its stop was not confirmed" if self._store.at_hand else "the database is away"
        self._book.apply_event(row, OrderEvent.REFUSED, self._clock.now(), why)
        self._news.tell("entry_not_sent", Severity.WARNING, client_id=row.client_id, symbol=position.symbol, why=why)

    async def _after_refusal(self, row: OrderRow) -> None:
        """A position whose stop or target the venue refused goes to market; a refused exit questions our whole view."""
        position = self._book.positions[row.position_id]
        code = row.reason.partition(":")[0]
        if row.leg is Leg.EXIT:
            pause = min(MINUTE_MS, RECHECK_MS * (row.revision + 1))
            self._cover.hold_exit(position, self._clock.now() + pause)
            self._sender.recheck(RECONCILE, pause)
        elif position.open_quantity <= 0:
            await self._after_refused_arming(position, code)
        elif position.status is not PositionStatus.OPEN:
            return
        elif code != WOULD_TRIGGER_AT_ONCE and self._cover.settle_for_less(position, row.leg):
            self._news.tell(
                "cover_refused",
                Severity.WARNING,
                position_id=position.position_id,
                leg=str(row.leg),
                error=row.reason,
            )
        elif code in POSITION_NOT_SEEN and self._may_become_seen(position):
            self._sender.recheck_within(COVER, SEEN_AFTER_MS)
        else:
            passed = code == WOULD_TRIGGER_AT_ONCE
            stop_reason = (position.stop_reason or "stop_loss") if passed else "unprotected"
            position.status = PositionStatus.CLOSING  # the next round of cover sends the market exit
            position.exit_reason = "target" if passed and row.leg is Leg.TARGET else stop_reason

    def _may_become_seen(self, position: Position) -> bool:
        now = self._clock.now()
        if now - self._not_seen.setdefault(position.position_id, now) < NOT_SEEN_MS:
            return True
        del self._not_seen[position.position_id]
        return False

    async def _after_refused_arming(self, position: Position, code: str) -> None:
        """A venue that takes no reduce-only order while flat gets none any more: stops then come with the fill.

        Any other refusal (the price is past the stop already, too many orders) is one of the entry too.
        """
        pending = position.status is PositionStatus.PENDING
        if pending and code in POSITION_NOT_SEEN:
            self._cover.arms = False
            await self._store.set_fact(NOT_WHILE_FLAT, self._clock.now())
            self._news.tell("stops_come_with_the_fill", Severity.WARNING, symbol=position.symbol, error=code)
        elif pending or position.status is PositionStatus.OPEN:  # open: its stop has closed what had filled so far
            self._cover.withdraw(position)

    def _watch(self, positions: Sequence[Position]) -> None:
        """Have what is still lacking looked at again; say so once of a position that no stop holds."""
        now = self._clock.now()
        for position in positions:
            lacking = [leg for leg, _ in self._cover.lacking(position, now)]
            if lacking:
                self._sender.recheck_within(COVER, SECOND_MS)
            else:
                self._not_seen.pop(position.position_id, None)
            bare = position.open_quantity > 0 and not self._book.legs(position.position_id, Leg.STOP, live=True)
            if not lacking or not bare:
                self._unprotected.discard(position.position_id)
            elif position.position_id not in self._unprotected:
                self._unprotected.add(position.position_id)
                self._news.tell(
                    "position_unprotected",
                    Severity.ERROR,
                    position_id=position.position_id,
                    symbol=position.symbol,
                )
